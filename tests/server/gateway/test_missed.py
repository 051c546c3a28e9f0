from __future__ import annotations

import pytest
import trio

from tests.server.gateway.world import (
    conversation_of,
    direct,
    opening,
    peer_of,
    session,
    start,
    world,
)
from trio_realtime.server import App, Enforcement, Limits
from trio_realtime.server.hooks.runner import HookRunner
from trio_realtime.server.rules.signatures import login_string, sign
from trio_realtime.wire import (
    AckCommand,
    CommandType,
    ConvCommand,
    GenericCommand,
    OpType,
    PatchCommand,
    PatchItem,
)

SIGNED = App("signed", "key", "master", enforce=Enforcement(login=True))
HOUR = 3600


def signature(server, client_id, *, age_ms=0, nonce="n", key="master"):
    t = server.server.config.clock() - age_ms
    return {"t": t, "n": nonce, "s": sign(key, login_string("signed", client_id, t, nonce))}


# What was missed.


async def test_unread_counters_follow_the_login(clock):
    async with world() as server, peer_of(server) as tom:
        await tom.login("Tom")
        cid = await conversation_of(tom, "Tom", "Jerry")
        for n in range(3):
            await tom.call(direct(cid, str(n)))
        await trio.sleep(1)  # three messages of one millisecond reach into the next ones
        async with peer_of(server) as jerry:
            await jerry.login("Jerry")
            push = await jerry.push(CommandType.UNREAD)
            assert (push.peer_id, push.service, push.i) == ("Jerry", 2, None)
            (counter,) = push.unread_message.convs
            assert (counter.cid, counter.unread, counter.data) == (cid, 3, "2")
            seen = push.unread_message.notif_time
        async with peer_of(server) as jerry:
            await jerry.login("Jerry", last_unread_notif_time=seen)
            await jerry.nothing_more()


async def test_delivery_mode_one_gets_the_messages_themselves(autojump_clock):
    # With this clock everything happens in one millisecond.
    async with world() as server, peer_of(server) as tom:
        await tom.login("Tom")
        cid = await conversation_of(tom, "Tom", "Jerry")
        await tom.call(direct(cid, "hi"))
        async with peer_of(server, subprotocol="lc.protobuf2.1") as jerry:
            await jerry.login("Jerry")
            push = await jerry.push(CommandType.DIRECT)
            assert push.peer_id == "Jerry"
            assert (push.direct_message.msg, push.direct_message.offline) == ("hi", True)
            await jerry.nothing_more()


@pytest.mark.parametrize("understood", [True, False])
async def test_missed_edits_follow_for_those_who_understand_them(understood, clock):
    async with world() as server, peer_of(server) as tom:
        await tom.login("Tom")
        cid = await conversation_of(tom, "Tom", "Jerry")
        ack = (await tom.call(direct(cid, "hi"))).ack_message
        await trio.sleep(1)
        item = PatchItem(cid=cid, mid=ack.uid, timestamp=ack.t, recall=False, data="hello")
        await tom.call(
            GenericCommand(
                cmd=CommandType.PATCH,
                op=OpType.MODIFY,
                patch_message=PatchCommand(patches=[item]),
            )
        )
        async with peer_of(server) as jerry:
            bits = 187 if understood else 186
            await jerry.login("Jerry", last_patch_time=ack.t, config_bitmap=bits)
            await jerry.push(CommandType.UNREAD)
            if understood:
                push = await jerry.push(CommandType.PATCH, OpType.MODIFY)
                assert push.patch_message.patches[0].data == "hello"
            await jerry.nothing_more()


async def test_a_message_beside_a_login_is_neither_missed_nor_doubled():
    async with world() as server, peer_of(server) as tom:
        await tom.login("Tom")
        cid = await conversation_of(tom, "Tom", "Jerry")
        for _ in range(20):
            async with peer_of(server, subprotocol="lc.protobuf2.1") as jerry:
                login = jerry.number(opening(server.app_id, "Jerry"))
                x, y = (tom.number(direct(cid, text)) for text in "xy")
                await tom.send(x)
                await jerry.send(login)
                await tom.send(y)
                await jerry.reply_to(login.i)
                await tom.reply_to(x.i)
                await tom.reply_to(y.i)
                await trio.testing.wait_all_tasks_blocked()
                await jerry.call(GenericCommand(cmd=CommandType.ECHO))
                got = [p.direct_message for p in jerry.pushed if p.cmd == CommandType.DIRECT]
                assert sorted(message.msg for message in got) == ["x", "y"]
                for message in got:
                    acknowledged = AckCommand(cid=cid, mid=message.id)
                    await jerry.send(GenericCommand(cmd=CommandType.ACK, ack_message=acknowledged))
                await jerry.call(GenericCommand(cmd=CommandType.ECHO))
                await trio.testing.wait_all_tasks_blocked()


# Losing the connection.


async def test_a_lost_session_is_off_line():
    async with world() as server, peer_of(server) as other:
        await other.login("Jerry")
        async with peer_of(server) as peer:
            await peer.login("Tom")
            assert server.drop_connections("Tom") == 1
            assert (await peer.closed())[0] == 1006
        query = session(OpType.QUERY, session_peer_ids=["Tom", "Jerry"])
        assert (await other.call(query)).session_message.online_session_peer_ids == ["Jerry"]


async def with_will(server, tom, jerry):
    await tom.login("Tom")
    await jerry.login("Jerry")
    cid = await conversation_of(tom, "Tom", "Jerry")
    await jerry.push(CommandType.CONV, OpType.MEMBERS_JOINED)
    jerry.pushed.clear()
    ack = await tom.call(direct(cid, "farewell", will=True))
    assert ack.ack_message.code is None
    await jerry.nothing_more()
    return ack.ack_message.uid


async def test_a_will_is_carried_out_when_the_connection_is_lost():
    async with world() as server, peer_of(server) as tom, peer_of(server) as jerry:
        uid = await with_will(server, tom, jerry)
        server.drop_connections("Tom")
        push = await jerry.push(CommandType.DIRECT)
        assert (push.direct_message.msg, push.direct_message.id) == ("farewell", uid)
        await jerry.nothing_more()


async def test_a_will_needs_no_hooks(monkeypatch):
    def none(*_args, **_options):
        raise AssertionError("there are no hooks to run")

    monkeypatch.setattr(HookRunner, "__init__", none)
    async with world() as server, peer_of(server) as tom, peer_of(server) as jerry:
        uid = await with_will(server, tom, jerry)
        server.drop_connections("Tom")
        assert (await jerry.push(CommandType.DIRECT)).direct_message.id == uid


async def test_a_will_is_carried_out_at_a_read_time_out(clock):
    async with world() as server, peer_of(server) as tom, peer_of(server) as jerry:
        await with_will(server, tom, jerry)
        for _ in range(5):
            await trio.sleep(100)
            await jerry.call(GenericCommand(cmd=CommandType.ECHO))
        assert (await jerry.push(CommandType.DIRECT)).direct_message.msg == "farewell"


@pytest.mark.parametrize("how", ["logout", "kick", "conflict"])
async def test_a_will_is_discarded_when_the_session_ends_otherwise(how):
    async with world() as server, peer_of(server) as tom, peer_of(server) as jerry:
        await with_will(server, tom, jerry)
        if how == "logout":
            await tom.call(session(OpType.CLOSE, "Tom"))
        elif how == "kick":
            await server.kick("Tom")
        else:
            await tom.login("Tom", tag="t", device_id="1")
            await jerry.login("Tom", tag="t", device_id="2")
        await tom.transport.aclose()
        await jerry.nothing_more()


# Chat rooms.


async def room_with(server, peer, client_id):
    await peer.login(client_id)
    return await conversation_of(peer, client_id, transient=True)


def joining(cid, client_id):
    return GenericCommand(
        cmd=CommandType.CONV,
        op=OpType.ADD,
        peer_id=client_id,
        conv_message=ConvCommand(cid=cid, m=[client_id]),
    )


@pytest.mark.parametrize(("away", "back"), [(1799, True), (1801, False)])
async def test_who_returns_soon_is_back_in_its_room(clock, away, back):
    limits = Limits(read_timeout=10_000)
    async with world(limits=limits) as server, peer_of(server) as tom:
        cid = await room_with(server, tom, "Tom")
        async with peer_of(server) as jerry:
            token = await jerry.login("Jerry")
            await jerry.call(joining(cid, "Jerry"))
            await tom.call(direct(cid, "one"))
            assert (await jerry.push(CommandType.DIRECT)).direct_message.msg == "one"
        await tom.call(direct(cid, "two"))
        await trio.sleep(away)
        async with peer_of(server) as jerry:
            await jerry.login("Jerry", r=True, st=token)
            await tom.call(direct(cid, "three"))
            if back:
                assert (await jerry.push(CommandType.DIRECT)).direct_message.msg == "three"
            await jerry.nothing_more()


async def test_a_new_login_is_no_return():
    async with world() as server, peer_of(server) as tom:
        cid = await room_with(server, tom, "Tom")
        async with peer_of(server) as jerry:
            await jerry.login("Jerry")
            await jerry.call(joining(cid, "Jerry"))
        async with peer_of(server) as jerry:
            await jerry.login("Jerry", r=False)
            await tom.call(direct(cid, "x"))
            await jerry.nothing_more()


async def test_a_session_is_in_one_room():
    async with world() as server, peer_of(server) as tom, peer_of(server) as jerry:
        first = await room_with(server, tom, "Tom")
        await jerry.login("Jerry")
        await jerry.call(joining(first, "Jerry"))
        second = (await tom.call(start(["Tom"], transient=True))).conv_message.cid
        await jerry.call(joining(second, "Jerry"))
        await tom.call(direct(first, "first"))
        await tom.call(direct(second, "second"))
        assert (await jerry.push(CommandType.DIRECT)).direct_message.msg == "second"
        await jerry.nothing_more()


async def test_logging_out_gives_the_place_in_the_room_up():
    async with world() as server, peer_of(server) as tom, peer_of(server) as jerry:
        cid = await room_with(server, tom, "Tom")
        token = await jerry.login("Jerry")
        await jerry.call(joining(cid, "Jerry"))
        await jerry.call(session(OpType.CLOSE, "Jerry"))
        await jerry.login("Jerry", r=True, st=token)
        await tom.call(direct(cid, "x"))
        await jerry.nothing_more()


# Order.


async def test_pushes_to_the_acting_connection_follow_the_reply_at_a_distance(clock):
    async with world() as server, peer_of(server) as peer:
        await peer.login("Tom")
        await peer.login("Jerry")
        command = peer.number(start(["Tom", "Jerry"], "Tom"))
        await peer.send(command)
        began = trio.current_time()
        times = []
        for _ in range(5):
            got = await peer.receive()
            times.append((got.i, got.peer_id, got.op, trio.current_time() - began))
        assert times[0][:3] == (command.i, "Tom", OpType.STARTED)
        assert times[0][3] == 0
        for _, client_id, _, after in times[1:]:
            if client_id == "Jerry":
                assert after == pytest.approx(0.020)
        assert [t for *_, t in times] == sorted(t for *_, t in times)
        assert {(c, op) for _, c, op, _ in times[1:]} == {
            (c, op) for c in ("Tom", "Jerry") for op in (OpType.JOINED, OpType.MEMBERS_JOINED)
        }
