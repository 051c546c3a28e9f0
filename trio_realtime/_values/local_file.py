"""Files that are still to be uploaded."""

from __future__ import annotations

import io
import mimetypes
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Self, TypeVar

import attrs
import trio

__all__ = ["LocalFile", "UploadProgress"]

T = TypeVar("T")

DEFAULT_TYPE = "application/octet-stream"


@attrs.frozen
class UploadProgress:
    """How far an upload has come."""

    sent: int
    """Bytes handed to the network."""
    total: int
    """Bytes of the file."""


@attrs.frozen
class LocalFile:
    """A file to upload with `IMClient.upload`, which returns the `File` for messages."""

    name: str
    """File name, without directories."""
    size: int
    """Bytes."""
    mime_type: str = DEFAULT_TYPE
    """MIME type."""
    path: Path | None = attrs.field(default=None, kw_only=True)
    """Where it is read from."""
    data: bytes | None = attrs.field(default=None, kw_only=True, repr=False)
    """Its bytes, if they are in memory."""

    @classmethod
    def from_path(
        cls, path: str | Path, *, name: str | None = None, mime_type: str | None = None
    ) -> Self:
        """A file on disk. Name, MIME type and size are filled in.

        Raises:
            OSError: there is no such file.
        """
        where = Path(path)
        size = where.stat().st_size
        name = name or where.name
        return cls(name, size, mime_type or _guess(name), path=where)

    @classmethod
    def from_bytes(cls, name: str, data: bytes, *, mime_type: str | None = None) -> Self:
        """Bytes under a name. MIME type and size are filled in."""
        return cls(name, len(data), mime_type or _guess(name), data=bytes(data))

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Call something that reads this file: in a thread, unless it is in memory."""
        if self.data is not None:
            await trio.lowlevel.checkpoint()
            return function(*args)
        return await trio.to_thread.run_sync(function, *args)

    def open(self) -> BinaryIO:
        """The bytes, to be read from the beginning. Blocks as the disk does."""
        if self.data is not None:
            return io.BytesIO(self.data)
        assert self.path is not None, "made by from_path or from_bytes"
        return self.path.open("rb")


def _guess(name: str) -> str:
    return mimetypes.guess_type(name)[0] or DEFAULT_TYPE
