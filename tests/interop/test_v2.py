"""The second version of the npm SDK, unmodified: JSON without a sub-protocol.

It can neither be told where the server is (its router is redirected, see redirect.js) nor
log out. Protocol: docs/protocol/v2-and-json.md.
"""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio

from tests.interop.v2_peer import open_v2
from trio_realtime import (
    ErrorCode,
    FileMessage,
    Invited,
    LocationMessage,
    MembersJoined,
    MembersLeft,
    Message,
    MessageReceived,
    SendOptions,
    TextMessage,
    open_client,
)
from trio_realtime.testing import open_server

pytestmark = pytest.mark.interop


@asynccontextmanager
async def v2_world():
    """Tom speaks the second version, Jerry is ours."""
    async with (
        open_server() as server,
        open_v2(server) as peer,
        open_client(
            "Jerry", app_id=server.app_id, app_key=server.app_key, server=server.url
        ) as jerry,
    ):
        options = {"appId": server.app_id, "clientId": "Tom", "secure": False}
        tom = await peer.command("open", options=options)
        yield server, peer, tom, jerry


async def test_it_logs_in_and_gets_an_id_if_it_has_none():
    async with open_server() as server, open_v2(server) as peer:
        tom = await peer.command("open", options={"appId": server.app_id, "clientId": "Tom"})
        assert tom["clientId"] == "Tom"
        anonymous = await peer.command("open", options={"appId": server.app_id})
        assert anonymous["target"]
        assert server.stats().sessions == 2


async def test_rooms_and_messages_go_both_ways():
    async with v2_world() as (_server, peer, tom, jerry):
        inbox = jerry.events(MessageReceived)
        invitations = jerry.events(Invited)
        room = await peer.room(
            tom, {"name": "Kitchen", "members": ["Jerry"], "attr": {"cheese": True}}
        )
        invited = await anext(invitations)
        assert (invited.conversation_id, invited.by) == (room["id"], "Tom")
        chat = await jerry.get_conversation(room["id"])
        assert (chat.name, chat.attributes["attr"]) == ("Kitchen", {"cheese": True})
        assert set(chat.members) == {"Tom", "Jerry"}

        sent = await peer.call(room, "send", {"text": "Hello"}, {"type": "text"})
        message = (await anext(inbox)).message
        assert isinstance(message, TextMessage)
        assert (message.id, message.text, message.timestamp_ms) == (sent["uid"], "Hello", sent["t"])

        await peer.call(room, "send", {"any": "thing"})
        message = (await anext(inbox)).message
        assert type(message) is Message
        assert message.body == '{"any":"thing"}'

        await jerry.send(room["id"], TextMessage("Hello yourself"))
        data = await peer.next_event("message")
        assert data["msg"]["text"] == "Hello yourself"
        assert (data["cid"], data["fromPeerId"]) == (room["id"], "Jerry")

        logs = await peer.call(room, "log")
        texts = [
            log["msg"]["text"]
            for log in logs
            if isinstance(log["msg"], dict) and "text" in log["msg"]
        ]
        assert texts == ["Hello", "Hello yourself"]
        assert len(await peer.call(room, "log", {"limit": 2})) == 2


async def test_media_messages_arrive_as_what_they_are():
    async with v2_world() as (_server, peer, tom, jerry):
        inbox = jerry.events(MessageReceived)
        room = await peer.room(tom, {"members": ["Jerry"]})
        place = {"text": "here", "metaData": {"longitude": 116.3, "latitude": 39.9}}
        await peer.call(room, "send", place, {"type": "location"})
        message = (await anext(inbox)).message
        assert isinstance(message, LocationMessage)
        assert (message.location.latitude, message.location.longitude) == (39.9, 116.3)
        file = {"text": "map", "metaData": {"name": "map.pdf", "size": 7}}
        await peer.call(room, "send", file, {"type": "file"})
        message = (await anext(inbox)).message
        assert isinstance(message, FileMessage)
        assert (message.file.name, message.file.size) == ("map.pdf", 7)


async def test_receipts_tell_that_a_message_was_received():
    async with v2_world() as (_server, peer, tom, jerry):
        inbox = jerry.events(MessageReceived)
        room = await peer.room(tom, {"members": ["Jerry"]})
        sent = await peer.call(room, "send", {"text": "x"}, {"type": "text", "receipt": True})
        await anext(inbox)
        receipt = await peer.next_event("receipt")
        assert (receipt["id"], receipt["cid"]) == (sent["uid"], room["id"])
        await jerry.send(room["id"], TextMessage("got it?"), SendOptions(receipt=True))
        await peer.next_event("message")


async def test_members_come_and_go():
    async with v2_world() as (_server, peer, tom, jerry):
        events = jerry.events(MembersJoined, MembersLeft)
        room = await peer.room(tom, {"members": ["Jerry"]})
        assert set((await anext(events)).members) == {"Tom", "Jerry"}
        await peer.call(room, "add", ["Mary", "Spike"])
        assert set((await anext(events)).members) == {"Mary", "Spike"}
        await peer.call(room, "remove", "Spike")
        assert set((await anext(events)).members) == {"Spike"}
        assert set(await peer.call(room, "list")) == {"Tom", "Jerry", "Mary"}
        assert await peer.call(room, "count") == 3
        await jerry.add_members(room["id"], ["Tyke"])
        told = await peer.next_event("membersjoined")
        while told["m"] != ["Tyke"]:
            told = await peer.next_event("membersjoined")
        theirs = await jerry.create_conversation(["Tom"], unique=False)
        invited = await peer.next_event("invited")
        while invited["cid"] != theirs.id:
            invited = await peer.next_event("invited")
        await jerry.remove_members(theirs, ["Tom"])
        assert (await peer.next_event("kicked"))["cid"] == theirs.id
        await peer.call(room, "leave")
        assert "Tom" not in (await jerry.get_conversation(room["id"], refresh=True)).members


async def test_queries_updates_and_the_online_question():
    async with v2_world() as (_server, peer, tom, jerry):
        room = await peer.room(tom, {"name": "old", "members": ["Jerry"]})
        await peer.call(room, "update", {"name": "new", "attr": {"a": 1}})
        chat = await jerry.get_conversation(room["id"], refresh=True)
        assert chat.name == "new"
        found = await peer.call(tom, "query")
        assert [one["objectId"] for one in found] == [room["id"]]
        assert found[0]["name"] == "new"
        found = await peer.call(tom, "query", {"where": {"m": ["Tom", "Jerry"]}})
        assert [one["objectId"] for one in found] == [room["id"]]
        assert await peer.call(tom, "ping", ["Jerry", "Nobody"]) == ["Jerry"]


async def test_what_is_refused_is_an_error_event():
    async with v2_world() as (_server, peer, tom, jerry):
        chat = await jerry.create_conversation(["Mary"], unique=False)
        room = await peer.room(tom, chat.id)
        await peer.tell(room, "add", ["Spike"])
        error = await peer.next_event("error")
        assert (error["cmd"], error["op"]) == ("conv", "error")
        assert error["code"] == ErrorCode.CONVERSATION_MEMBERSHIP_REQUIRED
        assert await peer.next_event("thrown") == f"{error['code']}:{error['reason']}"


async def test_it_reconnects_and_is_sent_what_it_missed():
    async with v2_world() as (server, peer, tom, jerry):
        room = await peer.room(tom, {"members": ["Jerry"]})
        await peer.next_event("open")
        await peer.command("drop", target=tom["target"])
        await peer.next_event("reuse")
        with trio.fail_after(10):
            while server.stats().sessions > 1:  # noqa: ASYNC110 - no event tells
                await trio.sleep(0.05)
        await jerry.send(room["id"], TextMessage("while you were away"))
        await peer.next_event("open")
        data = await peer.next_event("message")
        assert data["msg"]["text"] == "while you were away"
        assert data["offline"] is True
