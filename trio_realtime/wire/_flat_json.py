"""Commands as flat JSON objects: the dialects ``lc.json.N`` and the one without a name.

The fields of a command and those of its payload lie side by side in one object; names are
those of the schema, operations are spelled with hyphens, and what is JSON text in protobuf
is plain JSON here. One table, made from the same metadata as the codec's, does both
directions. Protocol: docs/protocol/v2-and-json.md §1.
"""

from __future__ import annotations

import base64
import json
from enum import IntEnum
from typing import Any

import attrs
import betterproto2

from ._errors import WireError
from ._generated.realtime import CommandType, GenericCommand, JsonObjectMessage
from ._plan import (
    BOOL,
    BYTES,
    ENUM,
    INT32,
    INT64,
    MESSAGE,
    REPEATED_MESSAGE,
    REPEATED_STRING,
    STRING,
    Plan,
    plan_of,
)

PAYLOADS = {
    CommandType.SESSION: "session_message",
    CommandType.CONV: "conv_message",
    CommandType.DIRECT: "direct_message",
    CommandType.ACK: "ack_message",
    CommandType.RCP: "rcp_message",
    CommandType.UNREAD: "unread_message",
    CommandType.LOGS: "logs_message",
    CommandType.ERROR: "error_message",
    CommandType.LOGIN: "login_message",
    CommandType.DATA: "data_message",
    CommandType.ROOM: "room_message",
    CommandType.READ: "read_message",
    CommandType.PRESENCE: "presence_message",
    CommandType.REPORT: "report_message",
    CommandType.LOGGEDIN: "loggedin_message",
    CommandType.PATCH: "patch_message",
    CommandType.PUBSUB: "pubsub_message",
    CommandType.BLACKLIST: "blacklist_message",
}
"""Which field of a command holds its payload; echo, logout and goaway have none."""

_SPELLED = {"from_": "from", "temp_conv_ttl": "tempConvTTL", "status_ttl": "statusTTL"}
"""Keys that do not follow from the Python name."""

ALIASES = {"level": "priority", "meintonPids": "mentionPids"}
"""Other spellings that clients use."""

NOT_KNOWN = -1
"""In the place of a command or operation whose name nobody knows. It is none, but no garbage: like
one whose number nobody knows."""

INT32_RANGE = range(-(2**31), 2**31)
INT64_RANGE = range(-(2**63), 2**63)
MAX_DEPTH = 32
"""Nesting of arrays and objects in one frame."""


@attrs.frozen
class _Field:
    name: str
    key: str
    kind: int
    sub: Plan | None
    enum: type[IntEnum] | None


_Table = dict[str, _Field]

_tables: dict[type[betterproto2.Message], tuple[_Table, _Table]] = {}


def _table_of(plan: Plan) -> tuple[_Table, _Table]:
    """The fields of a message class by name and by key."""
    known = _tables.get(plan.cls)
    if known is None:
        fields = [
            _Field(
                name,
                json_key(name),
                kind,
                extra if kind in {MESSAGE, REPEATED_MESSAGE} else None,
                extra[1] if kind == ENUM else None,
            )
            for name, kind, extra in plan.readers.values()
        ]
        known = ({f.name: f for f in fields}, {f.key: f for f in fields})
        _tables[plan.cls] = known
    return known


def json_key(name: str) -> str:
    """The name of a field as the protocol spells it."""
    head, *rest = name.split("_")
    return _SPELLED.get(name) or head + "".join(part.capitalize() for part in rest)


def encode_json(command: GenericCommand) -> str:
    """The command as one flat JSON object; a heartbeat without ``i`` is ``{}``.

    Raises WireError if a value does not fit its field.
    """
    if command.cmd == CommandType.ECHO and command.i is None:
        return "{}"
    try:
        flat: dict[str, Any] = {}
        payload = PAYLOADS.get(command.cmd) if command.cmd is not None else None
        by_name, _ = _table_of(plan_of(GenericCommand))
        for name, value in vars(command).items():
            field = by_name.get(name)
            if field is None or value is None or field.kind == MESSAGE:
                continue
            flat[field.key] = _spelled(field, value)
        content = getattr(command, payload) if payload is not None else None
        if content is not None:
            flat.update(_object(content))
        return json.dumps(flat, ensure_ascii=False, separators=(",", ":"))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise WireError(f"a command that JSON cannot express: {error}") from error


def _object(message: betterproto2.Message) -> dict[str, Any]:
    by_name, _ = _table_of(plan_of(type(message)))
    spelled = {
        field.key: _spelled(field, value)
        for name, value in vars(message).items()
        if value is not None and (field := by_name.get(name)) is not None and value != []
    }
    return {key: value for key, value in spelled.items() if value is not None}


def _spelled(field: _Field, value: Any) -> Any:
    kind = field.kind
    if kind == ENUM:
        # Directions keep their capitals; commands and operations are lower case.
        name: str = value.name
        if not name:
            return int(value)
        return name if field.key == "direction" else name.lower().replace("_", "-")
    if kind == MESSAGE:
        return _inner(value)
    if kind == REPEATED_MESSAGE:
        return [_inner(item) for item in value]
    if kind == BYTES:
        return base64.b64encode(value).decode()
    return value


def _inner(message: betterproto2.Message) -> Any:
    if isinstance(message, JsonObjectMessage):
        return json.loads(message.data or "null")
    return _object(message)


def decode_json(text: str | bytes) -> GenericCommand:
    """Read one frame; ``{}`` is a heartbeat. Unknown keys are ignored.

    Raises WireError, and nothing else, for text that is no command.
    """
    try:
        flat = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError("a frame that is no JSON") from error
    if not isinstance(flat, dict):
        raise WireError("a frame that is no JSON object")
    if not flat:
        return GenericCommand(cmd=CommandType.ECHO)
    _check_depth(flat, MAX_DEPTH)
    for alias, key in ALIASES.items():
        if alias in flat:
            flat.setdefault(key, flat.pop(alias))
    plan = plan_of(GenericCommand)
    command: GenericCommand = _message(plan, flat)
    if command.cmd is None:
        raise WireError("a command without `cmd`")
    payload = PAYLOADS.get(command.cmd)
    if payload is not None:
        sub = plan.writers[payload][3]
        assert sub is not None
        setattr(command, payload, _message(sub, flat))
    return command


def _check_depth(value: Any, depth: int) -> None:
    if isinstance(value, dict | list):
        if not depth:
            raise WireError(f"JSON nested deeper than {MAX_DEPTH}")
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, depth - 1)


def _message(plan: Plan, flat: dict[str, Any]) -> Any:
    by_key = _table_of(plan)[1]
    values: dict[str, Any] = {}
    for key, value in flat.items():
        field = by_key.get(ALIASES.get(key, key))
        if field is not None and value is not None and not _is_envelope(plan, field):
            values[field.name] = _value(field, value)
    for name in plan.required:
        if name not in values:
            raise WireError(f"{plan.cls.__name__} without `{name}`")
    return plan.cls(**values)


def _is_envelope(plan: Plan, field: _Field) -> bool:
    """Payloads lie beside the command's own fields, not inside them."""
    return plan.cls is GenericCommand and field.kind == MESSAGE


def _value(field: _Field, value: Any) -> Any:
    kind = field.kind
    if kind == STRING:
        # Some clients put an object where protobuf has its text.
        return value if isinstance(value, str) else _text(value)
    if kind == BOOL:
        # Some clients write 1 and 0.
        if isinstance(value, int) and value in {0, 1}:
            return bool(value)
    elif kind in {INT32, INT64}:
        limits = INT32_RANGE if kind == INT32 else INT64_RANGE
        if isinstance(value, int) and not isinstance(value, bool) and value in limits:
            return value
    elif kind == ENUM:
        return _enum(field, value)
    elif kind == REPEATED_STRING:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return value
    elif kind == REPEATED_MESSAGE:
        if isinstance(value, list):
            return [_sub_message(field, item) for item in value]
    elif kind == MESSAGE:
        return _sub_message(field, value)
    elif kind == BYTES and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except ValueError as error:
            raise WireError(f"`{field.key}` is not base64") from error
    raise WireError(f"`{field.key}` does not take this value")


def _text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # JSON can spell halves of surrogate pairs, UTF-8 cannot: they stay spelled.
        return json.dumps(value, separators=(",", ":"))
    return text


def _sub_message(field: _Field, value: Any) -> Any:
    assert field.sub is not None
    if field.sub.cls is JsonObjectMessage:
        return JsonObjectMessage(data=_text(value))
    if not isinstance(value, dict):
        raise WireError(f"`{field.key}` is no object")
    return _message(field.sub, value)


def _enum(field: _Field, value: Any) -> Any:
    assert field.enum is not None
    if isinstance(value, str):
        try:
            member = field.enum[value.replace("-", "_").upper()]
        except KeyError:
            if field.key not in {"cmd", "op"}:
                raise WireError(f"`{field.key}` has a value that is not known") from None
            member = field.enum(NOT_KNOWN)
    elif isinstance(value, int) and not isinstance(value, bool) and value in INT32_RANGE:
        member = field.enum(value)
    else:
        raise WireError(f"`{field.key}` does not take this value")
    # The artificial zeros of the schema are not for the wire.
    if member or field.key in {"cmd", "deviceType"}:
        return member
    raise WireError(f"`{field.key}` does not take this value")
