"""A bus that must ask others before it answers: what a session hears keeps its order."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from tests.server.gateway.test_sessions import SIGNED, signature
from tests.server.gateway.world import (
    conversation_of,
    direct,
    error_of,
    opening,
    peer_of,
    session,
    start,
    world,
)
from trio_realtime.server.bus.answer import Answer
from trio_realtime.server.bus.local import LocalBus
from trio_realtime.server.rules.types import CountRoom
from trio_realtime.wire import CommandType, ConvCommand, GenericCommand, OpType

SECOND = 1.0


class SlowBus(LocalBus):
    """Answers each question a second later, one after another; fails those it is told to."""

    failing: type | None = None

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.send, receive = trio.open_memory_channel(1000)
        trio.lowlevel.spawn_system_task(self.work, receive)

    async def work(self, receive):
        async for ask, answer in receive:
            await trio.sleep(SECOND)
            ask().then(answer.settle)

    def later(self, ask):
        answer = Answer()
        self.send.send_nowait((ask, answer))
        return answer

    def expect(self, *args):
        return self.later(partial(super().expect, *args))

    def join(self, *args):
        return self.later(partial(super().join, *args))

    def present(self, *args):
        return self.later(partial(super().present, *args))

    def kick(self, *args):
        return self.later(partial(super().kick, *args))

    def perform(self, session, step):
        if self.failing is not None and isinstance(step, self.failing):
            return self.later(lambda: Answer.failed(ConnectionError("nobody answers")))
        return self.later(partial(super().perform, session, step))


@pytest.fixture(autouse=True)
def slow(monkeypatch):
    monkeypatch.setattr("trio_realtime.server.server.LocalBus", SlowBus)


async def room_of(peer):
    reply = await peer.call(start([], transient=True))
    assert reply.op == OpType.STARTED
    return reply.conv_message.cid


def conv(op, **fields):
    return GenericCommand(cmd=CommandType.CONV, op=op, conv_message=ConvCommand(**fields))


async def test_replies_and_pushes_leave_in_the_order_of_the_commits(autojump_clock):
    async with world() as server, peer_of(server) as tom, peer_of(server) as jerry:
        await tom.login("Tom")
        await jerry.login("Jerry")
        room, chat = await room_of(tom), await conversation_of(tom, "Jerry")
        await tom.call(GenericCommand(cmd=CommandType.ECHO))
        tom.pushed.clear()
        count, said = conv(OpType.COUNT, cid=room), direct(chat, "a")
        for command in (count, said):
            await tom.send(tom.number(command))
        # Nobody else waits for the answer to the first.
        asked = trio.current_time()
        assert (await jerry.push(CommandType.DIRECT)).direct_message.msg == "a"
        await jerry.call(direct(chat, "b"))
        assert trio.current_time() - asked < SECOND
        heard = [await tom.receive() for _ in range(3)]
        assert [command.cmd for command in heard] == [
            CommandType.CONV,
            CommandType.ACK,
            CommandType.DIRECT,
        ]
        assert (heard[0].i, heard[1].i) == (count.i, said.i)
        assert heard[0].conv_message.count == 1


async def test_steps_of_a_session_take_effect_in_order(autojump_clock):
    async with world() as server, peer_of(server) as tom, peer_of(server) as jerry:
        await tom.login("Tom")
        await jerry.login("Jerry")
        room = await room_of(tom)
        commands = [
            conv(OpType.ADD, cid=room, m=["Jerry"]),
            conv(OpType.COUNT, cid=room),
            conv(OpType.REMOVE, cid=room, m=["Jerry"]),
            conv(OpType.COUNT, cid=room),
        ]
        for command in commands:
            await jerry.send(jerry.number(command))
        replies = [await jerry.receive() for _ in commands]
        assert [reply.i for reply in replies] == [command.i for command in commands]
        assert [reply.conv_message.count for reply in replies[1::2]] == [2, 1]


async def test_what_comes_during_a_login_follows_its_reply(autojump_clock):
    async with world() as server, peer_of(server) as tom, peer_of(server) as jerry:
        await tom.login("Tom")
        chat = await conversation_of(tom, "Jerry")
        await jerry.send(jerry.number(opening(jerry.app_id, "Jerry")))
        await jerry.send(jerry.number(direct(chat, "early")))
        await trio.sleep(SECOND * 1.5)
        await tom.call(direct(chat, "during"))
        first, second = await jerry.receive(), await jerry.receive()
        assert (first.op, first.peer_id) == (OpType.OPENED, "Jerry")
        assert second.cmd in {CommandType.ACK, CommandType.UNREAD}
        assert (await tom.push(CommandType.DIRECT)).direct_message.msg == "early"


async def test_a_nonce_is_claimed_once_although_the_claims_cross(autojump_clock):
    async with (
        world(apps=[SIGNED], refuse_repeated_nonces=True) as server,
        peer_of(server) as one,
        peer_of(server) as two,
    ):
        signed = signature(server, "Tom")
        outcomes = []

        async def enter(peer):
            outcomes.append((await peer.open("Tom", **signed)).cmd)

        async with trio.open_nursery() as nursery:
            for peer in (one, two):
                nursery.start_soon(enter, peer)
        assert sorted(outcomes) == sorted([CommandType.SESSION, CommandType.ERROR])


async def test_a_bus_that_fails_costs_one_reply(autojump_clock, monkeypatch, caplog):
    monkeypatch.setattr(SlowBus, "failing", CountRoom)
    async with world() as server, peer_of(server) as tom:
        await tom.login("Tom")
        room = await room_of(tom)
        with caplog.at_level("CRITICAL", "trio_realtime"):
            reply = await tom.call(conv(OpType.COUNT, cid=room))
        assert error_of(reply) == (4200, "INTERNAL_ERROR")
        members = await tom.call(conv(OpType.MEMBERS, cid=room))
        assert members.conv_message.m == ["Tom"]


async def test_a_connection_that_closes_meanwhile_leaves_no_session(autojump_clock):
    async with world() as server:
        async with peer_of(server) as jerry:
            await jerry.send(jerry.number(opening(jerry.app_id, "Jerry")))
            await trio.sleep(SECOND * 1.5)
        await trio.sleep(SECOND * 3)
        assert server.stats().sessions == 0
        async with peer_of(server) as tom:
            await tom.login("Tom")
            query = session(OpType.QUERY, "Tom", session_peer_ids=["Jerry", "Tom"])
            found = (await tom.call(query)).session_message.online_session_peer_ids
            assert found == ["Tom"]


async def test_a_close_does_not_wait_for_an_answer(autojump_clock):
    async with world() as server, peer_of(server) as tom:
        await tom.login("Tom")
        room = await room_of(tom)
        await tom.send(tom.number(conv(OpType.COUNT, cid=room)))
        await tom.transport.send(b"\xff")
        since = trio.current_time()
        assert await tom.closed() == (4114, "UNPARSEABLE_RAW_MESSAGE")
        assert trio.current_time() - since < SECOND
