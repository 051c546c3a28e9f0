"""What the server is told of what came and was read: all of it, and nothing else. Time is virtual."""

from __future__ import annotations

import pytest
import trio

from tests.client.world import world
from tests.io.scripted_server import in_background, push
from trio_realtime import (
    Disconnected,
    MessageReceived,
    SlowConsumer,
    TextMessage,
    Unread,
    UnreadUpdated,
    open_client,
)
from trio_realtime.wire import CommandType, GenericCommand, OpType, SessionCommand


class Listener:
    """A server that sends messages and hears how they are acknowledged."""

    def __init__(self, scripted):
        self.scripted = scripted
        self.ranges = []
        self.more = trio.Event()

    def acknowledged(self):
        """The times of the messages that lie in one of the ranges."""
        return {t for t in range(10, 60, 10) if any(a <= t <= b for a, b in self.ranges)}

    async def __call__(self):
        link = await self.scripted.accept()
        await link.welcome()
        for number in range(1, 5):
            await link.send(push(mid=f"m{number}", timestamp=number * 10))
        await self.more.wait()
        await link.send(push(mid="m5", timestamp=50))
        while (command := await link.receive_any()) is not None:
            if command.cmd == CommandType.ACK:
                ack = command.ack_message
                self.ranges.append((ack.fromts, ack.tots))
            elif command.op == OpType.CLOSE:
                await link.send(
                    GenericCommand(
                        cmd=CommandType.SESSION,
                        op=OpType.CLOSED,
                        i=command.i,
                        session_message=SessionCommand(),
                    )
                )


@pytest.fixture
def listener(scripted):
    return Listener(scripted)


async def test_what_a_slow_loop_dropped_is_not_acknowledged(listener, scripted, autojump_clock):
    async with in_background(listener), open_client("Tom", **scripted.options) as tom:
        slow = tom.events(MessageReceived, max_buffer=2)
        # Less than there is between two bursts of acknowledgements.
        await trio.sleep(0.2)
        with pytest.raises(SlowConsumer):
            async for _ in slow:
                pass
        events = tom.events(MessageReceived)
        listener.more.set()
        assert (await anext(events)).message.id == "m5"
    assert listener.acknowledged() == {10, 20, 50}


async def test_what_nobody_asked_for_is_not_acknowledged(listener, scripted, autojump_clock):
    async with in_background(listener), open_client("Tom", **scripted.options) as tom:
        with tom.events(Disconnected):
            listener.more.set()
            await trio.sleep(5)
    assert listener.acknowledged() == set()


@pytest.mark.parametrize("dealt_with", [0, 1, 3])
async def test_with_the_next_step_only_what_was_dealt_with_is_acknowledged(
    dealt_with, listener, scripted, autojump_clock
):
    async with (
        in_background(listener),
        open_client("Tom", ack="next", **scripted.options) as tom,
    ):
        listener.more.set()
        await trio.sleep(1)
        events = tom.events(MessageReceived)
        for _ in range(dealt_with and dealt_with + 1):
            await anext(events)
    # Also what was dealt with in the last second before the client left.
    assert listener.acknowledged() == set(range(10, dealt_with * 10 + 1, 10))


async def test_read_marks_leave_before_the_client_does(autojump_clock):
    async with world("Tom") as (w, tom):
        chats = [await tom.create_conversation(["Jerry"], unique=False) for _ in range(3)]
        for chat in chats:
            await tom.send(chat, TextMessage("hello"))
        async with w.open("Jerry") as jerry:
            events = jerry.events(UnreadUpdated)
            for _ in chats:
                assert (await anext(events)).count == 1
            for chat in chats[:2]:
                await jerry.read(chat)
        async with w.open("Jerry") as jerry:
            await trio.sleep(1)
            assert jerry.unread_conversations() == {chats[2].id: Unread(1)}
