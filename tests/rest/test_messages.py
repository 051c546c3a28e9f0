"""Messages over REST, as the clients on the sockets see them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.rest.world import backend, client_of
from trio_realtime import (
    BinaryMessage,
    ConversationKind,
    ErrorCode,
    MessagePriority,
    MessageRecalled,
    MessageReceived,
    MessageUpdated,
    TextMessage,
)
from trio_realtime._values.times import ms_from_datetime, utc_now
from trio_realtime.rest import NotFound, Refused


async def test_what_is_sent_arrives_and_is_read_back(clock):
    async with backend() as (server, rest), client_of(server, "Jerry") as jerry:
        chat = await rest.create_conversation(["Tom", "Jerry"])
        with jerry.events(MessageReceived) as events:
            sent = await rest.send(chat, TextMessage("hello"), sender="Tom")
            event = await anext(events)
        assert (event.message.id, event.message.text) == (sent.id, "hello")
        assert event.message.sender == "Tom"
        (stored,) = await rest.history_page(chat)
        assert (stored.id, stored.timestamp) == (sent.id, sent.timestamp)
        assert stored.message.text == "hello"
        assert await rest.unread_count("Jerry") == 1
        assert await rest.unread_count("Jerry", chat) == 1


async def test_a_stranger_may_be_the_sender_and_gets_a_copy(clock):
    async with backend() as (server, rest), client_of(server, "Admin") as admin:
        chat = await rest.create_conversation(["Tom", "Jerry"])
        with admin.events(MessageReceived) as events:
            await rest.send(chat, "not for me", sender="Admin", sync=False)
            await rest.send(chat, "for me too", sender="Admin")
            event = await anext(events)
        assert event.message.body == "for me too"


async def test_a_transient_message_is_not_kept(clock):
    async with backend() as (server, rest), client_of(server, "Jerry") as jerry:
        chat = await rest.create_conversation(["Tom", "Jerry"])
        with jerry.events(MessageReceived) as events:
            await rest.send(chat, "typing", sender="Tom", transient=True)
            assert (await anext(events)).message.transient
        assert await rest.history_page(chat) == []


async def test_mentions_are_told(clock):
    async with backend() as (server, rest), client_of(server, "Jerry") as jerry:
        chat = await rest.create_conversation(["Tom", "Jerry"])
        with jerry.events(MessageReceived) as events:
            await rest.send(chat, "you", sender="Tom", mentions=["Jerry"])
            assert (await anext(events)).message.mentioned
            await rest.send(chat, "all", sender="Tom", mention_all=True)
            assert (await anext(events)).message.mention_all


async def test_edit_recall_and_removal(clock):
    async with backend() as (server, rest), client_of(server, "Jerry") as jerry:
        chat = await rest.create_conversation(["Tom", "Jerry"])
        await rest.send(chat, "1", sender="Tom")
        (stored,) = await rest.history_page(chat)
        with jerry.events(MessageUpdated, MessageRecalled) as events:
            await rest.edit(stored, TextMessage("2"))
            assert (await anext(events)).message.text == "2"
            await rest.recall(stored)
            assert isinstance(await anext(events), MessageRecalled)
        await rest.recall(stored)
        with pytest.raises(Refused) as refused:
            await rest.edit(stored, "3")
        assert refused.value.code is ErrorCode.MESSAGE_NOT_FOUND
        (now,) = await rest.history_page(chat)
        assert (now.id, now.row["data"]) == (stored.id, '{"_lctype":-127}')
        await rest.delete_message(stored)
        assert await rest.history_page(chat) == []
        with pytest.raises(Refused):
            await rest.delete_message(stored)


async def test_only_what_its_sender_said_is_changed(clock):
    async with backend() as (_server, rest):
        chat = await rest.create_conversation(["Tom", "Jerry"])
        sent = await rest.send(chat, "1", sender="Tom")
        path = f"/1.2/rtm/conversations/{chat.id}/messages/{sent.id}"
        for body in (
            {"from_client": "Jerry", "timestamp": sent.timestamp_ms, "message": "x"},
            {"from_client": "Tom", "timestamp": sent.timestamp_ms + 1, "message": "x"},
        ):
            with pytest.raises(Refused):
                await rest.call("PUT", path, body=body)
        assert [one.row["data"] for one in await rest.history_page(chat)] == ["1"]


async def test_a_room_hears_it_and_its_sender_does_not(clock):
    async with (
        backend() as (server, rest),
        client_of(server, "Jerry") as jerry,
        client_of(server, "Tom") as tom,
    ):
        room = await rest.create_chat_room(name="hall")
        assert room.kind is ConversationKind.CHAT_ROOM
        await jerry.join(room)
        await tom.join(room)
        assert sorted(await rest.members(room)) == ["Jerry", "Tom"]
        assert await rest.online_count(room.id) == 2
        with jerry.events(MessageReceived) as heard, tom.events(MessageReceived) as echoed:
            await rest.send(room, "loud", sender="Tom", priority=MessagePriority.HIGH)
            assert (await anext(heard)).message.body == "loud"
            await rest.send(room, "other", sender="Spike")
            assert (await anext(echoed)).message.body == "other"
        (second, first) = await rest.history_page(room)
        assert (first.is_room, first.message.body, second.sender) == (True, "loud", "Spike")


async def test_a_service_speaks_to_its_subscribers(clock):
    async with backend() as (server, rest), client_of(server, "Jerry") as jerry:
        news = await rest.create_service_conversation(name="news")
        await rest.subscribe(news, "Jerry")
        await rest.subscribe(news, "Jerry")
        await rest.subscribe(news, "Tom")
        assert [one.client_id async for one in rest.subscribers(news)] == ["Jerry", "Tom"]
        assert await rest.subscriber_count(news) == 2
        assert [one.conversation_id async for one in rest.subscriptions("Jerry")] == [news.id]
        with jerry.events(MessageReceived) as events:
            sent = await rest.broadcast(news, TextMessage("offer"), sender="shop")
            assert (await anext(events)).message.id == sent.id
        await jerry.send(news.id, TextMessage("still there?"))
        (row,) = [one async for one in rest.rows("_SysMessage")]
        assert (row["from"], row["conv"]["objectId"]) == ("Jerry", news.id)
        assert await rest.rows_page("_SysMessage", after=row["objectId"]) == []
        await rest.unsubscribe(news, "Jerry")
        assert await rest.subscriber_count(news) == 1


async def test_pages_of_everything_in_both_directions(clock):
    async with backend() as (_server, rest):
        chats = [await rest.create_conversation(["Tom", name]) for name in ("Jerry", "Spike")]
        for number in range(10):
            await rest.send(chats[number % 2], str(number), sender="Tom" if number % 3 else "Spike")
        newest = [one async for one in rest.history(page=3)]
        assert [one.timestamp_ms for one in newest] == sorted(
            (one.timestamp_ms for one in newest), reverse=True
        )
        assert {one.message.body for one in newest} == {str(number) for number in range(10)}
        assert len(newest) == 10
        oldest = [one async for one in rest.history(page=3, oldest_first=True)]
        assert oldest == newest[::-1]
        of_spike = [one async for one in rest.history(sender="Spike", page=2)]
        assert [one.id for one in of_spike] == [one.id for one in newest if one.sender == "Spike"]
        bounded = await rest.history_page(start=newest[2], end=newest[5], include_start=True)
        assert bounded == newest[2:5]


async def test_messages_of_one_instant_across_a_page_edge(clock):
    """Conversations have a clock each, so that messages of several share a time."""
    async with backend() as (_server, rest):
        chats = [await rest.create_conversation(["Tom", str(number)]) for number in range(7)]
        for chat in chats:
            await rest.send(chat, "now", sender="Tom")
        assert len({one.timestamp_ms for one in await rest.history_page()}) == 1
        for page in (1, 2, 3, 7):
            found = [one async for one in rest.history(page=page)]
            assert {one.conversation_id for one in found} == {chat.id for chat in chats}
            assert len(found) == 7


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"from_client": "Tom"},
        {"from_client": 1, "message": "x"},
        {"from_client": "Tom", "message": 1},
        {"from_client": "Tom", "message": "x" * 6000},
        {"from_client": "x" * 100, "message": "x"},
        {"from_client": "Tom", "message": "x", "priority": "urgent"},
        {"from_client": "Tom", "message": "x", "transient": "perhaps"},
        {"from_client": "Tom", "message": "x", "mention_client_ids": ["a"] * 21},
        {"from_client": "Tom", "message": "x", "mention_client_ids": [1]},
    ],
)
async def test_what_cannot_be_sent_is_refused(body, clock):
    async with backend() as (_server, rest):
        chat = await rest.create_conversation(["Tom", "Jerry"])
        with pytest.raises(Refused) as refused:
            await rest.call("POST", f"/1.2/rtm/conversations/{chat.id}/messages", body=body)
        assert refused.value.status == 400
        assert await rest.history_page(chat) == []


async def test_bytes_cannot_be_sent(clock):
    async with backend() as (_server, rest):
        with pytest.raises(TypeError, match="text"):
            await rest.send("5" * 24, BinaryMessage(b"x"), sender="Tom")


async def test_there_is_no_such_conversation(clock):
    async with backend() as (_server, rest):
        with pytest.raises(NotFound) as missing:
            await rest.send("5" * 24, "x", sender="Tom")
        assert missing.value.code == 4303
        room = await rest.create_chat_room()
        with pytest.raises(Refused):
            await rest.send(room.id, "x", sender="Tom")


async def test_the_first_version_of_the_api(clock):
    async with backend() as (server, rest), client_of(server, "Jerry") as jerry:
        chat = await rest.create_conversation(["Tom", "Jerry"])
        body = {"from_peer": "Tom", "conv_id": chat.id, "message": "old"}
        with jerry.events(MessageReceived) as events:
            await rest.call("POST", "/1.1/rtm/messages", body=body)
            assert (await anext(events)).message.transient
        assert await rest.history_page(chat) == []
        sent = await rest.call("POST", "/1.1/rtm/messages", body={**body, "transient": False})
        (row,) = await rest.call("GET", "/1.1/rtm/messages/history")
        assert row["msg-id"] == sent["msg-id"]
        assert await rest.call("GET", "/1.1/rtm/messages/history", params={"from": "Tom"}) == [row]
        await rest.call("PUT", "/1.1/rtm/messages/logs", body={**row, "data": "new"})
        assert [one.message.body for one in await rest.history_page(chat)] == ["new"]
        named = {"convid": chat.id, "msgid": row["msg-id"], "timestamp": row["timestamp"]}
        await rest.call("DELETE", "/1.1/rtm/messages/logs", params={**named, "from": "Tom"})
        assert await rest.history_page(chat) == []
        unread = await rest.call("GET", f"/1.1/rtm/messages/unread/Jerry/{chat.id}")
        assert unread == {"count": 0}
        assert await rest.call("POST", "/1.1/rtm/online", body={"peers": ["Jerry", "Tom"]}) == {
            "results": ["Jerry"]
        }


async def test_a_service_speaks_to_clients_alone(clock):
    async with backend() as (server, rest), client_of(server, "Tom") as tom:
        news = await rest.create_service_conversation()
        with tom.events(MessageReceived, MessageUpdated, MessageRecalled) as events:
            sent = await rest.send(news, TextMessage("psst"), sender="shop", to=["Tom", "Jerry"])
            event = await anext(events)
            assert (event.conversation_id, event.message.text) == (news.id, "psst")
            assert event.message.id == sent.id
            (stored,) = await rest.history_page(news, subscriber="Tom")
            assert (stored.receiver, stored.message.text) == ("Tom", "psst")
            await rest.edit(stored, TextMessage("pssst"))
            assert (await anext(events)).message.text == "pssst"
            await rest.recall(stored)
            assert isinstance(await anext(events), MessageRecalled)
        (other,) = [one async for one in rest.history(news.id, subscriber="Jerry", page=1)]
        assert (other.message.text, other.receiver) == ("psst", "Jerry")
        await rest.delete_message(other)
        assert await rest.history_page(news, subscriber="Jerry") == []
        assert [one.receiver for one in await rest.history_page()] == ["Tom"]


async def test_a_service_speaks_to_everybody(clock):
    async with backend() as (server, rest), client_of(server, "Tom") as tom:
        news = await rest.create_service_conversation()
        with tom.events(MessageReceived) as events:
            await rest.broadcast_to_all(news, "now", sender="shop", transient=True)
            assert (await anext(events)).message.body == "now"
            till = utc_now() + timedelta(days=2)
            sent = await rest.broadcast_to_all(news, "all", sender="shop", valid_till=till)
            assert (await anext(events)).message.id == sent.id
        (one,) = await rest.broadcasts(news)
        assert (one.id, one.row["data"]) == (sent.id, "all")
        assert one.row["valid_till"] == ms_from_datetime(till)
        await rest.withdraw_broadcast(sent.id)
        assert await rest.broadcasts() == []
        with pytest.raises(Refused):
            await rest.broadcast_to_all(news, "x", sender="shop", valid_till=till - timedelta(9))
