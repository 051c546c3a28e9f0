"""Recorded sessions: one JSON object per line, and one line per frame.

    {"time": "2026-11-21T09:30:00.125Z", "connection": 1, "direction": "to-server",
     "dialect": "protobuf", "binary": true, "frame": "CAAQAQ=="}

(on one line, in the file). ``frame`` is the text of a text frame, and base64 of the bytes of a
binary one.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Literal, cast, get_args

import attrs

from trio_realtime._engine.dialect import DIALECTS, DialectName
from trio_realtime.transport import Payload
from trio_realtime.wire import GenericCommand, WireError

from .readable import MASK, SECRET_FIELDS, masked, printable, readable

Direction = Literal["to-server", "to-client"]
NOTHING = MASK.encode()
"""In place of the bytes of a frame that cannot be read."""
ARROWS: dict[Direction, str] = {"to-server": "→", "to-client": "←"}


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
        hidden = masked(command)
        if hidden == command:
            return self
        return attrs.evolve(self, payload=self._hide(hidden))

    def _hide(self, hidden: GenericCommand) -> Payload:
        if self.dialect != "json":
            if isinstance(self.payload, bytes):
                return DIALECTS["protobuf"].encode(hidden)
            return DIALECTS["base64"].encode(hidden)
        # Only the values change: whatever else a JSON frame has is part of the record.
        flat = json.loads(self.payload)
        flat.update(dict.fromkeys(flat.keys() & set(SECRET_FIELDS), MASK))
        return json.dumps(flat, ensure_ascii=False)

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


def is_recorded(fields: object) -> bool:
    """Whether this JSON value is a line of a recording rather than a command."""
    return isinstance(fields, dict) and {"direction", "frame"} <= fields.keys()


def from_fields(fields: dict[str, object]) -> Recorded:
    """Read what a line holds. Raises `RecordingError`."""

    def one_of(key: str, kind: type, choices: tuple[object, ...] = ()) -> object:
        value = fields.get(key)
        if type(value) is not kind or (choices and value not in choices):
            named = " or ".join(map(str, choices)) or {str: "a text", int: "a number"}.get(kind)
            raise RecordingError(f"{key!r} should be {named or 'true or false'}")
        return value

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
        time=cast("str", one_of("time", str)),
        connection=cast("int", one_of("connection", int)),
        direction=cast("Direction", one_of("direction", str, get_args(Direction))),
        dialect=cast("DialectName", one_of("dialect", str, tuple(DIALECTS))),
        payload=payload,
    )
