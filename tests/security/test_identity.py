"""Nobody is somebody else, and nobody reaches what is not theirs. The codes are the protocol's."""

from __future__ import annotations

import hashlib
import hmac
import json
from contextlib import asynccontextmanager

import pytest
import trio

from tests.server.gateway.world import (
    PATIENCE,
    conversation_of,
    direct,
    error_of,
    peer_of,
    session,
    start,
    world,
)
from trio_realtime.server import App, Enforcement, ServerConfig
from trio_realtime.server.rules import signatures
from trio_realtime.wire import (
    AckCommand,
    BlacklistCommand,
    CommandType,
    ConvCommand,
    GenericCommand,
    JsonObjectMessage,
    LogsCommand,
    OpType,
    PatchCommand,
    PatchItem,
    ReadCommand,
    ReadTuple,
)

HOURS_6 = 6 * 3600 * 1000
ONE, TWO = App("one", "one-key", "one-master"), App("two", "two-key", "two-master")


@asynccontextmanager
async def scene(**options):
    """Tom and Jerry in a conversation; Spike, a stranger to it, on a connection of his own."""
    async with (
        world(**options) as server,
        peer_of(server) as tom,
        peer_of(server) as jerry,
        peer_of(server) as spike,
    ):
        await tom.login("Tom")
        await jerry.login("Jerry")
        await spike.login("Spike")
        cid = await conversation_of(tom, "Tom", "Jerry", unique=False)
        await settle(tom, jerry, spike)
        yield server, cid, tom, jerry, spike
        # Whatever was tried: those who belong go on talking.
        assert (await tom.call(direct(cid, "still here"))).ack_message.code is None
        while (await jerry.push(CommandType.DIRECT)).direct_message.msg != "still here":
            pass
        assert server.stats().metrics.internal_errors_total == 0


async def settle(*peers):
    """Forget what is still on its way to them."""
    await trio.sleep(1)
    for peer in peers:
        await peer.call(GenericCommand(cmd=CommandType.ECHO))
        peer.pushed.clear()


def code_of(reply):
    if reply.cmd == CommandType.ERROR:
        return reply.error_message.code
    if reply.cmd == CommandType.ACK:
        return reply.ack_message.code
    return None


def conv(op, cid, **fields):
    return GenericCommand(cmd=CommandType.CONV, op=op, conv_message=ConvCommand(cid=cid, **fields))


FORGED = {
    "message": lambda cid: direct(cid, "I am Tom", "Tom"),
    "history": lambda cid: GenericCommand(
        cmd=CommandType.LOGS, peer_id="Tom", logs_message=LogsCommand(cid=cid)
    ),
    "conversation": lambda _cid: start(["Tom", "Spike"], "Tom"),
    "log-out": lambda _cid: session(OpType.CLOSE, "Tom"),
    "token": lambda _cid: session(OpType.REFRESH, "Tom"),
}


@pytest.mark.parametrize("what", FORGED)
async def test_a_client_id_that_is_not_logged_in_here_is_refused(what, clock):
    async with scene() as (server, cid, _tom, _jerry, spike):
        reply = await spike.call(FORGED[what](cid))
        assert code_of(reply) == 4105
        assert server.stats().sessions == 3


async def test_the_sender_of_a_message_is_who_sent_it(clock):
    async with scene() as (_server, cid, tom, jerry, _spike):
        forged = direct(cid, "hello", from_peer_id="Jerry", id="chosen", timestamp=5)
        ack = (await tom.call(forged)).ack_message
        assert ack.uid != "chosen"
        pushed = (await jerry.push(CommandType.DIRECT)).direct_message
        assert (pushed.from_peer_id, pushed.id, pushed.timestamp) == ("Tom", ack.uid, ack.t)


async def test_who_made_a_conversation_is_not_for_the_client_to_say(clock):
    async with scene() as (_server, _cid, tom, jerry, _spike):
        attr = JsonObjectMessage(
            data=json.dumps(
                {"name": "n", "c": "Jerry", "m": ["Spike"], "objectId": "x", "sys": True}
            )
        )
        mine = await conversation_of(tom, "Tom", "Jerry", unique=False, attr=attr)
        where = JsonObjectMessage(data=json.dumps({"objectId": mine}))
        results = (await jerry.call(conv(OpType.QUERY, None, where=where))).conv_message.results
        (found,) = json.loads(results.data)
        assert (found["c"], sorted(found["m"]), found["objectId"]) == (
            "Tom",
            ["Jerry", "Tom"],
            mine,
        )
        assert not found.get("sys")


FOREIGN = {
    "sending": (lambda cid: direct(cid, "psst"), 4401),
    "history": (
        lambda cid: GenericCommand(cmd=CommandType.LOGS, logs_message=LogsCommand(cid=cid)),
        4312,
    ),
    "update": (
        lambda cid: conv(OpType.UPDATE, cid, attr=JsonObjectMessage(data='{"name":"mine"}')),
        4309,
    ),
    "invite": (lambda cid: conv(OpType.ADD, cid, m=["Tyke"]), 4317),
    "kick": (lambda cid: conv(OpType.REMOVE, cid, m=["Jerry"]), 4317),
    "silence": (lambda cid: conv(OpType.ADD_SHUTUP, cid, m=["Jerry"]), 4317),
    "role": (
        lambda cid: conv(OpType.MEMBER_INFO_UPDATE, cid, target_client_id="Jerry"),
        4317,
    ),
    "block": (
        lambda cid: GenericCommand(
            cmd=CommandType.BLACKLIST,
            op=OpType.BLOCK,
            blacklist_message=BlacklistCommand(src_cid=cid, to_pids=["Jerry"]),
        ),
        4317,
    ),
    "edit": (
        lambda cid: GenericCommand(
            cmd=CommandType.PATCH,
            op=OpType.MODIFY,
            patch_message=PatchCommand(
                patches=[PatchItem(cid=cid, mid="x", timestamp=5, data="mine")]
            ),
        ),
        4404,
    ),
}


@pytest.mark.parametrize("what", FOREIGN)
async def test_a_stranger_changes_and_reads_nothing(what, clock):
    command, code = FOREIGN[what]
    async with scene() as (_server, cid, tom, jerry, spike):
        await tom.call(direct(cid, "a secret"))
        await settle(tom, jerry)
        before = await conversation(tom, cid)
        reply = await spike.call(command(cid))
        assert code_of(reply) == code
        assert reply.logs_message is None
        assert await conversation(tom, cid) == before
        await jerry.nothing_more()


async def conversation(peer, cid):
    where = JsonObjectMessage(data=json.dumps({"objectId": cid}))
    reply = await peer.call(conv(OpType.QUERY, None, where=where))
    return json.loads(reply.conv_message.results.data)


async def test_marks_and_receipts_of_strangers_are_passed_over(clock):
    async with scene() as (_server, cid, tom, _jerry, spike):
        ack = (await tom.call(direct(cid, "read me", r=True))).ack_message
        await settle(tom)
        for command in (
            GenericCommand(
                cmd=CommandType.READ,
                read_message=ReadCommand(convs=[ReadTuple(cid=cid, timestamp=ack.t, mid=ack.uid)]),
            ),
            GenericCommand(
                cmd=CommandType.ACK, ack_message=AckCommand(cid=cid, fromts=0, tots=2**50)
            ),
            GenericCommand(cmd=CommandType.ACK, ack_message=AckCommand(cid=cid, mid=ack.uid)),
        ):
            await spike.send(command)
        await spike.nothing_more()
        await tom.nothing_more()


@pytest.mark.parametrize("recall", [True, False])
async def test_only_the_author_edits_and_recalls(recall, clock):
    async with scene() as (_server, cid, tom, jerry, spike):
        ack = (await tom.call(direct(cid, "mine"))).ack_message

        def patch(mid, timestamp):
            item = PatchItem(cid=cid, mid=mid, timestamp=timestamp, data="yours", recall=recall)
            return GenericCommand(
                cmd=CommandType.PATCH,
                op=OpType.MODIFY,
                patch_message=PatchCommand(patches=[item]),
            )

        for other in (jerry, spike):
            assert code_of(await other.call(patch(ack.uid, ack.t))) == 4403
        assert code_of(await tom.call(patch("x" * 22, ack.t))) == 4404
        history = GenericCommand(cmd=CommandType.LOGS, logs_message=LogsCommand(cid=cid))
        (item,) = (await tom.call(history)).logs_message.logs
        assert (item.data, item.patch_timestamp) == ("mine", None)


@asynccontextmanager
async def two_apps():
    async with (
        world(apps=[ONE, TWO]) as server,
        peer_of(server, app_id="one") as tom,
        peer_of(server, app_id="two") as spike,
    ):
        yield server, tom, spike


async def test_tokens_and_conversations_of_another_app_do_not_exist(clock):
    async with two_apps() as (server, tom, spike):
        token = await tom.login("Tom")
        cid = await conversation_of(tom, "Tom", "Jerry")
        assert error_of(await spike.open("Tom", r=True, st=token))[0] == 4112
        await spike.login("Tom")
        assert code_of(await spike.call(direct(cid, "x"))) == 4401
        history = GenericCommand(cmd=CommandType.LOGS, logs_message=LogsCommand(cid=cid))
        assert code_of(await spike.call(history)) == 4303
        assert code_of(await spike.call(conv(OpType.ADD, cid, m=["x"]))) == 4303
        assert await conversation(spike, cid) == []
        online = session(OpType.QUERY, session_peer_ids=["Tom", "Jerry"])
        assert (await spike.call(online)).session_message.online_session_peer_ids == ["Tom"]
        assert (await tom.call(direct(cid, "still here"))).ack_message.code is None
        assert server.stats().metrics.internal_errors_total == 0


async def test_one_connection_belongs_to_one_app(clock):
    async with two_apps() as (_server, tom, _spike):
        await tom.login("Tom")
        tom.app_id = "two"
        assert error_of(await tom.open("Jerry"))[0] == 4105


async def ask(server, app, key, path, token=None):
    stream = await server.connect()
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-LC-Id: {app}\r\nX-LC-Key: {key}\r\n"
    if token is not None:
        head += f"X-LC-IM-Session-Token: {token}\r\n"
    await stream.send_all(f"{head}\r\n".encode())
    answer = b""
    with trio.fail_after(PATIENCE):
        while data := await stream.receive_some():
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


async def test_keys_and_tokens_of_one_app_open_nothing_of_another(clock):
    async with two_apps() as (server, tom, spike):
        toms = await tom.login("Tom")
        spikes = await spike.login("Tom")
        path = "/1.1/rtm/notifications?client_id=Tom&start_ts=0"
        assert (await ask(server, "one", "one-key", path, toms))[0] == 200
        assert (await ask(server, "one", "one-key", path, spikes))[1]["code"] == 4112
        assert (await ask(server, "two", "two-key", path, toms))[1]["code"] == 4112
        assert (await ask(server, "one", "two-key", path, toms))[0] == 401
        assert (await ask(server, "one", "one-key,master", path, toms))[0] == 401
        assert (await ask(server, "one", "two-master,master", path, toms))[0] == 401


async def test_signatures_are_bound_to_app_client_and_purpose(clock):
    strict = App("strict", "k", "m", enforce=Enforcement(login=True, conversations=True))
    async with world(apps=[strict]) as server, peer_of(server) as tom:
        now = server.server.config.clock()

        def signed(text, then=now):
            return {"t": then, "n": "nonce", "s": signatures.sign("m", text)}

        for text in (
            signatures.login_string("other", "Tom", now, "nonce"),
            signatures.login_string("strict", "Jerry", now, "nonce"),
            signatures.login_string("strict", "Tom", now, "another"),
            signatures.conversation_string("strict", "Tom", None, ["Tom"], now, "nonce", None),
        ):
            assert error_of(await tom.open("Tom", **signed(text)))[0] == 4102
        for then in (now - HOURS_6 - 60_000, now + HOURS_6 + 60_000):
            text = signatures.login_string("strict", "Tom", then, "nonce")
            assert error_of(await tom.open("Tom", **signed(text, then)))[0] == 4102
        await tom.login("Tom", **signed(signatures.login_string("strict", "Tom", now, "nonce")))
        members = ["Jerry", "Tom"]
        good = signatures.conversation_string("strict", "Tom", None, members, now, "nonce", None)
        bad = signatures.conversation_string("strict", "Tom", None, ["Spike"], now, "nonce", None)
        assert error_of(await tom.call(start(members, **signed(bad))))[0] == 4302
        cid = (await tom.call(start(members, **signed(good)))).conv_message.cid
        invite = signatures.conversation_string(
            "strict", "Tom", cid, ["Mary"], now, "nonce", "invite"
        )
        assert code_of(await tom.call(conv(OpType.ADD, cid, m=["Spike"], **signed(invite)))) == 4302
        assert (
            code_of(await tom.call(conv(OpType.REMOVE, cid, m=["Jerry"], **signed(invite)))) == 4302
        )
        assert (
            await tom.call(conv(OpType.ADD, cid, m=["Mary"], **signed(invite)))
        ).op == OpType.ADDED


async def asks_as_master(server, sign):
    """Whether the sign lets in where only the master key does."""
    stream = await server.connect()
    head = f"GET /1.2/rtm/service-conversations/x/subscribers/count HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-LC-Id: one\r\nX-LC-Sign: {sign}\r\n\r\n"
    await stream.send_all(head.encode())
    answer = b""
    with trio.fail_after(PATIENCE):
        while data := await stream.receive_some():
            answer += data
    return answer.split()[1] != b"401"


def md5_sign(key, stamp):
    return hashlib.md5(f"{stamp}{key}".encode()).hexdigest() + f",{stamp}"


async def test_a_sign_with_the_master_key_is_good_for_ten_minutes(clock):
    async with world(apps=[ONE]) as server:
        now = server.server.config.clock()
        for away in (0, -599_000, 599_000):
            assert await asks_as_master(server, md5_sign("one-master", now + away) + ",master")
        for away in (-601_000, 601_000, 1_000_000_000_000 - now, -now):
            assert not await asks_as_master(server, md5_sign("one-master", now + away) + ",master")
        good = md5_sign("one-master", now)
        for bad in (good, f"{good[1:]},master", f"{'0' * 32},{now},master", ",,master"):
            assert not await asks_as_master(server, bad)
        assert not await asks_as_master(server, md5_sign("one-master", "9" * 5000) + ",master")


def test_how_long_a_sign_with_the_master_key_is_good_is_an_option():
    now = 1_700_000_000_000
    assert signatures.rest_sign_is(md5_sign("master", now - 60_000), "master", now, 60)
    assert not signatures.rest_sign_is(md5_sign("master", now - 60_001), "master", now, 60)
    assert not signatures.rest_sign_is(md5_sign("master", now + 60_001), "master", now, 60)


def test_a_sign_with_the_app_key_is_good_whatever_its_time():
    """Native SDKs send it from phones whose clocks are wrong."""
    now = 1_700_000_000_000
    for then in (0, now - 10**11, now + 10**11):
        assert signatures.rest_sign_is(md5_sign("key", then), "key", now)


async def test_secrets_are_compared_in_constant_time(monkeypatch, clock):
    compared = []
    honest = hmac.compare_digest

    def counting(one, other):
        compared.append((one, other))
        return honest(one, other)

    monkeypatch.setattr(signatures.hmac, "compare_digest", counting)
    config = ServerConfig(apps=[ONE])
    now = config.clock()
    assert not signatures.verify_login(ONE, "Tom", now, "n", "0" * 40, now)
    assert len(compared) == 1
    assert not signatures.rest_key_is("wrong", ONE.key)
    assert not signatures.rest_sign_is(f"{'0' * 32},{now}", ONE.key)
    assert len(compared) == 3
    async with two_apps() as (server, tom, _spike):
        token = await tom.login("Tom")
        path = "/1.1/rtm/notifications?client_id=Tom&start_ts=0"
        before = len(compared)
        await ask(server, "one", "one-kez", path, token)
        assert len(compared) > before
