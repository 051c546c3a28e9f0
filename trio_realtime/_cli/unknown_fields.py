"""What frames hold in fields that nobody knows: nobody can tell whether it is secret."""

from __future__ import annotations

from typing import Any

from trio_realtime.wire import GenericCommand
from trio_realtime.wire._flat_json import ALIASES, PAYLOADS, json_key
from trio_realtime.wire._plan import plan_of
from trio_realtime.wire._varint import dump_varint, load_varint

MASK = "***"

_VARINT, _FIXED_64, _LENGTH = 0, 1, 2
_NUMBER_BITS = 0b111
_COMMAND = plan_of(GenericCommand)
KNOWN_KEYS = frozenset(
    json_key(name)
    for plan in (_COMMAND, *(_COMMAND.writers[name][3] for name in PAYLOADS.values()))
    if plan is not None
    for name in plan.writers
) | frozenset(ALIASES)
"""What may stand in a flat command: docs/protocol/v2-and-json.md §1."""


def masked_unknown(fields: bytes) -> bytes:
    """Unknown fields of protobuf as a decoder has kept them, without texts, bytes and messages.

    Numbers stay; so one sees which fields there are.
    """
    masked = bytearray()
    position = 0
    while position < len(fields):
        start = position
        tag, position = load_varint(fields, position)
        kind = tag & _NUMBER_BITS
        if kind == _LENGTH:
            masked += fields[start:position] + dump_varint(len(MASK)) + MASK.encode()
            size, position = load_varint(fields, position)
            position += size
            continue
        if kind == _VARINT:
            _, position = load_varint(fields, position)
        else:
            position += 8 if kind == _FIXED_64 else 4
        masked += fields[start:position]
    return bytes(masked)


def masked_value(value: Any) -> Any:
    """The value of an unknown key of JSON: numbers and truth values stay."""
    return value if value is None or isinstance(value, bool | int | float) else MASK
