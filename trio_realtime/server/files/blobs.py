"""Where the bytes of files lie: on disk, or in memory.

The database decides what exists. A blob is *in transit* before the database knows it, and
again before the database forgets it; otherwise it is *kept*. So whatever a crash leaves
behind lies in transit, which is a small directory, and the database tells what becomes of
it. Names of blobs are made by the server and contain nothing but hexadecimal digits and
hyphens: no text of a client ever becomes part of a path.
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

import attrs
import trio

from trio_realtime._io.durable_files import private, sync_folder

T = TypeVar("T")

WRITE_SIZE = 256 * 1024
"""Bytes gathered for one visit to a thread."""

THREADS = 4
"""How many threads may wait for the disk at once."""

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class BlobMissing(Exception):
    """The bytes are not there."""


class NoRoom(Exception):
    """The disk, or the memory set aside for files, is full."""


class BlobWriter(Protocol):
    """A blob that is being written."""

    async def write(self, data: bytes) -> None:
        """Append. Raises `NoRoom`."""

    async def finish(self) -> None:
        """Make it durable, in transit; without this call it vanishes. Raises `NoRoom`."""


class Blob(Protocol):
    """A blob opened for reading. It can be read to its end even if it is discarded."""

    async def read(self, offset: int, count: int) -> bytes:
        """At most ``count`` bytes, empty only at the end."""

    def close(self) -> None:
        """Let go of it."""


class Blobs(Protocol):
    """All blobs of a server."""

    def write(self, name: str) -> AbstractAsyncContextManager[BlobWriter]:
        """Begin a new blob, in transit."""

    async def keep(self, name: str) -> None:
        """The database knows the blob now."""

    async def withdraw(self, name: str) -> None:
        """The database is about to forget the blob. It can be read as before."""

    async def discard(self, name: str) -> None:
        """Remove the blob, wherever it is, if it is anywhere."""

    async def open(self, name: str) -> Blob:
        """Open for reading. Raises `BlobMissing`."""

    async def in_transit(self) -> list[str]:
        """What a crash left behind, when called before anything else."""


# On disk.


class DiskBlobs:
    """Blobs as files in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        """Raises `OSError` when the directory cannot be made."""
        self._transit = directory / "transit"
        self._kept = directory / "kept"
        self._limiter = trio.CapacityLimiter(THREADS)
        for path in (directory, self._transit, self._kept):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(directory)

    @asynccontextmanager
    async def write(self, name: str) -> AsyncGenerator[BlobWriter]:
        """Begin a new blob, in transit."""
        path = self._transit / name
        file = await self._run(
            lambda: _with_room(lambda: open(path, "xb", buffering=0, opener=private))  # noqa: SIM115
        )
        writer = _DiskWriter(self, file)
        try:
            yield writer
        finally:
            file.close()
            if not writer.finished:
                with trio.CancelScope(shield=True):  # as long as the disk takes
                    await self._run(lambda: path.unlink(missing_ok=True))

    async def keep(self, name: str) -> None:
        """Move from transit to the kept."""

        def move() -> None:
            target = self._place(name)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            with suppress(FileNotFoundError):
                (self._transit / name).replace(target)

        await self._run(move)

    async def withdraw(self, name: str) -> None:
        """Move from the kept to transit."""

        def move() -> None:
            with suppress(FileNotFoundError):
                self._place(name).replace(self._transit / name)
                sync_folder(self._transit)

        await self._run(move)

    async def discard(self, name: str) -> None:
        """Remove. What moves meanwhile moves from transit to the kept: look there last."""

        def remove() -> None:
            (self._transit / name).unlink(missing_ok=True)
            self._place(name).unlink(missing_ok=True)

        await self._run(remove)

    async def open(self, name: str) -> Blob:
        """Open for reading, wherever it lies. Raises `BlobMissing`."""

        def find() -> BinaryIO:
            # It may move between two looks, at most once in each direction.
            for path in (self._place(name), self._transit / name, self._place(name)):
                with suppress(FileNotFoundError):
                    return path.open("rb", buffering=0)
            raise BlobMissing

        return _DiskBlob(self, await self._run(find))

    async def in_transit(self) -> list[str]:
        """What lies in transit."""
        return await self._run(lambda: sorted(path.name for path in self._transit.iterdir()))

    async def _run(self, work: Callable[[], T]) -> T:
        """Work in a thread. A cancelled caller waits for it, so that nothing is lost."""
        return await trio.to_thread.run_sync(work, limiter=self._limiter)

    def _place(self, name: str) -> Path:
        # Two digits keep the directories small.
        return self._kept / name[-2:] / name


@attrs.define(eq=False)
class _DiskWriter:
    _blobs: DiskBlobs
    _file: Any
    finished: bool = attrs.field(default=False, init=False)
    _waiting: bytearray = attrs.field(factory=bytearray, init=False)

    async def write(self, data: bytes) -> None:
        self._waiting += data
        if len(self._waiting) >= WRITE_SIZE:
            await self._blobs._run(lambda: _with_room(self._flush))  # noqa: SLF001 - the two are one

    async def finish(self) -> None:
        def finish() -> None:
            self._flush()
            os.fsync(self._file.fileno())
            sync_folder(Path(self._file.name).parent)

        await self._blobs._run(lambda: _with_room(finish))  # noqa: SLF001 - the two are one
        self.finished = True

    def _flush(self) -> None:
        data = memoryview(self._waiting)
        while data:
            data = data[self._file.write(data) :]
        self._waiting = bytearray()


@attrs.define(eq=False)
class _DiskBlob:
    _blobs: DiskBlobs
    _file: BinaryIO

    async def read(self, offset: int, count: int) -> bytes:
        def read() -> bytes:
            self._file.seek(offset)
            return self._file.read(count)

        return await self._blobs._run(read)  # noqa: SLF001 - the two are one

    def close(self) -> None:
        self._file.close()


def _with_room(work: Callable[[], T]) -> T:
    try:
        return work()
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise NoRoom from error
        raise


# In memory.


class MemoryBlobs:
    """Blobs that end with the process, bounded altogether."""

    def __init__(self, capacity: int) -> None:
        self.size: int = 0
        """Bytes held now, those still being written included."""
        self._capacity = capacity
        self._blobs: dict[str, bytes] = {}

    @asynccontextmanager
    async def write(self, name: str) -> AsyncGenerator[BlobWriter]:
        """Begin a new blob."""
        writer = _MemoryWriter(self)
        try:
            yield writer
        finally:
            if writer.finished:
                self._blobs[name] = bytes(writer.data)
            else:
                self.size -= len(writer.data)

    def reserve(self, count: int) -> None:
        """Take this much of the capacity. Raises `NoRoom`."""
        if self.size + count > self._capacity:
            raise NoRoom
        self.size += count

    async def keep(self, name: str) -> None:
        """Nothing to do: no crash leaves anything behind."""

    async def withdraw(self, name: str) -> None:
        """Nothing to do, likewise."""

    async def discard(self, name: str) -> None:
        """Remove."""
        self.size -= len(self._blobs.pop(name, b""))

    async def open(self, name: str) -> Blob:
        """Open for reading. Raises `BlobMissing`."""
        try:
            return _MemoryBlob(self._blobs[name])
        except KeyError:
            raise BlobMissing from None

    async def in_transit(self) -> list[str]:
        """Nothing, ever."""
        return []


@attrs.define(eq=False)
class _MemoryWriter:
    _blobs: MemoryBlobs
    finished: bool = attrs.field(default=False, init=False)
    data: bytearray = attrs.field(factory=bytearray, init=False)

    async def write(self, data: bytes) -> None:
        self._blobs.reserve(len(data))
        self.data += data

    async def finish(self) -> None:
        self.finished = True


@attrs.frozen
class _MemoryBlob:
    _data: bytes

    async def read(self, offset: int, count: int) -> bytes:
        return self._data[offset : offset + count]

    def close(self) -> None:
        pass
