"""A login hears of what it has missed, of nothing twice, and of all of it in order."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
import trio

from tests.server.gateway.world import conversation_of, direct, opening, peer_of, world
from tests.server.store.sqlite.support import SqliteRules
from tests.server.store.world import World
from trio_realtime.server.rules.session import LoginRequest, open_session
from trio_realtime.server.rules.types import App
from trio_realtime.server.store.interface import Kind, NewMessage
from trio_realtime.transport import TransportClosed
from trio_realtime.wire import (
    CommandType,
    GenericCommand,
    OpType,
    PatchCommand,
    PatchItem,
    SessionCommand,
)

MESSAGES = 15


async def received_around_a_login(subprotocol, seed):
    """What a client is pushed that logs in while somebody writes to it."""
    pushed = []
    at = random.Random(seed).randrange(1, MESSAGES)
    async with (
        world() as server,
        peer_of(server) as tom,
        peer_of(server, subprotocol=subprotocol) as jerry,
    ):
        await tom.login("Tom")
        cid = await conversation_of(tom, "Tom", "Jerry")

        async def write():
            for number in range(MESSAGES):
                await tom.send(direct(cid, str(number)))
                if number == at:
                    await jerry.send(opening(jerry.app_id, "Jerry"))

        async def listen():
            try:
                while True:
                    pushed.append(await jerry.receive())
            except TransportClosed:
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await write()
            await trio.sleep(5)
            nursery.cancel_scope.cancel()
    return pushed


@pytest.mark.parametrize("seed", range(5))
async def test_messages_come_once_and_in_order(clock, seed):
    pushed = await received_around_a_login("lc.protobuf2.1", seed)
    bodies = [push.direct_message.msg for push in pushed if push.direct_message is not None]
    assert bodies == [str(number) for number in range(MESSAGES)]


@pytest.mark.parametrize("seed", range(5))
async def test_counting_on_from_the_counter_gives_all(clock, seed):
    pushed = await received_around_a_login("lc.protobuf2.3", seed)
    count = 0
    for push in pushed:
        if push.unread_message is not None:
            (counter,) = push.unread_message.convs
            count = counter.unread
        elif push.direct_message is not None:
            count += 1
    assert count == MESSAGES


EDITS = 12


@pytest.mark.parametrize("seed", range(8))
async def test_edits_come_once_and_in_order(clock, seed):
    """The latest edit that a client has seen is its mark: none before it may come later."""
    pushed = []
    at = random.Random(seed).randrange(1, EDITS)
    async with world() as server, peer_of(server) as tom, peer_of(server) as jerry:
        await tom.login("Tom")
        cid = await conversation_of(tom, "Tom", "Jerry")
        sent = (await tom.call(direct(cid, "0"))).ack_message

        def edit(number):
            patch = PatchItem(
                cid=cid, mid=sent.uid, timestamp=sent.t, recall=False, data=str(number)
            )
            modify = PatchCommand(patches=[patch])
            return GenericCommand(cmd=CommandType.PATCH, op=OpType.MODIFY, patch_message=modify)

        async def listen():
            with suppress(TransportClosed):
                while True:
                    pushed.append(await jerry.receive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            for number in range(1, EDITS):
                await tom.send(tom.number(edit(number)))
                if number == at:
                    await jerry.send(opening(jerry.app_id, "Jerry", last_patch_time=1))
            await trio.sleep(5)
            nursery.cancel_scope.cancel()
    times = [
        patch.patch_timestamp
        for push in pushed
        if push.patch_message is not None
        for patch in push.patch_message.patches
    ]
    assert times
    assert times == sorted(set(times))


@pytest.mark.parametrize("delivery", [1, 2])
def test_a_login_in_the_writer_does_not_look_at_conversations(delivery):
    def steps(conversations):
        taken = 0

        def count():
            nonlocal taken
            taken += 1

        app = App("app", "key", "master")
        request = LoginRequest(app, "tom", SessionCommand(), delivery, 60)
        with SqliteRules.opened(None) as rules:
            world = World(rules)

            def fill(tx):
                for _ in range(conversations):
                    row = tx.create_conversation(
                        kind=Kind.NORMAL, creator="jerry", members=["tom", "jerry"]
                    )
                    tx.append(row.id, NewMessage("jerry", "hi"))

            world.do(fill)
            rules.connection.set_progress_handler(count, 10)
            world.do(lambda tx: open_session(tx, request))
        return taken

    assert steps(1000) <= steps(10) + 5
