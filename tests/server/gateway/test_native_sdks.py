"""What the SDKs for Java, Swift and Objective-C need, and the JavaScript one does not.

One section for each row of the checklist in docs/protocol/native-sdks.md §10.
"""

from __future__ import annotations

import hashlib
import itertools
import json

import pytest
import trio

from tests.server.gateway.world import (
    HANDSHAKE,
    PATIENCE,
    conversation_of,
    direct,
    error_of,
    opening,
    peer_of,
    session,
    start,
    world,
)
from tests.server.test_http import ask
from trio_realtime.server import App, Limits
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

JAVA, SWIFT = 175, 187
NUMBERS = [-65535, -1, 0, 65535]


@pytest.fixture
def clock(autojump_clock):
    return autojump_clock


def conv(op, **fields):
    return GenericCommand(cmd=CommandType.CONV, op=op, conv_message=ConvCommand(**fields))


def attributes(value):
    return JsonObjectMessage(data=json.dumps(value))


def installation():
    return GenericCommand(cmd=CommandType.LOGIN, app_id="test-app", installation_id="0" * 32)


def edit(cid, ack, data):
    item = PatchItem(cid=cid, mid=ack.uid, timestamp=ack.t, recall=False, data=data)
    return GenericCommand(
        cmd=CommandType.PATCH, op=OpType.MODIFY, patch_message=PatchCommand(patches=[item])
    )


async def answer_to(peer, command):
    """The reply to a command that has its number already, or none."""
    await peer.send(command)
    return await peer.reply_to(command.i)


# 1. Every push carries the service and the client's id.


@pytest.mark.parametrize("second", [False, True])
async def test_every_push_names_service_and_client(second):
    async with world() as server, peer_of(server) as tom, peer_of(server) as jerry:
        await tom.login("Tom", config_bitmap=SWIFT)
        await jerry.login("Jerry", config_bitmap=SWIFT)
        if second:
            await jerry.login("Mary")
        cid = await conversation_of(tom, "Tom", "Jerry")
        ack = (await tom.call(direct(cid, "hi", r=True))).ack_message
        await tom.call(edit(cid, ack, "hello"))
        await tom.call(conv(OpType.UPDATE, cid=cid, attr=attributes({"name": "x"})))
        acknowledged = AckCommand(cid=cid, mid=ack.uid)
        await jerry.send(
            GenericCommand(cmd=CommandType.ACK, peer_id="Jerry", ack_message=acknowledged)
        )
        read = ReadCommand(convs=[ReadTuple(cid=cid, mid=ack.uid, timestamp=ack.t)])
        await jerry.send(GenericCommand(cmd=CommandType.READ, peer_id="Jerry", read_message=read))
        await tom.push(CommandType.RCP)
        heard = [await jerry.push(cmd) for cmd in (CommandType.DIRECT, CommandType.PATCH)]
        heard.append(await jerry.push(CommandType.UNREAD))
        heard.append(await jerry.push(CommandType.CONV, OpType.UPDATED))
        await server.kick("Jerry")
        heard += [await jerry.push(CommandType.SESSION, OpType.CLOSED), *jerry.pushed]
        assert {(push.service, push.peer_id, push.i) for push in heard} == {(2, "Jerry", None)}


# 2. The sub-protocol is echoed, no extension negotiated.


async def test_the_name_of_the_protocol_is_echoed_and_no_extension():
    offers = b"client_max_window_bits; server_max_window_bits=15"
    async with world() as server:
        stream = await server.connect()
        offer = b"Sec-WebSocket-Extensions: permessage-deflate; " + offers
        await stream.send_all(HANDSHAKE[:-2] + offer + b"\r\n\r\n")
        head = (await stream.receive_some()).lower().split(b"\r\n")
        assert head[0].startswith(b"http/1.1 101 ")
        assert b"sec-websocket-protocol: lc.protobuf2.3" in head
        assert not any(line.startswith(b"sec-websocket-extensions") for line in head)


# 3. An installation may log in first; commands may lack operation or number.


async def test_an_installation_logs_in_before_any_client():
    async with world() as server, peer_of(server) as peer:
        await peer.send(installation())
        await peer.login("Tom", config_bitmap=JAVA)
        assert all(push.cmd == CommandType.LOGGEDIN for push in peer.pushed)


async def test_the_login_of_an_installation_meets_the_login_time_out(clock):
    async with world(limits=Limits(login_timeout=5)) as server, peer_of(server) as peer:
        await peer.send(installation())
        await trio.sleep(30)
        await peer.login("Tom")


async def test_commands_without_operation_or_number_harm_nobody():
    async with world() as server, peer_of(server) as peer:
        await peer.login("Tom")
        for cmd in CommandType:
            await peer.send(GenericCommand(cmd=cmd))
        await peer.login("Tom")


# 4. Numbers are any; a login may have none.


@pytest.mark.parametrize("number", NUMBERS)
async def test_any_number_is_echoed(number):
    async with world() as server, peer_of(server) as peer:
        command = opening(server.app_id, "Tom")
        command.i = number
        assert (await answer_to(peer, command)).op == OpType.OPENED
        for again in (start(["Tom"]), direct("0" * 24, "x"), conv(OpType.COUNT, cid="0" * 24)):
            again.i = number
            assert (await answer_to(peer, again)).i == number


async def test_a_login_without_a_number_is_answered_without_one():
    async with world() as server, peer_of(server) as peer:
        opened = await answer_to(peer, opening(server.app_id, "Tom"))
        assert (opened.op, opened.i) == (OpType.OPENED, None)
        refused = await answer_to(peer, opening(server.app_id, "Tom", r=True, st="wrong"))
        assert (error_of(refused), refused.i) == ((4112, "SESSION_TOKEN_EXPIRED"), None)


# 5. What is granted with a login.


@pytest.mark.parametrize("ttl", [60, 86400, 2**31 - 1])
async def test_a_login_is_granted_with_all_that_sdks_need(ttl):
    async with world(limits=Limits(token_ttl=ttl)) as server, peer_of(server) as peer:
        for fields in ({}, {"r": True}):
            opened = await peer.open("Tom", **fields)
            granted = opened.session_message
            assert (opened.peer_id, opened.service) == ("Tom", 2)
            assert opened.server_ts > 0
            assert granted.st
            assert 0 < granted.st_ttl <= 2_147_483
            assert granted.code is None


# 6. `updated`: attributes, what was changed, and when.


async def test_a_change_is_told_in_full_to_everybody():
    async with world() as server, peer_of(server) as tom, peer_of(server) as jerry:
        await tom.login("Tom")
        await jerry.login("Jerry")
        cid = await conversation_of(tom, "Tom", "Jerry", attr=attributes({"name": "old"}))
        change = attributes({"name": "new", "attr.k": 1})
        reply = await tom.call(conv(OpType.UPDATE, cid=cid, attr=change))
        push = await jerry.push(CommandType.CONV, OpType.UPDATED)
        assert reply.op == OpType.UPDATED
        for told in (reply.conv_message, push.conv_message):
            assert json.loads(told.attr_modified.data)["name"] == "new"
            assert json.loads(told.attr.data)["name"] == "new"
            assert told.udate
        assert reply.conv_message.udate == push.conv_message.udate


# 7. Edits, receipts and acknowledgements.


async def test_edits_receipts_and_acknowledgements_have_only_what_is_meant():
    async with world() as server, peer_of(server) as tom, peer_of(server) as jerry:
        await tom.login("Tom")
        await jerry.login("Jerry")
        cid = await conversation_of(tom, "Tom", "Jerry")
        ack = (await tom.call(direct(cid, "hi", r=True))).ack_message
        assert (ack.code, ack.app_code) == (None, None)
        assert ack.uid
        assert ack.t
        acknowledged = AckCommand(cid=cid, mid=ack.uid)
        await jerry.send(GenericCommand(cmd=CommandType.ACK, ack_message=acknowledged))
        receipt = (await tom.push(CommandType.RCP)).rcp_message
        assert (receipt.id, receipt.cid, receipt.from_, receipt.read) == (
            ack.uid,
            cid,
            "Jerry",
            None,
        )
        assert receipt.t
        modified = await tom.call(edit(cid, ack, "hello"))
        assert modified.op == OpType.MODIFIED
        assert modified.patch_message.last_patch_time


# 8. The signed key counts wherever the plain one does.


def keys(server, key, *, master=False, at=None, plain=False):
    mark = ",master" if master else ""
    if plain:
        return {"X-LC-Id": server.app_id, "X-LC-Key": key + mark}
    at = server.server.config.clock() if at is None else at
    digest = hashlib.md5(f"{at}{key}".encode()).hexdigest()
    return {"X-LC-Id": server.app_id, "X-LC-Sign": f"{digest},{at}{mark}"}


REST = [
    ("GET", "/1.1/rtm/notifications?client_id=Tom&start_ts=0", b"", False),
    ("GET", "/1.1/classes/_ConversationMemberInfo?client_id=Tom&where={%22cid%22:%22{cid}%22}",
     b"", False),
    ("GET", "/1.1/rtm/messages/history?convid={cid}&peerid=Tom", b"", False),
    ("POST", "/1.1/fileTokens", b'{"name": "a.txt", "mime_type": "text/plain", "key": "k"}', False),
    ("POST", "/1.1/files", b'{"name": "a.txt", "url": "https://example.com/a.txt"}', False),
    ("POST", "/1.1/rtm/sign", b'{"session_token": "t"}', False),
    ("GET", "/1.2/rtm/conversations/{cid}/messages", b"", True),
    ("POST", "/1.2/rtm/service-conversations", b'{"name": "news"}', True),
    ("POST", "/1.2/rtm/clients/Tom/kick", b'{"reason": "x"}', True),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "master"), REST)
async def test_the_signed_key_counts_wherever_the_plain_one_does(method, path, body, master):
    async def lookup(_app, _token):
        return "Tom"

    async with world(user_lookup=lookup) as server, peer_of(server) as tom:
        token = await tom.login("Tom")
        path = path.replace("{cid}", await conversation_of(tom, "Tom"))
        key = server.master_key if master else server.app_key
        said = []
        for headers in (
            keys(server, key, master=master, plain=True),
            keys(server, key, master=master),
            keys(server, "wrong", master=master),
        ):
            headers["X-LC-IM-Session-Token"] = token
            status, _, _ = await ask(server, method, path, headers=headers, body=body)
            said.append(status)
            token = await tom.login("Tom")
        assert said[0] == said[1]
        assert said[0] in {200, 201}
        assert said[2] == 401


# 9. Both shapes of missed notifications.


async def test_missed_notifications_come_in_both_shapes():
    async with world() as server, peer_of(server) as tom:
        token = await tom.login("Tom")
        await conversation_of(tom, "Tom")
        headers = keys(server, server.app_key) | {"X-LC-IM-Session-Token": token}
        path = "/1.1/rtm/notifications?client_id=Tom&start_ts=0"
        _, nested, _ = await ask(server, "GET", path, headers=headers)
        assert nested["droppable"].keys() == {"invalidLocalConvCache", "notifications"}
        items = nested["permanent"]["notifications"]
        assert items
        assert all(isinstance(item["serverTs"], int) and item["cid"] for item in items)
        _, flat, _ = await ask(
            server, "GET", path + "&notification_type=permanent", headers=headers
        )
        assert flat["notifications"] == items


# 10. Lists page by offset; the names of replies are exact.


async def test_lists_page_by_offset_and_replies_have_their_names():
    names = [f"m{n}" for n in range(5)]
    async with world() as server, peer_of(server) as tom:
        await tom.login("Tom")
        cid = await conversation_of(tom, "Tom", *names)
        silenced = await tom.call(conv(OpType.ADD_SHUTUP, cid=cid, m=names))
        assert silenced.op == OpType.SHUTUP_ADDED
        found = []
        for offset in (None, "2", "4"):
            reply = await tom.call(conv(OpType.QUERY_SHUTUP, cid=cid, limit=2, next=offset))
            assert reply.op == OpType.SHUTUP_RESULT
            found += reply.conv_message.m
        assert sorted(found) == names

        def blacklist(op, **fields):
            message = BlacklistCommand(src_cid=cid, **fields)
            return GenericCommand(cmd=CommandType.BLACKLIST, op=op, blacklist_message=message)

        blocked = await tom.call(blacklist(OpType.BLOCK, to_pids=names))
        assert (blocked.op, blocked.blacklist_message.src_cid) == (OpType.BLOCKED, cid)
        found = []
        for offset in (None, "2", "4"):
            reply = await tom.call(blacklist(OpType.QUERY, limit=2, next=offset))
            assert (reply.op, reply.blacklist_message.src_cid) == (OpType.QUERY_RESULT, cid)
            found += reply.blacklist_message.blocked_pids
        assert sorted(found) == names
        assert (await tom.call(conv(OpType.COUNT, cid=cid))).op == OpType.RESULT
        assert (await tom.call(conv(OpType.MAX_READ, cid=cid))).op == OpType.MAX_READ


# 11. No command is left unanswered.

UNANSWERED = {(CommandType.ACK, op) for op in (None, *OpType)}
UNANSWERED |= {(CommandType.READ, op) for op in (None, *OpType)}
UNANSWERED |= {(CommandType.PATCH, OpType.MODIFIED)}
"""These are answers themselves, or SDKs wait for none."""


@pytest.mark.parametrize("service", [None, 0, 1, 2])
@pytest.mark.parametrize("logged_in", [False, True])
async def test_every_command_is_answered(service, logged_in, clock):
    kinds = sorted({*itertools.product(CommandType, (None, *OpType))} - UNANSWERED, key=str)
    async with world() as server, peer_of(server) as peer:
        if logged_in:
            await peer.login("Tom")
        for cmd, op in kinds:
            if logged_in and cmd == CommandType.SESSION:
                await peer.login("Tom")
            command = peer.number(GenericCommand(cmd=cmd, op=op, service=service))
            if command.cmd == CommandType.SESSION and op == OpType.OPEN:
                command.app_id = server.app_id
            with trio.fail_after(PATIENCE):
                assert await answer_to(peer, command)


async def test_who_is_over_the_limit_is_told_so(clock):
    limits = Limits(
        messages_per_minute=1, history_per_minute=1, commands_per_minute=2, login_timeout=600
    )
    async with world(limits=limits) as server, peer_of(server) as peer:
        await trio.sleep(60 - trio.current_time() % 60)
        await peer.login("Tom")
        cid = await conversation_of(peer, "Tom")
        logs = GenericCommand(cmd=CommandType.LOGS, logs_message=LogsCommand(cid=cid))
        commands = [
            direct(cid, "x"),
            logs,
            conv(OpType.COUNT, cid=cid),
            session(OpType.REFRESH, "Tom", st="x"),
            session(OpType.CLOSE, "Tom"),
            opening(server.app_id, "Tom"),
        ]
        for command in commands * 2:
            with trio.fail_after(PATIENCE):
                reply = await peer.call(command)
        assert error_of(reply) == (4116, "MESSAGE_SENT_QUOTA_EXCEEDED")


# 12. The router says how the server is reached.


async def test_the_router_answers_as_it_was_asked():
    async with world() as server:
        for query in ("&secure=1", "&installationId=0&secure=1"):
            path = f"/v1/route?appId={server.app_id}{query}"
            status, body, _ = await ask(server, "GET", path)
            assert status == 200
            assert body["server"].startswith("ws://")
            assert body["secondary"].startswith("ws://")
            assert isinstance(body["ttl"], int)


# 13. Pings are answered at once, and count.


async def test_pings_are_answered_at_once_and_keep_a_connection(clock):
    async with world(limits=Limits(read_timeout=200)) as server, peer_of(server) as peer:
        await peer.login("Tom")
        stream = await server.connect()
        ping = b"\x89\x80\0\0\0\0"
        await stream.send_all(HANDSHAKE + ping)
        began, data = trio.current_time(), b""
        while b"\x8a\x00" not in data:
            data += await stream.receive_some()
        assert trio.current_time() == began


async def test_who_only_pings_is_not_silent(clock):
    async with world(limits=Limits(read_timeout=200)) as server:
        stream = await server.connect()
        await stream.send_all(HANDSHAKE)
        from tests.server.gateway.world import masked
        from trio_realtime.wire import encode

        await stream.send_all(masked(encode(opening(server.app_id, "Tom"))))
        for _ in range(10):
            await trio.sleep(180)
            await stream.send_all(b"\x89\x80\0\0\0\0")
        assert server.stats().sessions == 1


# 14. What a client declares.


@pytest.mark.parametrize("bitmap", [JAVA, SWIFT])
async def test_both_declarations_are_understood(bitmap, clock):
    app = App("app-of-native-sdks", "key", "master")
    async with world(apps=[app]) as server, peer_of(server) as tom:
        await tom.login("Tom")
        cid = await conversation_of(tom, "Tom", "Jerry", unique=True)
        ack = (await tom.call(direct(cid, "hi"))).ack_message
        await trio.sleep(1)
        async with peer_of(server) as jerry:
            token = await jerry.login("Jerry", config_bitmap=bitmap, last_patch_time=ack.t)
            unread = await jerry.push(CommandType.UNREAD)
            assert unread.unread_message.convs[0].unread == 1
        await tom.call(edit(cid, ack, "hello"))
        await tom.call(conv(OpType.UPDATE, cid=cid, attr=attributes({"name": "x"})))
        await tom.call(conv(OpType.REMOVE, cid=cid, m=["Jerry"]))
        await tom.call(conv(OpType.ADD, cid=cid, m=["Jerry"]))
        async with peer_of(server) as jerry:
            fields = {"config_bitmap": bitmap, "last_patch_time": ack.t, "r": True, "st": token}
            await jerry.login("Jerry", **fields)
            assert (await jerry.push(CommandType.PATCH)).op == OpType.MODIFY
            await jerry.call(GenericCommand(cmd=CommandType.ECHO))
            # What was changed meanwhile is asked for, not pushed.
            assert [push for push in jerry.pushed if push.cmd == CommandType.CONV] == []
