from __future__ import annotations

import json
import zlib

import httpx2
import pytest
import trio

from trio_realtime.server.hooks.remote import WebHookError
from trio_realtime.server.hooks.types import (
    Amend,
    ClientOffline,
    ClientOnline,
    ConversationStart,
    ConversationStarted,
    ConversationUpdate,
    Hooks,
    IncomingMessage,
    MemberChange,
    MessageUpdate,
    OfflineDecision,
    OfflineReason,
    ReceiversOffline,
    Reject,
    Rewrite,
    SentMessage,
)
from trio_realtime.server.hooks.web import service_web_hook, web_hooks

TEXT = IncomingMessage(
    sender="tom",
    conversation_id="c",
    receivers=["jerry"],
    body="hi",
    timestamp=5,
    receipt=True,
    address="10.0.0.1",
)
BINARY = IncomingMessage(
    sender="tom", conversation_id="c", receivers=[], body=b"\0\xff", timestamp=5
)


class Application:
    """The application's server: one answer for everything, all requests kept."""

    def __init__(self, answer=None, status=200) -> None:
        self.answer = b"" if answer is None else json.dumps(answer).encode()
        self.status = status
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        return httpx2.Response(self.status, content=self.answer)

    async def call(self, name, about, **options):
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(self)) as client:
            hooks = web_hooks("https://app.example/hooks/", client, **options)
            return await getattr(hooks, name)(about)

    @property
    def sent(self):
        return json.loads(self.requests[-1].content)


async def test_a_call_is_a_post_of_json():
    app = Application()
    assert await app.call("message_received", TEXT, headers={"X-LC-Hook-Key": "k"}) == Rewrite()
    (request,) = app.requests
    assert request.method == "POST"
    assert str(request.url) == "https://app.example/hooks/_messageReceived"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-lc-hook-key"] == "k"
    assert app.sent == {
        "fromPeer": "tom",
        "convId": "c",
        "toPeers": ["jerry"],
        "transient": False,
        "bin": False,
        "content": "hi",
        "receipt": True,
        "timestamp": 5,
        "system": False,
        "sourceIP": "10.0.0.1",
    }


async def test_binary_bodies_are_base64():
    app = Application()
    await app.call("message_received", BINARY)
    assert (app.sent["bin"], app.sent["content"]) == (True, "AP8=")


@pytest.mark.parametrize(
    ("about", "answer", "expected"),
    [
        (TEXT, {"drop": True, "code": 1, "detail": "no"}, Reject(1, "no")),
        (TEXT, {"result": {"drop": True}}, Reject()),
        (TEXT, {"drop": 1, "code": "x", "detail": 5}, Reject()),
        (TEXT, {"drop": "yes", "code": True}, Reject()),
        (TEXT, {"drop": False}, Rewrite()),
        (TEXT, {"result": {}}, Rewrite()),
        (TEXT, {"result": None}, Rewrite()),
        (TEXT, {"content": "new"}, Rewrite(body="new")),
        (TEXT, {"content": {"_lctype": -1}}, Rewrite(body='{"_lctype": -1}')),
        (TEXT, {"content": "AP8=", "bin": True}, Rewrite(body=b"\0\xff")),
        (BINARY, {"content": "AAA="}, Rewrite(body=b"\0\0")),
        (BINARY, {"content": "text", "bin": False}, Rewrite(body="text")),
        (TEXT, {"toPeers": ["a"]}, Rewrite(receivers=["a"])),
        (TEXT, {"toPeers": []}, Rewrite(receivers=[])),
    ],
)
async def test_what_an_application_answers_about_a_message(about, answer, expected):
    assert await Application(answer).call("message_received", about) == expected


@pytest.mark.parametrize(
    "app",
    [
        Application([1]),
        Application("text"),
        Application({"content": "not base64", "bin": True}),
        Application({"content": 5, "bin": True}),
        Application({"toPeers": "jerry"}),
        Application({"toPeers": [1]}),
        Application({}, status=500),
        Application({}, status=302),
    ],
)
async def test_answers_that_are_none(app):
    with pytest.raises(WebHookError):
        await app.call("message_received", TEXT)


async def test_an_answer_that_is_not_json():
    app = Application()
    app.answer = b"<html>"
    with pytest.raises(WebHookError):
        await app.call("message_received", TEXT)


async def test_edits():
    app = Application({"drop": True})
    about = MessageUpdate(
        sender="tom",
        conversation_id="c",
        message_id="m",
        receivers=["jerry"],
        body="",
        timestamp=5,
        recall=True,
    )
    assert await app.call("message_update", about) == Reject()
    assert app.sent == {
        "fromPeer": "tom",
        "convId": "c",
        "toPeers": ["jerry"],
        "bin": False,
        "content": "",
        "timestamp": 5,
        "msgId": "m",
        "sourceIP": "",
        "recall": True,
        "system": False,
    }


@pytest.mark.parametrize(
    ("name", "about", "parameters"),
    [
        (
            "conversation_start",
            ConversationStart(actor="tom", members=["jerry"], attributes={"name": "n"}),
            {"initBy": "tom", "members": ["jerry"], "attr": {"name": "n"}},
        ),
        (
            "conversation_add",
            MemberChange(actor="tom", conversation_id="c", members=["jerry"]),
            {"initBy": "tom", "members": ["jerry"], "convId": "c"},
        ),
        (
            "conversation_remove",
            MemberChange(actor="tom", conversation_id="c", members=["jerry"]),
            {"initBy": "tom", "members": ["jerry"], "convId": "c"},
        ),
        (
            "conversation_update",
            ConversationUpdate(actor="tom", conversation_id="c", attributes={"name": "n"}),
            {"initBy": "tom", "convId": "c", "attr": {"name": "n"}},
        ),
        (
            "conversation_update",
            ConversationUpdate(actor="tom", conversation_id="c", mute=False),
            {"initBy": "tom", "convId": "c", "mute": False},
        ),
    ],
)
async def test_conversations(name, about, parameters):
    app = Application({"reject": True, "code": 1, "detail": "no"})
    assert await app.call(name, about) == Reject(1, "no")
    assert app.sent == parameters
    hook = "_" + name.replace("_u", "U").replace("_s", "S").replace("_a", "A").replace("_r", "R")
    assert app.requests[-1].url.path == f"/hooks/{hook}"
    yes = await Application({"reject": False}).call(name, about)
    assert yes in {None, Amend()} if name != "conversation_update" else yes == Amend()


async def test_amendments():
    about = ConversationUpdate(actor="tom", conversation_id="c", attributes={})
    app = Application({"attr": {"a": 1}})
    assert await app.call("conversation_update", about) == Amend(attributes={"a": 1})
    app = Application({"mute": True})
    assert await app.call("conversation_update", about) == Amend(mute=True)
    with pytest.raises(WebHookError):
        await Application({"mute": 1}).call("conversation_update", about)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"result": True}, None),
        (None, None),
        ({"result": False, "error": "banned"}, Reject(detail="banned")),
        ({"result": {"result": False}}, Reject()),
    ],
)
async def test_signing(answer, expected):
    app = Application(answer)
    assert await app.call("rtm_client_sign", {"objectId": "u"}) == expected
    assert app.sent == {"objectId": "u"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, OfflineDecision()),
        (
            {"skip": True, "offlinePeers": ["a"], "pushMessage": "x", "force": True},
            OfflineDecision(skip=True, receivers=["a"], data="x", force=True),
        ),
        ({"pushMessage": {"alert": "x"}}, OfflineDecision(data='{"alert": "x"}')),
    ],
)
async def test_the_absent(answer, expected):
    about = ReceiversOffline(
        sender="tom",
        conversation_id="c",
        offline=["jerry"],
        body="hi",
        timestamp=5,
        mentioned=["jerry"],
    )
    app = Application(answer)
    assert await app.call("receivers_offline", about) == expected
    assert app.sent == {
        "fromPeer": "tom",
        "convId": "c",
        "offlinePeers": ["jerry"],
        "content": "hi",
        "timestamp": 5,
        "mentionAll": False,
        "mentionOfflinePeers": ["jerry"],
    }


CHANGE = MemberChange(actor="tom", conversation_id="c", members=["jerry"])


@pytest.mark.parametrize(
    ("name", "about", "path", "parameters"),
    [
        (
            "message_sent",
            SentMessage(
                sender="tom",
                conversation_id="c",
                message_id="m",
                online=["a"],
                offline=["b"],
                body="hi",
                timestamp=5,
            ),
            "_messageSent",
            {
                "fromPeer": "tom",
                "convId": "c",
                "msgId": "m",
                "onlinePeers": ["a"],
                "offlinePeers": ["b"],
                "transient": False,
                "system": False,
                "bin": False,
                "content": "hi",
                "receipt": False,
                "timestamp": 5,
                "sourceIP": "",
            },
        ),
        (
            "conversation_started",
            ConversationStarted(conversation_id="c"),
            "_conversationStarted",
            {"convId": "c"},
        ),
        (
            "conversation_added",
            CHANGE,
            "_conversationAdded",
            {"initBy": "tom", "convId": "c", "members": ["jerry"]},
        ),
        (
            "conversation_removed",
            CHANGE,
            "_conversationRemoved",
            {"initBy": "tom", "convId": "c", "members": ["jerry"]},
        ),
        (
            "client_online",
            ClientOnline(client_id="tom", address="10.0.0.1", tag="t", reconnect=True),
            "_clientOnline",
            {"peerId": "tom", "sourceIP": "10.0.0.1", "tag": "t", "reconnect": 1},
        ),
        (
            "client_offline",
            ClientOffline(client_id="tom", reason=OfflineReason.LOST),
            "_clientOffline",
            {"peerId": "tom", "closeCode": 2, "tag": "default"},
        ),
    ],
)
async def test_notifications(name, about, path, parameters):
    app = Application({"anything": 1})
    assert await app.call(name, about) is None
    assert app.requests[-1].url.path == f"/hooks/{path}"
    assert app.sent == parameters


async def test_only_the_hooks_that_exist():
    async with httpx2.AsyncClient() as client:
        hooks = web_hooks("https://app.example", client, only=["_messageReceived"])
        assert hooks.message_received is not None
        assert hooks.message_sent is hooks.client_online is None
        assert web_hooks("https://app.example", client, only=[]) == Hooks()
        with pytest.raises(ValueError, match="_messageRecieved"):
            web_hooks("https://app.example", client, only=["_messageRecieved"])
        everything = web_hooks("https://app.example", client)
        assert everything.send_push is None
        assert everything.rtm_client_sign is not None
        await trio.lowlevel.checkpoint()


async def test_an_application_that_is_not_there():
    def refuse(request):
        raise httpx2.ConnectError("nobody listens", request=request)

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(refuse)) as client:
        hooks = web_hooks("https://app.example", client)
        with pytest.raises(WebHookError, match="ConnectError: nobody listens"):
            await hooks.message_received(TEXT)


async def test_rows_for_services():
    app = Application()
    rows = [{"msgId": "m", "data": "hi"}, {"msgId": "n", "data": "ho"}]
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(app)) as client:
        told = service_web_hook("https://app.example/rows?s=1", client, headers={"X-LC-Id": "a"})
        await told(rows)
        assert app.sent == rows
        assert str(app.requests[0].url) == "https://app.example/rows?s=1"
        assert app.requests[0].headers["x-lc-id"] == "a"
        app.status = 500
        with pytest.raises(WebHookError):
            await told(rows)


@pytest.mark.parametrize("packed", [False, True])
async def test_an_answer_is_read_only_as_far_as_it_can_be_meant(packed):
    sent = 0

    async def endless():
        nonlocal sent
        compressor = zlib.compressobj(wbits=31)
        while sent < 1000:
            sent += 1
            chunk = b" " * 1024 * 1024
            yield compressor.compress(chunk) + compressor.flush(2) if packed else chunk

    def answer(_request):
        headers = {"Content-Encoding": "gzip"} if packed else {}
        return httpx2.Response(200, headers=headers, content=endless())

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
        hooks = web_hooks("https://app.example/hooks/", client)
        with pytest.raises(WebHookError, match="more than"):
            await hooks.message_received(TEXT)
    assert sent < 5
