"""One session is answered in the order in which it has asked, where it could tell."""

from __future__ import annotations

import json

import pytest
import trio

from tests.server.gateway.test_send_buffer import Recorder, settle
from tests.server.gateway.world import (
    conversation_of,
    direct,
    opening,
    peer_of,
    session,
    world,
)
from trio_realtime.server import Hooks
from trio_realtime.server.gateway.reply_order import ReplyOrder
from trio_realtime.server.gateway.send_buffer import Flusher, SendBuffer
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    GenericCommand,
    JsonObjectMessage,
    OpType,
)


@pytest.fixture
async def box(nursery):
    flusher = Flusher()
    nursery.start_soon(flusher.run)
    buffer = SendBuffer(
        Recorder(),
        limit=100,
        flusher=flusher,
        spawn=nursery.start_soon,
        on_overflow=lambda: None,
        on_broken=lambda: None,
    )
    buffer.order = ReplyOrder(buffer)
    return buffer


def answer(box, turn, text):
    with box.order.answering(turn):
        box.put(text)


async def received(box):
    await settle()
    return box._stream.received


async def test_a_change_waits_for_what_was_asked_before_and_pushes_behind_it(box):
    one, two, change = (box.order.begin(reads=reads) for reads in (True, True, False))
    later = box.order.begin(reads=True)
    answer(box, change, b"change ")
    box.put(b"push ")
    assert await received(box) == b""
    answer(box, two, b"two ")
    assert await received(box) == b""
    answer(box, one, b"one ")
    assert await received(box) == b"one two change push "
    answer(box, later, b"later ")
    assert (await received(box)).endswith(b"push later ")


async def test_nothing_waits_without_a_read_before_it(box):
    change, read = box.order.begin(reads=False), box.order.begin(reads=True)
    answer(box, change, b"change ")
    box.put(b"push ")
    assert await received(box) == b"change push "
    answer(box, read, b"read ")
    assert await received(box) == b"change push read "


async def test_reads_do_not_wait_for_each_other(box):
    one, two = box.order.begin(reads=True), box.order.begin(reads=True)
    answer(box, two, b"two ")
    assert await received(box) == b"two "
    answer(box, one, b"one ")
    assert await received(box) == b"two one "


async def test_a_read_that_fails_holds_nobody_up(box):
    read, change = box.order.begin(reads=True), box.order.begin(reads=False)
    answer(box, change, b"change ")
    with pytest.raises(ZeroDivisionError), box.order.answering(read):
        raise ZeroDivisionError
    assert await received(box) == b"change "


async def test_what_waits_for_a_read_does_not_keep_it_waiting(box):
    read, change = box.order.begin(reads=True), box.order.begin(reads=False)
    answer(box, change, b"change ")
    box.put(b"x" * 90)
    assert (box.size, box.due) == (97, 0)
    with trio.fail_after(1):
        await box.wait_due(50)
    answer(box, read, b"read ")
    assert (await received(box)).startswith(b"read change x")
    assert (box.size, box.due) == (0, 0)


async def test_called_back_when_all_is_answered(box):
    called = []
    box.order.when_done(lambda: called.append("at once"))
    one, two = box.order.begin(reads=True), box.order.begin(reads=False)
    box.order.when_done(lambda: called.append("later"))
    answer(box, two, b"two")
    assert called == ["at once"]
    answer(box, one, b"one")
    assert called == ["at once", "later"]


# In the server.


def members(op, cid, *names, client_id=None):
    return GenericCommand(
        cmd=CommandType.CONV,
        op=op,
        peer_id=client_id,
        conv_message=ConvCommand(cid=cid, m=list(names)),
    )


def query(cid):
    where = JsonObjectMessage(data=json.dumps({"objectId": cid}))
    return GenericCommand(
        cmd=CommandType.CONV, op=OpType.QUERY, conv_message=ConvCommand(where=where)
    )


async def in_one_go(peer, *commands):
    """What comes until all of them are answered."""
    for command in commands:
        await peer.send(peer.number(command))
    left, heard = {command.i for command in commands}, []
    while left:
        heard.append(await peer.receive())
        left.discard(heard[-1].i)
    return heard


async def test_removed_does_not_overtake_earlier_results(clock):
    async with world() as server, peer_of(server) as peer:
        await peer.login("Tom")
        cid = await conversation_of(peer, "Tom", "Jerry")
        for _ in range(10):
            asked = query(cid), members(OpType.REMOVE, cid, "Jerry")
            heard = await in_one_go(peer, *asked)
            assert [reply.i for reply in heard if reply.i is not None] == [c.i for c in asked]
            await in_one_go(peer, members(OpType.ADD, cid, "Jerry"))


async def logging_out(peer, cid, count):
    said = [direct(cid, str(n)) for n in range(count)]
    heard = await in_one_go(peer, *said, session(OpType.CLOSE, "Tom"))
    replies = [reply for reply in heard if reply.i is not None]
    assert [reply.i for reply in replies] == [*(c.i for c in said), said[-1].i + 1]
    assert [reply.ack_message.code for reply in replies[:-1]] == [None] * count
    assert (replies[-1].op, replies[-1].session_message) == (OpType.CLOSED, None)


@pytest.mark.parametrize("asked", [False, True])
async def test_who_speaks_and_leaves_in_one_go_is_heard(asked, clock):
    async def approve(_about):
        await trio.sleep(1)

    hooks = Hooks(message_received=approve) if asked else None
    async with (
        world(hooks=hooks) as server,
        peer_of(server) as tom,
        peer_of(server) as jerry,
    ):
        await tom.login("Tom")
        await jerry.login("Jerry")
        cid = await conversation_of(tom, "Tom", "Jerry")
        await logging_out(tom, cid, 3)
        for n in range(3):
            assert (await jerry.push(CommandType.DIRECT)).direct_message.msg == str(n)
        assert server.stats().sessions == 1


async def test_what_follows_a_logout_waits_for_it(clock):
    async def approve(_about):
        await trio.sleep(1)

    async with world(hooks=Hooks(message_received=approve)) as server, peer_of(server) as tom:
        await tom.login("Tom")
        cid = await conversation_of(tom, "Tom", "Jerry")
        heard = await in_one_go(
            tom,
            direct(cid, "a"),
            session(OpType.CLOSE, "Tom"),
            direct(cid, "b", "Tom"),
            opening(server.app_id, "Tom"),
            direct(cid, "c", "Tom"),
        )
        said, closed, refused, opened, again = (c for c in heard if c.i is not None)
        assert said.ack_message.code is None
        assert closed.op == OpType.CLOSED
        assert refused.ack_message.code == 4105
        assert opened.op == OpType.OPENED
        assert again.ack_message.code is None


async def test_who_leaves_and_hangs_up_has_left(clock):
    async def approve(_about):
        await trio.sleep(10)

    async with (
        world(hooks=Hooks(message_received=approve)) as server,
        peer_of(server) as jerry,
    ):
        await jerry.login("Jerry")
        async with peer_of(server) as tom:
            await tom.login("Tom")
            cid = await conversation_of(tom, "Tom", "Jerry")
            await tom.call(direct(cid, "farewell", will=True))
            await tom.send(tom.number(direct(cid, "unheard")))
            await tom.send(tom.number(session(OpType.CLOSE, "Tom")))
            await trio.sleep(1)
        await trio.sleep(30)
        await jerry.call(GenericCommand(cmd=CommandType.ECHO))
        assert [push for push in jerry.pushed if push.cmd == CommandType.DIRECT] == []
