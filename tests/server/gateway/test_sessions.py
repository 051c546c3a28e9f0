from __future__ import annotations

import pytest
import trio

from tests.server.gateway.world import (
    conversation_of,
    direct,
    error_of,
    opening,
    peer_of,
    session,
    world,
)
from trio_realtime._values.protocol import TOKEN_GRACE_MS
from trio_realtime.server import App, Enforcement, Limits
from trio_realtime.server.rules.signatures import login_string, sign
from trio_realtime.wire import (
    CommandType,
    GenericCommand,
    OpType,
    ReportCommand,
)

SIGNED = App("signed", "key", "master", enforce=Enforcement(login=True))
HOUR = 3600


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
        assert reply.session_message.st_ttl == 3 * 86400
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


async def test_a_kick_voids_the_tokens_too(clock):
    async with world(apps=[SIGNED]) as server:
        async with peer_of(server) as peer:
            token = await peer.login("Tom", **signature(server, "Tom"))
            await server.kick("Tom")
            await trio.sleep(1)
        async with peer_of(server) as peer:
            assert error_of(await peer.open("Tom", r=True, st=token))[0] == 4112
            assert error_of(await peer.open("Tom", r=True))[0] == 4102
            await peer.login("Tom", **signature(server, "Tom"))


async def test_a_token_opens_again_on_another_connection():
    async with world() as server:
        async with peer_of(server) as peer:
            token = await peer.login("Tom")
        async with peer_of(server) as peer:
            again = await peer.login("Tom", r=True, st=token)
            assert again
            # The old one stays valid until it expires.
            await peer.login("Tom", r=True, st=token)


async def test_who_returns_with_its_token_leaves_the_old_connection():
    async with (
        world() as server,
        peer_of(server) as old,
        peer_of(server) as device,
        peer_of(server) as new,
        peer_of(server) as newest,
    ):
        token = await old.login("Tom")
        await device.login("Tom")
        # The answer to the return may be lost as well: the token is still the old one.
        for left, back in [(old, new), (new, newest)]:
            await back.login("Tom", r=True, st=token)
            assert server.stats().sessions == 2, "another device of the user stays"
            assert (await left.closed())[0] == 1006
        await device.nothing_more()
        await newest.nothing_more()


async def test_a_return_that_comes_late_ends_nothing():
    async with world() as server:
        async with peer_of(server) as peer:
            token = await peer.login("Tom")
        async with peer_of(server) as given_up, peer_of(server) as new:
            await new.login("Tom", r=True, st=token)
            await given_up.login("Tom", r=True, st=token)
            await new.nothing_more()
            assert server.stats().sessions == 2


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
        assert reply.session_message.st_ttl == 60 + TOKEN_GRACE_MS / 1000
        await trio.sleep(59)
        await peer.login("Tom", r=True, st=token)
        await trio.sleep(1)
        assert error_of(await peer.open("Tom", r=True, st=token))[0] == 4112
        await peer.login("Tom", r=True)


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
    async with world(apps=[SIGNED], refuse_repeated_nonces=True) as server, peer_of(server) as peer:
        signed = signature(server, "Tom")
        token = await peer.login("Tom", **signed)
        assert error_of(await peer.open("Tom", **signed))[0] == 4102
        await peer.login("Tom", st=token, **signed)
        await peer.login("Jerry", **signature(server, "Jerry"))


async def test_of_two_logins_with_one_signature_at_one_time_one_succeeds():
    async with (
        world(apps=[SIGNED], refuse_repeated_nonces=True) as server,
        peer_of(server) as one,
        peer_of(server) as two,
    ):
        signed = signature(server, "Tom")
        replies = []

        async def enter(peer):
            replies.append((await peer.open("Tom", **signed)).cmd)

        async with trio.open_nursery() as nursery:
            for peer in (one, two):
                nursery.start_soon(enter, peer)
        assert sorted(replies) == sorted([CommandType.SESSION, CommandType.ERROR])


async def test_a_wrong_signature_spends_no_nonce():
    async with world(apps=[SIGNED], refuse_repeated_nonces=True) as server, peer_of(server) as peer:
        signed = signature(server, "Tom")
        forged = {**signed, "s": "0" * 40}
        assert error_of(await peer.open("Tom", **forged))[0] == 4102
        await peer.login("Tom", **signed)


async def test_replay_protection_is_a_switch():
    async with world(apps=[SIGNED]) as server, peer_of(server) as peer:
        signed = signature(server, "Tom")
        await peer.login("Tom", **signed)
        await peer.login("Tom", **signed)


async def test_refresh_gives_a_new_token_even_for_an_expired_one(clock):
    async with world(limits=Limits(token_ttl=60)) as server, peer_of(server) as peer:
        token = await peer.login("Tom")
        await trio.sleep(61)
        reply = await peer.call(session(OpType.REFRESH, "Tom", st=token))
        assert (reply.op, reply.session_message.st_ttl) == (
            OpType.REFRESHED,
            60 + TOKEN_GRACE_MS / 1000,
        )
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


async def test_a_return_that_names_no_device_does_not_push_out_another(clock):
    limits = Limits(token_ttl=60)
    async with world(limits=limits) as server, peer_of(server) as old, peer_of(server) as new:
        await old.login("Tom", tag="phone", device_id="d1")
        await new.login("Tom", tag="phone", device_id="d2")
        await trio.sleep(61)
        # The fallback of the JavaScript SDK once its token has expired.
        assert error_of(await old.open("Tom", r=True)) == (4111, "SESSION_CONFLICT")
        await new.nothing_more()
        await new.call(session(OpType.CLOSE, "Tom"))
        await old.login("Tom", r=True)


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
