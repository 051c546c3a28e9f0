"""MessagePack frames of awesome-im: decoded strictly, in bounded time and memory.

The client sends bare messages; the server wraps them into an envelope
``{code, data, errMsg}``. Protocol: docs/protocol/awesome-im.md §1, §3.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum
from typing import Any, TypeVar

import attrs

try:
    import msgspec
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "trio_realtime.awesome needs the package msgspec: "
        "install it with  pip install 'trio-realtime[awesome]'",
        name=error.name,
    ) from None

from ._messages import (
    PING,
    TYPES,
    BaseMessage,
    ConversationType,
    CustomMessage,
    MessageDirection,
    SignalMessage,
)

MAX_FRAME = 1024 * 1024
"""Bytes of one frame."""
MAX_DEPTH = 32
"""How deep arrays and maps may nest."""

LARGEST = 2**53
"""JavaScript knows no whole numbers from here on."""

E = TypeVar("E", bound=IntEnum)


class FrameError(ValueError):
    """The bytes are no message of awesome-im; the text says why. The only exception that
    `decode_message` and `decode_envelope` let escape.
    """


@attrs.frozen
class Envelope:
    """What the server sends. Protocol: docs/protocol/awesome-im.md §1."""

    code: int = 0
    """0: success. The sample server tells with 4 that another connection has closed."""
    message: BaseMessage | None = None
    """The message inside, if there is one."""
    reason: str = ""
    """What ``errMsg`` says."""


# The keys of a message that have a field of their own.
_TEXTS = {
    "to": "to",
    "from": "sender",
    "messageId": "message_id",
    "messageUId": "message_uid",
    "signalName": "signal_name",
}


def encode_message(message: BaseMessage) -> bytes:
    """A message as a client sends it.

    Raises:
        FrameError: MessagePack cannot express its content, or it is too large.
    """
    return _pack(fields_of(message))


def encode_envelope(envelope: Envelope) -> bytes:
    """A message as a server sends it. Raises as `encode_message` does."""
    fields: dict[str, Any] = {"code": envelope.code}
    if envelope.message is not None:
        fields["data"] = fields_of(envelope.message)
    if envelope.reason:
        fields["errMsg"] = envelope.reason
    return _pack(fields)


def encode_ping(message_id: str, user_id: str) -> bytes:
    """A heartbeat. Protocol: docs/protocol/awesome-im.md §6."""
    return encode_message(CustomMessage(PING, message_id=message_id, sender=user_id))


def decode_message(payload: bytes) -> BaseMessage:
    """Read what a client sent. Raises `FrameError`."""
    return _message(_unpack(payload))


def decode_envelope(payload: bytes) -> Envelope:
    """Read what a server sent. Raises `FrameError`."""
    value = _unpack(payload)
    if not isinstance(value, dict):
        raise FrameError("an envelope is a map")
    code, data, reason = value.get("code"), value.get("data"), value.get("errMsg")
    if not isinstance(code, int) or isinstance(code, bool):
        raise FrameError("an envelope has a code, a whole number")
    if reason is not None and not isinstance(reason, str):
        raise FrameError("errMsg is a text")
    return Envelope(code, None if data is None else _message(data), reason or "")


def fields_of(message: BaseMessage) -> dict[str, Any]:
    """The keys and values of a message on the wire."""
    kind = message.type if isinstance(message, CustomMessage) else message.message_type
    fields: dict[str, Any] = {
        **message.extra,
        "messageType": kind,
        "conversationType": int(message.conversation_type),
        "to": message.to,
        "from": message.sender,
    }
    optional = {
        "messageId": message.message_id,
        "messageUId": message.message_uid,
        "sentTime": message.sent_time_ms,
        "signalName": message.signal_name,
        "messageDirection": None if message.direction is None else int(message.direction),
        "content": message.content(),
    }
    fields.update({key: value for key, value in optional.items() if value is not None})
    return fields


def _message(value: Any) -> BaseMessage:
    if not isinstance(value, dict):
        raise FrameError("a message is a map")
    rest = dict(value)
    kind = rest.pop("messageType", None)
    if not isinstance(kind, str):
        raise FrameError("a message has a messageType, a text")
    fields: dict[str, Any] = {}
    for key, name in _TEXTS.items():
        text = rest.pop(key, None)
        if text is None:
            continue
        if not isinstance(text, str):
            raise FrameError(f"{key} is a text")
        fields[name] = text
    fields["sent_time_ms"] = _time(rest.pop("sentTime", None))
    fields["direction"] = _member(MessageDirection, rest, "messageDirection")
    conversation = _member(ConversationType, rest, "conversationType")
    fields["conversation_type"] = ConversationType.SERVER if conversation is None else conversation
    content = rest.pop("content", None)
    return _of_kind(kind, content, rest, fields)


def _of_kind(kind: str, content: Any, rest: dict[str, Any], fields: dict[str, Any]) -> BaseMessage:
    # Some clients put the text beside the other keys.
    if content is None and "message" in rest:
        content = {"message": rest.pop("message")}
    shaped = isinstance(content, Mapping) and "message" in content
    if kind == SignalMessage.message_type and (content is None or shaped):
        more = dict(content or {})
        message = more.pop("message", None)
        return SignalMessage(message=message, more_content=more, extra=rest, **fields)
    if kind in TYPES and shaped:
        more = dict(content)
        return TYPES[kind](more.pop("message"), more_content=more, extra=rest, **fields)
    return CustomMessage(kind, content, extra=rest, **fields)


def _member(kind: type[E], rest: dict[str, Any], key: str) -> E | int | None:
    """A member of an enumeration; a number that is none is passed through."""
    value = rest.pop(key, None)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise FrameError(f"{key} is a whole number")
    # What is passed through has to be expressible again.
    if not -LARGEST < value < LARGEST:
        raise FrameError(f"{key} is too large a number")
    try:
        return kind(value)
    except ValueError:
        return value


def _time(value: Any) -> int | None:
    if isinstance(value, datetime):
        return int(value.timestamp() * 1000)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FrameError("sentTime is a number")
    # NaN is not between them.
    if not -LARGEST < value < LARGEST:
        raise FrameError("sentTime is no time")
    return int(value)


def _pack(value: Any) -> bytes:
    try:
        payload = msgspec.msgpack.encode(value)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise FrameError(f"MessagePack cannot express the message: {error}") from error
    if len(payload) > MAX_FRAME:
        raise FrameError(f"the message has {len(payload)} bytes; {MAX_FRAME} are allowed")
    return payload


def _unpack(payload: bytes) -> Any:
    if len(payload) > MAX_FRAME:
        raise FrameError(f"the frame has {len(payload)} bytes; {MAX_FRAME} are allowed")
    try:
        value = msgspec.msgpack.decode(payload)
    except (ValueError, TypeError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise FrameError(f"not MessagePack: {error}") from error
    _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for outer in level
            for inner in (
                outer.values()
                if isinstance(outer, dict)
                else outer
                if isinstance(outer, list)
                else ()
            )
        ]
        if not level:
            return
    raise FrameError(f"nested deeper than {MAX_DEPTH} levels")
