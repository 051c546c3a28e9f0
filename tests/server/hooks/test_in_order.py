"""What the application is asked when commands follow each other without a pause."""

from __future__ import annotations

import gc
from contextlib import AsyncExitStack, asynccontextmanager

from tests.server.gateway.world import (
    conversation_of,
    direct,
    error_of,
    peer_of,
    world,
)
from trio_realtime.server import Hooks, Reject, Rewrite
from trio_realtime.server.hooks.queue import _Turn
from trio_realtime.testing import open_server
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    GenericCommand,
    JsonObjectMessage,
    OpType,
)


@asynccontextmanager
async def peers(hooks, *names, opened=world):
    async with opened(hooks=hooks) as server, AsyncExitStack() as stack:
        there = [await stack.enter_async_context(peer_of(server)) for _ in names]
        for peer, name in zip(there, names, strict=True):
            await peer.login(name)
        yield server, *there


def conv(op, **fields):
    return GenericCommand(cmd=CommandType.CONV, op=op, conv_message=ConvCommand(**fields))


async def in_one_go(peer, *commands):
    for command in commands:
        await peer.send(peer.number(command))
    return [await peer.reply_to(command.i) for command in commands]


async def test_who_joins_and_speaks_in_one_go_is_asked():
    async def refuse(_about):
        return Reject(3, "no")

    hooks = Hooks(message_received=refuse, conversation_update=refuse)
    # In a store on disk, readers see what was committed and nothing of what is queued.
    async with peers(hooks, "jerry", "tom", opened=open_server) as (_server, jerry, tom):
        for _ in range(10):
            cid = await conversation_of(jerry, "mary")
            joined, spoken, renamed = await in_one_go(
                tom,
                conv(OpType.ADD, cid=cid, m=["tom"]),
                direct(cid, "damn"),
                conv(OpType.UPDATE, cid=cid, attr=JsonObjectMessage(data='{"name":"damn"}')),
            )
            assert joined.op == OpType.ADDED
            assert spoken.ack_message.code == 4402
            assert error_of(renamed)[0] == 4305


async def test_a_spent_dt_makes_no_transient_message_pass():
    async def polite(message):
        return Reject() if "damn" in message.body else None

    async with peers(Hooks(message_received=polite), "tom") as (_server, tom):
        cid = await conversation_of(tom, "jerry")
        first, second = await in_one_go(
            tom, direct(cid, "hi", dt="x"), direct(cid, "damn", dt="x", transient=True)
        )
        assert first.ack_message.uid
        assert second.ack_message.code == 4402


async def test_a_repeat_is_acknowledged_although_the_application_is_asked_too_early():
    verdicts = iter([None])

    async def once(_message):
        return next(verdicts, Reject())

    hooks = Hooks(message_received=once)
    async with peers(hooks, "tom", opened=open_server) as (_server, tom):
        cid = await conversation_of(tom, "jerry")
        first, second = await in_one_go(tom, direct(cid, "hi", dt="x"), direct(cid, "hi", dt="x"))
        assert first.ack_message.uid == second.ack_message.uid != ""
        assert first.ack_message.code is second.ack_message.code is None


async def test_a_will_goes_to_those_the_application_left_over():
    asked, sent = [], []

    async def not_jerry(message):
        asked.append(list(message.receivers))
        return Rewrite(
            body=message.body.replace("damn", "****"),
            receivers=[name for name in message.receivers if name != "jerry"],
        )

    async def was_sent(message):
        sent.append((message.body, message.online))

    hooks = Hooks(message_received=not_jerry, message_sent=was_sent)
    async with peers(hooks, "tom", "jerry", "mary", "spike") as (server, tom, jerry, mary, spike):
        cid = await conversation_of(tom, "jerry", "mary")
        ack = await tom.call(direct(cid, "damn, I am gone", will=True))
        assert ack.ack_message.uid
        assert server.drop_connections("tom") == 1
        heard = await mary.push(CommandType.DIRECT)
        assert heard.direct_message.msg == "****, I am gone"
        assert asked == [["jerry", "mary"]]

        # Who joined after the will was made is asked about when it is carried out.
        async with peer_of(server) as again:
            await again.login("tom")
            await again.call(direct(cid, "again", will=True))
            await spike.call(conv(OpType.ADD, cid=cid, m=["spike"]))
            assert server.drop_connections("tom") == 1
            assert (await spike.push(CommandType.DIRECT)).direct_message.msg == "again"
        assert asked[1:] == [["jerry", "mary"], ["jerry", "mary", "spike"]]
        await jerry.call(GenericCommand(cmd=CommandType.ECHO))
        assert CommandType.DIRECT not in [command.cmd for command in jerry.pushed]
        assert sent == [("****, I am gone", ["mary"]), ("again", ["mary", "spike"])]


async def test_a_will_that_is_refused_is_none():
    async def refuse(message):
        return Reject() if message.body == "damn" else None

    async with peers(Hooks(message_received=refuse), "tom", "jerry") as (server, tom, jerry):
        cid = await conversation_of(tom, "jerry")
        assert (await tom.call(direct(cid, "damn", will=True))).ack_message.code == 4402
        server.drop_connections("tom")
        await jerry.call(GenericCommand(cmd=CommandType.ECHO))
        assert CommandType.DIRECT not in [command.cmd for command in jerry.pushed]


async def test_what_was_refused_is_forgotten(clock):
    """However many commands of a session the rules refuse, and however they are sent."""

    async def ask(_message):
        return None

    def remembered():
        gc.collect()
        return sum(isinstance(one, _Turn) for one in gc.get_objects())

    async with world(hooks=Hooks(message_received=ask)) as server, peer_of(server) as tom:
        await tom.login("Tom")
        before = remembered()
        for _ in range(10):
            replies = await in_one_go(tom, *(direct("nowhere", "x") for _ in range(10)))
            assert {reply.ack_message.code for reply in replies} == {4401}
        assert remembered() - before <= 1
