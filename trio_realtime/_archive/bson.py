"""Documents of a BSON dump, as the JSON that the REST API would have sent.

Only what a backup of the storage service holds is known; anything else is an error of its document.

Protocol: docs/protocol/exports.md §7.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import IO, Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LARGEST = 16 * 1024 * 1024
"""Bytes of the largest document, as MongoDB has it."""

DEEPEST = 100
PLAIN_DATES = frozenset({"createdAt", "updatedAt"})


class BadBson(ValueError):
    """A document that cannot be read."""


def documents(stream: IO[bytes]) -> Iterator[dict[str, Any] | BadBson]:
    """The documents of a dump, one after another; for one that is wrong, why.

    Raises `BadBson` where nobody can tell where the next one begins.
    """
    while head := stream.read(4):
        if len(head) < 4:
            raise BadBson("the file ends within a document")
        (size,) = struct.unpack("<i", head)
        if not 5 <= size <= LARGEST:
            raise BadBson(f"a document of {size:,} bytes")
        data = stream.read(size - 4)
        if len(data) < size - 4:
            raise BadBson("the file ends within a document")
        try:
            yield _row(_Reader(head + data).document(0))
        except (BadBson, struct.error, UnicodeDecodeError, OverflowError, IndexError) as error:
            yield error if isinstance(error, BadBson) else BadBson(str(error))


def _row(document: dict[str, Any]) -> dict[str, Any]:
    """A document with the names and dates of REST."""
    row = dict(document)
    if "_id" in row:
        row.setdefault("objectId", row.pop("_id"))
    for name in PLAIN_DATES:
        value = row.get(name)
        if isinstance(value, Mapping) and value.get("__type") == "Date":
            row[name] = value["iso"]
    return row


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def document(self, depth: int, *, array: bool = False) -> Any:
        if depth > DEEPEST:
            raise BadBson("nested too deep")
        (size,) = self.unpack("<i")
        end = self.at - 4 + size
        if size < 5 or end > len(self.data):
            raise BadBson("a length that cannot be")
        found: dict[str, Any] = {}
        while (kind := self.take(1)[0]) != 0:
            name = self.name()
            found[name] = self.value(kind, depth)
        if self.at != end:
            raise BadBson("a document that is longer or shorter than it says")
        return list(found.values()) if array else found

    def value(self, kind: int, depth: int) -> Any:
        if kind == 0x03:
            return self.document(depth + 1)
        if kind == 0x04:
            return self.document(depth + 1, array=True)
        reader = _READERS.get(kind)
        if reader is None:
            raise BadBson(f"a value of the type 0x{kind:02x}")
        return reader(self)

    def text(self) -> str:
        (size,) = self.unpack("<i")
        data = self.take(size)
        if not data.endswith(b"\0"):
            raise BadBson("a text without its end")
        return data[:-1].decode()

    def binary(self) -> dict[str, str]:
        (size,) = self.unpack("<i")
        self.take(1)
        return {"__type": "Bytes", "base64": base64.b64encode(self.take(size)).decode()}

    def date(self) -> dict[str, str]:
        (ms,) = self.unpack("<q")
        text = (EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")
        return {"__type": "Date", "iso": text.replace("+00:00", "Z")}

    def name(self) -> str:
        end = self.data.index(b"\0", self.at) if b"\0" in self.data[self.at :] else -1
        if end < 0:
            raise BadBson("a name without its end")
        name = self.data[self.at : end].decode()
        self.at = end + 1
        return name

    def unpack(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(form, self.take(struct.calcsize(form)))

    def take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.data):
            raise BadBson("a length that cannot be")
        self.at += size
        return self.data[self.at - size : self.at]


_READERS: Mapping[int, Callable[[_Reader], Any]] = {
    0x01: lambda reader: reader.unpack("<d")[0],
    0x02: _Reader.text,
    0x05: _Reader.binary,
    0x07: lambda reader: reader.take(12).hex(),
    0x08: lambda reader: reader.take(1) != b"\0",
    0x09: _Reader.date,
    0x0A: lambda _: None,
    0x10: lambda reader: reader.unpack("<i")[0],
    0x12: lambda reader: reader.unpack("<q")[0],
}
