"""What is fuzzed: functions of bytes, each with the only exceptions that may escape.

A target raises for a defect and for nothing else. `Target.allowed` is what the code under
test may raise at input it does not take; anything else is a finding.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import attrs

from tests.fuzz.live import Live
from tests.server.rules.world import World
from tests.wire.oracle import google
from trio_realtime import awesome
from trio_realtime._io.connection import ClientConnection
from trio_realtime._io.options import ClientOptions, ConnectionOptions
from trio_realtime._io.session import ClientSession
from trio_realtime.awesome._codec import encode_message as encode_message_of_awesome
from trio_realtime.server.dialects import NAMELESS, Base64Dialect, JsonDialect
from trio_realtime.server.rules import handler_of
from trio_realtime.server.rules.types import Refusal
from trio_realtime.wire import (
    GenericCommand,
    WireError,
    decode,
    decode_json,
    decode_message,
    encode,
    encode_json,
    encode_message,
)

COMMANDS_PER_WORLD = 1000


@attrs.frozen
class Target:
    """One function of bytes."""

    run: Callable[[bytes], None]
    allowed: tuple[type[Exception], ...]

    def __call__(self, data: bytes) -> None:
        with suppress(*self.allowed):
            self.run(data)


def wire(data: bytes) -> None:
    """Decode; what we accept, Google's protobuf accepts and understands alike."""
    ours = decode_message(GenericCommand, data)
    theirs = google("GenericCommand").FromString(data)
    again = encode_message(ours)
    assert again == theirs.SerializeToString(deterministic=True)
    assert decode_message(GenericCommand, again) == ours
    decode(data)


def flat_json(data: bytes) -> None:
    """Decode flat JSON; what we accept survives a round trip."""
    command = decode_json(data)
    assert decode_json(encode_json(command)) == command
    try:
        decode(encode(command))
    except WireError as error:
        raise AssertionError("accepted as JSON, but not as protobuf") from error


def dialects(data: bytes) -> None:
    """Every text dialect of the server, the first byte choosing it."""
    known = (Base64Dialect("lc.proto2base64.3", 3), JsonDialect("lc.json.3", 3), NAMELESS)
    dialect = known[data[0] % len(known)] if data else NAMELESS
    command = dialect.decode(data[1:], text=True)
    frame = dialect.frame(dialect.prepare(command), "Tom")
    assert frame[0] == 0x81


def msgpack(data: bytes) -> None:
    """A message of awesome-im; what we accept survives a round trip."""
    message = awesome.decode_message(data)
    again = encode_message_of_awesome(message)
    assert repr(awesome.decode_message(again)) == repr(message)


class Rules:
    """A world with a little in it, on which any command may act."""

    def __init__(self) -> None:
        self._world: World | None = None
        self._commands = 0
        self._conversations: dict[bytes, bytes] = {}
        """What stands for the ids of the conversations there are."""

    def __call__(self, data: bytes) -> None:
        """Decode, and carry out what the command says for a client that may do little."""
        if self._world is None or self._commands == COMMANDS_PER_WORLD:
            self._world = self._begin()
        for placeholder, cid in self._conversations.items():
            data = data.replace(placeholder, cid)
        command = decode(data)
        if handler_of(command.cmd, command.op) is not None:
            self._commands += 1
            self._world.do("Tom", command)

    def _begin(self) -> World:
        if self._world is not None:
            self._world.close()
        self._commands = 0
        world = World()
        for placeholder, members in ((b"5" * 24, ["Jerry", "Tom"]), (b"6" * 24, ["Jerry"])):
            self._conversations[placeholder] = world.conversation(*members).encode()
        return world


def server(data: bytes) -> None:
    """Any bytes at the port of a server in memory: HTTP, and what follows a handshake."""
    LIVE.pour(data)
    assert LIVE.internal_errors == 0, "an internal error of the server"


def client(data: bytes) -> None:
    """Any frame at a client that is logged in."""
    LIVE.run_sync(_receive, data)


def _receive(data: bytes) -> None:
    connection = ClientConnection(ConnectionOptions(app_id="app", app_key="key", server="http://x"))
    session = ClientSession(connection, ClientOptions(client_id="Tom"))
    session.login.opened(GenericCommand(peer_id="Tom", server_ts=1), 1)
    connection.attach(session, "Tom")
    connection.address(session, "Tom")
    buffer = session.hub.subscribe((), None, 1000)
    connection._receive(data)
    for event in buffer.events:
        assert repr(event)


LIVE = Live()

TARGETS = {
    "wire": Target(wire, (WireError,)),
    "flat_json": Target(flat_json, (WireError,)),
    "dialects": Target(dialects, (WireError,)),
    "rules": Target(Rules(), (WireError, Refusal)),
    "server": Target(server, ()),
    "client": Target(client, ()),
    "awesome": Target(msgpack, (awesome.FrameError,)),
}
