"""Who belongs to a conversation is not stopped, overheard or tricked by who does not."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import pytest
import trio

from tests.security.test_identity import code_of, conv, settle
from tests.server.api.caller import Caller
from tests.server.gateway.world import conversation_of, direct, opening, peer_of, start, world
from trio_realtime.server import Hooks, Limits
from trio_realtime.server.gateway.weight import weight
from trio_realtime.wire import (
    BlacklistCommand,
    CommandType,
    ConvMemberInfo,
    GenericCommand,
    JsonObjectMessage,
    LogsCommand,
    OpType,
    PatchCommand,
    PatchItem,
    ReadCommand,
)


@asynccontextmanager
async def three():
    async with (
        world() as server,
        peer_of(server) as tom,
        peer_of(server) as jerry,
        peer_of(server) as spike,
    ):
        await tom.login("Tom")
        await jerry.login("Jerry")
        await spike.login("Spike")
        yield server, tom, jerry, spike
        assert server.stats().metrics.internal_errors_total == 0


def logs(cid):
    return GenericCommand(cmd=CommandType.LOGS, logs_message=LogsCommand(cid=cid))


def block(cid, *ids, op=OpType.BLOCK):
    message = BlacklistCommand(src_cid=cid, to_pids=list(ids))
    return GenericCommand(cmd=CommandType.BLACKLIST, op=op, blacklist_message=message)


def role(cid, client_id, name):
    info = ConvMemberInfo(pid=client_id, role=name)
    return conv(OpType.MEMBER_INFO_UPDATE, cid, target_client_id=client_id, info=info)


async def test_blocked_from_a_room_means_all_of_it(clock):
    async with three() as (_server, tom, jerry, spike):
        room = (await tom.call(start(["Tom"], transient=True))).conv_message.cid
        for peer, name in ((jerry, "Jerry"), (spike, "Spike")):
            assert (await peer.call(conv(OpType.ADD, room, m=[name]))).op == OpType.ADDED
        assert (await tom.call(role(room, "Spike", "Manager"))).op == OpType.MEMBER_INFO_UPDATED
        await tom.call(direct(room, "before"))
        assert (await tom.call(block(room, "Spike"))).op == OpType.BLOCKED
        await tom.call(direct(room, "behind his back"))
        await settle(tom, jerry, spike)
        entered = (await spike.call(conv(OpType.ADD, room, m=["Spike"]))).conv_message
        assert [failed.code for failed in entered.failed_pids] == [4548]
        for command, code in (
            (logs(room), 4312),
            (conv(OpType.MEMBERS, room), 4548),
            (conv(OpType.COUNT, room), 4548),
            (conv(OpType.MUTE, room), 4548),
            (direct(room, "still here"), 4548),
            (conv(OpType.UPDATE, room), 4309),
            (conv(OpType.QUERY_SHUTUP, room), 4317),
            (block(room, op=OpType.QUERY), 4317),
            # He was a manager.
            (block(room, "Spike", op=OpType.UNBLOCK), 4317),
            (block(room, "Tom"), 4317),
        ):
            assert code_of(await spike.call(command)) == code, command
        found = await query(spike, room, flag=2)
        assert room in found
        assert "behind his back" not in found
        assert "behind his back" in await query(jerry, room, flag=2)
        await jerry.nothing_more()
        seen = (await jerry.call(logs(room))).logs_message.logs
        assert [item.data for item in seen] == ["before", "behind his back"]


async def query(peer, cid, **fields):
    where = JsonObjectMessage(data=json.dumps({"objectId": cid}))
    reply = await peer.call(conv(OpType.QUERY, None, where=where, **fields))
    return reply.conv_message.results.data


async def test_a_trap_left_for_two_people_is_not_where_they_meet(clock):
    """Spike makes a conversation of three, silences one, leaves it to them, and comes back."""
    async with three() as (_server, tom, jerry, spike):
        trap = await conversation_of(spike, "Jerry", "Spike", "Tom", unique=True)
        silence = conv(OpType.ADD_SHUTUP, trap, m=["Jerry"])
        assert (await spike.call(silence)).op == OpType.SHUTUP_ADDED
        assert (await spike.call(conv(OpType.REMOVE, trap, m=["Spike"]))).op == OpType.REMOVED
        await settle(tom, jerry, spike)
        chat = await conversation_of(tom, "Jerry", "Tom", unique=True)
        assert chat != trap
        assert (await jerry.call(direct(chat, "I can speak"))).ack_message.code is None
        # He may come back, as anybody may join, but is nobody special.
        assert (await spike.call(conv(OpType.ADD, trap, m=["Spike"]))).op == OpType.ADDED
        assert code_of(await spike.call(conv(OpType.REMOVE, trap, m=["Tom"]))) == 4320
        assert code_of(await spike.call(silence)) == 4320
        # Those who stayed can undo what he did.
        assert code_of(await jerry.call(direct(trap, "x"))) == 4563
        lift = conv(OpType.REMOVE_SHUTUP, trap, m=["Jerry"])
        assert code_of(await jerry.call(lift)) == 4320
        assert (await tom.call(lift)).op == OpType.SHUTUP_REMOVED
        assert (await jerry.call(direct(trap, "x"))).ack_message.code is None


async def test_nobody_lifts_their_own_silence_whatever_their_role(clock):
    async with three() as (_server, tom, jerry, _spike):
        cid = await conversation_of(tom, "Jerry", "Spike", "Tom", unique=False)
        assert (await tom.call(role(cid, "Jerry", "Manager"))).op == OpType.MEMBER_INFO_UPDATED
        await tom.call(conv(OpType.ADD_SHUTUP, cid, m=["Jerry", "Spike"]))
        for ids in (["Jerry"], ["Spike", "Jerry"], ["Spike"]):
            assert code_of(await jerry.call(conv(OpType.REMOVE_SHUTUP, cid, m=ids))) in {4320, None}
        assert code_of(await jerry.call(direct(cid, "x"))) == 4563
        assert (await tom.call(conv(OpType.REMOVE_SHUTUP, cid, m=["Jerry"]))).op
        assert (await jerry.call(direct(cid, "x"))).ack_message.code is None


async def test_what_a_service_says_is_the_operators(clock):
    async with three() as (server, _tom, jerry, spike):
        app = server.app_id
        cid = await server.server.create_service_conversation(app, name="News")
        for peer, name in ((jerry, "Jerry"), (spike, "Spike")):
            await peer.call(conv(OpType.ADD, cid, m=[name]))
        sent = await server.server.broadcast(app, cid, "the truth", sender="Spike")
        await settle(jerry, spike)
        for fields in ({"data": "a lie"}, {"recall": True, "data": '{"_lctype":-127}'}):
            item = PatchItem(cid=cid, mid=sent.id, timestamp=sent.timestamp, **fields)
            patch = GenericCommand(
                cmd=CommandType.PATCH, op=OpType.MODIFY, patch_message=PatchCommand(patches=[item])
            )
            assert code_of(await spike.call(patch)) == 4403
        await jerry.nothing_more()
        (item,) = (await jerry.call(logs(cid))).logs_message.logs
        assert item.data == "the truth"


def patch(cid, sent, **fields):
    item = PatchItem(cid=cid, mid=sent.uid, timestamp=sent.t, **fields)
    message = PatchCommand(patches=[item])
    return GenericCommand(cmd=CommandType.PATCH, op=OpType.MODIFY, patch_message=message)


WORDS = '{"_lctype":-127,"_lctext":"hear me"}'


@pytest.mark.parametrize("how", ["silenced", "removed", "blocked", "blocked from a room"])
async def test_who_may_not_speak_takes_back_a_message_without_a_word(how, clock):
    async with three() as (_server, tom, jerry, spike):
        if how == "blocked from a room":
            cid = (await tom.call(start(["Tom"], transient=True))).conv_message.cid
            for peer, name in ((jerry, "Jerry"), (spike, "Spike")):
                await peer.call(conv(OpType.ADD, cid, m=[name]))
        else:
            cid = await conversation_of(tom, "Jerry", "Spike", "Tom", unique=False)
        first, second = [(await spike.call(direct(cid, text))).ack_message for text in ("a", "b")]
        # As long as he may speak, he may leave words.
        assert (await spike.call(patch(cid, first, recall=True, data=WORDS))).op == OpType.MODIFIED
        ends = {
            "silenced": conv(OpType.ADD_SHUTUP, cid, m=["Spike"]),
            "removed": conv(OpType.REMOVE, cid, m=["Spike"]),
        }
        await tom.call(ends.get(how, block(cid, "Spike")))
        await settle(tom, jerry, spike)
        assert (await spike.call(patch(cid, second, recall=True, data=WORDS))).op == OpType.MODIFIED
        (told,) = (await jerry.push(CommandType.PATCH)).patch_message.patches
        assert told.recall
        assert told.data == '{"_lctype":-127}'
        seen = (await jerry.call(logs(cid))).logs_message.logs
        assert [item.data for item in seen] == [WORDS, '{"_lctype":-127}']


async def test_who_comes_later_is_no_manager_however_many_are_silenced(clock):
    async with three() as (_server, tom, jerry, spike):
        cid = await conversation_of(spike, "Jerry", "Spike", "Tom", unique=True)
        silence = conv(OpType.ADD_SHUTUP, cid, m=["Jerry", "Tom"])
        assert (await spike.call(silence)).op == OpType.SHUTUP_ADDED
        await spike.call(conv(OpType.REMOVE, cid, m=["Spike"]))
        await trio.sleep(1)
        assert (await spike.call(conv(OpType.ADD, cid, m=["Spike"]))).op == OpType.ADDED
        for command in (
            conv(OpType.REMOVE, cid, m=["Tom"]),
            conv(OpType.REMOVE_SHUTUP, cid, m=["Tom"]),
            block(cid, "Jerry"),
            role(cid, "Spike", "Manager"),
        ):
            assert code_of(await spike.call(command)) == 4320
        # Jerry has been there longest. He frees Tom, who frees him.
        lift = conv(OpType.REMOVE_SHUTUP, cid, m=["Tom"])
        assert (await jerry.call(lift)).op == OpType.SHUTUP_REMOVED
        lift = conv(OpType.REMOVE_SHUTUP, cid, m=["Jerry"])
        assert (await tom.call(lift)).op == OpType.SHUTUP_REMOVED
        assert (await jerry.call(direct(cid, "free"))).ack_message.code is None


async def test_nobody_inherits_a_room_of_silenced_people_by_joining_it(clock):
    async with three() as (_server, tom, jerry, spike):
        cid = await conversation_of(tom, "Tom", unique=False)
        await trio.sleep(1)
        for name in ("Butch", "Jerry"):
            assert (await tom.call(conv(OpType.ADD, cid, m=[name]))).op == OpType.ADDED
            await trio.sleep(1)
        silence = conv(OpType.ADD_SHUTUP, cid, m=["Butch", "Jerry"])
        assert (await tom.call(silence)).op == OpType.SHUTUP_ADDED
        # No founder is left, and nobody who was there may speak.
        await tom.call(conv(OpType.REMOVE, cid, m=["Tom"]))
        await trio.sleep(1)
        assert (await spike.call(conv(OpType.ADD, cid, m=["Spike"]))).op == OpType.ADDED
        for peer in (spike, jerry):
            for command in (
                conv(OpType.REMOVE, cid, m=["Butch"]),
                conv(OpType.REMOVE_SHUTUP, cid, m=["Butch"]),
                conv(OpType.ADD_SHUTUP, cid, m=["Spike"]),
                block(cid, "Butch"),
                role(cid, "Spike", "Manager"),
            ):
                assert code_of(await peer.call(command)) == 4320
        # What was silenced stays so; who may speak speaks.
        assert code_of(await jerry.call(direct(cid, "may I"))) == 4563
        assert code_of(await spike.call(direct(cid, "hello"))) is None


CROWD = [f"c{number}" for number in range(400)]
MANY = ["a" * 24] * 100


@pytest.mark.parametrize(
    "many",
    [
        start(CROWD),
        conv(OpType.ADD, "x", m=CROWD),
        block("x", *CROWD),
        GenericCommand(
            cmd=CommandType.BLACKLIST,
            op=OpType.BLOCK,
            blacklist_message=BlacklistCommand(src_pid="Tom", to_cids=MANY),
        ),
        GenericCommand(cmd=CommandType.READ, read_message=ReadCommand(cids=MANY * 4)),
        GenericCommand(
            cmd=CommandType.PATCH,
            op=OpType.MODIFY,
            patch_message=PatchCommand(patches=[PatchItem(cid="x", mid="y")] * 100),
        ),
    ],
    ids=["start", "add", "block", "block conversations", "read", "edit"],
)
def test_a_command_that_names_many_counts_as_many(many):
    assert weight(many) > Limits().commands_in_flight
    assert weight(direct("x", "y")) == 1


def test_a_renewal_counts_as_many():
    renewal = GenericCommand(cmd=CommandType.SESSION, op=OpType.REFRESH)
    assert 1 < weight(renewal) < Limits().commands_in_flight


@pytest.mark.parametrize("how", ["asked about", "behind a login"])
async def test_one_connection_does_not_have_many_such_commands_under_way(how, clock):
    """Whoever writes waits for all that others have under way."""
    asked = []

    async def think(about):
        asked.append(about)
        await trio.sleep(3)

    hooks = Hooks(conversation_start=think)
    async with world(hooks=hooks) as server, peer_of(server) as tom:
        if how == "behind a login":
            await tom.send(tom.number(opening(server.app_id, "Tom")))
        else:
            await tom.login("Tom")
        for _ in range(3):
            await tom.send(tom.number(start(CROWD)))
        echo = tom.number(GenericCommand(cmd=CommandType.ECHO))
        await tom.send(echo)
        # Nothing is read behind the first until it is answered.
        await trio.sleep(2)
        assert len(asked) == 1
        assert server.stats().metrics.limits["commands_in_flight"] >= 1
        while (await tom.receive()).i != echo.i:
            pass
        assert len(asked) == 3


async def test_who_is_blocked_is_put_out_although_the_operator_does_not_wait(clock):
    async with three() as (server, tom, _jerry, spike):
        room = (await tom.call(start(["Tom"], transient=True))).conv_message.cid
        assert (await spike.call(conv(OpType.ADD, room, m=["Spike"]))).op == OpType.ADDED
        ask = Caller(server)
        with trio.move_on_after(0) as gone:
            async with trio.open_nursery() as nursery:
                blocked = {"client_ids": ["Spike"]}
                nursery.start_soon(ask, "POST", f"/1.2/rtm/chatrooms/{room}/blacklists", blocked)
                await trio.lowlevel.checkpoint()
                gone.cancel()
        await settle(tom, spike)
        assert (await tom.call(conv(OpType.COUNT, room))).conv_message.count == 1
        await tom.call(direct(room, "without Spike"))
        await spike.nothing_more()
