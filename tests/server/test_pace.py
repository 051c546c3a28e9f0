from __future__ import annotations

from itertools import pairwise

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.server.gateway.world import HANDSHAKE, masked, opening, peer_of, world
from trio_realtime.server import Limits
from trio_realtime.server.gateway.connection import HANDLED_AT_ONCE
from trio_realtime.server.gateway.websocket import WebSocket
from trio_realtime.server.http_connection import REFUSALS_PER_SECOND
from trio_realtime.server.pace import BURST, PASSES, Pace, give_way
from trio_realtime.wire import CommandType, GenericCommand, encode

PING = masked(b"", 0x89)
PONG = b"\x8a\x00"
DATE = b"GET /1.1/date HTTP/1.1\r\nHost: x\r\nX-LC-Id: test-app\r\nX-LC-Key: %s\r\n\r\n"
ECHO = masked(encode(GenericCommand(cmd=CommandType.ECHO)))


@given(st.lists(st.tuples(st.integers(1, 500), st.floats(0, 60)), max_size=30))
def test_in_the_long_run_no_more_passes_than_is_paid_for(sends):
    pace = Pace(20.0)
    now, frames = 0.0, 0
    for count, pause in sends:
        now += pause
        frames += count
        now += pace.take(count, now)
    assert frames <= 20.0 * (now + BURST) + 1e-6


def test_a_pace_of_nothing_reads_nothing_more():
    assert Pace(0.0).take(1, 5.0) == float("inf")


def test_who_is_slow_waits_for_nothing():
    pace = Pace(1.0)
    assert [pace.take(1, now) for now in range(100)] == [0.0] * 100


async def received(stream, seconds):
    """What comes within this time."""
    data = b""
    with trio.move_on_after(seconds):
        while part := await stream.receive_some():
            data += part
    return data


@pytest.mark.parametrize("frame", [PING, ECHO], ids=["ping", "echo"])
@pytest.mark.parametrize("logged_in", [False, True])
async def test_frames_that_do_no_work_are_read_slowly(clock, frame, logged_in):
    limits = Limits(idle_frames_per_second=10.0, login_timeout=1e6)
    async with world(limits=limits) as server:
        stream = await server.connect()
        greeting = masked(encode(opening(server.app_id, "Tom"))) if logged_in else b""
        await stream.send_all(HANDSHAKE + greeting)
        await received(stream, 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, frame * 3000)
            answers = await received(stream, 60)
            # What an answer is differs, and is not looked at: its first bytes are counted.
            answered = answers.count(PONG if frame == PING else answers[:2])
            assert 100 <= answered <= 10 * 60 + 100 + 500  # a turn's worth may come before
            assert server.stats().metrics.limits["idle_frames_per_second"]
            # Nobody else notices.
            async with peer_of(server) as peer:
                await peer.login("Jerry")
            nursery.cancel_scope.cancel()


async def test_a_client_may_ping_and_work_as_it_likes(clock):
    async with world() as server, peer_of(server) as peer:
        await peer.login("Tom")
        for _ in range(1000):
            await peer.call(GenericCommand(cmd=CommandType.SESSION, op=11))
        for _ in range(100):
            await peer.call(GenericCommand(cmd=CommandType.ECHO))
            await trio.sleep(0.1)
        assert not server.stats().metrics.limits


async def test_others_have_a_turn_between_the_frames_of_one(clock):
    """However much one has sent, what another asks is answered after a bounded part of it."""
    limits = Limits(idle_frames_per_second=1e9)
    async with world(limits=limits) as server, peer_of(server) as peer:
        await peer.login("Jerry")
        flood = await server.connect()
        await flood.send_all(HANDSHAKE)
        await received(flood, 1)
        metrics = server.server.gateway.metrics
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood.send_all, ECHO * 100_000)
            nursery.start_soon(received, flood, 1e6)
            before = metrics.commands_total
            await peer.call(GenericCommand(cmd=CommandType.ECHO))
            assert metrics.commands_total - before < 10_000
            nursery.cancel_scope.cancel()


async def test_few_commands_of_one_are_handled_between_the_turns_of_others(clock):
    limits = Limits(idle_frames_per_second=1e9)
    async with world(limits=limits) as server:
        flood = await server.connect()
        await flood.send_all(HANDSHAKE)
        await received(flood, 1)
        metrics = server.server.gateway.metrics
        seen = [metrics.commands_total]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood.send_all, ECHO * 5000)
            nursery.start_soon(received, flood, 1e6)
            while seen[-1] - seen[0] < 5000:
                await trio.lowlevel.checkpoint()
                seen.append(metrics.commands_total)
            nursery.cancel_scope.cancel()
        # Who is first among those that may run is left to chance.
        assert max(later - before for before, later in pairwise(seen)) <= 2 * HANDLED_AT_ONCE


@pytest.mark.parametrize("together", [True, False])
async def test_fewer_still_of_what_is_no_message(together, clock, monkeypatch):
    """Also of what has come together with the handshake."""
    count = 0
    take = WebSocket.recv_frame

    def counted(self, frame):
        nonlocal count
        count += 1
        take(self, frame)

    monkeypatch.setattr(WebSocket, "recv_frame", counted)
    pongs = masked(b"", 0x8A) * 2000
    async with world(limits=Limits(idle_frames_per_second=1e9)) as server:
        flood = await server.connect()
        await flood.send_all(HANDSHAKE + pongs if together else HANDSHAKE)
        seen = [count]
        async with trio.open_nursery() as nursery:
            if not together:
                nursery.start_soon(flood.send_all, pongs)
            while seen[-1] < 2000:
                await trio.lowlevel.checkpoint()
                seen.append(count)
        assert max(later - before for before, later in pairwise(seen)) <= 100


async def busy(clock):
    """An event loop each of whose passes takes two milliseconds."""
    while True:
        clock.jump(0.002)
        await trio.lowlevel.checkpoint()


async def test_who_gives_way_stays_away_for_many_passes(clock):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(busy, clock)
        began = trio.current_time()
        for _ in range(20):
            await give_way()
        assert trio.current_time() - began > 5 * PASSES * 0.002
        nursery.cancel_scope.cancel()


async def test_nobody_gives_way_to_nothing(clock):
    began = trio.current_time()
    await give_way()
    assert trio.current_time() == began


async def test_strangers_wait_while_there_is_much_to_do_and_the_operator_does_not(clock):
    async def took(key):
        stream = await server.connect()
        began = trio.current_time()
        for _ in range(20):
            await stream.send_all(DATE % key.encode())
            assert b" 200 OK" in await stream.receive_some()
        return trio.current_time() - began

    async with world() as server, trio.open_nursery() as nursery:
        nursery.start_soon(busy, clock)
        assert await took(server.app_key) > 3 * await took(f"{server.master_key},master")
        nursery.cancel_scope.cancel()


async def test_refusals_of_one_connection_are_paced(clock):
    async def took(key, times):
        request = DATE.replace(b"date", b"classes/_Conversation")
        stream = await server.connect()
        began = trio.current_time()
        for _ in range(times):
            await stream.send_all(request % key.encode())
            assert await stream.receive_some()
        return trio.current_time() - began

    async with world() as server:
        burst = int(REFUSALS_PER_SECOND * BURST)
        assert await took("wrong", burst) == 0
        assert await took("wrong", burst + 41) >= 2
        assert await took(f"{server.master_key},master", burst + 41) == 0
