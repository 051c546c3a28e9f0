from __future__ import annotations

import pytest
import trio
from front_world import (
    conversation_of,
    direct,
    error_of,
    opening,
    peer_of,
    session,
    start,
    world,
)

from trio_realtime.server import App, Enforcement, Limits, ServerConfig, open_server
from trio_realtime.server._signatures import NonceMemory, login_string, sign
from trio_realtime.server.rules._session import GRACE_MS
from trio_realtime.wire import (
    AckCommand,
    CommandType,
    ConvCommand,
    GenericCommand,
    OpType,
    PatchCommand,
    PatchItem,
    ReportCommand,
)

SIGNED = App("signed", "key", "master", enforce=Enforcement(login=True))
HOUR = 3600


@pytest.fixture
def clock(autojump_clock):
    return autojump_clock


def signature(server, client_id, *, age_ms=0, nonce="n", key="master"):
    t = server.server.config.clock() - age_ms
    return {"t": t, "n": nonce, "s": sign(key, login_string("signed", client_id, t, nonce))}


# Opening.


async def test_opened_carries_id_token_and_time():
    async with world() as server, peer_of(server) as peer:
        reply = await peer.open("Tom", r=False, ua="js/5.0.0-rc.8", device_id="d")
        assert (reply.op, reply.peer_id, reply.service) == (OpType.OPENED, "Tom", 2)
        assert reply.server_ts == pytest.approx(server.server.config.clock(), abs=10_000)
        assert reply.session_message.st
        assert reply.session_message.st_ttl == 86400
        assert reply.session_message.code is None


@pytest.mark.parametrize("given", [None, ""])
async def test_a_client_without_id_gets_one(given):
    async with world() as server, peer_of(server) as peer:
        ids = {(await peer.open(given)).peer_id for _ in range(2)}
        assert len(ids) == 2
        for generated in ids:
            assert 20 <= len(generated) <= 32
            assert generated[0].isalpha()
        assert server.stats().sessions == 2


async def test_a_login_without_any_payload_is_one():
    async with world() as server, peer_of(server) as peer:
        command = opening(server.app_id, "Tom")
        command.session_message = None
        assert (await peer.call(command)).op == OpType.OPENED


async def test_opening_twice_refreshes_the_same_session():
    async with world() as server, peer_of(server) as peer:
        tokens = {await peer.login("Tom", tag="phone", device_id="d") for _ in range(2)}
        assert len(tokens) == 2
        assert server.stats().sessions == 1
        await peer.nothing_more()


async def test_many_clients_share_a_connection():
    async with world() as server, peer_of(server) as peer, peer_of(server) as other:
        commands = [peer.number(opening(server.app_id, f"c{n}")) for n in range(50)]
        for command in commands:
            await peer.send(command)
        assert [(await peer.receive()).peer_id for _ in commands] == [f"c{n}" for n in range(50)]
        await other.login("Tom")
        cid = await conversation_of(other, "Tom", "c7", "c31")
        await other.call(direct(cid, "hi"))
        got = {(await peer.push(CommandType.DIRECT)).peer_id for _ in range(2)}
        assert got == {"c7", "c31"}


# Closing.


async def test_closing_ends_that_client_only():
    async with world() as server, peer_of(server) as peer:
        await peer.login("Tom")
        await peer.login("Jerry")
        reply = await peer.call(session(OpType.CLOSE, "Tom"))
        assert (reply.op, reply.peer_id, reply.session_message) == (OpType.CLOSED, "Tom", None)
        query = session(OpType.QUERY, session_peer_ids=["Tom", "Jerry"])
        assert (await peer.call(query)).session_message.online_session_peer_ids == ["Jerry"]


async def test_a_kick_ends_every_session_and_leaves_the_connection():
    async with world() as server, peer_of(server) as one, peer_of(server) as two:
        await one.login("Tom")
        await two.login("Tom")
        await two.login("Jerry")
        await server.kick("Tom", "behave")
        for peer in (one, two):
            push = await peer.push(CommandType.SESSION, OpType.CLOSED)
            assert (push.peer_id, push.i) == ("Tom", None)
            assert (push.session_message.code, push.session_message.reason) == (4115, "behave")
        assert server.stats().sessions == 1
        await one.login("Tom")


async def test_a_kick_voids_login_signatures_made_before(clock):
    async with world(apps=[SIGNED]) as server, peer_of(server) as peer:
        old = signature(server, "Tom")
        await peer.login("Tom", **old)
        await trio.sleep(1)
        await server.kick("Tom")
        push = await peer.push(CommandType.SESSION, OpType.CLOSED)
        assert push.session_message.reason == "KICKED_BY_APP"
        assert error_of(await peer.open("Tom", **old)) == (4102, "SIGNATURE_FAILED")
        await trio.sleep(1)
        await peer.login("Tom", **signature(server, "Tom"))


# Tokens.


async def test_a_token_opens_again_on_another_connection():
    async with world() as server:
        async with peer_of(server) as peer:
            token = await peer.login("Tom")
        async with peer_of(server) as peer:
            again = await peer.login("Tom", r=True, st=token)
            assert again
            # The old one stays valid until it expires.
            await peer.login("Tom", r=True, st=token)


async def test_tokens_survive_a_restart():
    async with world() as server:
        async with peer_of(server) as peer:
            token = await peer.login("Tom")
        await server.restart()
        async with peer_of(server) as peer:
            await peer.login("Tom", r=True, st=token)


@pytest.mark.parametrize("who", ["Jerry", "Tom"])
async def test_a_strange_token_is_refused(who):
    async with world() as server, peer_of(server) as peer:
        token = await peer.login("Tom")
        bad = token if who == "Jerry" else token + "x"
        reply = await peer.open(who, r=True, st=bad)
        assert error_of(reply) == (4112, "SESSION_TOKEN_EXPIRED")


async def test_a_token_expires_and_the_fallback_opens(clock):
    async with world(limits=Limits(token_ttl=60)) as server, peer_of(server) as peer:
        reply = await peer.open("Tom", tag="phone", device_id="d")
        token = reply.session_message.st
        assert reply.session_message.st_ttl == 60
        await trio.sleep(59)
        await peer.login("Tom", r=True, st=token)
        await trio.sleep(1)
        assert error_of(await peer.open("Tom", r=True, st=token))[0] == 4112
        await peer.login("Tom", r=True)


async def test_the_fallback_needs_a_recent_login_where_signatures_are_enforced(clock):
    limits = Limits(token_ttl=60, read_timeout=10**7)
    async with world(apps=[SIGNED], limits=limits) as server, peer_of(server) as peer:
        assert error_of(await peer.open("Tom", r=True))[0] == 4102
        await peer.login("Tom", **signature(server, "Tom"))
        assert error_of(await peer.open("Tom"))[0] == 4102  # not a return
        await trio.sleep(GRACE_MS / 1000)
        await peer.login("Tom", r=True)
        await trio.sleep(61 + GRACE_MS / 1000)
        assert error_of(await peer.open("Tom", r=True))[0] == 4102
        assert error_of(await peer.open("Jerry", r=True))[0] == 4102


async def test_login_signatures_are_checked_where_enforced():
    async with world(apps=[SIGNED]) as server, peer_of(server) as peer:
        for bad in (
            {},
            signature(server, "Jerry"),
            signature(server, "Tom", key="other"),
            signature(server, "Tom", age_ms=6 * HOUR * 1000 + 10_000),
        ):
            assert error_of(await peer.open("Tom", **bad)) == (4102, "SIGNATURE_FAILED")
        token = await peer.login("Tom", **signature(server, "Tom", nonce="other"))
        await peer.login("Tom", r=True, st=token)


async def test_signatures_are_ignored_where_not_enforced():
    async with world() as server, peer_of(server) as peer:
        await peer.login("Tom", s="nonsense", t=1, n="x")


async def test_a_signature_counts_once_where_replay_is_refused():
    async with world(apps=[SIGNED]) as server, peer_of(server) as peer:
        server.server.gateway.nonces = NonceMemory()
        signed = signature(server, "Tom")
        await peer.login("Tom", **signed)
        assert error_of(await peer.open("Tom", **signed))[0] == 4102


async def test_replay_protection_is_a_switch():
    config = ServerConfig(apps=[SIGNED], port=0, refuse_repeated_nonces=True)
    async with open_server(config, listen=False) as server:
        assert server.gateway.nonces is not None


async def test_refresh_gives_a_new_token_even_for_an_expired_one(clock):
    async with world(limits=Limits(token_ttl=60)) as server, peer_of(server) as peer:
        token = await peer.login("Tom")
        await trio.sleep(61)
        reply = await peer.call(session(OpType.REFRESH, "Tom", st=token))
        assert (reply.op, reply.session_message.st_ttl) == (OpType.REFRESHED, 60)
        assert reply.session_message.st != token
        await peer.login("Tom", r=True, st=reply.session_message.st)


async def test_refresh_keeps_tag_and_device():
    async with world() as server, peer_of(server) as peer, peer_of(server) as other:
        await peer.login("Tom", tag="phone", device_id="d1")
        fresh = (await peer.call(session(OpType.REFRESH, "Tom"))).session_message.st
        await other.login("Tom", tag="phone", device_id="d2")
        reply = await peer.open("Tom", r=True, st=fresh)
        assert error_of(reply) == (4111, "SESSION_CONFLICT")


async def test_refresh_refuses_other_clients_tokens_and_wrong_signatures():
    async with world(apps=[SIGNED]) as server, peer_of(server) as peer:
        await peer.login("Tom", **signature(server, "Tom"))
        theirs = await peer.login("Jerry", **signature(server, "Jerry"))
        assert error_of(await peer.call(session(OpType.REFRESH, "Tom", st=theirs)))[0] == 4112
        bad = signature(server, "Jerry")
        assert error_of(await peer.call(session(OpType.REFRESH, "Tom", **bad)))[0] == 4102


# Tags.


async def test_a_tag_belongs_to_the_newest_device():
    async with world() as server, peer_of(server) as old, peer_of(server) as new:
        await old.login("Tom", tag="phone", device_id="d1", r=False)
        await old.login("Jerry", tag="phone", device_id="d1", r=False)
        await new.login("Tom", tag="phone", device_id="d2", r=False)
        push = await old.push(CommandType.SESSION, OpType.CLOSED)
        assert (push.peer_id, push.i) == ("Tom", None)
        assert push.session_message.code == 4111
        assert push.session_message.reason == "SESSION_CONFLICT"
        await old.nothing_more()  # once, and the connection goes on
        assert error_of(await old.call(session(OpType.CLOSE, "Tom")))[0] == 4105
        await new.nothing_more()


@pytest.mark.parametrize("tag", [None, "default", ""])
async def test_without_a_tag_any_number_may_log_in(tag):
    async with world() as server, peer_of(server) as one, peer_of(server) as two:
        await one.login("Tom", tag=tag, device_id="d1")
        await two.login("Tom", tag=tag, device_id="d2")
        await one.nothing_more()
        assert server.stats().sessions == 2


async def test_different_tags_do_not_conflict():
    async with world() as server, peer_of(server) as one, peer_of(server) as two:
        await one.login("Tom", tag="phone", device_id="d1")
        await two.login("Tom", tag="web", device_id="d2")
        await one.nothing_more()


async def test_a_lost_slot_stays_lost_for_a_return():
    async with world() as server, peer_of(server) as old, peer_of(server) as new:
        token = await old.login("Tom", tag="phone", device_id="d1")
        newer = await new.login("Tom", tag="phone", device_id="d2")
        # As the JavaScript SDK returns: the token alone tells tag and device.
        assert error_of(await old.open("Tom", r=True, st=token)) == (4111, "SESSION_CONFLICT")
        # Also after the other device left; that one may return.
        await new.call(session(OpType.CLOSE, "Tom"))
        assert error_of(await old.open("Tom", r=True, st=token))[0] == 4111
        await new.login("Tom", r=True, st=newer)
        # A fresh login takes the slot back.
        await old.login("Tom", tag="phone", device_id="d1", r=False)
        assert (await new.push(CommandType.SESSION)).session_message.code == 4111


async def test_the_device_token_is_the_device_of_mobile_sdks():
    async with world() as server, peer_of(server) as one, peer_of(server) as two:
        await one.login("Tom", tag="phone", device_token="t1")
        reply = await two.open("Tom", tag="phone", device_token="t2", r=True)
        assert error_of(reply)[0] == 4111
        await two.login("Tom", tag="phone", device_token="t1", r=True)


# Who is online, and other small things.


async def test_the_online_query_looks_at_twenty_ids():
    async with world() as server, peer_of(server) as peer:
        await peer.login("Tom")
        await peer.login("Jerry")
        ids = ["nobody", "Jerry", *(f"x{n}" for n in range(17)), "Tom"]
        reply = await peer.call(session(OpType.QUERY, session_peer_ids=ids))
        assert reply.op == OpType.QUERY_RESULT
        assert sorted(reply.session_message.online_session_peer_ids) == ["Jerry", "Tom"]
        reply = await peer.call(session(OpType.QUERY, session_peer_ids=["a", *ids]))
        assert reply.session_message.online_session_peer_ids == ["Jerry"]


async def test_a_device_token_report_is_acknowledged():
    async with world() as server, peer_of(server) as peer:
        await peer.login("Tom")
        reply = await peer.call(
            GenericCommand(
                cmd=CommandType.REPORT,
                op=OpType.UPLOAD,
                report_message=ReportCommand(initiative=True, type="token", data="t"),
            )
        )
        assert (reply.cmd, reply.op) == (CommandType.REPORT, OpType.UPLOADED)


# What was missed.


async def test_unread_counters_follow_the_login():
    async with world() as server, peer_of(server) as tom:
        await tom.login("Tom")
        cid = await conversation_of(tom, "Tom", "Jerry")
        for n in range(3):
            await tom.call(direct(cid, str(n)))
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


async def test_delivery_mode_one_gets_the_messages_themselves():
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
                assert after == pytest.approx(0.010)
        assert [t for *_, t in times] == sorted(t for *_, t in times)
        assert {(c, op) for _, c, op, _ in times[1:]} == {
            (c, op) for c in ("Tom", "Jerry") for op in (OpType.JOINED, OpType.MEMBERS_JOINED)
        }
