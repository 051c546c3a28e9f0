from __future__ import annotations

import json

import httpx2
import pytest
import trio

from trio_realtime.server import App, leanengine_hooks
from trio_realtime.server.hooks.remote import WebHookError
from trio_realtime.server.hooks.types import (
    ConversationStarted,
    IncomingMessage,
    Reject,
    Rewrite,
)

APP = App("the-app", "the-key", "the-master")
HI = IncomingMessage(sender="tom", conversation_id="c", receivers=[], body="hi", timestamp=5)


class Engine:
    """A program of which the functions and their answers are known."""

    def __init__(self, **functions) -> None:
        self.functions = functions
        self.lists = True
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        if request.url.path == "/1.1/functions/_ops/metadatas":
            if not self.lists:
                return httpx2.Response(401, json={"code": 401, "error": "Unauthorized."})
            return httpx2.Response(200, json={"result": list(self.functions)})
        name = request.url.path.removeprefix("/1.1/functions/")
        if name not in self.functions:
            return httpx2.Response(404, json={"code": 1, "error": f"No such function {name}"})
        status, answer = self.functions[name]
        return httpx2.Response(status, content=answer)

    @property
    def called(self):
        return [request.url.path.rpartition("/")[2] for request in self.requests]


class Serving:
    def __init__(self, engine, **options):
        self.engine, self.options = engine, options

    async def __aenter__(self):
        self.client = httpx2.AsyncClient(transport=httpx2.MockTransport(self.engine))
        return leanengine_hooks(
            "http://engine/", self.client, app=APP, hook_key="the-hook-key", **self.options
        )

    async def __aexit__(self, *_exc):
        await self.client.aclose()


def returned(value):
    return 200, json.dumps({"result": value}).encode()


async def test_what_a_program_demands():
    engine = Engine(_messageReceived=returned({"drop": True, "code": 7, "detail": "no"}))
    async with Serving(engine) as hooks:
        assert await hooks.message_received(HI) == Reject(7, "no")
    listing, call = engine.requests
    assert listing.headers["x-lc-key"] == "the-master,master"
    assert call.method == "POST"
    assert str(call.url) == "http://engine/1.1/functions/_messageReceived"
    assert call.headers["content-type"] == "application/json"
    assert call.headers["x-lc-id"] == "the-app"
    assert call.headers["x-lc-key"] == "the-key"
    assert call.headers["x-lc-hook-key"] == "the-hook-key"
    assert "x-lc-session" not in call.headers
    assert json.loads(call.content) == {
        "fromPeer": "tom",
        "convId": "c",
        "toPeers": [],
        "transient": False,
        "bin": False,
        "content": "hi",
        "receipt": False,
        "timestamp": 5,
        "system": False,
        "sourceIP": "",
    }


@pytest.mark.parametrize("value", [None, {}, "text", 5, [], True])
async def test_answers_that_leave_things_alone(value):
    async with Serving(Engine(_messageReceived=returned(value))) as hooks:
        assert await hooks.message_received(HI) == Rewrite()


async def test_a_function_without_a_return_value():
    async with Serving(Engine(_messageReceived=(200, b"{}"))) as hooks:
        assert await hooks.message_received(HI) == Rewrite()


@pytest.mark.parametrize(
    "answer",
    [
        (400, b'{"code":1,"error":"thrown"}'),
        (401, b'{"code":401,"error":"Unauthorized."}'),
        (500, b'{"code":141,"error":"bug"}'),
        (503, b"<html>"),
        (404, b"<html>"),
        (200, b"<html>"),
        (200, b"[1]"),
        (204, b""),
    ],
)
async def test_whatever_is_thrown_is_a_failure_and_no_refusal(answer):
    async with Serving(Engine(_messageReceived=answer)) as hooks:
        with pytest.raises(WebHookError):
            await hooks.message_received(HI)


async def test_functions_that_there_are_not_are_not_called(autojump_clock):
    engine = Engine(_messageReceived=returned(None))
    async with Serving(engine) as hooks:
        await hooks.conversation_started(ConversationStarted(conversation_id="c"))
        await hooks.message_received(HI)
        assert engine.called == ["metadatas", "_messageReceived"]
        # A new deployment is noticed.
        engine.functions["_conversationStarted"] = returned(None)
        await trio.sleep(200)
        await hooks.conversation_started(ConversationStarted(conversation_id="c"))
        assert engine.called[2:] == ["metadatas", "_conversationStarted"]


async def test_the_first_calls_wait_for_the_list():
    engine = Engine(_messageReceived=returned(None))
    async with Serving(engine) as hooks:
        async with trio.open_nursery() as calls:
            calls.start_soon(hooks.conversation_started, ConversationStarted(conversation_id="c"))
            calls.start_soon(hooks.conversation_started, ConversationStarted(conversation_id="d"))
        assert engine.called == ["metadatas"]


async def test_a_function_that_has_gone_is_a_failure_once():
    engine = Engine(_messageReceived=returned(None))
    async with Serving(engine) as hooks:
        await hooks.message_received(HI)
        del engine.functions["_messageReceived"]
        with pytest.raises(WebHookError, match="404"):
            await hooks.message_received(HI)
        assert await hooks.message_received(HI) == Rewrite()
        assert engine.called[-1] == "metadatas"


async def test_a_program_that_does_not_list_is_called(autojump_clock):
    engine = Engine(_messageReceived=returned({"drop": True}))
    engine.lists = False
    async with Serving(engine) as hooks:
        assert await hooks.message_received(HI) == Reject()
        # That there is no such function is no failure.
        await hooks.conversation_started(ConversationStarted(conversation_id="c"))
        assert engine.called == ["metadatas", "_messageReceived", "_conversationStarted"]
        engine.lists = True
        await trio.sleep(20)
        await hooks.conversation_started(ConversationStarted(conversation_id="c"))
        assert engine.called[3:] == ["metadatas"]


async def test_signing_for_a_user():
    engine = Engine(_rtmClientSign=returned({"result": False, "error": "banned"}))
    async with Serving(engine) as hooks:
        assert await hooks.rtm_client_sign({"objectId": "u"}) == Reject(detail="banned")
        engine.functions["_rtmClientSign"] = returned({"result": True})
        assert await hooks.rtm_client_sign({"objectId": "u"}) is None


async def test_only_some():
    async with Serving(Engine(), only=["_messageReceived"]) as hooks:
        assert hooks.message_sent is None
    with pytest.raises(ValueError, match="no such hooks"):
        async with Serving(Engine(), only=["x"]):
            pass
