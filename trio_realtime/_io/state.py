"""Keeping the state of a client where the next run of the program finds it.

A file is written as a whole, beside the old one, and takes its place when it is on the disk: it is
always either the old or the new. A lock beside it makes sure that one program uses it at a time.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, ClassVar, Protocol

import trio

from trio_realtime._engine import saved_state
from trio_realtime._engine.saved_state import SavedState
from trio_realtime._values.errors import StateError, StateInUse

from .durable_files import claim, private, sync_folder

logger = logging.getLogger("trio_realtime")

INTERVAL = 1.0
"""Seconds between two writes."""
FINAL_WRITE = 5.0
"""Seconds that the last one may take."""

StateLocation = str | os.PathLike[str] | MutableMapping[str, Any]
"""Where a state is kept: a file, or a mapping that takes texts, numbers, lists and dicts."""


class StateStore(Protocol):
    """A place for one state. Its methods may wait for a disk, so they run in threads."""

    in_thread: bool

    def open(self) -> SavedState | None:
        """Claim the place; the state in it, if there is one. Raises `StateError`."""

    def write(self, state: SavedState) -> None:
        """Replace the state. Raises `StateError`."""

    def close(self) -> None:
        """Give the place up."""


class StateMapping:
    """A state in a mapping of the application."""

    in_thread = False
    _in_use: ClassVar[set[int]] = set()
    """Which mappings have a client; they cannot vanish as long as they do."""

    def __init__(self, mapping: MutableMapping[str, Any]) -> None:
        self._mapping = mapping
        self._claimed = False

    def open(self) -> SavedState | None:
        """Claim the mapping; the state in it, if there is one."""
        if id(self._mapping) in self._in_use:
            raise StateInUse("the mapping with the state is in use by another client")
        self._in_use.add(id(self._mapping))
        self._claimed = True
        with self._trouble("read"):
            kept = dict(self._mapping)
        return saved_state.read(kept) if kept else None

    def write(self, state: SavedState) -> None:
        """Replace the state."""
        document = saved_state.document(state)
        # Whoever stops halfway has positions that are newer than what the rest says, which is
        # harmless; the other way round something would be lost.
        conversations = document.pop("conversations")
        with self._trouble("written"):
            self._mapping["conversations"] = conversations
            self._mapping.update(document)

    def close(self) -> None:
        """Give it up."""
        if self._claimed:
            self._in_use.discard(id(self._mapping))
            self._claimed = False

    @contextmanager
    def _trouble(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise StateError(f"the mapping with the state cannot be {what}: {error!r}") from error


class StateFile:
    """A state in a file of its own, which only its owner can read.

    A thread that hangs on the disk keeps the claim until it is done: nobody else uses the file
    as long as it may still be written.
    """

    in_thread = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._claim: IO[bytes] | None = None
        self._busy = threading.Lock()
        self._given_up = False

    def open(self) -> SavedState | None:
        """Claim the file, and read it."""
        with self._at_work():
            return self._open()

    def write(self, state: SavedState) -> None:
        """Replace the file, durably."""
        with self._at_work():
            self._write(state)

    def close(self) -> None:
        """Give the file up, as soon as no thread is at work with it."""
        self._given_up = True
        if self._busy.acquire(blocking=False):
            try:
                if self._claim is not None:
                    self._claim.close()
                    self._claim = None
            finally:
                self._busy.release()

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        try:
            with self._busy:
                yield
        finally:
            if self._given_up:
                self.close()

    def _open(self) -> SavedState | None:
        path = self._path
        try:
            self._claim = open(_beside(path, ".lock"), "ab", opener=private)  # noqa: SIM115
        except OSError as error:
            raise StateError(f"cannot use {path}: {error.strerror}") from error
        try:
            claim(self._claim)
        except OSError as error:
            self._claim.close()
            self._claim = None
            if isinstance(error, BlockingIOError | PermissionError):
                raise StateInUse(f"{path} is in use by another client") from error
            raise StateError(f"cannot claim {path}: {error.strerror}") from error
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"cannot read {path}: {error.strerror}") from error
        try:
            return saved_state.decoded(data)
        except StateError as error:
            raise type(error)(f"{path}: {error}") from error.__cause__

    def _write(self, state: SavedState) -> None:
        if self._claim is None:  # given up while this thread waited for another one
            return
        path, new = self._path, _beside(self._path, ".new")
        try:
            with open(new, "wb", opener=private) as file:
                file.write(saved_state.encoded(state))
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
            sync_folder(path.parent)
        except OSError as error:
            # On a full disk it would be in the way.
            with suppress(OSError):
                new.unlink(missing_ok=True)
            raise StateError(f"cannot write {path}: {error.strerror}") from error


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def store_of(location: StateLocation) -> StateStore:
    """The store that a location stands for."""
    if isinstance(location, MutableMapping):
        return StateMapping(location)
    # The same file by whatever name, and wherever the program goes later.
    return StateFile(Path(location).resolve())


class StateKeeper:
    """Writes the state of one client as it changes: at most once a second, and at the end.

    Args:
        location: where to.
    """

    def __init__(self, location: StateLocation) -> None:
        self._store = store_of(location)
        self._take: Callable[[], SavedState] | None = None
        self._changed = trio.Event()
        self._written: SavedState | None = None
        self._scope = trio.CancelScope()
        self._writing = trio.Lock()

    async def open(self) -> SavedState | None:
        """Claim the place; the state in it, if there is one.

        Raises:
            StateInUse: another client uses it.
            StateDamaged: it holds something else.
            StateError: it cannot be used.
        """
        try:
            self._written = await self._do(self._store.open)
        except BaseException:
            self._store.close()
            raise
        return self._written

    def changed(self) -> None:
        """There may be something to write."""
        self._changed.set()

    async def begin(self, take: Callable[[], SavedState]) -> None:
        """Write what `take` says for the first time. Raises `StateError`."""
        self._take = take
        await self._write(take())

    async def run(self) -> None:
        """Write the state whenever it has changed, until `close`."""
        take = self._take
        assert take is not None, "not begun"
        failing = False
        with self._scope:
            while True:
                await self._changed.wait()
                self._changed = trio.Event()
                try:
                    await self._write(take())
                except StateError as error:
                    # Said once, and tried again until it succeeds.
                    if not failing:
                        logger.warning("%s; trying again every second", error)
                    failing = True
                    self._changed.set()
                else:
                    if failing:
                        logger.warning("the state can be written again")
                    failing = False
                await trio.sleep(INTERVAL)

    async def close(self) -> None:
        """Write a last time, bounded in time, and give the place up.

        Raises:
            StateError: that was not possible.
        """
        self._scope.cancel()
        try:
            if self._take is not None:
                with trio.move_on_after(FINAL_WRITE, shield=True) as scope:
                    await self._write(self._take())
                if scope.cancelled_caught:
                    raise StateError(f"the state could not be written in {FINAL_WRITE:g} seconds")
        finally:
            self._store.close()

    async def _write(self, state: SavedState) -> None:
        async with self._writing:
            if state != self._written:
                await self._do(self._store.write, state)
                self._written = state

    async def _do(self, function: Callable[..., Any], *args: Any) -> Any:
        if self._store.in_thread:
            # A disk that hangs keeps nobody: neither the login nor the program outlive a cancel.
            return await trio.to_thread.run_sync(function, *args, abandon_on_cancel=True)
        await trio.lowlevel.checkpoint()
        return function(*args)
