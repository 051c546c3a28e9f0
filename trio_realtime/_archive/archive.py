"""A directory with an app's data, written so that it may end at any moment.

Rows are collected in memory and committed together: first the files of the parts reach the disk,
then the manifest that counts them takes the place of the old one. Whatever was not committed is
cut off when the archive is opened again, and asked for once more.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Any

import attrs
import trio

from trio_realtime._io.durable_files import claim, private, sync_folder
from trio_realtime._values.json import dump
from trio_realtime._values.times import iso_from_datetime, utc_now

from .errors import ArchiveDamaged, ArchiveError, ArchiveInUse, NoRoom
from .manifest import KINDS, NAME, Manifest, Part, parse_manifest

COMMIT_BYTES = 16 * 1024 * 1024
"""What may wait in memory; whoever adds more waits for a commit."""

COMMIT_SECONDS = 1.0
"""How much work a kill costs at most."""

LARGEST_PART = 64 * 1024 * 1024
"""Bytes from which a new part is begun."""

FILES = "blobs"
_INCOMING = ".incoming"
_LOCK = "lock"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
DIGEST = re.compile(r"[0-9a-f]{64}\Z")


@attrs.define(eq=False)
class _Open:
    """A part that is written to."""

    part: Part
    hash: Any
    durable: int
    """Bytes that are committed."""
    pending: list[bytes] = attrs.field(factory=list)
    file: IO[bytes] | None = None


class Archive:
    """An archive that is open for writing, made by `open_archive`."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._open: dict[str, _Open] = {}
        self._pending = 0
        self._changed = True
        self._committing = trio.Lock()
        self._broken: ArchiveError | None = None

    async def append(self, part: Part, rows: Iterable[Mapping[str, Any]], **state: Any) -> None:
        """Add rows to a part, and with them the state that is true from now on.

        Rows and state are committed together or not at all. Raises `ArchiveError`.
        """
        # Without a checkpoint in between: what is committed is one moment.
        lines = [line_of(row) for row in rows]
        if lines:
            opened = self._opened(part)
            opened.pending += lines
            size = sum(map(len, lines))
            part.rows += len(lines)
            part.bytes += size
            self._pending += size
        for name, value in state.items():
            setattr(part, name, value)
        self._changed = True
        if self._pending >= COMMIT_BYTES:
            await self.commit()
        else:
            await trio.lowlevel.checkpoint()

    def note(self, **state: Any) -> None:
        """Change what the manifest says of the archive as a whole."""
        for name, value in state.items():
            setattr(self.manifest, name, value)
        self._changed = True

    def changed(self) -> None:
        """There is something to commit, apart from rows."""
        self._changed = True

    async def commit(self) -> None:
        """Make durable what was added until now. Raises `ArchiveError`.

        It is finished once begun, also when the caller is cancelled.
        """
        async with self._committing:
            if self._broken is not None:
                raise self._broken
            if not self._changed and not self._pending:
                return
            self.manifest.updated_at = _now()
            taken = [(one, b"".join(one.pending)) for one in self._open.values() if one.pending]
            for one, _ in taken:
                one.pending.clear()
            self._pending, self._changed = 0, False
            for one, data in taken:
                one.hash.update(data)
                one.part.sha256 = one.hash.hexdigest()
            text = self.manifest.to_json()
            try:
                await trio.to_thread.run_sync(self._write, taken, text)
            except OSError as error:
                # What was counted is not there.
                self._broken = write_error(self.path, error)
                raise self._broken from error
            for one, data in taken:
                one.durable += len(data)

    async def keep_committing(self) -> None:
        """Commit every now and then. Raises `ArchiveError`."""
        while True:
            await trio.sleep(COMMIT_SECONDS)
            await self.commit()

    def rows(self, part: Part, start: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
        """The rows of a part that are committed, each with where the next one begins.

        Reads the disk. Raises `ArchiveDamaged`.
        """
        opened = self._open.get(part.file)
        return rows_of(self.path, part, start, None if opened is None else opened.durable)

    # Files.

    def incoming(self, number: int) -> Path:
        """Where the bytes of a file are written while they come."""
        return self.path / FILES / f"{_INCOMING}-{number}"

    def keep(self, incoming: Path, sha256: str) -> None:
        """Make what came durable, under its digest. Reads and writes the disk."""
        try:
            target = blob_path(self.path, sha256)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            incoming.replace(target)
            sync_folder(target.parent)
            sync_folder(target.parent.parent)
        except OSError as error:
            raise write_error(self.path, error) from error

    def _opened(self, part: Part) -> _Open:
        opened = self._open.get(part.file)
        if opened is None:
            digest = hashlib.sha256()
            if part.bytes:
                for data in content_of(self.path, part):
                    digest.update(data)
            opened = self._open[part.file] = _Open(part, digest, part.bytes)
        return opened

    def _write(self, taken: list[tuple[_Open, bytes]], manifest: str) -> None:
        for one, data in taken:
            file = one.file
            if file is None:
                path = self.path / one.part.file
                new = not path.exists()
                path.parent.mkdir(mode=0o700, exist_ok=True)
                file = one.file = open(path, "ab", opener=private, buffering=0)  # noqa: SIM115
                if new:
                    sync_folder(path.parent)
                    sync_folder(self.path)
            _write_all(file, data)
            os.fsync(file.fileno())
            if one.part.complete:
                # Many parts, few descriptors; it is opened again if it grows.
                file.close()
                one.file = None
        write_durably(self.path / NAME, manifest.encode())

    def close(self) -> None:
        """Let go of the files."""
        for one in self._open.values():
            if one.file is not None:
                one.file.close()
        self._open.clear()


@asynccontextmanager
async def open_archive(path: Path, *, app_id: str, server: str = "") -> AsyncGenerator[Archive]:
    """Open the archive in a directory, or begin one in a directory that is new or empty.

    Leaving the block commits what was added, unless the disk has failed.

    Raises:
        ArchiveInUse: another program has it.
        ArchiveDamaged: the directory holds something else, or not what the manifest says.
        ArchiveError: it is an archive of another app, or the disk has failed.
    """
    lock = await trio.to_thread.run_sync(claimed, path)
    try:
        manifest = await trio.to_thread.run_sync(_prepared, path, app_id, server)
        archive = Archive(path, manifest)
        try:
            yield archive
        finally:
            with trio.CancelScope(shield=True):
                with suppress(ArchiveError):
                    # Who waits for it has heard of a disk that failed.
                    await archive.commit()
                archive.close()
    finally:
        lock.close()


def read_manifest(path: Path) -> Manifest:
    """The manifest of the archive in a directory. Raises `ArchiveDamaged`."""
    where = path / NAME
    try:
        text = where.read_text("utf-8")
    except FileNotFoundError:
        raise ArchiveDamaged(f"There is no archive in {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArchiveDamaged(f"{where} cannot be read: {reason}.") from error
    return parse_manifest(text, str(where))


def content_of(path: Path, part: Part, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """The bytes of a part that belong to the archive, in pieces. Raises `ArchiveDamaged`."""
    left = (part.bytes if end is None else end) - start
    try:
        with (path / part.file).open("rb") as file:
            file.seek(start)
            while left > 0:
                data = file.read(min(left, 1024 * 1024))
                if not data:
                    raise ArchiveDamaged(
                        f"{path / part.file} is damaged: {left:,} bytes are missing at its end."
                    )
                left -= len(data)
                yield data
    except FileNotFoundError:
        if left > 0:
            raise ArchiveDamaged(f"{path / part.file} is missing.") from None
    except OSError as error:
        raise ArchiveDamaged(f"{path / part.file} cannot be read: {error.strerror}.") from error


def whole_content_of(path: Path, part: Part) -> Iterator[bytes]:
    """Likewise all of it. Raises `ArchiveDamaged`, at the end, if it is not what was written."""
    digest = hashlib.sha256()
    for data in content_of(path, part):
        digest.update(data)
        yield data
    if part.bytes and digest.hexdigest() != part.sha256:
        raise ArchiveDamaged(
            f"{path / part.file} is damaged: its SHA-256 is not that of the manifest. "
            "`pull --repair` fetches it again."
        )


def whole_rows_of(path: Path, part: Part) -> Iterator[dict[str, Any]]:
    """The rows of a part. Raises `ArchiveDamaged`, at the end if it is not what was written."""
    return (row for row, _ in _rows(path, part, whole_content_of(path, part), 0))


def rows_of(
    path: Path, part: Part, start: int = 0, end: int | None = None
) -> Iterator[tuple[dict[str, Any], int]]:
    """The rows of a part, each with where the next one begins. Raises `ArchiveDamaged`."""
    return _rows(path, part, content_of(path, part, start, end), start)


def _rows(
    path: Path, part: Part, content: Iterator[bytes], place: int
) -> Iterator[tuple[dict[str, Any], int]]:
    rest = b""
    for data in content:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            place += len(line) + 1
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise ArchiveDamaged(
                    f"{path / part.file} is damaged: what ends at byte {place:,} is no JSON object."
                )
            yield row, place
    if rest:
        raise ArchiveDamaged(f"{path / part.file} is damaged: it ends within a line.")


def line_of(row: Mapping[str, Any]) -> bytes:
    """A row as it stands in a file."""
    try:
        text = dump(row)
    except ValueError:
        # Numbers that are none: as they came.
        text = json.dumps(row)
    return text.encode() + b"\n"


def blob_path(path: Path, sha256: str) -> Path:
    """Where the bytes with a digest are. Raises `ArchiveDamaged` for what is none."""
    if not DIGEST.match(sha256):
        raise ArchiveDamaged(f"{sha256!r:.80} is no digest.")
    return path / FILES / sha256[:2] / sha256


def write_durably(path: Path, data: bytes) -> None:
    """Let a file have this content, or the old one, whatever happens. Raises `OSError`."""
    new = path.with_name(path.name + ".new")
    with open(new, "wb", opener=private) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


def write_error(path: Path, error: OSError) -> ArchiveError:
    """What is wrong with the disk, in a sentence."""
    if error.errno in _FULL:
        return NoRoom(
            f"There is no room left for {path}. What it holds is whole; "
            "make room, and run the same command again."
        )
    return ArchiveError(f"{path} cannot be written: {error.strerror or error}.")


def _write_all(file: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        written = file.write(view)
        view = view[written or 0 :]


def _now() -> str:
    return iso_from_datetime(utc_now())


def claimed(path: Path) -> IO[bytes]:
    """Claim a directory until the result is closed.

    Raises `ArchiveInUse`, or `ArchiveError` where it cannot be used or holds something else.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (path / NAME).exists() and _holds_something_else(path):
            raise ArchiveDamaged(f"{path} is neither empty nor an archive.")
        lock = open(path / _LOCK, "ab", opener=private)  # noqa: SIM115
    except OSError as error:
        raise ArchiveError(f"{path} cannot be used: {error.strerror or error}.") from error
    try:
        claim(lock)
    except OSError as error:
        lock.close()
        raise ArchiveInUse(f"{path} is in use by another program.") from error
    return lock


def _holds_something_else(path: Path) -> bool:
    return any(entry.name not in {_LOCK, NAME + ".new"} for entry in path.iterdir())


def _prepared(path: Path, app_id: str, server: str) -> Manifest:
    if not (path / NAME).exists():
        now = _now()
        manifest = Manifest(app_id=app_id, server=server, created_at=now, updated_at=now)
        try:
            # From now on the directory is an archive, whatever happens.
            write_durably(path / NAME, manifest.to_json().encode())
        except OSError as error:
            raise write_error(path, error) from error
        return manifest
    manifest = read_manifest(path)
    if manifest.app_id != app_id:
        raise ArchiveError(f"{path} is the archive of the app {manifest.app_id}, not of {app_id}.")
    if server:
        manifest.server = server
    try:
        for part in manifest.parts:
            _cut_off(path, part)
        _remove_orphans(path, manifest)
        if (path / FILES).is_dir():
            for left in (path / FILES).glob(f"{_INCOMING}-*"):
                left.unlink()
    except OSError as error:
        raise write_error(path, error) from error
    return manifest


def _remove_orphans(path: Path, manifest: Manifest) -> None:
    """Remove files that were begun and never counted."""
    counted = {part.file for part in manifest.parts}
    for kind in KINDS:
        for file in (path / kind).glob("*.jsonl"):
            if f"{kind}/{file.name}" not in counted:
                file.unlink()


def _cut_off(path: Path, part: Part) -> None:
    """Remove what was written behind the last commit."""
    file = path / part.file
    size = file.stat().st_size if file.exists() else 0
    if size < part.bytes:
        raise ArchiveDamaged(
            f"{file} is damaged: it has {size:,} bytes of {part.bytes:,}. "
            "Add --repair to fetch it again."
        )
    if size > part.bytes:
        os.truncate(file, part.bytes)
