from __future__ import annotations

import pytest
import trio

from tests.server.gateway.world import (
    HANDSHAKE,
    conversation_of,
    direct,
    error_of,
    masked,
    opening,
    peer_of,
    session,
    world,
)
from trio_realtime.server import App, Limits
from trio_realtime.server.gateway.logins import TOKENS_REMEMBERED
from trio_realtime.wire import CommandType, OpType, encode

# Bounds.


async def test_reading_pauses_while_too_many_commands_are_under_way(monkeypatch):
    limits = Limits(commands_in_flight=5)
    async with world(limits=limits) as server, peer_of(server) as peer:
        await peer.login("Tom")
        held = []
        store = server.server.gateway.store
        monkeypatch.setattr(store, "submit", lambda *args, **kwargs: held.append((args, kwargs)))
        for _ in range(20):
            await peer.send(peer.number(direct("5f0000000000000000000001", "hi")))
        await trio.testing.wait_all_tasks_blocked()
        assert len(held) == 5
        monkeypatch.undo()
        for args, kwargs in held:
            store.submit(*args, **kwargs)
        replies = [await peer.receive() for _ in range(20)]
        assert [reply.i for reply in replies] == list(range(2, 22))


async def test_a_slow_receiver_is_closed_and_delays_nobody(clock):
    limits = Limits(outbound_bytes=100_000)
    async with world(limits=limits) as server, peer_of(server) as tom, peer_of(server) as jerry:
        stream = await server.connect()
        await stream.send_all(HANDSHAKE + masked(encode(opening(server.app_id, "Slow"))))
        await tom.login("Tom")
        await jerry.login("Jerry")
        cid = await conversation_of(tom, "Tom", "Jerry", "Slow")
        for n in range(80):
            ack = await tom.call(direct(cid, f"{n} " + "x" * 4000))
            assert ack.ack_message.code is None
            assert (await jerry.push(CommandType.DIRECT)).direct_message.msg.startswith(f"{n} ")
        assert server.stats().sessions == 2
        await trio.sleep(5)
        assert server.stats().metrics.closes[1013] == 1
        assert server.stats().queue_bytes == 0


async def test_who_does_not_take_the_answers_may_not_ask_on(clock):
    limits = Limits(outbound_bytes=400_000, idle_frames_per_second=1e9)
    async with world(limits=limits) as server:
        stream = await server.connect()
        await stream.send_all(HANDSHAKE)
        ping = masked(b"x" * 100, opcode=0x89)
        with trio.move_on_after(60) as gave_up:
            for _ in range(1000):
                await stream.send_all(ping * 100)
        assert gave_up.cancelled_caught
        assert server.stats().connections == 1
        assert 200_000 < server.stats().queue_bytes <= 400_000


async def test_rates_are_limited_per_client_and_minute(clock):
    limits = Limits(messages_per_minute=2, commands_per_minute=3, login_timeout=600)
    async with world(limits=limits) as server, peer_of(server) as peer:
        await trio.sleep(60 - trio.current_time() % 60)
        await peer.login("Tom")
        cid = await conversation_of(peer, "Tom", "Jerry")
        codes = [(await peer.call(direct(cid, "x"))).ack_message.code for _ in range(3)]
        assert codes == [None, None, 4116]
        query = session(OpType.QUERY, session_peer_ids=["x"])
        assert (await peer.call(query)).op == OpType.QUERY_RESULT
        assert error_of(await peer.call(query)) == (4116, "MESSAGE_SENT_QUOTA_EXCEEDED")
        await peer.login("Jerry")  # another client has its own account
        await trio.sleep(60)
        assert (await peer.call(direct(cid, "x"))).ack_message.code is None


async def test_clients_per_connection_are_limited():
    async with (
        world(limits=Limits(clients_per_connection=2)) as server,
        peer_of(server) as peer,
    ):
        await peer.login("a")
        await peer.login("b")
        assert error_of(await peer.open("c"))[0] == 4113
        await peer.login("a")


async def test_apps_are_apart_from_each_other():
    one, two = App("one", "k", "m"), App("two", "k", "m")
    async with (
        world(apps=[one, two]) as server,
        peer_of(server, app_id="one") as tom,
        peer_of(server, app_id="two") as jerry,
    ):
        await tom.login("Tom")
        await jerry.login("Jerry")
        reply = await jerry.call(session(OpType.QUERY, session_peer_ids=["Tom", "Jerry"]))
        assert reply.session_message.online_session_peer_ids == ["Jerry"]
        cid = await conversation_of(tom, "Tom", "Jerry")
        assert (await jerry.call(direct(cid, "x"))).ack_message.code == 4401
        await jerry.nothing_more()
        assert error_of(await tom.call(opening("two", "Other")))[0] == 4105


# Shutting down.


async def test_draining_asks_clients_to_move_on_and_then_closes():
    async with world() as server, peer_of(server) as stays, peer_of(server) as leaves:
        await stays.login("Tom")
        await leaves.login("Jerry")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.server.drain, 0.3)
            assert (await leaves.push(CommandType.GOAWAY)).i is None
            await leaves.transport.aclose()
            assert await stays.closed() == (1001, "GOING_AWAY")
        assert stays.pushed[0].cmd == CommandType.GOAWAY
        assert server.stats().connections == 0


async def test_draining_lets_requests_be_answered(clock):
    async def lookup(_app, _token):
        asked.set()
        await trio.sleep(2)
        return "Tom"

    asked = trio.Event()
    async with world(user_lookup=lookup) as server:
        body = b'{"session_token": "x"}'
        stream, idle = await server.connect(), await server.connect()
        await idle.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await stream.send_all(
            b"POST /1.1/rtm/sign HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
            b"X-LC-Id: %s\r\nX-LC-Key: %s\r\n\r\n%s"
            % (len(body), server.app_id.encode(), server.app_key.encode(), body)
        )
        await asked.wait()
        began = trio.current_time()
        await server.server.drain(3000)
        assert trio.current_time() - began == pytest.approx(2)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")


async def test_draining_ends_when_everybody_has_left(clock):
    async with world() as server, peer_of(server) as peer:
        await peer.login("Tom")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.server.drain, 3000)
            await peer.push(CommandType.GOAWAY)
            began = trio.current_time()
            await peer.transport.aclose()
        assert trio.current_time() - began < 10


async def test_expired_tokens_of_endlessly_many_clients(clock):
    limits = Limits(token_ttl=1, clients_per_connection=3)
    async with world(limits=limits) as server:
        tokens = {}
        for number in range(10):
            async with peer_of(server) as peer:
                tokens[f"client{number}"] = await peer.login(f"client{number}")
        await trio.sleep(10)
        async with peer_of(server) as peer:
            for name, token in tokens.items():
                assert error_of(await peer.open(name, st=token, r=True))[0] == 4112
            (connection,) = server.server.gateway.connections
            assert list(connection.expired_tokens) == ["client7", "client8", "client9"]


async def test_tokens_of_a_session_that_renews_without_end(clock):
    async with world() as server, peer_of(server) as old, peer_of(server) as new:
        await old.login("Tom")
        tokens = []
        for _ in range(3 * TOKENS_REMEMBERED):
            reply = await old.call(session(OpType.REFRESH, "Tom"))
            tokens.append(reply.session_message.st)
        (live,) = (
            line.sessions["Tom"] for line in server.server.gateway.connections if line.sessions
        )
        assert list(live.tokens) == tokens[-TOKENS_REMEMBERED:]
        # The client may not have seen the last answers. Who returns has left the old connection.
        await new.login("Tom", r=True, st=tokens[-TOKENS_REMEMBERED])
        assert server.stats().sessions == 1
        assert not live.live
