"""What can be imported: archives, and the exports and backups of LeanCloud's console.

Everything is read as a stream, and handed on in batches of lines with their numbers.

Protocol: docs/protocol/exports.md §4 and §7.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, cast

import attrs
import msgspec

from .archive import content_of, line_of, read_manifest, whole_content_of
from .bson import BadBson, documents
from .errors import ArchiveDamaged, ArchiveError
from .manifest import NAME, Manifest

ROWS = 2000
BATCH_BYTES = 4 * 1024 * 1024
WINDOW_ROWS = 50_000
WINDOW_BYTES = 16 * 1024 * 1024
"""How far is looked ahead."""
LONGEST_LINE = 8 * 1024 * 1024
LARGEST_JSON = 256 * 1024 * 1024
"""Bytes of a file that is one JSON value, which has to be read at once."""

ORDER = (
    "conversations",
    "member-infos",
    "lists",
    "subscribers",
    "messages",
    "service-messages",
)
"""Kinds in the order in which they are imported: members need their conversation."""

CLASSES: Mapping[str, str] = {
    "_Conversation": "conversations",
    "_ConversationMemberInfo": "member-infos",
    "_SysMessage": "service-messages",
}

_HEADER = b"#filetype:"
_NAME = re.compile(r"(\w+?)(?:_all|\.\d+)?\.(?:jsonl?|bson)(?:\.gz)?\Z")
_SUFFIXES = (".json", ".jsonl", ".bson", ".json.gz", ".jsonl.gz", ".bson.gz")
_TARS = (".tar.gz", ".tgz", ".tar")


@attrs.define
class Batch:
    """Rows of one file."""

    kind: str
    file: str
    lines: list[bytes] = attrs.field(factory=list)
    numbers: list[int] = attrs.field(factory=list)
    """Of each line its number in the file, from 1."""
    size: int = 0

    def add(self, line: bytes, number: int) -> None:
        """Add a row."""
        self.lines.append(line)
        self.numbers.append(number)
        self.size += len(line)

    @property
    def full(self) -> bool:
        """Whether it should be sent before more is added."""
        return len(self.lines) >= ROWS or self.size >= BATCH_BYTES


@attrs.frozen
class Note:
    """Something in a file that is not imported, and why."""

    file: str
    number: int
    """Line or document, from 1; 0 for the file as a whole."""
    reason: str


Item = Batch | Note
Key = tuple[str, str]
Numbered = tuple[int, bytes]
"""A line, and its number in the file, from 1."""


def read_sources(paths: list[Path]) -> Iterator[Item]:
    """Everything in these files and directories, conversations first.

    Raises:
        ArchiveError: one of them cannot be read at all.
    """
    for kind in ORDER:
        for path in paths:
            if (path / NAME).exists():
                yield from _archive(path, kind)
            else:
                yield from _exports(path, kind)


def _archive(path: Path, kind: str) -> Iterator[Item]:
    manifest = read_manifest(path)
    latest = _read_again(path, manifest) if kind == "messages" else {}
    for part in manifest.parts:
        if part.kind == kind:
            lines: Iterator[Numbered] = enumerate(_lines_of(whole_content_of(path, part)), 1)
            if kind == "messages":
                lines = _by_conversation(lines, part.file, latest)
            yield from _batches(kind, str(path / part.file), lines)


def _read_again(path: Path, manifest: Manifest) -> dict[Key, str]:
    """In which part messages stand last of which there may be several versions.

    Only that one is imported: where it is there already, nobody is shown an old one meanwhile.
    """
    return {
        place.key: part.file
        for part in manifest.of("messages")
        if part.again
        for line in _lines_of(content_of(path, part))
        if (place := _place_of(line)) is not None
    }


def _lines_of(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
    if rest:
        yield rest


class _Place(msgspec.Struct):
    """Of a message as much as tells where it belongs."""

    to: str = ""
    id: str = msgspec.field(name="msg-id", default="")

    @property
    def key(self) -> Key:
        """What tells messages apart."""
        return self.to, self.id


_read_place = msgspec.json.Decoder(_Place).decode


def _place_of(line: bytes) -> _Place | None:
    try:
        return _read_place(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None  # the server says what is wrong with it


def _by_conversation(
    lines: Iterator[Numbered], file: str, latest: Mapping[Key, str]
) -> Iterator[Numbered]:
    """The same lines, those of a conversation next to each other as far as one looks ahead.

    A database keeps the messages of a conversation together, so what is stored at a time should lie
    in few of them. Within a conversation the order stays. What another file has in a later version
    is left out.
    """
    window: list[tuple[str, int, bytes]] = []
    size = 0
    for number, line in lines:
        place = _place_of(line)
        if latest and place is not None and latest.get(place.key, file) != file:
            continue
        window.append(("" if place is None else place.to, number, line))
        size += len(line)
        if len(window) >= WINDOW_ROWS or size >= WINDOW_BYTES:
            yield from _sorted(window)
            window, size = [], 0
    yield from _sorted(window)


def _sorted(window: list[tuple[str, int, bytes]]) -> Iterator[Numbered]:
    window.sort(key=itemgetter(0))
    return ((number, line) for _, number, line in window)


def _batches(kind: str, file: str, rows: Iterable[tuple[int, bytes | BadBson]]) -> Iterator[Item]:
    batch = Batch(kind, file)
    for number, row in rows:
        if isinstance(row, BadBson):
            yield Note(file, number, str(row))
        elif len(row) > LONGEST_LINE:
            yield Note(file, number, f"it has more than {LONGEST_LINE:,} bytes")
        elif row.strip() and not row.startswith(b"#"):
            batch.add(row, number)
            if batch.full:
                yield batch
                batch = Batch(kind, file)
    if batch.lines:
        yield batch


# Exports.


def _exports(path: Path, kind: str) -> Iterator[Item]:
    if not path.exists():
        raise ArchiveError(f"There is no {path}.")
    if path.is_dir():
        files = sorted(
            (file for file in path.rglob("*") if file.name.endswith((*_SUFFIXES, *_TARS))),
            key=_in_parts,
        )
        if not files:
            raise ArchiveError(f"{path} is no archive, and holds no exports.")
    else:
        files = [path]
    for file in files:
        try:
            if file.name.endswith(_TARS):
                yield from _tar(file, kind)
            else:
                with file.open("rb", buffering=256 * 1024) as stream:
                    yield from _file(stream, str(file), kind)
        except OSError as error:
            raise ArchiveError(f"{file} cannot be read: {error.strerror or error}.") from error


def _in_parts(path: Path) -> list[Any]:
    """Sorts the parts of a class by their numbers."""
    pieces = re.split(r"(\d+)", str(path))
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in pieces]


def _tar(path: Path, kind: str) -> Iterator[Item]:
    try:
        with tarfile.open(path, "r|*") as tar:
            for member in tar:
                if not member.isfile() or not member.name.endswith(_SUFFIXES):
                    continue
                stream = tar.extractfile(member)
                if stream is not None:
                    yield from _file(stream, f"{path}:{member.name}", kind)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        if kind == ORDER[0]:
            yield Note(str(path), 0, f"the rest cannot be read: {error}")


def _file(stream: IO[bytes], name: str, kind: str) -> Iterator[Item]:
    packed = _peek(stream).startswith(b"\x1f\x8b")
    try:
        with ExitStack() as stack:
            if packed:
                stream = cast("IO[bytes]", stack.enter_context(gzip.GzipFile(fileobj=stream)))
            yield from _unpacked(stream, name, kind)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        yield Note(name, 0, f"the rest cannot be read: {error}")


def _unpacked(stream: IO[bytes], name: str, kind: str) -> Iterator[Item]:
    start = _peek(stream).removeprefix(b"\xef\xbb\xbf").lstrip()
    wanted, class_name = _kind_of(start, name)
    if wanted is None:
        if kind == ORDER[0]:
            yield Note(name, 0, f"the class {class_name} is not imported")
        return
    if wanted != kind:
        return
    if name.removesuffix(".gz").endswith(".bson"):
        yield from _batches(kind, name, _lines(_bson(stream)))
    elif start.startswith((b"[", b'{"results"', b'{ "results"')):
        yield from _batches(kind, name, _lines(_json(stream, name)))
    else:
        yield from _batches(kind, name, enumerate(_read_lines(stream), 1))


def _kind_of(start: bytes, name: str) -> tuple[str | None, str]:
    """The kind of the rows in a file, and the class it is of: by its header, else by its name."""
    if start.startswith(_HEADER):
        try:
            header = json.loads(start.split(b"\n", 1)[0].split(b" ", 1)[1])
            class_name = str(header.get("class"))
            if header.get("type") != "Class":
                return None, f"{class_name} ({header.get('type')})"
        except (AttributeError, IndexError, ValueError):
            return None, "of an unreadable header"
    else:
        match = _NAME.search(Path(name.rpartition(":")[2]).name)
        class_name = match[1] if match else name
    return CLASSES.get(class_name), class_name


def _peek(stream: IO[bytes]) -> bytes:
    return bytes(cast("io.BufferedReader", stream).peek(1024)[:1024])


def _read_lines(stream: IO[bytes]) -> Iterator[bytes]:
    first = True
    while line := stream.readline(LONGEST_LINE + 2):
        if first:
            line, first = line.removeprefix(b"\xef\xbb\xbf"), False
        whole = line.endswith(b"\n")
        yield line.rstrip(b"\r\n")
        while not whole:
            # Too long: what is left of it is of no use.
            rest = stream.readline(LONGEST_LINE)
            whole = not rest or rest.endswith(b"\n")


def _json(stream: IO[bytes], name: str) -> Iterator[Any]:
    data = stream.read(LARGEST_JSON + 1)
    if len(data) > LARGEST_JSON:
        raise ArchiveDamaged(
            f"{name} is one JSON value of more than {LARGEST_JSON >> 20} MiB; as JSON lines it "
            "could be read."
        )
    try:
        value = json.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        yield BadBson(f"the file is no JSON: {error}")
        return
    yield from value.get("results", []) if isinstance(value, dict) else value


def _bson(stream: IO[bytes]) -> Iterator[Any]:
    try:
        yield from documents(stream)
    except BadBson as error:
        yield error


def _lines(values: Iterator[Any]) -> Iterator[tuple[int, bytes | BadBson]]:
    """Values as lines of JSON."""
    for number, value in enumerate(values, 1):
        if isinstance(value, BadBson):
            yield number, value
        else:
            yield number, line_of(value)[:-1] if isinstance(value, dict) else b"null"
