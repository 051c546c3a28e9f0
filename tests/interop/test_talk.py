"""The npm SDK and ours talk to each other through our server."""

from __future__ import annotations

import pytest
import trio

from tests.interop.js_peer import PATIENCE
from trio_realtime import (
    BinaryMessage,
    Invited,
    Kicked,
    MembersJoined,
    MembersLeft,
    Message,
    MessageReceived,
    SendOptions,
    TextMessage,
)

pytestmark = pytest.mark.interop

LINES = ["Jerry, are you up?", "起床了吗？", "🧀 и 🐱", 'quotes " and \\ and\nnew lines', " "]


async def next_of(events):
    with trio.fail_after(PATIENCE):
        return await anext(events)


async def test_what_tom_says_in_javascript_jerry_hears_in_python(js, log_in):
    async with log_in("Jerry") as jerry:
        inbox = jerry.events(MessageReceived)
        tom = await js.log_in("Tom")
        chat = await tom.call("createConversation", {"members": ["Jerry"], "name": "猫和老鼠"})
        for line in LINES:
            sent = await chat.call("send", await js.text(line))
            event = await next_of(inbox)
            message = event.message
            assert event.conversation_id == chat["id"]
            assert isinstance(message, TextMessage)
            assert (message.text, message.sender, message.id) == (line, "Tom", sent["id"])
            assert message.timestamp == sent["timestamp"]
        known = await jerry.get_conversation(chat["id"])
        assert known.name == "猫和老鼠"
        assert sorted(known.members) == ["Jerry", "Tom"]


async def test_what_jerry_says_in_python_tom_hears_in_javascript(js, log_in):
    async with log_in("Jerry") as jerry:
        tom = await js.log_in("Tom")
        chat = await jerry.create_conversation(["Tom"], name="猫和老鼠", attributes={"n": 1})
        for line in LINES:
            sent = await jerry.send(chat, TextMessage(line, attributes={"line": line}))
            [message, where] = await tom.next_event("message")
            assert (message["text"], message["from"]) == (line, "Jerry")
            assert (message["id"], message["timestamp"]) == (sent.id, sent.timestamp)
            assert message["attributes"] == {"line": line}
            assert (where["id"], where["name"]) == (chat.id, "猫和老鼠")
            assert await where.call("get", "n") == 1


async def test_each_reads_the_history_that_the_other_wrote(js, log_in):
    async with log_in("Jerry") as jerry:
        tom = await js.log_in("Tom")
        chat = await jerry.create_conversation(["Tom"])
        theirs = await tom.call("getConversation", chat.id)
        for number, line in enumerate(LINES):
            if number % 2:
                await jerry.send(chat, TextMessage(line))
            else:
                await theirs.call("send", await js.text(line))
        ours = [message async for message in jerry.history(chat, oldest_first=True, page_size=2)]
        read = await theirs.call("queryMessages", {"limit": 100})
        assert [message.text for message in ours] == LINES
        assert [message["text"] for message in read] == LINES
        assert [message.id for message in ours] == [message["id"] for message in read]
        assert [message.timestamp for message in ours] == [one["timestamp"] for one in read]
        assert [message.sender for message in ours] == [one["from"] for one in read]


async def test_bytes_and_plain_text(js, log_in):
    async with log_in("Jerry") as jerry:
        inbox = jerry.events(MessageReceived)
        tom = await js.log_in("Tom")
        chat = await tom.call("createConversation", {"members": ["Jerry"]})
        data = bytes(range(256))
        await chat.call("send", await js.new("BinaryMessage", data))
        message = (await next_of(inbox)).message
        assert isinstance(message, BinaryMessage)
        assert message.data == data
        await chat.call("send", await js.new("Message", "plain"))
        message = (await next_of(inbox)).message
        assert type(message) is Message
        assert message.body == "plain"

        await jerry.send(chat["id"], BinaryMessage(data))
        [message, _] = await tom.next_event("message")
        assert message.kind == "BinaryMessage"
        assert await message.get("buffer") == data
        await jerry.send(chat["id"], Message("plain"))
        [message, _] = await tom.next_event("message")
        assert message["content"] == "plain"
        read = await chat.call("queryMessages", {})
        assert [one.kind for one in read] == ["BinaryMessage", "Message"] * 2


async def test_mentions(js, log_in):
    async with log_in("Jerry") as jerry:
        inbox = jerry.events(MessageReceived)
        tom = await js.log_in("Tom")
        chat = await tom.call("createConversation", {"members": ["Jerry"]})
        note = await js.text("@Jerry")
        await note.call("setMentionList", ["Jerry"])
        await chat.call("send", note)
        message = (await next_of(inbox)).message
        assert message.mentions == ("Jerry",)
        assert message.mentioned
        await jerry.send(chat["id"], TextMessage("@all", mention_all=True))
        [message, _] = await tom.next_event("message")
        assert message["mentionedAll"] is True
        assert message["mentioned"] is True


async def test_who_is_told_of_members_coming_and_going(js, log_in):
    async with log_in("Jerry") as jerry:
        news = jerry.events(Invited, Kicked, MembersJoined, MembersLeft)
        tom = await js.log_in("Tom")
        mary = await js.log_in("Mary")
        chat = await tom.call("createConversation", {"members": ["Jerry"]})
        invited = await next_of(news)
        assert isinstance(invited, Invited)
        assert (invited.conversation_id, invited.by) == (chat["id"], "Tom")
        joined = await next_of(news)
        assert isinstance(joined, MembersJoined)
        assert set(joined.members) == {"Tom", "Jerry"}

        result = await chat.call("add", ["Mary"])
        assert result["successfulClientIds"] == ["Mary"]
        assert await mary.next_event("invited") != []
        joined = await next_of(news)
        assert isinstance(joined, MembersJoined)
        assert (joined.by, joined.members) == ("Tom", ("Mary",))

        await chat.call("remove", ["Mary"])
        assert (await mary.next_event("kicked"))[0] == {"kickedBy": "Tom"}
        left = await next_of(news)
        assert isinstance(left, MembersLeft)
        assert (left.by, left.members) == ("Tom", ("Mary",))

        await chat.call("remove", ["Jerry"])
        kicked = await next_of(news)
        assert isinstance(kicked, Kicked)
        assert kicked.by == "Tom"


async def test_receipts_of_our_client(js, log_in):
    """Our acknowledgement tells the sender that the message has arrived."""
    async with log_in("Jerry") as jerry:
        inbox = jerry.events(MessageReceived)
        tom = await js.log_in("Tom")
        chat = await tom.call("createConversation", {"members": ["Jerry"]})
        await chat.listen()
        await chat.call("send", await js.text("seen?"), {"receipt": True})
        await next_of(inbox)
        await chat.next_event("lastdeliveredatupdate")
        assert await chat.get("lastDeliveredAt") is not None


async def test_transient_messages_are_not_kept(js, log_in):
    async with log_in("Jerry") as jerry:
        inbox = jerry.events(MessageReceived)
        tom = await js.log_in("Tom")
        chat = await tom.call("createConversation", {"members": ["Jerry"]})
        await chat.call("send", await js.text("typing…"), {"transient": True})
        assert (await next_of(inbox)).message.transient
        await jerry.send(chat["id"], TextMessage("typing…"), SendOptions(transient=True))
        assert (await tom.next_event("message"))[0]["text"] == "typing…"
        assert await chat.call("queryMessages", {}) == []
        assert [message async for message in jerry.history(chat["id"])] == []


async def test_who_is_online(js, log_in):
    async with log_in("Jerry") as jerry:
        tom = await js.log_in("Tom")
        assert await tom.call("ping", ["Jerry", "Mary"]) == ["Jerry"]
        assert await jerry.online(["Tom", "Mary"]) == ["Tom"]
