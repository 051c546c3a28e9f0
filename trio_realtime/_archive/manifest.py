"""What an archive's ``manifest.json`` says: which parts there are, and how far each one goes.

A *part* is a file of lines, each a JSON object. Of its file only the first `Part.bytes` belong to
the archive; what lies behind them was under way when a program was killed, and is cut off by the
next one. So the manifest alone decides what is there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args

import attrs

from .errors import ArchiveDamaged

FORMAT = "trio-realtime archive"
VERSION = 1
NAME = "manifest.json"

T = TypeVar("T")

Kind = Literal[
    "conversations",
    "member-infos",
    "service-messages",
    "messages",
    "lists",
    "subscribers",
    "files",
]
"""What the rows of a part are."""

KINDS: tuple[Kind, ...] = get_args(Kind)

_FILE = re.compile(r"[a-z-]+/\d{6}\.jsonl\Z")


@attrs.define(kw_only=True)
class Part:
    """One file of rows. Times are milliseconds since the epoch."""

    file: str
    """Its path in the archive."""
    kind: Kind
    rows: int = 0
    bytes: int = 0
    """How much of the file belongs to the archive."""
    sha256: str = ""
    """Of those bytes."""
    complete: bool = False
    """Whether everything that was asked for is here."""
    cursor: Any = None
    """Where to go on: of messages the last one, of rows the last id, else what was looked at."""
    low: int | None = None
    """Of messages: the part holds those at this time or later."""
    high: int | None = None
    """Of messages: and before this time."""
    reading: int | None = None
    """Of messages that are being read: down to this time."""
    again: bool = False
    """Of messages: whether some of them may be here already; what is changed is added then."""
    first: int | None = None
    """Of messages: the earliest there is."""
    last: int | None = None
    """Of messages: the latest there is."""


@attrs.define(kw_only=True)
class Manifest:
    """The state of an archive as a whole."""

    app_id: str
    server: str
    """Where it was pulled from; empty for an export."""
    created_at: str
    """UTC, in the form of ISO 8601."""
    updated_at: str
    round: int = 0
    """How often it was brought up to date, the one under way counted."""
    complete: bool = False
    """Whether the last round came to its end."""
    until: int | None = None
    """Messages before this time, in milliseconds, are here as of the last complete round."""
    started_at: str | None = None
    """When the round under way, or the last one, began, by the server's clock."""
    since: str | None = None
    """In the round under way: rows that were changed since then are asked for."""
    unanswered: dict[str, str] = attrs.field(factory=dict)
    """What the server does not answer, and how it said so."""
    parts: list[Part] = attrs.field(factory=list)

    def of(self, kind: Kind) -> list[Part]:
        """The parts of a kind, in the order in which they were begun."""
        return [part for part in self.parts if part.kind == kind]

    def rows(self, kind: Kind) -> int:
        """The rows of all parts of a kind."""
        return sum(part.rows for part in self.of(kind))

    def new_part(self, kind: Kind, **fields: Any) -> Part:
        """Add a part, without rows."""
        part = Part(file=f"{kind}/{len(self.of(kind)) + 1:06d}.jsonl", kind=kind, **fields)
        self.parts.append(part)
        return part

    def to_json(self) -> str:
        """The text of the file."""
        fields = {"format": FORMAT, "version": VERSION, **attrs.asdict(self)}
        fields["parts"] = [
            {key: value for key, value in part.items() if value is not None and value is not False}
            for part in fields["parts"]
        ]
        return json.dumps(fields, ensure_ascii=True, indent=1) + "\n"


def parse_manifest(text: str, where: str) -> Manifest:
    """Read a manifest. Raises `ArchiveDamaged`, naming ``where``."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArchiveDamaged(f"{where} is damaged: it is not JSON ({error}).") from error
    if not isinstance(fields, dict) or fields.pop("format", None) != FORMAT:
        raise ArchiveDamaged(f"{where} is not the manifest of an archive.")
    version = fields.pop("version", None)
    if version != VERSION:
        raise ArchiveDamaged(
            f"{where} is of version {version}; this program knows version {VERSION}."
        )
    try:
        parts = [_part(part) for part in _typed(fields.pop("parts"), list)]
        manifest = Manifest(**_checked(fields, Manifest), parts=parts)
    except (KeyError, TypeError, ValueError) as error:
        raise ArchiveDamaged(f"{where} is damaged: {error}.") from error
    names = [part.file for part in manifest.parts]
    if len(set(names)) < len(names):
        raise ArchiveDamaged(f"{where} is damaged: it names a file twice.")
    return manifest


def _part(value: Any) -> Part:
    part = Part(**_checked(_typed(value, dict), Part))
    if part.kind not in KINDS or not _FILE.match(part.file):
        raise ValueError(f"{part.file!r} is no part of an archive")
    if part.rows < 0 or part.bytes < 0:
        raise ValueError(f"{part.file} has less than nothing")
    return part


_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "bool": bool,
    "int": int,
    "int | None": (int, type(None)),
    "str": str,
    "str | None": (str, type(None)),
    "Kind": str,
    "dict[str, str]": dict,
}


def _checked(fields: Mapping[str, Any], cls: type) -> dict[str, Any]:
    """The fields, each of its type; what this version does not know is passed over."""
    known = {field.name: str(field.type) for field in attrs.fields(cls)}
    checked: dict[str, Any] = {}
    for name, value in fields.items():
        kind = _TYPES.get(known.get(name, ""))
        wrong = kind is not None and not isinstance(value, kind)
        if wrong or (kind in {int, (int, type(None))} and isinstance(value, bool)):
            raise TypeError(f"{name} is {value!r:.40}")
        if name in known:
            checked[name] = value
    return checked


def _typed(value: Any, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r:.40} is no {kind.__name__}")
    return value
