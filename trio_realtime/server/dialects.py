"""The sub-protocols: how a command travels in a WebSocket frame.

Protocol: docs/protocol/transport.md §3.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Protocol

import attrs

from trio_realtime.wire import (
    CommandType,
    GenericCommand,
    OpType,
    WireError,
    decode,
    decode_json,
    encode,
    encode_json,
    with_peer,
)

IM = 2
"""``service`` of everything about instant messaging."""

TEXT, BINARY = 0x81, 0x82
"""First byte of an unfragmented frame."""


class ServerDialect(Protocol):
    """One sub-protocol: a format and what becomes of messages missed while offline."""

    @property
    def name(self) -> str:
        """As it stands in ``Sec-WebSocket-Protocol``."""

    @property
    def format(self) -> str:
        """Dialects of one format share what `prepare` makes."""

    @property
    def delivery(self) -> int:
        """1: the missed messages are pushed. 2 and 3: unread counters are."""

    def message_bytes(self, frame_bytes: int) -> int:
        """The largest payload of a message that carries ``frame_bytes`` of protobuf."""

    def decode(self, payload: bytes, *, text: bool) -> GenericCommand:
        """Read a payload. Raises `WireError`."""

    def size_of(self, command: GenericCommand, payload: bytes, *, text: bool) -> int:
        """Bytes of the protobuf form of a command, which was read from ``payload``.

        Raises `WireError` for one that has none, because of text that is no Unicode.
        """

    def prepare(self, command: GenericCommand) -> Any:
        """Encode once what all receivers have in common."""

    def answer(self, command: GenericCommand, reply: GenericCommand, /) -> Any:
        """Encode the answer to a command, as `prepare` does."""

    def frame(self, prepared: Any, peer_id: str | None) -> bytes:
        """The whole frame for one receiver."""


def frame_of(first: int, payload: bytes) -> bytes:
    """An unmasked, unfragmented frame, as servers send them."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


@attrs.frozen
class ProtobufDialect:
    """``lc.protobuf2.N``: the command's bytes in a binary frame."""

    name: str
    delivery: int
    format: str = "protobuf2"

    def message_bytes(self, frame_bytes: int) -> int:
        return frame_bytes

    def decode(self, payload: bytes, *, text: bool) -> GenericCommand:
        if text:
            raise WireError("a text frame in a binary sub-protocol")
        return decode(payload)

    def size_of(self, command: GenericCommand, payload: bytes, *, text: bool) -> int:  # noqa: ARG002
        return len(payload)

    def prepare(self, command: GenericCommand) -> bytes:
        return encode(command)

    def answer(self, _command: GenericCommand, reply: GenericCommand, /) -> bytes:
        return encode(reply)

    def frame(self, prepared: bytes, peer_id: str | None) -> bytes:
        payload = prepared if peer_id is None else with_peer(prepared, peer_id)
        return frame_of(BINARY, payload)


@attrs.frozen
class Base64Dialect:
    """``lc.proto2base64.N``: the same bytes as base64 text; binary frames are read too."""

    name: str
    delivery: int
    format: str = "proto2base64"

    def message_bytes(self, frame_bytes: int) -> int:
        return (frame_bytes + 2) // 3 * 4

    def decode(self, payload: bytes, *, text: bool) -> GenericCommand:
        if not text:
            return decode(payload)
        try:
            return decode(base64.b64decode(payload, validate=True))
        except binascii.Error as error:
            raise WireError("not base64") from error

    def size_of(self, command: GenericCommand, payload: bytes, *, text: bool) -> int:  # noqa: ARG002
        # A binary frame carries more than a text of the same length.
        return len(payload) // 4 * 3 - payload.count(b"=", -2) if text else len(payload)

    def prepare(self, command: GenericCommand) -> bytes:
        return encode(command)

    def answer(self, _command: GenericCommand, reply: GenericCommand, /) -> bytes:
        return encode(reply)

    def frame(self, prepared: bytes, peer_id: str | None) -> bytes:
        payload = prepared if peer_id is None else with_peer(prepared, peer_id)
        return frame_of(TEXT, base64.b64encode(payload))


@attrs.frozen
class JsonDialect:
    """``lc.json.N``, and the dialect without a name: flat JSON objects in text frames."""

    name: str
    delivery: int
    format: str = "json"
    names_refusals: bool = False
    """A refusal is ``conv`` or ``session`` with the operation ``error``, as the second version of
    the JavaScript SDK expects it, instead of ``error``: docs/protocol/v2-and-json.md §1."""

    def message_bytes(self, frame_bytes: int) -> int:
        # Names instead of numbers, and up to six bytes for a character.
        return 6 * frame_bytes

    def decode(self, payload: bytes, *, text: bool) -> GenericCommand:
        if not text:
            raise WireError("a binary frame in a text sub-protocol")
        return decode_json(payload)

    def size_of(self, command: GenericCommand, payload: bytes, *, text: bool) -> int:  # noqa: ARG002
        return len(encode(command))

    def prepare(self, command: GenericCommand) -> str:
        return encode_json(command)

    def answer(self, command: GenericCommand, reply: GenericCommand, /) -> str:
        prepared = encode_json(reply)
        empty = _LISTS.get((reply.cmd, reply.op))
        if empty is not None and f'"{empty}":' not in prepared:
            # Lists that are empty are left out; old SDKs read their length.
            prepared = f'{prepared[:-1]},"{empty}":[]}}'
        if self.names_refusals and reply.cmd == CommandType.ERROR and command.cmd in _NAMED:
            named = {"cmd": _NAMED[command.cmd], "op": "error"}
            prepared = json.dumps({**json.loads(prepared), **named}, ensure_ascii=False)
        return prepared

    def frame(self, prepared: str, peer_id: str | None) -> bytes:
        if peer_id is not None and prepared != "{}":
            prepared = f'{{"peerId":{json.dumps(peer_id, ensure_ascii=False)},{prepared[1:]}'
        return frame_of(TEXT, prepared.encode())


_NAMED = {CommandType.SESSION: "session", CommandType.CONV: "conv"}

_LISTS: Mapping[tuple[CommandType | None, OpType | None], str] = {
    (CommandType.LOGS, None): "logs",
    (CommandType.SESSION, OpType.QUERY_RESULT): "onlineSessionPeerIds",
}
"""The list that an answer carries also when it is empty: docs/protocol/v2-and-json.md §1."""

NAMELESS = JsonDialect("", 1, names_refusals=True)
"""Spoken on connections that name no sub-protocol: docs/protocol/v2-and-json.md §1."""

DIALECTS: Mapping[str, ServerDialect] = {
    dialect.name: dialect
    for dialect in (
        ProtobufDialect("lc.protobuf2.3", 3),
        ProtobufDialect("lc.protobuf2.2", 2),
        ProtobufDialect("lc.protobuf2.1", 1),
        Base64Dialect("lc.proto2base64.3", 3),
        Base64Dialect("lc.proto2base64.2", 2),
        Base64Dialect("lc.proto2base64.1", 1),
        JsonDialect("lc.json.3", 3),
        JsonDialect("lc.json.2", 2),
        JsonDialect("lc.json.1", 1),
    )
}
"""Every sub-protocol spoken, by name."""


class OutgoingCommand:
    """One command for many receivers: encoded once per format."""

    __slots__ = ("_prepared", "command")

    def __init__(self, command: GenericCommand) -> None:
        self.command: GenericCommand = command
        self._prepared: dict[str, Any] = {}

    def frame(self, dialect: ServerDialect, peer_id: str | None) -> bytes:
        """The frame for one receiver."""
        prepared = self._prepared.get(dialect.format)
        if prepared is None:
            prepared = self._prepared[dialect.format] = dialect.prepare(self.command)
        return dialect.frame(prepared, peer_id)
