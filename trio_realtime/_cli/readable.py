"""Commands as people read them, and without what nobody should read.

A command becomes a line with its name and the fields of the envelope, and below it a line
for each field of its payload. Values are JSON, so that nothing in a frame can move the
cursor of a terminal; texts that hold JSON, such as messages and attributes, are shown as
what they hold. Protocol: docs/protocol/schema.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

import betterproto2

from trio_realtime.wire import GenericCommand, JsonObjectMessage
from trio_realtime.wire._flat_json import json_key

from .unknown_fields import MASK, masked_unknown

SECRET_FIELDS = ("s", "st", "device_token")
"""Signatures, session tokens and those of devices, wherever they occur in a payload."""

_MILLISECONDS = range(10**12, 10**13)
"""Numbers of this size are times, between the years 2001 and 2286."""
_INDENT = "    "


def masked(command: GenericCommand) -> GenericCommand:
    """The command with its secrets replaced, and all texts in fields that nobody knows; the
    original is left alone.
    """
    copy: GenericCommand = _masked(command)
    return copy


def _masked(value: Any) -> Any:
    if isinstance(value, list):
        return [_masked(item) for item in value]
    if not isinstance(value, betterproto2.Message):
        return value
    copy = type(value)()
    for name, part in vars(value).items():
        secret = name in SECRET_FIELDS and part is not None
        vars(copy)[name] = MASK if secret else _masked(part)
    unknown = value._unknown_fields  # noqa: SLF001 - betterproto offers no other way
    copy._unknown_fields = masked_unknown(unknown)  # noqa: SLF001
    return copy


def title(command: GenericCommand) -> str:
    """The name of a command, such as ``session/open``."""
    assert command.cmd is not None
    name = _enum_name(command.cmd)
    return name if command.op is None else f"{name}/{_enum_name(command.op)}"


def readable(command: GenericCommand) -> str:
    """The whole command, in as many lines as it takes."""
    envelope, payloads = [], []
    for name, value in _set_fields(command).items():
        if isinstance(value, betterproto2.Message):
            payloads.append((name, value))
        elif name not in {"cmd", "op"}:
            envelope.append(f"{json_key(name)}={_value(value)}")
    lines = ["  ".join([title(command), *envelope])]
    for name, message in payloads:
        lines.append(f"{_INDENT}{json_key(name)}")
        lines += [f"{_INDENT * 2}{line}" for line in _lines(message)]
    lines += [f"{_INDENT}{line}" for line in _unknown(command)]
    return "\n".join(lines)


def printable(text: str) -> str:
    """The text with everything escaped that a terminal might obey."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _lines(message: betterproto2.Message) -> Iterator[str]:
    for name, value in _set_fields(message).items():
        yield f"{json_key(name)}: {_value(value)}"
    yield from _unknown(message)


def _unknown(message: betterproto2.Message) -> Iterator[str]:
    if message._unknown_fields:  # noqa: SLF001 - betterproto offers no other way
        yield f"unknown fields: {message._unknown_fields.hex()}"  # noqa: SLF001


def _set_fields(message: betterproto2.Message) -> dict[str, Any]:
    """The fields that are there, by name."""
    return {
        name: value
        for name, value in vars(message).items()
        if not name.startswith("_") and value is not None and value != []
    }


def _value(value: Any) -> str:
    shown = printable(json.dumps(_plain(value), ensure_ascii=False))
    if type(value) is int and value in _MILLISECONDS:
        time = datetime.fromtimestamp(value / 1000, UTC)
        shown += f" ({time.isoformat(timespec='milliseconds')[:-6]}Z)"
    return shown


def _plain(value: Any) -> Any:
    """The value as JSON has it."""
    if isinstance(value, IntEnum):
        return _enum_name(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, JsonObjectMessage):
        return _held(value.data or "")
    if isinstance(value, betterproto2.Message):
        return {json_key(name): _plain(part) for name, part in _set_fields(value).items()}
    return _held(value) if isinstance(value, str) else value


def _held(text: str) -> Any:
    """The object that a text holds as JSON, or the text."""
    if text.startswith(("{", "[")):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass
    return text


def _enum_name(value: Any) -> str:
    name = getattr(value, "name", None)
    return name.lower().replace("_", "-") if name else str(int(value))
