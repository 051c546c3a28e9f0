"""The dialects on the wire: what each looks like, and how one is chosen."""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager

import pytest
import trio

from tests.server.gateway.world import PROTOBUF, direct, peer_of, world
from trio_realtime.transport import ConnectError, TransportClosed, connect
from trio_realtime.wire import CommandType, GenericCommand, OpType, SessionCommand, decode, encode


class JsonPeer:
    """One connection that speaks JSON by hand."""

    def __init__(self, transport, app_id):
        self.transport = transport
        self.app_id = app_id
        self.pushed = []
        self._arrived = []
        self._i = 0

    async def receive(self):
        while not self._arrived:
            with trio.fail_after(3600):
                self._arrived = [json.loads(text) for text in await self.transport.receive()]
        return self._arrived.pop(0)

    async def call(self, **command):
        self._i += 1
        await self.transport.send(json.dumps({**command, "i": self._i}))
        while (answer := await self.receive()).get("i") != self._i:
            self.pushed.append(answer)
        return answer

    async def log_in(self, client_id, **more):
        return await self.call(
            cmd="session", op="open", appId=self.app_id, peerId=client_id, **more
        )

    async def push(self, cmd, op=None):
        while True:
            for number, command in enumerate(self.pushed):
                if (command["cmd"], command.get("op")) == (cmd, op):
                    return self.pushed.pop(number)
            self.pushed.append(await self.receive())


@asynccontextmanager
async def json_peer(server, subprotocol="lc.json.3", path=""):
    async with connect(
        server.ws_url + path, subprotocol=subprotocol, open_stream=server.open_stream
    ) as transport:
        yield JsonPeer(transport, server.app_id)


@pytest.mark.parametrize("subprotocol", ["lc.json.3", "lc.json.2", "lc.json.1", None])
async def test_json_is_one_flat_object_a_frame(subprotocol, clock):
    async with world() as server, json_peer(server, subprotocol) as tom, peer_of(server) as jerry:
        opened = await tom.log_in("Tom", ua="js/2.4.0", r=1)
        assert (opened["cmd"], opened["op"], opened["peerId"]) == ("session", "opened", "Tom")
        assert opened["st"]
        await jerry.login("Jerry")
        started = await tom.call(
            cmd="conv", op="start", m=["Jerry"], attr={"name": "n", "attr": {"a": 1}}, unique=False
        )
        assert (started["cmd"], started["op"]) == ("conv", "started")
        cid = started["cid"]
        joined = await tom.push("conv", "members-joined")
        assert set(joined["m"]) == {"Tom", "Jerry"}
        ack = await tom.call(cmd="direct", cid=cid, msg="你好", r=1, transient=False)
        assert ack["cmd"] == "ack"
        assert "code" not in ack
        push = await jerry.push(CommandType.DIRECT)
        assert (push.direct_message.msg, push.direct_message.id) == ("你好", ack["uid"])
        found = await tom.call(
            cmd="conv", op="query", where={"m": {"$all": ["Tom", "Jerry"]}}, sort="-lm", limit=10
        )
        assert found["op"] == "results"
        assert [(one["objectId"], one["name"]) for one in found["results"]] == [(cid, "n")]
        logs = await tom.call(cmd="logs", cid=cid, limit=20)
        assert [(log["from"], log["data"], log["msgId"]) for log in logs["logs"]] == [
            ("Tom", "你好", ack["uid"])
        ]
        assert (await tom.call(cmd="conv", op="count", cid=cid))["count"] == 2
        online = await tom.call(cmd="session", op="query", sessionPeerIds=["Jerry", "Nobody"])
        assert (online["op"], online["onlineSessionPeerIds"]) == ("query-result", ["Jerry"])


async def test_heartbeats_are_empty_objects(clock):
    async with world() as server, json_peer(server, None) as tom:
        await tom.log_in("Tom")
        await tom.transport.send("{}")
        assert await tom.receive() == {}


@pytest.mark.parametrize(
    ("subprotocol", "said"),
    [
        (None, {"cmd": "conv", "op": "error"}),
        ("lc.json.3", {"cmd": "error"}),
        ("lc.json.1", {"cmd": "error"}),
    ],
)
async def test_refusals_are_spelled_as_the_client_expects_them(subprotocol, said, clock):
    async with world() as server, json_peer(server, subprotocol) as tom:
        await tom.log_in("Tom")
        refused = await tom.call(cmd="conv", op="add", cid="5" * 24, m=["Jerry"])
        assert {key: refused.get(key) for key in said} == said
        assert (refused["code"], refused["reason"]) == (4303, "CONVERSATION_NOT_FOUND")
        refused = await tom.call(cmd="direct", cid="5" * 24, msg="x")
        assert (refused["cmd"], refused["code"]) == ("ack", 4401)


async def test_a_refused_login_is_a_session_error_without_a_sub_protocol(clock):
    async with world() as server, json_peer(server, None) as tom:
        refused = await tom.call(cmd="session", op="open", appId="nobody's", peerId="Tom")
        assert (refused["cmd"], refused["op"], refused["code"]) == ("session", "error", 4100)


@pytest.mark.parametrize("delivery", ["1", "2", "3"])
async def test_base64_carries_the_bytes_of_protobuf(delivery, clock):
    subprotocol = f"lc.proto2base64.{delivery}"
    async with (
        world() as server,
        connect(server.ws_url, subprotocol=subprotocol, open_stream=server.open_stream) as link,
    ):
        opening = GenericCommand(
            cmd=CommandType.SESSION,
            op=OpType.OPEN,
            app_id=server.app_id,
            peer_id="Tom",
            i=1,
            session_message=SessionCommand(),
        )
        await link.send(base64.b64encode(encode(opening)).decode())
        (text,) = await link.receive()
        assert isinstance(text, str)
        assert decode(base64.b64decode(text)).op == OpType.OPENED


async def test_the_sub_protocol_may_stand_in_the_url(clock):
    async with (
        world() as server,
        json_peer(server, None, "/?subprotocol=lc.json.3") as tom,
        peer_of(server, subprotocol=None, path="/?subprotocol=lc.protobuf2.3") as jerry,
    ):
        await tom.log_in("Tom")
        await jerry.login("Jerry")
        # It is not the nameless dialect, which spells refusals in its own way.
        assert (await tom.call(cmd="conv", op="count", cid="5" * 24))["cmd"] == "error"
        names = sorted(c.dialect.name for c in server.server.gateway.connections)
        assert names == ["lc.json.3", PROTOBUF]


async def test_an_unknown_sub_protocol_is_refused(clock):
    async with world() as server:
        with pytest.raises(ConnectError):
            async with json_peer(server, "lc.json.9"):
                pass
        with pytest.raises(ConnectError):
            async with json_peer(server, None, "/?subprotocol=lc.json.9"):
                pass


@pytest.mark.parametrize("delivery", ["1", "3"])
async def test_what_was_missed_is_pushed_or_counted(delivery, clock):
    async with world() as server, peer_of(server) as jerry:
        await jerry.login("Jerry")
        async with json_peer(server, f"lc.json.{delivery}") as tom:
            await tom.log_in("Tom")
            cid = (await tom.call(cmd="conv", op="start", m=["Jerry"]))["cid"]
        await jerry.call(direct(cid, "missed"))
        async with json_peer(server, f"lc.json.{delivery}") as tom:
            await tom.log_in("Tom")
            if delivery == "1":
                assert (await tom.push("direct"))["msg"] == "missed"
            else:
                (counter,) = (await tom.push("unread"))["convs"]
                assert (counter["cid"], counter["unread"], counter["data"]) == (cid, 1, "missed")


@pytest.mark.parametrize(
    ("subprotocol", "payload"),
    [
        ("lc.json.3", "{"),
        ("lc.json.3", "[]"),
        ("lc.json.3", '{"cmd":7.5}'),
        ("lc.json.3", b"{}"),
        ("lc.json.3", "[" * 2000),
        (None, "nonsense"),
        ("lc.proto2base64.3", "not base64!"),
        ("lc.proto2base64.3", "AAAA"),
        ("lc.protobuf2.3", "text"),
    ],
)
async def test_what_is_no_command_ends_that_connection(subprotocol, payload, clock):
    async with world() as server, peer_of(server) as bystander:
        await bystander.login("Bystander")
        async with connect(
            server.ws_url, subprotocol=subprotocol, open_stream=server.open_stream
        ) as link:
            await link.send(payload)
            with pytest.raises(TransportClosed) as closed:
                await link.receive()
            assert closed.value.code == 4114
        await bystander.nothing_more()


@pytest.mark.parametrize("unknown", [{"cmd": "dance"}, {"cmd": "conv", "op": "dance"}, {"cmd": 99}])
async def test_a_name_that_nobody_knows_is_refused_like_a_number(unknown, clock):
    async with world() as server, json_peer(server) as tom:
        await tom.log_in("Tom")
        refused = await tom.call(**unknown)
        assert (refused["cmd"], refused["code"]) == ("error", 4114)
        assert (await tom.call(cmd="echo"))["cmd"] == "echo"
