"""Ways back into a session belong to the client that was in it, and end with a kick."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import pytest
import trio

from tests.security.test_identity import ask
from tests.server.gateway.test_sessions import SIGNED, signature
from tests.server.gateway.world import error_of, peer_of, session, world
from trio_realtime._values.protocol import TOKEN_GRACE_MS
from trio_realtime.server import Limits
from trio_realtime.server.rules.session import MAX_STATED_TTL, note_kick, stated_ttl
from trio_realtime.server.store.interface import TokenRow
from trio_realtime.wire import CommandType, OpType

SHORT = Limits(token_ttl=60, login_timeout=10**7, read_timeout=10**7)
GRACE = TOKEN_GRACE_MS / 1000


@asynccontextmanager
async def strict():
    """A server that demands signatures, and two connections: Tom's and a stranger's."""
    async with (
        world(apps=[SIGNED], limits=SHORT) as server,
        peer_of(server) as tom,
        peer_of(server) as spike,
    ):
        yield server, tom, spike
        assert server.stats().metrics.internal_errors_total == 0


async def test_a_stranger_does_not_return_as_somebody_else(clock):
    async with strict() as (server, tom, spike):
        await tom.login("Tom", **signature(server, "Tom"))
        for _ in range(2):
            assert error_of(await spike.open("Tom", r=True)) == (4102, "SIGNATURE_FAILED")
        await tom.call(session(OpType.CLOSE, "Tom"))
        assert error_of(await spike.open("Tom", r=True))[0] == 4102
        await trio.sleep(61)
        assert error_of(await spike.open("Tom", r=True))[0] == 4102
        assert server.stats().sessions == 0


async def test_whoever_shows_the_own_expired_token_returns_there_and_at_once(clock):
    async with strict() as (server, tom, spike):
        token = await tom.login("Tom", **signature(server, "Tom"))
        await trio.sleep(61)
        assert error_of(await tom.open("Tom", r=True, st=token)) == (4112, "SESSION_TOKEN_EXPIRED")
        # Elsewhere it vouches for nobody, and for nobody else here.
        assert error_of(await spike.open("Tom", r=True))[0] == 4102
        assert error_of(await tom.open("Jerry", r=True))[0] == 4102
        fresh = await tom.login("Tom", r=True)
        await tom.login("Tom", r=True, st=fresh)
        # Once.
        assert error_of(await tom.open("Tom", r=True))[0] == 4102


async def test_it_is_no_login(clock):
    async with strict() as (server, tom, _spike):
        token = await tom.login("Tom", **signature(server, "Tom"))
        await trio.sleep(61)
        assert error_of(await tom.open("Tom", r=True, st=token))[0] == 4112
        assert error_of(await tom.open("Tom", r=False))[0] == 4102


@pytest.mark.parametrize("shown", ["another's", "made up", "too old"])
async def test_no_other_token_vouches(shown, clock):
    async with strict() as (server, tom, spike):
        mine = await tom.login("Tom", **signature(server, "Tom"))
        theirs = await spike.login("Spike", **signature(server, "Spike"))
        await trio.sleep(61 if shown != "too old" else 61 + GRACE)
        token = {"another's": theirs, "made up": "x" * 32, "too old": mine}[shown]
        assert error_of(await spike.open("Tom", r=True, st=token))[0] == 4112
        assert error_of(await spike.open("Tom", r=True))[0] == 4102


async def test_a_wrong_signature_is_not_made_good_by_an_expired_token(clock):
    async with strict() as (server, tom, _spike):
        token = await tom.login("Tom", **signature(server, "Tom"))
        await trio.sleep(61)
        assert error_of(await tom.open("Tom", r=True, st=token))[0] == 4112
        wrong = signature(server, "Jerry")
        assert error_of(await tom.open("Tom", r=True, **wrong))[0] == 4102


async def test_a_kick_ends_the_grace_too(clock):
    async with strict() as (server, tom, _spike):
        token = await tom.login("Tom", **signature(server, "Tom"))
        await trio.sleep(61)
        assert error_of(await tom.open("Tom", r=True, st=token))[0] == 4112
        await server.server.kick("signed", "Tom")
        assert error_of(await tom.open("Tom", r=True))[0] == 4102


async def test_a_refresh_that_runs_after_the_kick_gives_no_token(clock):
    async with strict() as (server, tom, _spike):
        await tom.login("Tom", **signature(server, "Tom"))
        # What a kick commits, before its sessions hear of it.
        await server.server.gateway.store.write("signed", lambda tx: note_kick(tx, "Tom"))
        reply = await tom.call(session(OpType.REFRESH, "Tom"))
        assert error_of(reply) == (4115, "KICKED_BY_APP")


async def test_refreshes_around_a_kick_leave_no_way_back(clock):
    async with strict() as (server, tom, spike):
        await tom.login("Tom", **signature(server, "Tom"))
        commands = [tom.number(session(OpType.REFRESH, "Tom")) for _ in range(20)]
        async with trio.open_nursery() as nursery:
            for number, command in enumerate(commands):
                await tom.send(command)
                if number == 10:
                    nursery.start_soon(server.server.kick, "signed", "Tom")
        tokens = []
        for command in commands:
            reply = await tom.reply_to(command.i)
            if reply.op == OpType.REFRESHED:
                tokens.append(reply.session_message.st)
        assert (await tom.push(CommandType.SESSION, OpType.CLOSED)).session_message.code == 4115
        for token in tokens:
            assert error_of(await spike.open("Tom", r=True, st=token))[0] == 4112


async def test_a_kick_is_done_although_nobody_waits_for_it(clock):
    async with strict() as (server, tom, _spike):
        await tom.login("Tom", **signature(server, "Tom"))
        with trio.move_on_after(0) as gone:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.server.kick, "signed", "Tom")
                # It waits for its turn.
                await trio.lowlevel.checkpoint()
                gone.cancel()
        closed = await tom.push(CommandType.SESSION, OpType.CLOSED)
        assert closed.session_message.code == 4115


async def test_who_logs_in_after_a_kick_may_renew(clock):
    async with strict() as (server, tom, _spike):
        await tom.login("Tom", **signature(server, "Tom"))
        await server.server.kick("signed", "Tom")
        await trio.sleep(1)
        await tom.login("Tom", **signature(server, "Tom"))
        assert (await tom.call(session(OpType.REFRESH, "Tom"))).op == OpType.REFRESHED


async def test_until_the_end_that_clients_were_told_a_token_serves_for_reading(clock):
    async with strict() as (server, tom, _spike):
        reply = await tom.open("Tom", **signature(server, "Tom"))
        told = reply.session_message.st_ttl
        path = "/1.1/rtm/notifications?client_id=Tom&start_ts=0"
        await trio.sleep(told - 1)
        assert (await ask(server, "signed", "key", path, reply.session_message.st))[0] == 200
        await trio.sleep(2)
        answer = await ask(server, "signed", "key", path, reply.session_message.st)
        assert answer == (401, {"code": 4112, "error": "SESSION_TOKEN_EXPIRED"})


def test_what_clients_are_told_fits_into_all_of_them():
    assert stated_ttl(60) > 60
    assert stated_ttl(10**9) == MAX_STATED_TTL
    assert MAX_STATED_TTL * 1000 < 2**31


async def test_a_session_that_lost_its_tag_renews_nothing(clock):
    async with strict() as (server, tom, _spike):
        mine = signature(server, "Tom")
        token = await tom.login("Tom", tag="phone", device_id="old", **mine)
        # What a login elsewhere commits, before this session hears of it.
        newer = TokenRow("Tom", 2**53, "phone", "new")
        store = server.server.gateway.store
        await store.write("signed", lambda tx: tx.put_token("newer", newer))
        assert error_of(await tom.call(session(OpType.REFRESH, "Tom")))[0] == 4111
        assert error_of(await tom.open("Tom", r=True, st=token))[0] == 4111


@pytest.mark.parametrize("anew", [False, True], ids=["one connection", "one after the other"])
async def test_an_expired_token_shown_again_and_again_is_a_failed_login(anew, clock):
    limits = attrs.evolve(SHORT, failed_logins_per_minute=3)
    async with world(apps=[SIGNED], limits=limits) as server, peer_of(server) as tom:
        token = await tom.login("Tom", **signature(server, "Tom"))
        await trio.sleep(61)
        answers = []
        async with AsyncExitStack() as stack:
            spike = None
            for _ in range(5):
                if anew or spike is None:
                    spike = await stack.enter_async_context(peer_of(server))
                answers.append(error_of(await spike.open("Tom", r=True, st=token))[0])
            assert answers == [4112, 4112, 4112, 4112, 4116]
            assert await spike.closed() == (4116, "MESSAGE_SENT_QUOTA_EXCEEDED")


async def test_many_who_return_from_one_address_have_failed_at_nothing(clock):
    limits = attrs.evolve(SHORT, failed_logins_per_minute=3)
    async with world(apps=[SIGNED], limits=limits) as server, peer_of(server) as peer:
        names = [f"client {number}" for number in range(20)]
        tokens = [await peer.login(name, **signature(server, name)) for name in names]
        for _ in range(2):
            await trio.sleep(61)
            for number, name in enumerate(names):
                refused = await peer.open(name, r=True, st=tokens[number])
                assert error_of(refused)[0] == 4112
                tokens[number] = await peer.login(name, r=True)
