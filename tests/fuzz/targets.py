"""What is fuzzed: functions of bytes, each with the only exceptions that may escape.

A target raises for a defect and for nothing else. `Target.allowed` is what the code under
test may raise at input it does not take; anything else is a finding.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import attrs

from tests.fuzz.live import Live
from tests.wire.oracle import google
from trio_realtime import awesome
from trio_realtime._engine.login import LoginState
from trio_realtime._io.connection import ClientConnection, ConnectionConfig
from trio_realtime._io.session import ClientSession, SessionConfig
from trio_realtime.awesome._codec import encode_message as encode_message_of_awesome
from trio_realtime.server.dialects import NAMELESS, Base64Dialect, JsonDialect
from trio_realtime.server.rules import handler_of
from trio_realtime.server.rules.types import App, Caller, Feature, Refusal
from trio_realtime.server.store.interface import Kind
from trio_realtime.server.store.sqlite.database import Database
from trio_realtime.server.store.sqlite.runner import Job, Runner
from trio_realtime.server.store.sqlite.schema import connect
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
    """A store with a little in it, on which any command may act."""

    app = App("app", "key", "master")
    caller = Caller(app, "Tom", session=object(), features=Feature(187))

    def __init__(self) -> None:
        self._runner: Runner | None = None
        self._now = 0
        self._conversations: dict[bytes, bytes] = {}
        """What stands for the ids of the conversations there are."""

    def __call__(self, data: bytes) -> None:
        """Decode, and carry out what the command says for a client that may do little."""
        if self._runner is None or self._now > 2_000_000:
            self._begin()
        for placeholder, cid in self._conversations.items():
            data = data.replace(placeholder, cid)
        command = decode(data)
        handler = handler_of(command.cmd, command.op)
        if handler is None:
            return
        outcome = self._tx(lambda tx: handler.rule(tx, self.caller, command), writes=handler.writes)
        for pushed in outcome.pushes:
            encode(pushed.command)
        if outcome.reply is not None:
            encode(outcome.reply)

    def _begin(self) -> None:
        if self._runner is not None:
            self._runner.close()
        self._runner = Runner(Database(connect(None)))
        self._now = 1_000_000
        for placeholder, members in ((b"5" * 24, ["Tom", "Jerry"]), (b"6" * 24, ["Jerry"])):
            row = self._tx(partial(_conversation, members), writes=True)
            self._conversations[placeholder] = row.id.encode()

    def _tx(self, rule, *, writes):
        self._now += 1000
        job = Job(self.app.id, rule, lambda _result: None, self._now, read_only=not writes)
        (result,) = self._runner.write([job])
        return result.unwrap()


def _conversation(members, tx):
    return tx.create_conversation(kind=Kind.NORMAL, creator="Jerry", members=members)


def server(data: bytes) -> None:
    """Any bytes at the port of a server in memory: HTTP, and what follows a handshake."""
    LIVE.pour(data)
    assert LIVE.internal_errors == 0, "an internal error of the server"


def client(data: bytes) -> None:
    """Any frame at a client that is logged in."""
    LIVE.run_sync(_receive, data)


def _receive(data: bytes) -> None:
    connection = ClientConnection(ConnectionConfig(app_id="app", app_key="key", server="http://x"))
    login = LoginState("app", "Tom")
    session = ClientSession(connection, login, SessionConfig())
    login.opened(GenericCommand(peer_id="Tom", server_ts=1), 1)
    connection.attach(session)
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
