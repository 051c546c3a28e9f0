"""What a service says to single clients: who gets it, and what is kept of it."""

from __future__ import annotations

import hashlib
import random
from contextlib import asynccontextmanager

import pytest

from tests.server.api.caller import Caller
from tests.server.gateway.world import direct, peer_of, world
from trio_realtime.server.hooks.types import Hooks, Rewrite
from trio_realtime.server.store.ids import copy_id
from trio_realtime.wire import (
    AckCommand,
    CommandType,
    GenericCommand,
    LogsCommand,
    OpType,
    ReadCommand,
    ReadTuple,
)

SERVICES = "/1.2/rtm/service-conversations"
PUSHED = "lc.protobuf2.1"
"""What a client speaks that is sent what it has missed."""


@asynccontextmanager
async def scene():
    async with world() as server:
        call = Caller(server)
        made = await call("POST", SERVICES, {"name": "shop"})
        yield server, call, made.value["objectId"]


async def tell(call, cid, message, *names, **more):
    body = {"from_client": "shop", "to_clients": list(names), "message": message, **more}
    answer = await call("POST", f"{SERVICES}/{cid}/messages", body)
    assert answer.status == 200, answer
    assert answer.value.keys() == {"msg-id", "timestamp"}
    return answer.value


async def told(peer):
    return (await peer.push(CommandType.DIRECT)).direct_message


async def logs(peer, cid, **more):
    reply = await peer.call(
        GenericCommand(cmd=CommandType.LOGS, logs_message=LogsCommand(cid=cid, **more))
    )
    if reply.cmd == CommandType.ERROR:
        return reply.error_message.code
    return [item.data for item in reply.logs_message.logs]


async def test_those_who_are_named_get_it_and_nobody_else():
    async with scene() as (server, call, cid), peer_of(server) as tom, peer_of(server) as jerry:
        await tom.login("Tom")
        await jerry.login("Jerry")
        await call("POST", f"{SERVICES}/{cid}/subscribers", {"client_id": "Jerry"})
        jerry.pushed.clear()
        sent = await tell(call, cid, "your parcel", "Tom", "Spike")
        message = await told(tom)
        assert (message.cid, message.msg, message.from_peer_id) == (cid, "your parcel", "shop")
        assert (message.id, message.timestamp) == (sent["msg-id"], sent["timestamp"])
        await jerry.call(GenericCommand(cmd=CommandType.ECHO))
        assert all(command.cmd != CommandType.DIRECT for command in jerry.pushed)
        assert await logs(tom, cid) == ["your parcel"]
        assert await logs(jerry, cid) == []


async def test_a_subscriber_reads_one_history():
    async with scene() as (server, call, cid), peer_of(server) as tom, peer_of(server) as jerry:
        await tom.login("Tom")
        await jerry.login("Jerry")
        for name in ("Tom", "Jerry"):
            await call("POST", f"{SERVICES}/{cid}/subscribers", {"client_id": name})
        for n in range(3):
            body = {"from_client": "shop", "message": f"all {n}"}
            await call("POST", f"{SERVICES}/{cid}/broadcasts", body)
            await tell(call, cid, f"tom {n}", "Tom")
        everything = ["all 0", "tom 0", "all 1", "tom 1", "all 2", "tom 2"]
        assert await logs(tom, cid) == everything
        assert await logs(jerry, cid) == ["all 0", "all 1", "all 2"]
        newest = await logs(tom, cid, l=2)
        assert newest == ["all 2", "tom 2"]
        path = f"{SERVICES}/{cid}/subscribers/Tom/messages"
        rows = (await call("GET", f"{path}?limit=3")).value
        assert [row["data"] for row in rows] == ["tom 2", "all 2", "tom 1"]
        start = rows[-1]
        older = f"{path}?timestamp={start['timestamp']}&msgid={start['msg-id']}"
        rows = (await call("GET", older)).value
        assert [row["data"] for row in rows] == ["all 1", "tom 0", "all 0"]
        mark = hashlib.md5(f"{cid}:Tom".encode()).hexdigest()
        assert [row["conv-id"] for row in rows] == [f"{cid}00000000", mark, f"{cid}00000000"]
        assert (await call("GET", path, master=False)).status == 401
        common = (await call("GET", f"{SERVICES}/{cid}/messages")).value
        assert [row["data"] for row in common] == ["all 2", "all 1", "all 0"]
        feed = (await call("GET", "/1.2/rtm/messages?reversed=true")).value
        assert [row["data"] for row in feed] == everything


async def test_a_stranger_to_a_service_reads_nothing():
    async with scene() as (server, call, cid), peer_of(server) as tom, peer_of(server) as spike:
        await tom.login("Tom")
        await spike.login("Spike")
        await tell(call, cid, "for you", "Tom")
        assert await logs(spike, cid) == 4312
        assert await logs(tom, cid) == ["for you"]
        # Nor does who names what others are told.
        mark = hashlib.md5(f"{cid}:Tom".encode()).hexdigest()
        assert await logs(spike, mark) == 4303


async def test_what_was_missed_is_counted_and_read():
    async with scene() as (server, call, cid):
        await call("POST", f"{SERVICES}/{cid}/subscribers", {"client_id": "Tom"})
        await call("POST", f"{SERVICES}/{cid}/broadcasts", {"from_client": "shop", "message": "a"})
        last = await tell(call, cid, "b", "Tom", "Spike")
        for name, count, mid in (
            ("Tom", 2, last["msg-id"]),
            ("Spike", 1, copy_id(last["msg-id"], "Spike")),
        ):
            async with peer_of(server) as peer:
                await peer.login(name)
                unread = (await peer.push(CommandType.UNREAD)).unread_message
                (counter,) = unread.convs
                assert (counter.cid, counter.unread, counter.mid) == (cid, count, mid)
                path = f"/1.2/rtm/clients/{name}/unread-count?conv_id={cid}"
                assert (await call("GET", path)).value == {"count": count}
                targets = [ReadTuple(cid=cid, mid=mid)]
                await peer.send(
                    GenericCommand(
                        cmd=CommandType.READ, peer_id=name, read_message=ReadCommand(convs=targets)
                    )
                )
                (counter,) = (await peer.push(CommandType.UNREAD)).unread_message.convs
                assert (counter.cid, counter.unread) == (cid, 0)
                assert (await call("GET", path)).value == {"count": 0}


async def test_what_was_missed_is_pushed_until_it_is_acknowledged():
    async with scene() as (server, call, cid):
        sent = await tell(call, cid, "b", "Tom")
        for _ in range(2):
            async with peer_of(server, subprotocol=PUSHED) as tom:
                await tom.login("Tom")
                assert (await told(tom)).id == sent["msg-id"]
        async with peer_of(server, subprotocol=PUSHED) as tom:
            await tom.login("Tom")
            await told(tom)
            ack = AckCommand(cid=cid, mid=sent["msg-id"])
            await tom.send(GenericCommand(cmd=CommandType.ACK, peer_id="Tom", ack_message=ack))
            await tom.call(GenericCommand(cmd=CommandType.ECHO))
        async with peer_of(server, subprotocol=PUSHED) as tom:
            await tom.login("Tom")
            await tom.nothing_more()


async def test_it_is_edited_recalled_and_removed_for_some():
    async with scene() as (server, call, cid), peer_of(server) as tom, peer_of(server) as jerry:
        await tom.login("Tom")
        await jerry.login("Jerry")
        sent = await tell(call, cid, "first", "Tom", "Jerry")
        path = f"{SERVICES}/{cid}/messages/{sent['msg-id']}"
        named = {"from_client": "shop", "timestamp": sent["timestamp"]}
        new = {**named, "message": "second", "to_clients": ["Tom"]}
        assert (await call("PUT", path, new)).status == 200
        patch = (await tom.push(CommandType.PATCH, OpType.MODIFY)).patch_message.patches[0]
        assert (patch.cid, patch.mid, patch.data) == (cid, sent["msg-id"], "second")
        assert await logs(tom, cid) == ["second"]
        assert await logs(jerry, cid) == ["first"]
        for wrong in ({**new, "to_clients": ["Tom", "Spike"]}, {**named, "message": "x"}):
            answer = await call("PUT", path, wrong)
            assert answer.status == 400, answer
        assert await logs(tom, cid) == ["second"]
        recall = {**named, "to_clients": ["Tom", "Jerry"]}
        assert (await call("PUT", f"{path}/recall", recall)).status == 200
        for peer in (tom, jerry):
            assert (await peer.push(CommandType.PATCH)).patch_message.patches[0].recall
        query = f"from_client=shop&timestamp={sent['timestamp']}"
        base = f"{SERVICES}/{cid}/subscribers"
        assert (await call("DELETE", f"{base}/Jerry/messages/{sent['msg-id']}?{query}")).value == {}
        assert await logs(jerry, cid) == []
        assert len(await logs(tom, cid)) == 1
        again = await call("DELETE", f"{base}/Jerry/messages/{sent['msg-id']}?{query}")
        assert again.status == 400


async def test_version_1_1_calls_them_peers():
    async with scene() as (server, call, cid), peer_of(server) as tom:
        await tom.login("Tom")
        body = {"from_peer": "shop", "conv_id": cid, "message": "x", "to_peers": ["Tom"]}
        assert (await call("POST", "/1.1/rtm/messages", body)).status == 200
        message = await told(tom)
        assert message.transient
        assert await logs(tom, cid) == 4312
        body["transient"] = False
        assert (await call("POST", "/1.1/rtm/messages", body)).status == 200
        assert not (await told(tom)).transient
        assert await logs(tom, cid) == ["x"]


@pytest.mark.parametrize("to", [None, [], "", [""], ["x" * 65], [1], [str(n) for n in range(21)]])
async def test_a_service_says_to_whom_it_speaks(to):
    async with scene() as (_, call, cid):
        body = {"from_client": "shop", "to_clients": to, "message": "x"}
        answer = await call("POST", f"{SERVICES}/{cid}/messages", body)
        assert 400 <= answer.status < 500, answer
        assert (await call("GET", "/1.2/rtm/messages")).value == []


async def test_from_where_a_message_came():
    async with scene() as (server, call, cid), peer_of(server) as tom:
        token = await tom.login("Tom")
        await tell(call, cid, "x", "Tom")
        made = await call("POST", "/1.2/rtm/conversations", {"m": ["Tom", "Jerry"]})
        chat = made.value["objectId"]
        await tom.call(direct(chat, "from a socket"))
        body = {"from_client": "Jerry", "message": "by the operator"}
        await call("POST", f"/1.2/rtm/conversations/{chat}/messages", body)
        rows = (await call("GET", "/1.2/rtm/messages")).value
        seen = {row["data"]: row.get("from-ip") for row in rows}
        assert seen["x"] == seen["by the operator"] == call.address
        path = f"/1.2/rtm/conversations/{chat}/messages"
        rows = (await call("GET", path)).value
        assert rows[0]["from-ip"] == call.address
        # Members do not learn where others are.
        headers = {"x-lc-im-session-token": token}
        rows = (await call("GET", f"{path}?client_id=Tom", master=False, headers=headers)).value
        assert len(rows) == 2
        assert not any("from-ip" in row for row in rows)


async def test_nobody_gets_what_the_application_wants_nobody_to_get():
    async def received(message):
        assert message.receivers == ["Tom", "Jerry"]
        return Rewrite(receivers=[name for name in allowed if name in message.receivers])

    allowed = ["Jerry"]
    async with world(hooks=Hooks(message_received=received)) as server:
        call = Caller(server)
        cid = (await call("POST", SERVICES, {})).value["objectId"]
        await call("POST", f"{SERVICES}/{cid}/subscribers", {"client_id": "Spike"})
        await tell(call, cid, "for Jerry", "Tom", "Jerry")
        allowed.clear()
        await tell(call, cid, "for nobody", "Tom", "Jerry")
        rows = (await call("GET", "/1.2/rtm/messages")).value
        assert [(row["data"], row["to-client"]) for row in rows] == [("for Jerry", "Jerry")]


async def paged(call, path, limit, *, reversed):
    """All rows of a history, page by page, newest first."""
    rows, place = [], ""
    while True:
        query = f"limit={limit}&reversed={str(reversed).lower()}{place}"
        page = (await call("GET", f"{path}?{query}")).value
        if not page:
            return rows[::-1] if reversed else rows
        assert len(page) <= limit
        rows += page
        place = f"&timestamp={page[-1]['timestamp']}&msgid={page[-1]['msg-id']}"


@pytest.mark.parametrize("seed", range(3))
async def test_each_reads_what_he_was_told_whatever_the_pages(seed):
    chance = random.Random(seed)
    names = ["Tom", "Jerry", "Spike"]
    async with scene() as (_, call, cid):
        subscribers = set()
        told = {name: [] for name in names}
        everything = 0
        common = []
        for number in range(60):
            step = chance.random()
            if step < 0.1:
                name = chance.choice(names)
                subscribers ^= {name}
                path = f"{SERVICES}/{cid}/subscribers"
                if name in subscribers:
                    await call("POST", path, {"client_id": name})
                else:
                    await call("DELETE", f"{path}/{name}")
            elif step < 0.4:
                body = {"from_client": "shop", "message": str(number)}
                await call("POST", f"{SERVICES}/{cid}/broadcasts", body)
                common.append(number)
                everything += 1
            else:
                to = chance.sample(names, chance.randint(1, 3))
                await tell(call, cid, str(number), *to)
                everything += len(to)
                for name in to:
                    told[name].append(number)
        for name in names:
            heard = [*told[name], *(common if name in subscribers else [])]
            expected = [str(number) for number in sorted(heard, reverse=True)]
            path = f"{SERVICES}/{cid}/subscribers/{name}/messages"
            for limit in (1, 3, 100):
                for upwards in (False, True):
                    rows = await paged(call, path, limit, reversed=upwards)
                    assert [row["data"] for row in rows] == expected
        # The operator gets each copy once, by any pages.
        for limit in (1, 7):
            rows = await paged(call, "/1.2/rtm/messages", limit, reversed=False)
            assert len(rows) == len({row["msg-id"] for row in rows}) == everything
