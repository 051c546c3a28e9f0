"""Both SDKs lose their connection, stay away and come back, and miss nothing."""

from __future__ import annotations

import pytest
import trio

from tests.interop.js_peer import PATIENCE, open_js
from trio_realtime import (
    MessageReceived,
    Reconnected,
    SessionConflict,
    SessionConflictError,
    TextMessage,
    UnreadUpdated,
)

pytestmark = pytest.mark.interop


async def next_of(events):
    with trio.fail_after(PATIENCE):
        return await anext(events)


async def test_unread_after_a_login_in_javascript(server, js, log_in):
    async with log_in("Jerry") as jerry:
        chat = await jerry.create_conversation(["Tom"])
        await jerry.send(chat, TextMessage("one"))
        await jerry.send(chat, TextMessage("two", mentions=["Tom"]))
        tom = await js.log_in("Tom")
        [updated] = await tom.next_event("unreadmessagescountupdate")
        [unread] = updated
        assert unread["id"] == chat.id
        assert unread["unreadMessagesCount"] == 2
        assert unread["unreadMessagesMentioned"] is True
        assert unread["lastMessage"]["text"] == "two"

        await unread.call("read")
        [updated] = await tom.next_event("unreadmessagescountupdate")
        assert [one["unreadMessagesCount"] for one in updated] == [0]
        assert await tom.call("ping", ["Tom"]) == ["Tom"]
        async with open_js(server) as other:
            again = await other.log_in("Tom")
            assert await again.call("ping", ["Tom"]) == ["Tom"]
            assert again.seen("unreadmessagescountupdate") == []


async def test_unread_after_a_login_in_python(js, log_in):
    tom = await js.log_in("Tom")
    chat = await tom.call("createConversation", {"members": ["Jerry"]})
    for text in ("one", "two"):
        await chat.call("send", await js.text(text))
    async with log_in("Jerry") as jerry:
        event = await next_of(jerry.events(UnreadUpdated))
        assert (event.conversation_id, event.count, event.mentioned) == (chat["id"], 2, False)
        assert event.last_message.text == "two"


async def test_javascript_comes_back_after_a_break(server, js, log_in):
    async with log_in("Jerry") as jerry:
        tom = await js.log_in("Tom")
        chat = await jerry.create_conversation(["Tom"])
        await tom.next_event("invited")
        assert server.drop_connections("Tom") == 1
        await tom.next_event("disconnect")
        await jerry.send(chat, TextMessage("while away"))
        assert await tom.next_event("schedule") == [0, 1000]
        assert await tom.next_event("retry") == [0]
        await js.realtime.next_event("reconnect")
        await tom.next_event("reconnect")
        [[unread]] = await tom.next_event("unreadmessagescountupdate")
        assert (unread["id"], unread["unreadMessagesCount"]) == (chat.id, 1)

        await jerry.send(chat, TextMessage("welcome back"))
        [message, where] = await tom.next_event("message")
        assert message["text"] == "welcome back"
        read = await where.call("queryMessages", {})
        assert [one["text"] for one in read] == ["while away", "welcome back"]


async def test_javascript_pauses_and_resumes(js, log_in):
    """Conversations it was invited to meanwhile are told of afterwards."""
    async with log_in("Jerry") as jerry:
        tom = await js.log_in("Tom")
        await js.realtime.call("pause")
        for event in ("disconnect", "offline"):
            await tom.next_event(event)
        chat = await jerry.create_conversation(["Tom"])
        await js.realtime.call("resume")
        await tom.next_event("online")
        assert await tom.next_event("schedule") == [0, 0]
        await tom.next_event("reconnect")
        [invitation, where] = await tom.next_event("invited")
        assert invitation == {"invitedBy": "Jerry"}
        assert where["id"] == chat.id


async def test_python_comes_back_after_a_break(server, js, log_in):
    async with log_in("Jerry") as jerry:
        inbox = jerry.events(MessageReceived)
        line = jerry.events(Reconnected)
        tom = await js.log_in("Tom")
        chat = await tom.call("createConversation", {"members": ["Jerry"]})
        await chat.call("send", await js.text("0"))
        assert server.drop_connections("Jerry") == 1
        for number in range(1, 4):
            await chat.call("send", await js.text(str(number)))
        await next_of(line)
        await chat.call("send", await js.text("4"))
        texts = [(await next_of(inbox)).message.text for _ in range(5)]
        assert texts == ["0", "1", "2", "3", "4"]


async def test_several_clients_of_a_broken_socket_come_back(js, log_in):
    async with log_in("Jerry") as jerry:
        tom = await js.log_in("Tom")
        mary = await js.log_in("Mary")
        assert await js.drop() == 1
        await tom.next_event("reconnect")
        await mary.next_event("reconnect")
        chat = await jerry.create_conversation(["Tom", "Mary"])
        await jerry.send(chat, TextMessage("both here?"))
        for person in (tom, mary):
            [message, _] = await person.next_event("message")
            assert message["text"] == "both here?"


async def test_a_restarted_server_finds_everybody_again(server, js, log_in):
    async with log_in("Jerry") as jerry:
        inbox = jerry.events(MessageReceived)
        tom = await js.log_in("Tom")
        chat = await tom.call("createConversation", {"members": ["Jerry"]})
        await server.restart()
        await tom.next_event("reconnect")
        await chat.call("send", await js.text("still here"))
        assert (await next_of(inbox)).message.text == "still here"
        await jerry.send(chat["id"], TextMessage("so am I"))
        assert (await tom.next_event("message"))[0]["text"] == "so am I"


async def test_a_draining_server_moves_everybody_on(server, js, log_in):
    async with log_in("Jerry"):
        tom = await js.log_in("Tom")
        await server.restart(drain=1)
        await tom.next_event("reconnect")
        with trio.fail_after(PATIENCE):
            while await tom.call("ping", ["Jerry"]) != ["Jerry"]:  # noqa: ASYNC110 - ask again
                await trio.sleep(0.1)


async def test_one_login_for_a_tag(server, js, log_in):
    """Whoever logs in last with a tag stays, whatever the SDK."""
    jerry = await js.log_in("Jerry", {"tag": "phone"})
    async with log_in("Jerry", tag="phone") as newer:
        [conflict] = await jerry.next_event("conflict")
        assert conflict["reason"]
        assert await newer.online(["Jerry"]) == ["Jerry"]
        events = newer.events()
        async with open_js(server) as other:
            await other.log_in("Jerry", {"tag": "phone"})
            assert isinstance(await next_of(events), SessionConflict)
            with pytest.raises(SessionConflictError):
                await next_of(events)


async def test_a_kick_ends_both(server, js, log_in):
    tom = await js.log_in("Tom")
    await server.kick("Tom", "too loud")
    [closed] = await tom.next_event("close")
    assert closed == {"code": 4115, "reason": "too loud"}
