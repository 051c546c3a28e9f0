"""What a service says to all clients of an app."""

from __future__ import annotations

import pytest
import trio

from tests.server.api.caller import Caller
from tests.server.api.test_lines import PUSHED, logs, scene, told
from tests.server.gateway.world import PATIENCE, direct, peer_of, world
from trio_realtime.server.hooks.types import Hooks, Rewrite
from trio_realtime.server.rules.broadcasts import LONGEST, MOST
from trio_realtime.wire import AckCommand, CommandType, GenericCommand

PATH = "/1.2/rtm/broadcasts"
DAY = 86_400_000


async def say(call, cid, message, **more):
    body = {"from_client": "shop", "conv_id": cid, "message": message, **more}
    answer = await call("POST", PATH, body)
    assert answer.status == 200, answer
    return answer.value["msg-id"]


async def missed(server, name, *, acknowledge=False, subprotocol="lc.protobuf2.3"):
    """What a client is pushed when it logs in."""
    async with peer_of(server, subprotocol=subprotocol) as peer:
        await peer.login(name)
        await peer.call(GenericCommand(cmd=CommandType.ECHO))
        # What is found behind a login is found in an operation of its own.
        await trio.testing.wait_all_tasks_blocked()
        await peer.call(GenericCommand(cmd=CommandType.ECHO))
        pushed = [one.direct_message for one in peer.pushed if one.cmd == CommandType.DIRECT]
        if acknowledge:
            for message in pushed:
                ack = AckCommand(cid=message.cid, mid=message.id)
                await peer.send(GenericCommand(cmd=CommandType.ACK, peer_id=name, ack_message=ack))
            await peer.call(GenericCommand(cmd=CommandType.ECHO))
        assert all(message.offline for message in pushed)
        return [message.msg for message in pushed]


async def test_everybody_who_is_online_gets_it():
    async with scene() as (server, call, cid), peer_of(server) as tom, peer_of(server) as jerry:
        await tom.login("Tom")
        await jerry.login("Jerry")
        await call(
            "POST", f"/1.2/rtm/service-conversations/{cid}/subscribers", {"client_id": "Tom"}
        )
        mid = await say(call, cid, "we move")
        for peer in (tom, jerry):
            message = await told(peer)
            assert (message.id, message.msg, message.cid) == (mid, "we move", cid)
            await peer.call(GenericCommand(cmd=CommandType.ECHO))
            assert all(one.cmd != CommandType.DIRECT for one in peer.pushed)
        assert await logs(tom, cid) == ["we move"]


async def test_who_comes_later_gets_it_until_he_has_it():
    async with scene() as (server, call, cid):
        await say(call, cid, "first")
        await say(call, cid, "second")
        # Who never had one gets the newest.
        assert await missed(server, "Tom") == ["second"]
        assert await missed(server, "Tom", acknowledge=True) == ["second"]
        assert await missed(server, "Tom") == []
        await say(call, cid, "third")
        await say(call, cid, "fourth")
        assert await missed(server, "Tom", acknowledge=True) == ["third", "fourth"]
        assert await missed(server, "Tom") == []
        assert await missed(server, "Jerry", subprotocol=PUSHED) == ["fourth"]


async def test_a_subscriber_finds_it_among_the_rest():
    async with scene() as (server, call, cid):
        await call(
            "POST", f"/1.2/rtm/service-conversations/{cid}/subscribers", {"client_id": "Tom"}
        )
        await say(call, cid, "news")
        assert await missed(server, "Tom") == []
        async with peer_of(server) as tom:
            await tom.login("Tom")
            (counter,) = (await tom.push(CommandType.UNREAD)).unread_message.convs
            assert (counter.cid, counter.unread) == (cid, 1)
            assert await logs(tom, cid) == ["news"]


async def test_it_is_valid_for_a_time(autojump_clock):
    async with scene() as (server, call, cid):
        now = server.server.config.clock()
        await say(call, cid, "today", valid_till=now + DAY)
        await say(call, cid, "this month")
        rows = (await call("GET", PATH)).value
        assert [row["data"] for row in rows] == ["this month", "today"]
        assert rows[1]["valid_till"] == now + DAY
        assert (await call("GET", f"{PATH}?skip=1&limit=5")).value == rows[1:]
        assert (await call("GET", f"{PATH}?conv_id=other")).value == []
        await trio.sleep(DAY / 1000 + 1)
        assert await missed(server, "Tom") == ["this month"]
        assert [row["data"] for row in (await call("GET", PATH)).value] == ["this month"]
        await trio.sleep(LONGEST / 1000)
        assert await missed(server, "Jerry") == []
        # It stays in the history.
        assert len((await call("GET", "/1.2/rtm/messages")).value) == 2


async def test_it_is_changed_and_taken_back_for_who_does_not_have_it():
    async with scene() as (server, call, cid):
        mid = await say(call, cid, "wrong")
        (row,) = (await call("GET", PATH)).value
        edit = {"from_client": "shop", "timestamp": row["timestamp"], "message": "right"}
        path = f"/1.2/rtm/service-conversations/{cid}/messages/{mid}"
        assert (await call("PUT", path, edit)).status == 200
        assert await missed(server, "Tom") == ["right"]
        assert (await call("DELETE", f"{PATH}/{mid}")).value == {}
        assert await missed(server, "Jerry") == []
        assert (await call("DELETE", f"{PATH}/{mid}")).status == 400


async def test_what_is_transient_is_for_who_is_here():
    async with scene() as (server, call, cid), peer_of(server) as tom:
        await tom.login("Tom")
        await say(call, cid, "now", transient=True)
        assert (await told(tom)).transient
        assert await missed(server, "Jerry") == []
        assert (await call("GET", "/1.2/rtm/messages")).value == []


async def test_version_1_1():
    async with scene() as (server, call, cid):
        body = {"from_peer": "shop", "conv_id": cid, "message": "old", "push": {"alert": "!"}}
        path = "/1.1/rtm/broadcast"
        mid = (await call("POST", path, body)).value["msg-id"]
        assert await missed(server, "Tom") == ["old"]
        (row,) = (await call("GET", path)).value
        assert row["msg-id"] == mid
        assert (await call("DELETE", f"{path}?mid={mid}")).value == {}
        assert (await call("GET", path)).value == []


@pytest.mark.parametrize(
    "more",
    [
        {"valid_till": 1},
        {"valid_till": 2**62},
        {"valid_till": "soon"},
        {"conv_id": "unknown"},
        {"from_client": "x" * 65},
        {"message": None},
    ],
    ids=str,
)
async def test_what_cannot_be_said_is_refused(more):
    async with scene() as (_, call, cid):
        body = {"from_client": "shop", "conv_id": cid, "message": "x", **more}
        answer = await call("POST", PATH, body)
        assert 400 <= answer.status < 500
        assert (await call("GET", PATH)).value == []


async def test_so_many_are_valid_at_one_time():
    async with scene() as (_, call, cid):
        for n in range(MOST):
            await say(call, cid, str(n))
        body = {"from_client": "shop", "conv_id": cid, "message": "too many"}
        assert (await call("POST", PATH, body)).status == 400
        (row,) = (await call("GET", f"{PATH}?limit=1")).value
        await call("DELETE", f"{PATH}/{row['msg-id']}")
        await say(call, cid, "again")


async def test_only_a_service_speaks_to_everybody():
    async with world() as server:
        call = Caller(server)
        made = await call("POST", "/1.2/rtm/conversations", {"m": ["Tom"]})
        body = {"from_client": "shop", "conv_id": made.value["objectId"], "message": "x"}
        answer = await call("POST", PATH, body)
        assert 400 <= answer.status < 500


async def test_the_application_is_asked_and_told():
    sent = []

    async def received(message):
        return Rewrite(body=message.body.replace("damn", "****"))

    async def message_sent(message):
        sent.append((message.body, list(message.online), list(message.offline)))

    hooks = Hooks(message_received=received, message_sent=message_sent)
    async with world(hooks=hooks) as server, peer_of(server) as tom:
        call = Caller(server)
        cid = (await call("POST", "/1.2/rtm/service-conversations", {})).value["objectId"]
        await tom.login("Tom")
        await say(call, cid, "damn")
        assert (await told(tom)).msg == "****"
        with trio.fail_after(PATIENCE):
            while not sent:  # noqa: ASYNC110 - told behind the delivery
                await trio.sleep(0.01)
        assert sent == [("****", [], [])]


async def test_a_message_is_patched_by_its_old_name():
    async with world() as server, peer_of(server) as tom:
        call = Caller(server)
        await tom.login("Tom")
        made = await call("POST", "/1.2/rtm/conversations", {"m": ["Tom", "Jerry"]})
        cid = made.value["objectId"]
        ack = (await tom.call(direct(cid, "wrong"))).ack_message
        body = {"conv_id": cid, "msg-id": ack.uid, "from_client": "Tom", "timestamp": ack.t}
        path = "/1.1/rtm/patch/message"
        assert (await call("PUT", path, {**body, "message": "right"})).status == 200
        assert await logs(tom, cid) == ["right"]
        old = {"convid": cid, "mid": ack.uid, "from": "Tom", "recall": True}
        assert (await call("PUT", path, old)).status == 200
        assert await logs(tom, cid) == ['{"_lctype":-127}']
        assert (await call("PUT", path, {**body, "message": "again"})).status == 400
