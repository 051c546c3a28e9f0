"""What frames hold in fields that nobody knows: nobody can tell whether it is secret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import betterproto2

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
    for _, content, (start, end) in _split(fields):
        masked += fields[start:content]
        if content < end:
            masked += dump_varint(len(MASK)) + MASK.encode()
    return bytes(masked)


def unknown_numbers(command: GenericCommand) -> list[str]:
    """The numbers of the fields that nobody knows, below the names of the messages they are in."""
    return sorted(set(_numbers("", command)))


def _numbers(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _numbers(path, item)
    if isinstance(value, betterproto2.Message):
        fields = value._unknown_fields  # noqa: SLF001 - betterproto offers no other way
        for number, _, _ in _split(fields):
            yield f"{path}{number}"
        for name, part in vars(value).items():
            if not name.startswith("_"):
                yield from _numbers(f"{path}{json_key(name)}.", part)


def _split(fields: bytes) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """Of each field its number, where its content begins, and where it starts and ends."""
    position = 0
    while position < len(fields):
        start = position
        tag, position = load_varint(fields, position)
        kind, content = tag & _NUMBER_BITS, position
        if kind == _LENGTH:
            size, position = load_varint(fields, position)
            position += size
        elif kind == _VARINT:
            _, position = load_varint(fields, position)
        else:
            position += 8 if kind == _FIXED_64 else 4
        # Only fields with a length hold what may be secret.
        yield tag >> 3, content if kind == _LENGTH else position, (start, position)


def masked_value(value: Any) -> Any:
    """The value of an unknown key of JSON: numbers and truth values stay."""
    return value if value is None or isinstance(value, bool | int | float) else MASK
