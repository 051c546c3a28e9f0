"""Recorded sessions: one JSON object per line, and one line per frame.

    {"time": "2026-11-21T09:30:00.120Z", "connection": 1, "opened": "lc.protobuf2.3"}
    {"time": "2026-11-21T09:30:00.125Z", "connection": 1, "direction": "to-server",
     "dialect": "protobuf", "binary": true, "frame": "CAAQAQ=="}
    {"time": "2026-11-21T09:30:07.300Z", "connection": 1, "closed": 1000, "by": "client"}

(each on one line, in the file). ``frame`` is the text of a text frame, and base64 of the bytes of
a binary one. Recordings of older taps have frames alone.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime
from typing import Any, Literal, cast, get_args

import attrs

from trio_realtime._engine.dialect import DIALECTS, DialectName
from trio_realtime.transport import Payload
from trio_realtime.wire import GenericCommand, WireError

from .readable import SECRET_FIELDS, masked, printable, readable
from .unknown_fields import KNOWN_KEYS, MASK, masked_value

Direction = Literal["to-server", "to-client"]
Side = Literal["client", "server"]
NOTHING = MASK.encode()
"""In place of the bytes of a frame that cannot be read."""
SECRET_KEYS = frozenset(name.replace("_", "") for name in SECRET_FIELDS)
"""In lower case."""
ABNORMAL = 1006
"""Stands for the code of a close frame where there was none."""
LINES = ({"direction", "frame"}, {"connection", "opened"}, {"connection", "closed"})
"""Keys by which a line of a recording is known."""
ARROWS: dict[Direction, str] = {"to-server": "→", "to-client": "←"}


def _without_secrets(flat: dict[str, Any]) -> dict[str, Any]:
    """A flat command without secrets, and without those in names that only look like the right ones.

    Some write them in capitals, or in an object of their own, as the fields of protobuf are. Of
    keys that the protocol does not have, nobody knows what their texts are.
    """
    hidden: dict[str, Any] = {}
    for key, value in flat.items():
        if key.lower() in SECRET_KEYS:
            hidden[key] = MASK
        elif isinstance(value, dict) and key.lower().endswith("message"):
            hidden[key] = _without_secrets(value)
        else:
            hidden[key] = value if key in KNOWN_KEYS else masked_value(value)
    return hidden


class RecordingError(ValueError):
    """A line that is no recorded frame; one sentence."""


@attrs.frozen
class Recorded:
    """A frame, and when and where it passed."""

    time: str
    """UTC, in the form of ISO 8601."""
    connection: int
    direction: Direction
    dialect: DialectName
    payload: Payload

    def command(self) -> GenericCommand:
        """What the frame says. Raises `WireError`."""
        return DIALECTS[self.dialect].decode(self.payload)

    def masked(self) -> Recorded:
        """The same without secrets; of a frame that is no command nothing is kept.

        Where the secrets of a damaged frame begin and end, nobody can tell.
        """
        try:
            command = self.command()
        except WireError:
            return attrs.evolve(self, payload=MASK if isinstance(self.payload, str) else NOTHING)
        if self.dialect == "json":
            # Only the values change: whatever else a JSON frame has is part of the record.
            flat = json.loads(self.payload)
            try:
                hidden = _without_secrets(flat)
            except RecursionError:
                return attrs.evolve(self, payload=MASK)
            kept = self.payload if hidden == flat else json.dumps(hidden, ensure_ascii=False)
            return attrs.evolve(self, payload=kept)
        safe = masked(command)
        if safe == command:
            return self
        dialect: DialectName = "protobuf" if isinstance(self.payload, bytes) else "base64"
        return attrs.evolve(self, payload=DIALECTS[dialect].encode(safe))

    def readable(self) -> str:
        """For people. Raises `WireError`."""
        return f"{self.place()} {readable(self.command())}"

    def place(self) -> str:
        """Time, connection and direction, for people."""
        return f"{printable(self.time)} [{self.connection}] {ARROWS[self.direction]}"

    def line(self) -> str:
        """As it stands in a file."""
        binary = isinstance(self.payload, bytes)
        frame = (
            base64.b64encode(self.payload).decode()
            if isinstance(self.payload, bytes)
            else self.payload
        )
        fields = {
            "time": self.time,
            "connection": self.connection,
            "direction": self.direction,
            "dialect": self.dialect,
            "binary": binary,
            "frame": frame,
        }
        return json.dumps(fields, ensure_ascii=False)


@attrs.frozen
class Opened:
    """A connection was opened."""

    time: str
    connection: int
    subprotocol: str
    """Empty if none was named."""

    def readable(self) -> str:
        """For people."""
        name = printable(self.subprotocol) or "no sub-protocol"
        return f"{printable(self.time)} [{self.connection}] connected, {name}"

    def line(self) -> str:
        """As it stands in a file."""
        return json.dumps(
            {"time": self.time, "connection": self.connection, "opened": self.subprotocol}
        )


@attrs.frozen
class Ended:
    """A connection has ended."""

    time: str
    connection: int
    by: Side
    code: int
    """Of the close frame; 1006 if there was none."""

    def readable(self) -> str:
        """For people."""
        return f"{printable(self.time)} [{self.connection}] closed by the {self.by}, {self.code}"

    def line(self) -> str:
        """As it stands in a file."""
        return json.dumps(
            {
                "time": self.time,
                "connection": self.connection,
                "closed": self.code,
                "by": self.by,
            }
        )


Happening = Recorded | Opened | Ended
"""What a line of a recording tells."""


def now() -> str:
    """The time, as recordings have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def is_recorded(fields: object) -> bool:
    """Whether this JSON value is a line of a recording rather than a command."""
    return isinstance(fields, dict) and any(keys <= fields.keys() for keys in LINES)


def from_fields(fields: dict[str, object]) -> Happening:
    """Read what a line holds. Raises `RecordingError`."""

    def one_of(key: str, kind: type, choices: tuple[object, ...] = ()) -> object:
        value = fields.get(key)
        if type(value) is not kind or (choices and value not in choices):
            named = " or ".join(map(str, choices)) or {str: "a text", int: "a number"}.get(kind)
            raise RecordingError(f"{key!r} should be {named or 'true or false'}")
        return value

    time = cast("str", one_of("time", str))
    connection = cast("int", one_of("connection", int))
    if "opened" in fields:
        return Opened(time, connection, cast("str", one_of("opened", str)))
    if "closed" in fields:
        by = cast("Side", one_of("by", str, get_args(Side)))
        return Ended(time, connection, by, cast("int", one_of("closed", int)))
    frame = cast("str", one_of("frame", str))
    payload: Payload = frame
    if one_of("binary", bool):
        try:
            payload = base64.b64decode(frame, validate=True)
        except (binascii.Error, ValueError) as error:
            raise RecordingError(
                "'frame' is not base64, as it should be of a binary one"
            ) from error
    return Recorded(
        time=time,
        connection=connection,
        direction=cast("Direction", one_of("direction", str, get_args(Direction))),
        dialect=cast("DialectName", one_of("dialect", str, tuple(DIALECTS))),
        payload=payload,
    )
