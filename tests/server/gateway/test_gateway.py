from __future__ import annotations

import base64
import logging

import pytest
import trio

from tests.server.gateway.world import (
    HANDSHAKE,
    PROTOBUF,
    direct,
    error_of,
    masked,
    opening,
    peer_of,
    session,
    world,
)
from trio_realtime.server import App, Limits
from trio_realtime.server.gateway import commands
from trio_realtime.server.rules.types import Handler
from trio_realtime.transport import ConnectError, connect
from trio_realtime.wire import (
    AckCommand,
    CommandType,
    DirectCommand,
    GenericCommand,
    OpType,
    PresenceCommand,
    decode,
    encode,
)

# The handshake.


@pytest.mark.parametrize(
    "name", ["lc.protobuf2.1", "lc.protobuf2.2", "lc.protobuf2.3", "lc.proto2base64.3"]
)
async def test_every_spoken_sub_protocol_is_echoed(name):
    async with world() as server, peer_of(server, subprotocol=name) as peer:
        assert peer.transport.subprotocol == name


@pytest.mark.parametrize("path", ["/", "/a/b?c=d", "/?subprotocol=lc.json.9"])
async def test_any_path_is_accepted(path):
    async with world() as server, peer_of(server, path=path) as peer:
        await peer.login("Tom")


@pytest.mark.parametrize("name", ["lc.nothing.1", "lc.protobuf2", "chat"])
async def test_an_unknown_sub_protocol_is_a_bad_request(name):
    async with world() as server:
        with pytest.raises(ConnectError) as caught:
            async with peer_of(server, subprotocol=name):
                pytest.fail("accepted")  # pragma: no cover
        assert caught.value.status == 400


async def test_the_sub_protocol_may_be_named_in_the_url():
    async with (
        world() as server,
        peer_of(server, subprotocol=None, path=f"/?subprotocol={PROTOBUF}") as peer,
    ):
        await peer.login("Tom")
        assert peer.transport.subprotocol is None


async def test_base64_travels_as_text_and_binary_is_read_too():
    async with (
        world() as server,
        connect(
            server.ws_url, subprotocol="lc.proto2base64.3", open_stream=server.open_stream
        ) as transport,
    ):
        for i in (1, 2):
            payload = encode(GenericCommand(cmd=CommandType.ECHO, i=i))
            await transport.send(base64.b64encode(payload).decode() if i == 1 else payload)
            (answer,) = await transport.receive()
            assert isinstance(answer, str)
            assert decode(base64.b64decode(answer, validate=True)).i == i


# Commands nobody need be logged in for.


async def test_echo_copies_the_serial_id_or_its_absence():
    async with world() as server, peer_of(server) as peer:
        for i in (7, None, -1):
            await peer.send(GenericCommand(cmd=CommandType.ECHO, i=i, peer_id="Tom"))
            reply = await peer.receive()
            assert (reply.cmd, reply.i, reply.peer_id) == (CommandType.ECHO, i, "Tom")


async def test_live_query_logins_are_answered():
    async with world() as server, peer_of(server) as peer:
        for cmd, answer in (
            (CommandType.LOGIN, CommandType.LOGGEDIN),
            (CommandType.LOGOUT, CommandType.LOGGEDOUT),
        ):
            reply = await peer.call(
                GenericCommand(cmd=cmd, installation_id="livequery-x", service=1)
            )
            assert (reply.cmd, reply.service) == (answer, 1)
            assert reply.installation_id == "livequery-x"


async def test_acknowledgements_of_live_queries_are_not_messages():
    async with world() as server, peer_of(server) as peer:
        await peer.send(
            GenericCommand(cmd=CommandType.ACK, service=1, ack_message=AckCommand(ids=["1"]))
        )
        await peer.nothing_more()


# Who a command acts for.


async def test_commands_before_login_are_refused():
    async with world() as server, peer_of(server) as peer:
        assert error_of(await peer.call(session(OpType.QUERY))) == (4105, "SESSION_REQUIRED")
        ack = await peer.call(direct("5f0000000000000000000001", "hi"))
        assert (ack.cmd, ack.ack_message.code) == (CommandType.ACK, 4105)
        assert ack.ack_message.reason == "SESSION_REQUIRED"


async def test_a_forged_client_id_is_refused_and_harms_nobody():
    async with world() as server, peer_of(server) as tom, peer_of(server) as mallory:
        await tom.login("Tom")
        await mallory.login("Mallory")
        assert error_of(await mallory.call(session(OpType.CLOSE, "Tom")))[0] == 4105
        reply = await tom.call(session(OpType.QUERY, session_peer_ids=["Tom"]))
        assert reply.session_message.online_session_peer_ids == ["Tom"]


async def test_without_an_id_the_oldest_open_session_is_meant():
    async with world() as server, peer_of(server) as peer:
        await peer.login("first")
        await peer.login("second")
        reply = await peer.call(session(OpType.QUERY, session_peer_ids=["x"]))
        assert reply.peer_id == "first"
        await peer.call(session(OpType.CLOSE, "first"))
        reply = await peer.call(session(OpType.QUERY, session_peer_ids=["x"]))
        assert reply.peer_id == "second"


async def test_commands_pipelined_behind_the_login_wait_for_it():
    async with world() as server, peer_of(server) as peer:
        open_tom = peer.number(opening(server.app_id, "Tom"))
        query = peer.number(session(OpType.QUERY, session_peer_ids=["Tom"]))
        again = peer.number(opening(server.app_id, "Tom"))
        for command in (open_tom, query, again):
            await peer.send(command)
        replies = [await peer.receive() for _ in range(3)]
        assert [reply.i for reply in replies] == [open_tom.i, query.i, again.i]
        assert replies[1].session_message.online_session_peer_ids == ["Tom"]
        assert server.stats().sessions == 1


async def test_commands_pipelined_behind_a_refused_login_are_refused():
    async with world() as server, peer_of(server) as peer:
        bad = peer.number(opening(server.app_id, "Tom", st="no such token", r=True))
        query = peer.number(session(OpType.QUERY, session_peer_ids=["Tom"]))
        await peer.send(bad)
        await peer.send(query)
        assert error_of(await peer.receive())[0] == 4112
        assert error_of(await peer.receive())[0] == 4105


async def test_replies_name_the_client_and_the_service():
    async with world() as server, peer_of(server) as peer:
        await peer.login("Tom")
        reply = await peer.call(direct("5f0000000000000000000001", "hi"))
        assert (reply.cmd, reply.ack_message.code) == (CommandType.ACK, 4401)
        assert (reply.peer_id, reply.service) == ("Tom", 2)
        assert reply.server_ts > 1_600_000_000_000


@pytest.mark.parametrize(
    "command",
    [
        GenericCommand(cmd=CommandType.PRESENCE, presence_message=PresenceCommand()),
        GenericCommand(cmd=CommandType.GOAWAY),
        GenericCommand(cmd=CommandType.SESSION, op=OpType.CONFLICT),
        GenericCommand(cmd=99, op=OpType.ADD),
        GenericCommand(cmd=CommandType.CONV, op=999),
    ],
)
async def test_unknown_commands_are_refused_one_by_one(command):
    async with world() as server, peer_of(server) as peer:
        await peer.login("Tom")
        assert error_of(await peer.call(command)) == (4114, "UNPARSEABLE_RAW_MESSAGE")
        await peer.nothing_more()


async def test_a_defect_in_a_rule_costs_one_command(monkeypatch, caplog):
    def broken(tx, caller, command):
        raise ZeroDivisionError

    table = {CommandType.LOGS: Handler(broken)}
    original = commands.handler_of
    monkeypatch.setattr(commands, "handler_of", lambda cmd, op: table.get(cmd) or original(cmd, op))
    async with world() as server, peer_of(server) as peer:
        await peer.login("Tom")
        with caplog.at_level(logging.CRITICAL, "trio_realtime"):
            reply = await peer.call(GenericCommand(cmd=CommandType.LOGS))
        assert error_of(reply) == (4200, "INTERNAL_ERROR")
        await peer.nothing_more()
        assert server.stats().metrics.internal_errors_total == 1


# Close codes.


async def test_an_unknown_app_is_refused_and_closed():
    async with world() as server, peer_of(server, app_id="nobody") as peer:
        assert error_of(await peer.open("Tom")) == (4100, "APP_NOT_AVAILABLE")
        assert await peer.closed() == (4100, "APP_NOT_AVAILABLE")


async def test_a_client_id_has_at_most_64_characters():
    async with world() as server, peer_of(server) as peer:
        await peer.login("日" * 64)
        assert error_of(await peer.open("x" * 65)) == (4103, "INVALID_LOGIN")
        assert await peer.closed() == (4103, "INVALID_LOGIN")


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [("https://chat.example.com", True), ("https://evil.example.com", False), (None, True)],
)
async def test_web_origins_may_be_restricted(origin, allowed):
    app = App("a", "k", "m", origins=frozenset({"https://chat.example.com"}))
    headers = [("Origin", origin)] if origin else []
    async with world(apps=[app]) as server, peer_of(server, headers=headers) as peer:
        reply = await peer.open("Tom")
        if allowed:
            assert reply.op == OpType.OPENED
        else:
            assert error_of(reply) == (4110, "INVALID_ORIGIN")
            assert await peer.closed() == (4110, "INVALID_ORIGIN")


def echo_of_size(size):
    """An echo command of exactly so many bytes."""
    for padding in range(size):
        payload = encode(
            GenericCommand(
                cmd=CommandType.ECHO, i=1, direct_message=DirectCommand(msg="x" * padding)
            )
        )
        if len(payload) == size:
            return payload
    raise AssertionError(size)


@pytest.mark.parametrize("subprotocol", [PROTOBUF, "lc.proto2base64.3"])
async def test_a_command_has_at_most_five_kibibytes(subprotocol):
    text = subprotocol != PROTOBUF
    async with world() as server, peer_of(server, subprotocol=subprotocol) as peer:
        for size in (5 * 1024, 5 * 1024 + 3):
            payload = echo_of_size(size)
            await peer.transport.send(base64.b64encode(payload).decode() if text else payload)
            if size == 5 * 1024:
                await peer.transport.receive()
        assert await peer.closed() == (4109, "FRAME_TOO_LONG")


@pytest.mark.parametrize("payload", [b"\xff\xff\xff", b"", b"\x08", "text"])
async def test_an_undecodable_frame_closes_that_connection_only(payload):
    async with world() as server, peer_of(server) as bystander, peer_of(server) as peer:
        await peer.transport.send(payload)
        assert await peer.closed() == (4114, "UNPARSEABLE_RAW_MESSAGE")
        await bystander.nothing_more()


async def test_a_connection_nobody_logs_in_on_is_closed(clock):
    async with world() as server, peer_of(server) as peer:
        began = trio.current_time()
        with trio.move_on_after(59):
            await peer.closed()
        await peer.nothing_more()  # an echo is no login
        assert await peer.closed() == (4108, "LOGIN_TIMEOUT")
        assert trio.current_time() - began == pytest.approx(60)


async def test_a_refused_login_is_no_login(clock):
    async with world() as server, peer_of(server) as peer:
        assert error_of(await peer.open("Tom", st="unknown"))[0] == 4112
        assert await peer.closed() == (4108, "LOGIN_TIMEOUT")


async def test_a_silent_connection_is_closed_and_any_frame_counts(clock):
    async with world() as server, peer_of(server) as peer:
        await peer.login("Tom")
        await trio.sleep(399)
        await peer.nothing_more()
        began = trio.current_time()
        assert await peer.closed() == (4107, "READ_TIMEOUT")
        assert trio.current_time() - began == pytest.approx(400)
        assert server.stats().sessions == 0


async def test_what_arrives_in_pieces_without_end_is_silence(clock):
    async with world(limits=Limits(read_timeout=10)) as server:
        stream = await server.connect()
        await stream.send_all(HANDSHAKE)
        while b"\r\n\r\n" not in await stream.receive_some():
            pass
        login = encode(opening(server.app_id, "Tom"))
        await stream.send_all(masked(login))
        await stream.receive_some()
        began = trio.current_time()
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:

                async def drip():
                    for byte in masked(b"x" * 1000):
                        await trio.sleep(1)
                        await stream.send_all(bytes([byte]))

                nursery.start_soon(drip)
                await stream.receive_some()
                nursery.cancel_scope.cancel()
        assert trio.current_time() - began == pytest.approx(10)


async def test_frames_sent_along_with_the_handshake_are_read():
    async with world() as server:
        stream = await server.connect()
        echo = encode(GenericCommand(cmd=CommandType.ECHO, i=3))
        await stream.send_all(HANDSHAKE + masked(echo) + masked(b"hey", opcode=0x89))
        received = b""
        while b"hey" not in received or b"\x82" not in received:
            received += await stream.receive_some()
        head, _, frames = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        frames = frames.replace(b"\x8a\x03hey", b"")
        assert frames[0] == 0x82
        assert decode(frames[2:]).i == 3


async def test_a_fragmented_command_is_put_together():
    async with world() as server:
        stream = await server.connect()
        echo = encode(GenericCommand(cmd=CommandType.ECHO, i=3))
        await stream.send_all(
            HANDSHAKE
            + masked(echo[:1], opcode=0x02)
            + masked(b"", opcode=0x89)
            + masked(b"", opcode=0x00)
            + masked(echo[1:], opcode=0x80)
        )
        received = b""
        while b"\x82" not in received.partition(b"\r\n\r\n")[2]:
            received += await stream.receive_some()
        _, _, frame = received.partition(b"\x82")
        assert decode(frame[1 : 1 + frame[0]]).i == 3
