"""What cannot be kept is refused at every entrance, and answered; sizes are the same in all dialects."""

from __future__ import annotations

import base64
import json
import math
from contextlib import asynccontextmanager
from urllib.parse import quote

import pytest
import trio

from tests.security.test_identity import conv
from tests.server.gateway.world import PATIENCE, direct, error_of, peer_of, session, start, world
from trio_realtime.server.rules import HANDLERS
from trio_realtime.server.rules.types import Handler, Outcome, Refusal
from trio_realtime.transport import TransportClosed, connect
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    ConvMemberInfo,
    GenericCommand,
    JsonObjectMessage,
    OpType,
    encode,
)

HALF = "\ud800"


class Text:
    """A connection that speaks JSON, with or without the name of a dialect."""

    def __init__(self, transport, app_id):
        self.transport = transport
        self.app_id = app_id
        self.i = 0
        self.arrived = []

    async def call(self, **fields):
        self.i += 1
        # As ASCII: what JSON can spell.
        await self.transport.send(json.dumps({"i": self.i, **fields}))
        with trio.fail_after(PATIENCE):
            while True:
                while not self.arrived:
                    self.arrived = [json.loads(text) for text in await self.transport.receive()]
                reply = self.arrived.pop(0)
                if reply.get("i") == self.i:
                    return reply

    async def login(self, client_id):
        opened = await self.call(cmd="session", op="open", appId=self.app_id, peerId=client_id)
        assert opened["op"] == "opened"


@asynccontextmanager
async def text_peer(server, subprotocol="lc.json.3"):
    async with connect(
        server.ws_url, subprotocol=subprotocol, open_stream=server.open_stream
    ) as transport:
        yield Text(transport, server.app_id)


BAD = {
    "half a pair": HALF,
    "no number": math.nan,
    "infinity": math.inf,
    "a bad key": {HALF: 1},
    "deep inside": [{"a": [HALF]}],
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("key", ["name", "topic"])
async def test_attributes_that_are_no_json_are_refused_on_the_socket(what, key, clock):
    async with world() as server, text_peer(server) as tom:
        await tom.login("Tom")
        reply = await tom.call(cmd="conv", op="start", m=["Tom"], attr={key: BAD[what]})
        assert reply["code"] == 4301
        made = await tom.call(cmd="conv", op="start", m=["Tom"], attr={"name": "fine"})
        reply = await tom.call(cmd="conv", op="update", cid=made["cid"], attr={key: BAD[what]})
        assert reply["code"] == 4306
        if key == "topic":
            reply = await tom.call(cmd="conv", op="query", where={key: BAD[what]})
            assert reply["code"] == 4310
        (found,) = (await tom.call(cmd="conv", op="query"))["results"]
        assert found["name"] == "fine"
        assert server.stats().metrics.internal_errors_total == 0


async def rest(server, path, body, method="POST", headers=""):
    stream = await server.connect()
    data = json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-LC-Id: {server.app_id}\r\n"
        f"X-LC-Key: {server.master_key},master\r\n{headers}Content-Length: {len(data)}\r\n\r\n"
    )
    await stream.send_all(head.encode() + data)
    answer = b""
    with trio.fail_after(PATIENCE):
        while part := await stream.receive_some():
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("key", ["name", "topic"])
async def test_attributes_that_are_no_json_are_refused_over_rest(what, key, clock):
    async with world() as server, peer_of(server) as tom:
        await tom.login("Tom")
        base = "/1.2/rtm/service-conversations"
        status, answer = await rest(server, base, {"name": "News", key: BAD[what]})
        assert (status, answer["code"]) == (400, 107)
        with pytest.raises(Refusal):
            await server.server.create_service_conversation(
                server.app_id, attributes={key: BAD[what]}
            )
        status, made = await rest(server, base, {"name": "News", "topic": 1})
        assert status == 201
        where = JsonObjectMessage(data='{"topic":{"$gt":0}}')
        found = (await tom.call(conv(OpType.QUERY, None, where=where))).conv_message.results
        assert [one["objectId"] for one in json.loads(found.data)] == [made["objectId"]]


@pytest.mark.parametrize(
    ("sender", "message", "code"),
    [(HALF, "x", 107), ("", "x", 4301), ("x" * 65, "x", 4301), ("shop", HALF, 107)],
)
async def test_broadcasts_that_no_client_could_receive_are_refused(sender, message, code, clock):
    async with world() as server:
        cid = await server.server.create_service_conversation(server.app_id, name="News")
        path = f"/1.2/rtm/service-conversations/{cid}/broadcasts"
        body = {"from_client": sender, "message": message}
        status, answer = await rest(server, path, body)
        assert (status, answer["code"]) == (400, code)
        with pytest.raises(Refusal):
            await server.server.broadcast(server.app_id, cid, message, sender=sender)


async def test_text_that_is_no_unicode_is_refused_wherever_it_stands(clock):
    async with world() as server, text_peer(server) as tom:
        await tom.login("Tom")
        cid = (await tom.call(cmd="conv", op="start", m=["Tom"]))["cid"]
        for command in (
            {"cmd": "direct", "cid": cid, "msg": HALF},
            {"cmd": "direct", "cid": HALF, "msg": "x"},
            {"cmd": "conv", "op": "add", "cid": cid, "m": [HALF]},
            {"cmd": "conv", "op": "start", "m": ["x"], "peerId": HALF},
            {"cmd": "session", "op": "open", "appId": server.app_id, "peerId": HALF},
        ):
            assert (await tom.call(**command))["code"] == 4114
        assert "code" not in await tom.call(cmd="direct", cid=cid, msg="\ud83d\ude00")
        (item,) = (await tom.call(cmd="logs", cid=cid))["logs"]
        assert item["data"] == "\N{GRINNING FACE}"
        assert server.stats().metrics.internal_errors_total == 0


@pytest.mark.parametrize("subprotocol", ["lc.json.1", "lc.json.3", None])
async def test_one_size_limit_in_every_dialect(subprotocol, clock):
    async with world() as server, text_peer(server, subprotocol) as tom:
        await tom.login("Tom")
        cid = (await tom.call(cmd="conv", op="start", m=["Tom"]))["cid"]
        # Six bytes of JSON for one of protobuf are no reason to refuse.
        reply = await tom.call(cmd="direct", cid=cid, msg="\x01" * 4500)
        assert reply["cmd"] == "ack"
        assert reply.get("code") is None
        with pytest.raises(TransportClosed) as closed:
            await tom.call(cmd="direct", cid=cid, msg="x" * 5200)
        assert closed.value.code == 4109
        await trio.sleep(10)
        assert server.stats().metrics.limits["frame_bytes"] == 1


async def test_bytes_among_base64_have_the_same_bound(clock):
    command = GenericCommand(cmd=CommandType.ECHO, app_id="", i=1)
    command.app_id = "x" * (5 * 1024 - len(encode(command)) - 1)
    for room, fits in [(0, True), (1, False), (1000, False)]:
        async with (
            world() as server,
            connect(
                server.ws_url, subprotocol="lc.proto2base64.3", open_stream=server.open_stream
            ) as transport,
        ):
            command.app_id += "x" * room
            assert (len(encode(command)) <= 5 * 1024) is fits
            await transport.send(encode(command))
            if fits:
                assert await transport.receive()
            else:
                with pytest.raises(TransportClosed) as closed:
                    await transport.receive()
                assert closed.value.code == 4109


async def test_base64_is_measured_without_its_clothes(clock):
    async with world() as server:
        for size, fits in ((4900, True), (5200, False)):
            async with connect(
                server.ws_url, subprotocol="lc.proto2base64.3", open_stream=server.open_stream
            ) as transport:
                command = direct("x" * 24, "x" * size)
                command.i = 1
                await transport.send(base64.b64encode(encode(command)).decode())
                if fits:
                    assert await transport.receive()
                else:
                    with pytest.raises(TransportClosed) as closed:
                        await transport.receive()
                    assert closed.value.code == 4109


@pytest.mark.parametrize("subprotocol", ["lc.json.1", "lc.json.3", None])
async def test_lists_that_old_sdks_read_are_there_when_they_are_empty(subprotocol, clock):
    async with world() as server, text_peer(server, subprotocol) as tom:
        await tom.login("Tom")
        cid = (await tom.call(cmd="conv", op="start", m=["Tom"]))["cid"]
        assert (await tom.call(cmd="logs", cid=cid))["logs"] == []
        online = {"cmd": "session", "op": "query"}
        assert (await tom.call(**online, sessionPeerIds=["X"]))["onlineSessionPeerIds"] == []
        assert (await tom.call(**online, sessionPeerIds=["Tom"]))["onlineSessionPeerIds"] == ["Tom"]
        await tom.call(cmd="direct", cid=cid, msg="x")
        assert len((await tom.call(cmd="logs", cid=cid))["logs"]) == 1


@pytest.mark.parametrize("broken", ["the rule", "its reply"])
async def test_whatever_goes_wrong_in_a_rule_is_answered(broken, clock, monkeypatch):
    def rule(_tx, _caller, _command):
        if broken == "the rule":
            raise ZeroDivisionError
        return Outcome(GenericCommand(cmd=CommandType.CONV, conv_message=ConvCommand(cid=HALF)))

    monkeypatch.setitem(HANDLERS, (CommandType.CONV, OpType.COUNT), Handler(rule))
    async with world() as server, peer_of(server) as tom, text_peer(server) as jerry:
        await tom.login("Tom")
        await jerry.login("Jerry")
        assert error_of(await tom.call(conv(OpType.COUNT, "x"))) == (4200, "INTERNAL_ERROR")
        assert (await jerry.call(cmd="conv", op="count", cid="x"))["code"] == 4200
        assert server.stats().metrics.internal_errors_total == 2
        # The connection goes on.
        assert (await tom.call(session(OpType.QUERY, session_peer_ids=["Tom"]))).session_message


HUGE = 10**400
"""A number of JSON that is none of any computer."""


@pytest.mark.parametrize(
    "where",
    [
        {"n": HUGE},
        {"n": -HUGE},
        {"lm": {"$gt": HUGE}},
        {"n": {"$in": [1, HUGE]}},
        {"n": {"$all": [HUGE]}},
    ],
)
async def test_a_number_that_is_too_large_is_refused_in_a_condition(where, clock):
    async with world() as server, text_peer(server) as tom:
        await tom.login("Tom")
        assert (await tom.call(cmd="conv", op="query", where=where))["code"] == 4310
        assert server.stats().metrics.internal_errors_total == 0


async def test_a_role_is_given_to_what_can_be_a_client(clock):
    async with world() as server, peer_of(server) as tom:
        await tom.login("Tom")
        room = (await tom.call(start(["Tom"], transient=True))).conv_message.cid
        info = ConvMemberInfo(role="Manager")
        too_long = conv(OpType.MEMBER_INFO_UPDATE, room, target_client_id="x" * 65, info=info)
        assert error_of(await tom.call(too_long))[0] == 4301


async def test_a_condition_in_a_url_is_checked_like_all_json(clock):
    async with world() as server, peer_of(server) as tom:
        token = await tom.login("Tom")
        for where in (
            '{"cid":"\\ud800"}',
            '{"cid":"x","n":NaN}',
            "[" * 2000,
            '{"cid":{}}',
            "1",
            "",
        ):
            path = f"/1.1/classes/_ConversationMemberInfo?where={quote(where)}"
            status, answer = await rest(
                server, path, {}, "GET", headers=f"X-LC-IM-Session-Token: {token}\r\n"
            )
            assert (status, answer["code"]) == (400, 102), where
        assert server.stats().metrics.internal_errors_total == 0


async def test_a_reason_that_nobody_could_be_told_kicks_nobody(clock):
    async with world() as server, peer_of(server) as tom:
        token = await tom.login("Tom")
        with pytest.raises(Refusal):
            await server.server.kick(server.app_id, "Tom", HALF)
        await tom.login("Tom", st=token, r=True)
        await server.server.kick(server.app_id, "Tom", "enough")
        closed = (await tom.push(CommandType.SESSION, OpType.CLOSED)).session_message
        assert (closed.code, closed.reason) == (4115, "enough")
