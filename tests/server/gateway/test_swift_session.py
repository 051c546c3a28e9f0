"""A session as the Swift SDK has it, frame by frame: docs/protocol/native-sdks.md §9."""

from __future__ import annotations

import hashlib
import json

import pytest
import trio

from tests.server.gateway.world import direct, error_of, peer_of, world
from tests.server.test_http import ask
from trio_realtime.wire import (
    AckCommand,
    CommandType,
    ConvCommand,
    DirectCommand,
    GenericCommand,
    JsonObjectMessage,
    LogsCommand,
    OpType,
    PatchCommand,
    PatchItem,
    ReadCommand,
    ReadTuple,
    SessionCommand,
)

BODY = '{"_lctype":-1,"_lctext":"hi"}'
DEVICE = {"ua": "LeanCloud-Swift-SDK/17.11.0", "config_bitmap": 187, "device_token": "d" * 32}


@pytest.fixture
def clock(autojump_clock):
    return autojump_clock


def signed(server, **more):
    at = server.server.config.clock()
    digest = hashlib.md5(f"{at}{server.app_key}".encode()).hexdigest()
    return {
        "X-LC-Id": server.app_id,
        "X-LC-Sign": f"{digest},{at}",
        "X-LC-Prod": "1",
        "User-Agent": DEVICE["ua"],
        **more,
    }


def attributes(value):
    return JsonObjectMessage(data=json.dumps(value))


def read_mark(cid, mid, timestamp):
    mark = ReadTuple(cid=cid, mid=mid, timestamp=timestamp)
    return GenericCommand(cmd=CommandType.READ, read_message=ReadCommand(convs=[mark]))


def logs(cid):
    return GenericCommand(cmd=CommandType.LOGS, logs_message=LogsCommand(cid=cid, limit=20))


def edit(cid, mid, timestamp, data):
    item = PatchItem(cid=cid, mid=mid, timestamp=timestamp, data=data)
    return GenericCommand(
        cmd=CommandType.PATCH, op=OpType.MODIFY, patch_message=PatchCommand(patches=[item])
    )


async def pushed(alice, cmd, op=None):
    """The next push of this kind, which must be addressed as Swift demands."""
    push = await alice.push(cmd, op)
    assert (push.service, push.peer_id, push.i) == (2, "alice", None)
    return push


@pytest.mark.parametrize("expired", [False, True])
async def test_a_session_of_the_swift_sdk(expired, clock):
    async with world() as server, peer_of(server) as bob:
        route = f"/v1/route?appId={server.app_id}&secure=1"
        _, found, _ = await ask(server, "GET", route, headers=signed(server))  # 1
        assert found["server"].startswith("ws://")
        assert found["secondary"].startswith("ws://")
        await bob.login("bob")
        async with peer_of(server) as alice:  # 2, 3
            seen = await first_life(server, alice, bob)
            server.drop_connections("alice")  # 26
            assert (await alice.closed())[0] == 1006
        await trio.sleep(1)
        seen["missed"] = (await bob.call(direct(seen["cid"], "three"))).ack_message
        update = ConvCommand(cid=seen["cid"], attr=attributes({"name": "y"}))
        await bob.call(GenericCommand(cmd=CommandType.CONV, op=OpType.UPDATE, conv_message=update))
        second = seen["second"]
        patched = await bob.call(edit(seen["cid"], second.id, second.timestamp, "two, edited"))
        seen["patched"] = patched.patch_message.last_patch_time
        async with peer_of(server) as alice:  # 27
            await second_life(server, alice, seen, expired=expired)


async def first_life(server, alice, bob):
    opened = await alice.open("alice", r=False, **DEVICE)  # 4
    granted = opened.session_message
    assert (opened.op, opened.i, opened.peer_id, opened.service) == (
        OpType.OPENED,
        1,
        "alice",
        2,
    )  # 5
    assert granted.st
    assert granted.st_ttl
    assert granted.code is None
    assert opened.server_ts

    message = ConvCommand(m=["bob", "alice"], unique=True)
    message.attr = attributes({"name": "n", "attr": {"k": 1}})
    started = await alice.call(
        GenericCommand(cmd=CommandType.CONV, op=OpType.START, conv_message=message)
    )  # 7
    cid = started.conv_message.cid
    assert (started.op, started.i) == (OpType.STARTED, 2)  # 8
    assert started.conv_message.cdate
    assert started.conv_message.unique_id
    assert started.conv_message.existing is not False
    joined = await pushed(alice, CommandType.CONV, OpType.JOINED)  # 9
    told = await pushed(alice, CommandType.CONV, OpType.MEMBERS_JOINED)  # 10
    for push in (joined, told):
        assert (push.conv_message.cid, push.conv_message.init_by) == (cid, "alice")
        assert push.conv_message.udate
        assert push.server_ts
        assert push.notification_type == 1
    assert sorted(told.conv_message.m) == ["alice", "bob"]

    said = DirectCommand(cid=cid, msg=BODY, r=True, dt="0" * 32)
    ack = await alice.call(GenericCommand(cmd=CommandType.DIRECT, direct_message=said))  # 11
    first = ack.ack_message
    assert (ack.cmd, ack.i, first.code, first.app_code) == (CommandType.ACK, 3, None, None)  # 12
    assert first.uid
    assert first.t
    acknowledged = AckCommand(cid=cid, mid=first.uid)
    await bob.send(GenericCommand(cmd=CommandType.ACK, ack_message=acknowledged))
    receipt = await pushed(alice, CommandType.RCP)  # 13
    told = receipt.rcp_message
    assert (told.id, told.cid, told.from_, told.read) == (first.uid, cid, "bob", None)
    assert told.t
    assert receipt.server_ts

    await bob.call(direct(cid, "two", r=True))
    second = (await pushed(alice, CommandType.DIRECT)).direct_message  # 14
    assert (second.cid, second.from_peer_id, second.msg) == (cid, "bob", "two")
    assert second.timestamp > first.t
    assert second.conv_type == 1
    assert second.patch_timestamp is None
    acknowledged = AckCommand(cid=cid, mid=second.id)
    await alice.send(GenericCommand(cmd=CommandType.ACK, ack_message=acknowledged))  # 15
    receipt = (await bob.push(CommandType.RCP)).rcp_message  # 16
    assert (receipt.id, receipt.from_, receipt.read) == (second.id, "alice", None)
    await alice.send(read_mark(cid, second.id, second.timestamp))  # 17
    unread = (await pushed(alice, CommandType.UNREAD)).unread_message  # 18
    (counter,) = unread.convs
    assert (counter.cid, counter.unread, bool(counter.mentioned)) == (cid, 0, False)
    assert unread.notif_time
    receipt = (await bob.push(CommandType.RCP)).rcp_message  # 19
    assert (receipt.id, receipt.from_, receipt.read) == (second.id, "alice", True)

    update = ConvCommand(cid=cid, attr=attributes({"name": "x"}))
    updated = await alice.call(
        GenericCommand(cmd=CommandType.CONV, op=OpType.UPDATE, conv_message=update)
    )  # 20
    assert (updated.op, updated.i) == (OpType.UPDATED, 4)  # 21
    assert updated.conv_message.udate
    assert json.loads(updated.conv_message.attr_modified.data) == {"name": "x"}
    modified = await alice.call(edit(cid, first.uid, first.t, "edited"))  # 22
    assert (modified.op, modified.i) == (OpType.MODIFIED, 5)  # 23
    patched = modified.patch_message.last_patch_time
    assert patched
    page = (await alice.call(logs(cid))).logs_message.logs  # 24
    one, two = page  # 25
    assert (one.msg_id, one.from_, one.timestamp) == (first.uid, "alice", first.t)
    assert (one.data, one.patch_timestamp) == ("edited", patched)
    assert one.ack_at
    assert (two.msg_id, two.from_, two.data) == (second.id, "bob", "two")
    return {
        "cid": cid,
        "second": second,
        "token": granted.st,
        "since": joined.server_ts,
        "notified": unread.notif_time,
        "patches": max(opened.server_ts, patched),
    }


async def second_life(server, alice, seen, *, expired):
    fields = {
        **DEVICE,
        "r": True,
        "last_unread_notif_time": seen["notified"],
        "last_patch_time": seen["patches"],
    }
    if expired:
        refused = await alice.open("alice", st="unknown", **fields)
        assert error_of(refused) == (4112, "SESSION_TOKEN_EXPIRED")
        opened = await alice.open("alice", **fields)
    else:
        opened = await alice.open("alice", st=seen["token"], **fields)  # 28
    assert (opened.op, opened.peer_id) == (OpType.OPENED, "alice")  # 29
    assert opened.session_message.st
    assert opened.session_message.st_ttl
    cid, missed, second = seen["cid"], seen["missed"], seen["second"]
    (counter,) = (await pushed(alice, CommandType.UNREAD)).unread_message.convs  # 30
    assert (counter.cid, counter.unread, counter.mid) == (cid, 1, missed.uid)
    assert (counter.timestamp, counter.from_, counter.data) == (missed.t, "bob", "three")
    assert counter.conv_type == 1
    (patch,) = (await pushed(alice, CommandType.PATCH, OpType.MODIFY)).patch_message.patches  # 31
    assert (patch.cid, patch.mid, patch.timestamp) == (cid, second.id, second.timestamp)
    assert (patch.patch_timestamp, patch.from_, patch.data) == (
        seen["patched"],
        "bob",
        "two, edited",
    )

    token = opened.session_message.st
    path = f"/1.1/rtm/notifications?client_id=alice&start_ts={seen['since']}"
    headers = signed(server, **{"X-LC-IM-Session-Token": token})
    status, body, _ = await ask(server, "GET", path, headers=headers)  # 32
    assert status == 200
    assert body["permanent"]["notifications"] == []
    # What concerned all members is not repeated: the SDK is told to read it again.
    assert body["droppable"] == {"invalidLocalConvCache": True, "notifications": []}
    query = ConvCommand(where=attributes({"objectId": cid}), limit=1)
    found = await alice.call(
        GenericCommand(cmd=CommandType.CONV, op=OpType.QUERY, conv_message=query)
    )
    (row,) = json.loads(found.conv_message.results.data)
    assert (row["objectId"], row["name"]) == (cid, "y")
    assert (await alice.call(logs(cid))).logs_message.logs[-1].msg_id == missed.uid  # 33
    await alice.send(read_mark(cid, missed.uid, missed.t))  # 34
    (counter,) = (await pushed(alice, CommandType.UNREAD)).unread_message.convs
    assert (counter.cid, counter.unread) == (cid, 0)
    closing = GenericCommand(
        cmd=CommandType.SESSION, op=OpType.CLOSE, session_message=SessionCommand()
    )
    closed = await alice.call(closing)  # 35
    assert closed.op == OpType.CLOSED
    assert closed.session_message is None or closed.session_message.code is None
