"""The formats in which a connection may carry commands. Protocol: docs/protocol/transport.md §3."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Literal

import attrs

from trio_realtime.transport import Payload
from trio_realtime.wire import GenericCommand, WireError, decode, decode_json, encode, encode_json

DialectName = Literal["protobuf", "base64", "json"]
"""How commands are written: in few bytes; the same as text, for paths that spoil bytes; or
as JSON, for reading along."""

OfflineMessages = Literal["unread", "push"]
"""What becomes of messages sent while a client was away."""

_DELIVERY: dict[OfflineMessages, int] = {"unread": 3, "push": 1}


@attrs.frozen
class Dialect:
    """How commands become WebSocket messages."""

    family: str
    """The sub-protocol's name but for its last number."""
    encode: Callable[[GenericCommand], Payload]
    decode: Callable[[Payload], GenericCommand]
    """Raises WireError for what is no command."""

    def subprotocol(self, offline_messages: OfflineMessages) -> str:
        """The name to offer at the handshake."""
        return f"{self.family}.{_DELIVERY[offline_messages]}"


def _from_bytes(payload: Payload) -> GenericCommand:
    if isinstance(payload, str):
        raise WireError("a text frame in a binary sub-protocol")
    return decode(payload)


def _to_base64(command: GenericCommand) -> str:
    return base64.b64encode(encode(command)).decode()


def _from_base64(payload: Payload) -> GenericCommand:
    if isinstance(payload, bytes):
        return decode(payload)
    try:
        return decode(base64.b64decode(payload, validate=True))
    except (binascii.Error, ValueError) as error:
        raise WireError("not base64") from error


DIALECTS: dict[DialectName, Dialect] = {
    "protobuf": Dialect("lc.protobuf2", encode, _from_bytes),
    "base64": Dialect("lc.proto2base64", _to_base64, _from_base64),
    "json": Dialect("lc.json", encode_json, decode_json),
}
"""Every dialect, by its name."""
