"""Earlier versions of the npm SDK, and the newest without binary frames, unmodified."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio

from tests.interop.js_peer import PATIENCE, open_js
from trio_realtime import (
    Invited,
    Kicked,
    MembersJoined,
    MessageRecalled,
    MessageReceived,
    TextMessage,
    open_client,
)
from trio_realtime.testing import open_server

pytestmark = pytest.mark.interop

NEWEST = "leancloud-realtime"
VERSIONS = [
    pytest.param(("realtime-v3", {"ssl": False}, "lc.protobuf2.3"), id="3.5.7"),
    pytest.param(
        ("realtime-v3", {"ssl": False, "noBinary": True}, "lc.proto2base64.3"),
        id="3.5.7 without binary",
    ),
    pytest.param(("realtime-v4", {}, "lc.protobuf2.3"), id="4.3.1"),
    pytest.param(
        ("realtime-v4", {"noBinary": True}, "lc.proto2base64.3"), id="4.3.1 without binary"
    ),
    pytest.param((NEWEST, {"noBinary": True}, "lc.proto2base64.3"), id="the newest without binary"),
    pytest.param(
        ("realtime-v4", {"pushOfflineMessages": True}, "lc.protobuf2.1"),
        id="4.3.1, offline messages pushed",
    ),
    pytest.param(
        (
            "realtime-v3",
            {"ssl": False, "noBinary": True, "pushOfflineMessages": True},
            "lc.proto2base64.1",
        ),
        id="3.5.7 without binary, offline messages pushed",
    ),
]


async def next_of(events):
    with trio.fail_after(PATIENCE):
        return await anext(events)


@pytest.fixture(params=VERSIONS)
async def pair(request):
    """Tom in JavaScript of some version, Jerry in Python."""
    async with version_world(*request.param) as worlds:
        yield worlds


@asynccontextmanager
async def version_world(sdk, options, subprotocol):
    async with (
        open_server() as server,
        open_js(server, sdk=None if sdk == NEWEST else sdk, **options) as js,
        open_client(
            "Jerry", app_id=server.app_id, app_key=server.app_key, server=server.url
        ) as jerry,
    ):
        tom = await js.log_in("Tom")
        spoken = {connection.dialect.name for connection in server.server.gateway.connections}
        assert spoken == {subprotocol, "lc.protobuf2.3"}
        yield js, tom, jerry


async def test_messages_go_both_ways_and_are_remembered(pair):
    js, tom, jerry = pair
    inbox = jerry.events(MessageReceived)
    chat = await tom.call("createConversation", {"members": ["Jerry"], "name": "猫和老鼠"})
    sent = await chat.call("send", await js.text("在吗？"))
    message = (await next_of(inbox)).message
    assert (message.text, message.id, message.sender) == ("在吗？", sent["id"], "Tom")
    await jerry.send(chat["id"], TextMessage("在"))
    [received, where] = await tom.next_event("message")
    assert (received["text"], received["from"]) == ("在", "Jerry")
    assert where["id"] == chat["id"]
    history = await chat.call("queryMessages", {"limit": 10})
    assert [one["text"] for one in history] == ["在吗？", "在"]


async def test_members_come_and_go(pair):
    _js, tom, jerry = pair
    events = jerry.events(Invited, MembersJoined, Kicked)
    chat = await tom.call("createConversation", {"members": ["Jerry"], "unique": False})
    assert isinstance(await next_of(events), Invited)
    await chat.call("add", ["Mary"])
    while (
        not isinstance(event := await next_of(events), MembersJoined) or "Mary" not in event.members
    ):
        pass
    assert await chat.call("count") == 3
    await jerry.add_members(chat["id"], ["Spike"])
    while "Spike" not in (payload := await tom.next_event("membersjoined"))[0]["members"]:
        pass
    assert payload[0]["invitedBy"] == "Jerry"
    await chat.call("remove", ["Jerry"])
    while not isinstance(event, Kicked):
        event = await next_of(events)
    assert event.by == "Tom"


async def test_queries_and_the_online_question(pair):
    _js, tom, _jerry = pair
    chat = await tom.call("createConversation", {"members": ["Jerry"], "name": "one"})
    query = await tom.call("getQuery")
    await query.call("equalTo", "name", "one")
    [found] = await query.call("find")
    assert (found["id"], found["name"]) == (chat["id"], "one")
    assert await tom.call("ping", ["Jerry", "Nobody"]) == ["Jerry"]


async def test_recalls_are_told(pair):
    js, tom, jerry = pair
    inbox = jerry.events(MessageRecalled)
    chat = await tom.call("createConversation", {"members": ["Jerry"]})
    text = await js.text("forget it")
    await chat.call("send", text)
    await chat.call("recall", text)
    assert (await next_of(inbox)).message.sender == "Tom"


async def test_what_does_not_exist_is_null(pair):
    _js, tom, _jerry = pair
    assert await tom.call("getConversation", "5" * 24) is None


async def test_messages_missed_are_there_after_the_login():
    async with (
        open_server() as server,
        open_client(
            "Jerry", app_id=server.app_id, app_key=server.app_key, server=server.url
        ) as jerry,
    ):
        chat = await jerry.create_conversation(["Tom"])
        await jerry.send(chat, TextMessage("while you were away"))
        async with open_js(server, sdk="realtime-v4", pushOfflineMessages=True) as js:
            tom = await js.log_in("Tom")
            [message, where] = await tom.next_event("message")
            assert (message["text"], where["id"]) == ("while you were away", chat.id)
