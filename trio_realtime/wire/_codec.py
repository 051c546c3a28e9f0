"""Messages to bytes and back, by the tables of `_plan`.

The classes and the bytes are betterproto's; only the way between them is shorter. Writing
looks at the fields that an instance holds, not at those it could hold. Reading fills the
dictionary of a bare instance.

Stricter than protobuf asks for, because a peer that does this is broken or hostile: a known
field with the wrong wire type and any group are errors. As everywhere in protobuf, a
singular sub-message that occurs again is merged, a scalar that occurs again replaces the
former one, and unknown fields are kept and written back behind the known ones. An unknown
enum value becomes an unnamed member of its enum, so it survives a round trip too.

Time and memory are linear in the size of the input; nesting is bounded by the schema,
in which no message contains itself.
"""

from __future__ import annotations

from typing import Any, TypeVar

import betterproto2

from ._errors import WireError
from ._generated.realtime import CommandType, GenericCommand
from ._plan import (
    BOOL,
    BYTES,
    ENUM,
    FIXED32_WIRE_TYPE,
    FIXED64_WIRE_TYPE,
    INT32,
    INT64,
    LENGTH_WIRE_TYPE,
    MESSAGE,
    REPEATED_STRING,
    STRING,
    UNKNOWN,
    VARINT_WIRE_TYPE,
    Plan,
    plan_of,
)
from ._varint import SMALL, dump_int32, dump_int64, dump_varint, load_varint, to_int32, to_int64

AnyMessage = TypeVar("AnyMessage", bound=betterproto2.Message)

_COMMAND = plan_of(GenericCommand)


def encode(command: GenericCommand) -> bytes:
    """Put a command into the bytes of one frame.

    Raises WireError if ``cmd`` or another required field is missing, or a value does not
    fit its field.

    Protocol: docs/protocol/schema.md, "Rules for a codec".
    """
    if command.cmd is None:
        raise WireError("a command without `cmd`")
    return encode_message(command)


def decode(data: bytes | bytearray | memoryview) -> GenericCommand:
    """Read the command in one frame.

    A frame without ``cmd`` is read as ``session`` if it carries a session message.
    Raises WireError, and nothing else, for bytes that are no command.

    Protocol: docs/protocol/schema.md, "Rules for a codec".
    """
    command = decode_message(GenericCommand, data)
    if command.cmd is None:
        if command.session_message is None:
            raise WireError("a command without `cmd`")
        command.cmd = CommandType.SESSION
    return command


def encode_message(message: betterproto2.Message) -> bytes:
    """Encode a message of any class: what ``bytes(message)`` gives, faster and checked.

    Raises WireError if a required field is missing or a value does not fit its field.
    """
    plan = _COMMAND if type(message) is GenericCommand else plan_of(type(message))
    try:
        return _dump(plan, message.__dict__)
    except WireError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise WireError(f"{plan.cls.__name__} with a value that does not fit: {exc!r}") from exc


def decode_message(cls: type[AnyMessage], data: bytes | bytearray | memoryview) -> AnyMessage:
    """Decode a message of any class: what ``cls.parse(data)`` gives, faster and checked.

    Raises WireError for malformed bytes.
    """
    plan = _COMMAND if cls is GenericCommand else plan_of(cls)
    try:
        message: AnyMessage = _load(plan, data if type(data) is bytes else bytes(data))
    except IndexError:
        raise WireError("the data ends within a field") from None
    except UnicodeDecodeError as exc:
        raise WireError(f"a string that is not UTF-8: {exc.reason}") from None
    return message


def _dump(plan: Plan, present: dict[str, Any]) -> bytes:
    writers = plan.writers
    out = b""
    last_place = -1
    for name, value in present.items():
        if value is None:
            continue
        place, tag, kind, sub = writers[name]
        if kind == STRING:
            encoded = value.encode()
            size = len(encoded)
            field = tag + (SMALL[size] if size < 0x80 else dump_varint(size)) + encoded
        elif kind == INT32:
            field = tag + (SMALL[value] if 0 <= value < 0x80 else dump_int32(value))
        elif kind == INT64:
            field = tag + dump_int64(value)
        elif kind == BOOL:
            field = tag + (b"\x01" if value else b"\x00")
        elif kind == MESSAGE:
            assert sub is not None
            encoded = _dump(sub, value.__dict__)
            size = len(encoded)
            field = tag + (SMALL[size] if size < 0x80 else dump_varint(size)) + encoded
        elif not value and kind != BYTES:
            continue
        else:
            field = _dump_rarer(kind, tag, sub, value)
        if place < last_place:
            # Set one by one, in another order than the schema's.
            return _dump(plan, dict(sorted(present.items(), key=lambda item: writers[item[0]])))
        last_place = place
        out += field
    for name in plan.required:
        if present.get(name) is None:
            raise WireError(f"{plan.cls.__name__} without `{name}`")
    return out


def _dump_rarer(kind: int, tag: bytes, sub: Plan | None, value: Any) -> bytes:
    items: list[bytes]
    if kind == BYTES:
        items = [value]
    elif kind == UNKNOWN:
        return bytes(value)
    elif kind == REPEATED_STRING:
        items = [item.encode() for item in value]
    else:
        assert sub is not None
        items = [_dump(sub, item.__dict__) for item in value]
    return b"".join([part for item in items for part in (tag, dump_varint(len(item)), item)])


def _load(plan: Plan, data: bytes, *, part: bool = False) -> Any:
    """Read a message; of a part of one that will be merged, only check the bytes."""
    readers = plan.readers
    end = len(data)
    position = 0
    message = object.__new__(plan.cls)
    present = message.__dict__
    unknown: list[bytes] | None = None
    merged: dict[str, list[bytes]] | None = None
    while position < end:
        start = position
        tag = data[position]
        if tag < 0x80:
            position += 1
        else:
            tag, position = load_varint(data, position)
        reader = readers.get(tag)
        if reader is None:
            position = _skip(plan, tag, data, position)
            if unknown is None:
                unknown = []
            unknown.append(data[start:position])
            continue
        name, kind, extra = reader
        # A length or a number; one byte is the common case for both.
        value = data[position]
        if value < 0x80:
            position += 1
        else:
            value, position = load_varint(data, position)
        if kind == STRING:
            start = position
            position += value
            present[name] = data[start:position].decode()
        elif kind == INT32:
            present[name] = value if value < 0x8000_0000 else to_int32(value)
        elif kind == INT64:
            present[name] = value if value < 0x8000_0000 else to_int64(value)
        elif kind == ENUM:
            members, enum = extra
            member = members.get(value)
            present[name] = enum(to_int32(value)) if member is None else member
        elif kind == BOOL:
            present[name] = value != 0
        else:
            start = position
            position += value
            field = data[start:position]
            if kind == MESSAGE:
                if name in present:
                    # By itself: joined to the others it could run on into the next one.
                    _load(extra, field, part=True)
                    if merged is None:
                        merged = {}
                    merged.setdefault(name, []).append(field)
                else:
                    present[name] = _load(extra, field, part=part)
            elif kind == BYTES:
                present[name] = field
            else:
                text = kind == REPEATED_STRING
                item = field.decode() if text else _load(extra, field, part=part)
                if name in present:
                    present[name].append(item)
                else:
                    present[name] = [item]
    if position > end:
        raise WireError("the data ends within a field")
    if part:
        return message
    if unknown is not None:
        present["_unknown_fields"] = b"".join(unknown)
    if merged is not None:
        for name, fields in merged.items():
            # Merging is decoding one behind the other.
            _, _, _, sub = plan.writers[name]
            assert sub is not None
            present[name] = _load(sub, b"".join([_dump(sub, present[name].__dict__), *fields]))
    for name in plan.repeated:
        if name not in present:
            present[name] = []
    for name in plan.required:
        if name not in present:
            raise WireError(f"{plan.cls.__name__} without `{name}`")
    return message


def _skip(plan: Plan, tag: int, data: bytes, position: int) -> int:
    """The position behind the value of an unknown field."""
    number, wire_type = tag >> 3, tag & 0b111
    if number in plan.numbers:
        raise WireError(f"field {number} of {plan.cls.__name__} has wire type {wire_type}")
    if not 0 < number < 0x2000_0000:
        raise WireError(f"field number {number}")
    if wire_type == VARINT_WIRE_TYPE:
        return load_varint(data, position)[1]
    if wire_type == LENGTH_WIRE_TYPE:
        size, position = load_varint(data, position)
        return position + size
    if wire_type == FIXED64_WIRE_TYPE:
        return position + 8
    if wire_type == FIXED32_WIRE_TYPE:
        return position + 4
    raise WireError(f"wire type {wire_type}")
