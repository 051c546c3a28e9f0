"""What a connection held is given back when it ends, without the garbage collector."""

from __future__ import annotations

import gc
import weakref

import pytest
import trio

from tests.server.api.caller import Caller
from tests.server.gateway.world import direct, peer_of, session, world
from trio_realtime.server.gateway.connection import GatewayConnection
from trio_realtime.server.gateway.session import GatewaySession
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    GenericCommand,
    JsonObjectMessage,
    OpType,
)


@pytest.fixture
def made(monkeypatch):
    """Weak references to every connection and session that is made."""
    references = []
    for cls in (GatewayConnection, GatewaySession):
        original = cls.__init__

        def noted(self, *args, original=original, **kwargs):
            original(self, *args, **kwargs)
            references.append(weakref.ref(self))

        monkeypatch.setattr(cls, "__init__", noted)
    return references


@pytest.fixture
def uncollected():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("how", ["closed", "cut", "logged out", "taken over"])
@pytest.mark.usefixtures("uncollected")
async def test_a_connection_that_is_over_is_no_garbage(made, how, autojump_clock):
    async with world() as server:
        async with peer_of(server) as peer:
            await peer.login("Tom", tag="phone", device_id="a")
            if how == "cut":
                server.drop_connections("Tom")
            elif how == "logged out":
                await peer.transport.aclose(1000, "bye")
            elif how == "taken over":
                async with peer_of(server) as other:
                    await other.login("Tom", tag="phone", device_id="b")
        await trio.sleep(30)
        assert len(made) >= 2
        assert [reference() for reference in made if reference() is not None] == []


@pytest.mark.parametrize(
    "command",
    [
        direct("nowhere", "x"),
        GenericCommand(
            cmd=CommandType.CONV, op=OpType.COUNT, conv_message=ConvCommand(cid="nowhere")
        ),
        GenericCommand(
            cmd=CommandType.CONV,
            op=OpType.QUERY,
            conv_message=ConvCommand(where=JsonObjectMessage(data='{"a": {"$b": 1}}')),
        ),
        GenericCommand(
            cmd=CommandType.CONV,
            op=OpType.START,
            conv_message=ConvCommand(attr=JsonObjectMessage(data="{")),
        ),
        session(OpType.OPEN, "Tom", st="unknown"),
    ],
    ids=["direct", "count", "query", "start", "open"],
)
async def test_what_is_refused_is_no_garbage(command, autojump_clock):
    async with world() as server, peer_of(server) as peer:
        await peer.login("Tom")
        reply = await peer.call(command)  # what is made once
        assert reply.cmd == CommandType.ERROR or reply.ack_message.code
        gc.collect()
        gc.disable()
        try:
            for _ in range(100):
                await peer.call(command)
            assert gc.collect() < 100
        finally:
            gc.enable()


REFUSED = [
    ("POST", "/1.1/installations", {"x": "nobody's"}),
    ("POST", "/1.2/rtm/conversations/nowhere/messages", {"from_client": "Tom", "message": "x"}),
    ("GET", "/1.2/rtm/conversations/nowhere/messages", None),
    ("GET", '/1.1/classes/_Conversation?where={"a": {"$regex": "("}}', None),
    ("GET", "/1.1/classes/_Conversation?order=" + ",".join("abcdefgh" * 300), None),
    ("GET", "/1.2/rtm/stats", None),
]


@pytest.mark.parametrize(("method", "target", "body"), REFUSED)
@pytest.mark.parametrize("master", [True, False])
async def test_a_request_that_is_refused_is_no_garbage(
    method, target, body, master, autojump_clock
):
    async with world() as server:
        ask = Caller(server)
        await ask(method, target, body, master=master)  # what is made once
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                await ask(method, target, body, master=master)
            assert gc.collect() < 20
        finally:
            gc.enable()
