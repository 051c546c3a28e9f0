"""Everything messages can do, through the real server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
import trio

from tests.client.world import kinds, world
from trio_realtime import (
    BinaryMessage,
    File,
    FileMessage,
    Gap,
    GeoPoint,
    InvalidMessagingTarget,
    LinkState,
    LocationMessage,
    Message,
    MessageDelivered,
    MessageNotFound,
    MessageOwnershipRequired,
    MessageRead,
    MessageRecalled,
    MessageReceived,
    MessageRef,
    MessageStatus,
    MessageTooLarge,
    MessageUpdated,
    Plugin,
    PluginError,
    PluginFailed,
    ReadState,
    RecalledMessage,
    SendOptions,
    TextMessage,
    TypedMessage,
    Unread,
    UnreadUpdated,
    message_type,
)


def texts(events):
    return [e.message.text for e in events if isinstance(e, MessageReceived)]


async def fill(client, chat, count, prefix=""):
    return [await client.send(chat, TextMessage(f"{prefix}{n}")) for n in range(count)]


@message_type(5)
@attrs.frozen
class Order(TypedMessage):
    names: list[str]
    extra: Any = None


async def test_a_message_that_was_sent_equals_its_copies(autojump_clock):
    async with world("Tom", "Jerry", message_types=[Order]) as (w, tom, _jerry):
        chat = await tom.create_conversation(["Jerry"])
        await w.forget()
        now = datetime.now(UTC)
        for message in (
            TextMessage("hi", attributes={"when": now}, mentions=["Jerry"]),
            Order(["a"], extra=({"a": now},)),
            LocationMessage(GeoPoint(1, 2), text="here"),
            FileMessage(File("http://f/a", size=3)),
        ):
            sent = await tom.send(chat, message, SendOptions(receipt=True))
            (received,) = [e.message for e in await w.seen("Jerry")]
            (kept,) = await tom.history_page(chat, limit=1)
            assert sent == kept == received


async def test_a_sent_message_knows_its_place(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        await w.forget()
        sent = await tom.send(chat, TextMessage("hi", attributes={"mood": "glad"}))
        assert sent.status is MessageStatus.SENT
        assert (sent.sender, sent.conversation_id) == ("Tom", chat.id)
        (event,) = await w.seen("Jerry")
        assert event.message.id == sent.id
        assert event.message.timestamp == sent.timestamp
        assert event.message.attributes == {"mood": "glad"}
        assert await w.seen("Tom") == []
        assert (await jerry.get_conversation(chat.id)).last_message is None
        again = await tom.send(chat, sent)
        await trio.sleep(1)
        assert again.id != sent.id, "sending it again is a new message"
        assert (await jerry.get_conversation(chat.id)).last_message.id == again.id
        assert (await tom.get_conversation(chat.id)).last_message.id == again.id


async def test_what_may_not_be_resolved_is_kept_once_when_sent_with_its_token(autojump_clock):
    async with world("Tom", "Jerry") as (_w, tom, _jerry):
        chat = await tom.create_conversation(["Jerry"])
        message = TextMessage("once", dt="my-token")
        first = await tom.send(chat, message)
        second = await tom.send(chat, message)
        assert first.id == second.id
        assert len([m async for m in tom.history(chat)]) == 1


async def test_mentions_reach_whom_they_mean(autojump_clock):
    async with world("Tom", "Jerry", "Mary") as (w, tom, jerry, mary):
        chat = await tom.create_conversation(["Jerry", "Mary"])
        await w.forget()
        await tom.send(chat, TextMessage("psst", mentions=["Jerry"]))
        (to_jerry,), (to_mary,) = await w.seen("Jerry"), await w.seen("Mary")
        assert (to_jerry.message.mentioned, to_mary.message.mentioned) == (True, False)
        assert to_mary.message.mentions == ("Jerry",)
        assert jerry.unread(chat) == Unread(1, mentioned=True)
        assert mary.unread(chat) == Unread(1, mentioned=False)
        await tom.send(chat, TextMessage("all", mention_all=True))
        await trio.sleep(1)
        assert mary.unread(chat) == Unread(2, mentioned=True)


async def test_a_message_too_large_says_by_how_much_and_is_not_sent(autojump_clock):
    async with world("Tom") as (_w, tom):
        chat = await tom.create_conversation([])
        with pytest.raises(MessageTooLarge) as caught:
            await tom.send(chat, TextMessage("漢" * 2000))
        assert caught.value.size > caught.value.limit == 5 * 1024
        assert str(caught.value.size - caught.value.limit) in str(caught.value)
        assert [m async for m in tom.history(chat)] == []
        over = caught.value.size - caught.value.limit
        await tom.send(chat, TextMessage("漢" * (2000 - over // 3 - 1)))
        with pytest.raises(MessageTooLarge):
            await tom.send(chat, TextMessage("漢" * (2000 - over // 3 + 1)))


async def test_no_other_command_may_be_too_large_either(autojump_clock):
    async with world("Tom") as (_w, tom):
        chat = await tom.create_conversation([])
        sent = await tom.send(chat, TextMessage("short"))
        with pytest.raises(MessageTooLarge):
            await tom.edit(sent, TextMessage("x" * 6000))
        with pytest.raises(MessageTooLarge):
            await tom.update_conversation(chat, {"essay": "x" * 6000})
        with pytest.raises(MessageTooLarge):
            await tom.create_conversation(["Jerry"], attributes={"essay": "x" * 6000})
        assert tom.state is LinkState.CONNECTED


async def test_an_acknowledgement_survives_a_broken_link(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, _jerry):
        chat = await tom.create_conversation(["Jerry"])
        receipts = tom.events(MessageDelivered)
        sent = [
            await tom.send(chat, TextMessage(str(n)), SendOptions(receipt=True)) for n in range(2)
        ]
        await trio.sleep(0.01)
        w.server.drop_connections("Jerry")
        with trio.fail_after(20):
            seen = {(await anext(receipts)).message_id for _ in sent}
        assert seen == {one.id for one in sent}


async def test_pushed_offline_messages_are_completed_after_a_break(autojump_clock):
    async with world("Tom") as (w, tom):
        jerry = await w.client("Jerry", offline_messages="push")
        jerry.pause()
        await trio.sleep(1)
        chat = await tom.create_conversation(["Jerry"])
        await fill(tom, chat, 40)
        jerry.resume()
        assert texts(await w.seen("Jerry")) == [str(n) for n in range(40)]


async def test_strangers_may_not_send(autojump_clock):
    async with world("Tom", "Mary") as (_w, tom, mary):
        chat = await tom.create_conversation([])
        with pytest.raises(InvalidMessagingTarget):
            await mary.send(chat, TextMessage("hi"))
        with pytest.raises(InvalidMessagingTarget):
            await mary.send("0" * 24, TextMessage("hi"))


async def test_transient_messages_leave_no_trace(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        await w.forget()
        await tom.send(chat, TextMessage("typing"), SendOptions(transient=True))
        (event,) = await w.seen("Jerry")
        assert event.message.transient
        assert jerry.unread(chat) == Unread()
        assert [m async for m in tom.history(chat)] == []


async def test_a_will_is_delivered_when_its_author_vanishes(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, _jerry):
        chat = await tom.create_conversation(["Jerry"])
        await w.forget()
        await tom.send(chat, TextMessage("farewell"), SendOptions(will=True))
        assert await w.seen("Jerry") == []
        await tom.send(chat, TextMessage("later"))
        w.server.drop_connections("Tom")
        later, farewell = await w.seen("Jerry")
        assert (later.message.text, farewell.message.text) == ("later", "farewell")
        assert farewell.at > later.at


async def test_a_will_is_heard_by_those_who_are_members_then(autojump_clock):
    async with world("Tom", "Jerry", "Mary") as (w, tom, _jerry, _mary):
        chat = await tom.create_conversation(["Jerry"], unique=False)
        await tom.send(chat, TextMessage("farewell"), SendOptions(will=True))
        await tom.remove_members(chat, ["Jerry"])
        await tom.add_members(chat, ["Mary"])
        await w.forget()
        w.server.drop_connections("Tom")
        assert texts(await w.seen("Mary")) == ["farewell"]
        assert await w.seen("Jerry") == []


async def test_receipts_tell_who_has_received_and_read(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        await w.forget()
        sent = await tom.send(chat, TextMessage("hi"), SendOptions(receipt=True))
        (delivered,) = await w.seen("Tom")
        assert isinstance(delivered, MessageDelivered)
        assert (delivered.message_id, delivered.by) == (sent.id, "Jerry")
        await jerry.read(chat)
        (read,) = await w.seen("Tom")
        assert isinstance(read, MessageRead)
        states = await tom.fetch_receipts(chat)
        assert states.keys() == {"Jerry"}
        assert states["Jerry"].read_at >= sent.timestamp
        known = await tom.get_conversation(chat.id)
        assert known.last_read_at == states["Jerry"].read_at


async def test_groups_know_the_state_of_every_member(autojump_clock):
    async with world("Tom", "Jerry", "Mary") as (_w, tom, jerry, _mary):
        chat = await tom.create_conversation(["Jerry", "Mary", "Absent"])
        sent = await tom.send(chat, TextMessage("hi"))
        await trio.sleep(2)
        await jerry.read(chat)
        await trio.sleep(2)
        states = await tom.fetch_receipts(chat)
        assert states["Jerry"].read_at >= sent.timestamp
        assert states["Mary"] == ReadState(states["Mary"].delivered_at, None)
        assert "Absent" not in states or states["Absent"] == ReadState()


async def test_unread_counts_follow_on_all_devices(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, phone):
        chat = await tom.create_conversation(["Jerry"])
        await fill(tom, chat, 3)
        await trio.sleep(2)
        assert phone.unread(chat) == Unread(3)
        laptop = await w.client("Jerry")
        await trio.sleep(2)
        assert laptop.unread_conversations() == {chat.id: Unread(3)}
        await laptop.read(chat)
        await trio.sleep(2)
        assert phone.unread(chat) == laptop.unread(chat) == Unread()
        await fill(tom, chat, 1)
        await trio.sleep(2)
        assert phone.unread(chat) == laptop.unread(chat) == Unread(1)
        assert tom.unread(chat) == Unread()


async def test_reading_while_away_is_reported_later(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        await fill(tom, chat, 2)
        await trio.sleep(2)
        jerry.pause()
        await jerry.read(chat)
        jerry.resume()
        await trio.sleep(5)
        other = await w.client("Jerry")
        await trio.sleep(2)
        assert other.unread(chat) == Unread()


async def test_unread_is_told_after_the_login(autojump_clock):
    async with world("Tom") as (w, tom):
        chat = await tom.create_conversation(["Jerry"])
        await tom.send(chat, TextMessage("one", mentions=["Jerry"]))
        last = await tom.send(chat, TextMessage("two"))
        await w.client("Jerry")
        (event,) = await w.seen("Jerry")
        assert isinstance(event, UnreadUpdated)
        assert (event.conversation_id, event.count, event.mentioned) == (chat.id, 2, True)
        assert event.last_message.id == last.id


async def test_history_has_every_bound_and_direction(autojump_clock):
    async with world("Tom", "Jerry") as (_w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        sent = await fill(tom, chat, 10)

        async def page(**options):
            return [int(m.text) for m in await jerry.history_page(chat, **options)]

        assert await page() == list(range(10))
        assert await page(limit=3) == [7, 8, 9]
        assert await page(limit=3, oldest_first=True) == [0, 1, 2]
        assert await page(start=sent[5], limit=2) == [3, 4]
        assert await page(start=sent[5], start_included=True, limit=2) == [4, 5]
        assert await page(start=sent[5], oldest_first=True, limit=2) == [6, 7]
        assert await page(start=sent[7], end=sent[4]) == [5, 6]
        assert await page(start=sent[7], end=sent[4], end_included=True) == [4, 5, 6]
        assert await page(start=sent[2].timestamp, oldest_first=True, limit=1) == [3]
        backwards = [int(m.text) async for m in jerry.history(chat, page_size=3)]
        assert backwards == list(range(9, -1, -1))
        forwards = [
            int(m.text)
            async for m in jerry.history(
                chat, start=sent[1], end=sent[8], oldest_first=True, page_size=2
            )
        ]
        assert forwards == [2, 3, 4, 5, 6, 7]
        with pytest.raises(ValueError, match="1 to 1000"):
            await page(limit=0)


async def test_iteration_is_stable_while_messages_arrive_and_may_be_left(autojump_clock):
    async with world("Tom", "Jerry") as (_w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        await fill(tom, chat, 6)
        seen = []
        async for message in jerry.history(chat, page_size=2):
            seen.append(message.text)
            await tom.send(chat, TextMessage(f"new {message.text}"))
        assert seen == ["5", "4", "3", "2", "1", "0"]
        async for _message in jerry.history(chat):
            break


@message_type(7)
@attrs.frozen
class Transfer(TypedMessage):
    amount: int


async def test_custom_types_and_selection_by_type(autojump_clock):
    async with world("Tom", "Jerry", message_types=[Transfer]) as (w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        await w.forget()
        await tom.send(chat, TextMessage("text"))
        await tom.send(chat, Transfer(amount=5))
        await tom.send(chat, BinaryMessage(b"\x00\xff"))
        events = await w.seen("Jerry")
        assert isinstance(events[1].message, Transfer)
        assert events[1].message.amount == 5
        assert events[2].message.data == b"\x00\xff"
        only = await jerry.history_page(chat, type=Transfer)
        assert [m.amount for m in only] == [5]
        assert [type(m) for m in await jerry.history_page(chat, type=-1)] == [TextMessage]


async def test_messages_are_edited_and_recalled_by_their_authors(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        first, second = await fill(tom, chat, 2)
        await jerry.get_conversation(chat.id)
        await w.forget()
        edited = await tom.edit(first, TextMessage("better"))
        assert (edited.id, edited.timestamp) == (first.id, first.timestamp)
        assert edited.updated_at >= first.timestamp
        (event,) = await w.seen("Jerry")
        assert isinstance(event, MessageUpdated)
        assert (event.message.id, event.message.text) == (first.id, "better")
        ref = MessageRef(chat, second.id, second.timestamp)
        assert isinstance(await tom.recall(ref), RecalledMessage)
        (event,) = await w.seen("Jerry")
        assert isinstance(event, MessageRecalled)
        assert isinstance(event.message, RecalledMessage)
        assert isinstance((await tom.get_conversation(chat.id)).last_message, RecalledMessage)
        history = await jerry.history_page(chat)
        assert history[0].text == "better"
        assert isinstance(history[1], RecalledMessage)
        with pytest.raises(MessageOwnershipRequired):
            await jerry.edit(first, TextMessage("mine"))
        with pytest.raises(MessageNotFound):
            await tom.recall(MessageRef(chat, "no-such-message", first.timestamp))
        with pytest.raises(ValueError, match="never sent"):
            await tom.recall(TextMessage("never sent"))


async def test_missed_edits_are_told_after_a_reconnection(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        first, second = await fill(tom, chat, 2)
        await w.forget()
        jerry.pause()
        await trio.sleep(1)
        await tom.edit(first, TextMessage("better"))
        await tom.recall(second)
        await trio.sleep(1)
        jerry.resume()
        events = [e for e in await w.seen("Jerry") if not isinstance(e, UnreadUpdated)]
        assert kinds(events) == ["MessageUpdated", "MessageRecalled", "Gap"]
        assert events[-1] == Gap(chat.id, edited=2)
        jerry.pause()
        jerry.resume()
        assert [e for e in await w.seen("Jerry") if not isinstance(e, UnreadUpdated)] == []


async def test_what_was_missed_comes_before_what_is_new(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        await fill(tom, chat, 1, "seen ")
        await w.forget()
        w.server.drop_connections("Jerry")
        await fill(tom, chat, 120, "missed ")
        events = await w.seen("Jerry")
        missed = [e for e in events if not isinstance(e, UnreadUpdated)]
        assert texts(missed) == [f"missed {n}" for n in range(120)]
        assert missed[-1] == Gap(chat.id, filled=120)
        await fill(tom, chat, 1, "new ")
        assert texts(await w.seen("Jerry")) == ["new 0"]
        assert jerry.unread(chat).count == 100


async def test_acknowledgement_can_wait_for_the_next_step_of_the_loop(autojump_clock):
    async with world("Tom") as (w, tom):
        jerry = await w.client("Jerry", ack="next")
        chat = await tom.create_conversation(["Jerry"])
        receipts = tom.events(MessageDelivered)
        with jerry.events(MessageReceived) as loop:
            w.inboxes["Jerry"].close()
            sent = await tom.send(chat, TextMessage("hi"), SendOptions(receipt=True))
            event = await anext(loop)
            assert event.message.id == sent.id
            with trio.move_on_after(5) as scope:
                await anext(receipts)
            assert scope.cancelled_caught, "not dealt with yet"
            with trio.move_on_after(1):
                await anext(loop)
            with trio.fail_after(5):
                assert (await anext(receipts)).message_id == sent.id


async def test_offline_messages_can_be_pushed_instead_of_counted(autojump_clock):
    async with world("Tom") as (w, tom):
        chat = await tom.create_conversation(["Jerry"])
        await fill(tom, chat, 5)
        await w.client("Jerry", offline_messages="push")
        assert texts(await w.seen("Jerry")) == ["0", "1", "2", "3", "4"]


async def test_plugins_change_replace_and_keep_back_messages(autojump_clock):
    created = []
    shout = Plugin(
        name="shout",
        before_message_parse=lambda body: body.replace("quiet", "LOUD"),
        after_message_parse=lambda m: attrs.evolve(m, attributes={"seen": True}),
        before_message_dispatch=lambda m: "secret" not in m.text,
        on_client_create=created.append,
    )
    async with world("Tom") as (w, tom):
        jerry = await w.client("Jerry", plugins=[shout])
        assert created == [jerry]
        chat = await tom.create_conversation(["Jerry"])
        await w.forget()
        for text in ("quiet", "secret", "end"):
            await tom.send(chat, TextMessage(text))
        events = await w.seen("Jerry")
        assert texts(events) == ["LOUD", "end"]
        assert events[0].message.attributes == {"seen": True}


async def test_a_plugin_that_fails_at_the_new_client_is_named(autojump_clock):
    def explode(_client):
        raise RuntimeError("boom")

    async with world() as (w,):
        with pytest.raises(PluginError, match="the plugin bad failed: RuntimeError") as caught:
            await w.client("Jerry", plugins=[Plugin(name="bad", on_client_create=explode)])
        assert caught.value.plugin == "bad"
        await trio.sleep(5)
        assert w.server.stats().sessions == 0


async def test_a_failing_plugin_is_named_and_harms_nothing(autojump_clock, caplog):
    def explode(_value):
        raise RuntimeError("boom")

    bad = Plugin(name="bad", before_message_parse=explode, after_message_parse=lambda _m: None)
    async with world("Tom") as (w, tom):
        jerry = await w.client("Jerry", plugins=[bad])
        failures = jerry.events(PluginFailed)
        chat = await tom.create_conversation(["Jerry"])
        await w.forget()
        await tom.send(chat, TextMessage("hi"))
        assert texts(await w.seen("Jerry")) == ["hi"]
        failure = await anext(failures)
        assert failure.plugin == "bad"
        assert str(failure.error) == "boom"
        assert "None" in str((await anext(failures)).error)


async def test_times_are_aware(autojump_clock):
    async with world("Tom") as (_w, tom):
        chat = await tom.create_conversation([])
        sent = await tom.send(chat, TextMessage("hi"))
        assert sent.timestamp.utcoffset() == timedelta(0)


@pytest.mark.parametrize("oldest_first", [True, False])
async def test_history_goes_on_where_the_server_gives_less_than_was_asked_for(
    autojump_clock, monkeypatch, oldest_first
):
    monkeypatch.setattr("trio_realtime.server.rules.history._LARGEST_PAGE", 100)
    async with world("Tom") as (_, tom):
        chat = await tom.create_conversation(["Jerry"])
        for number in range(201):
            await tom.send(chat, TextMessage(str(number)))
        read = [
            int(message.text)
            async for message in tom.history(chat, page_size=1000, oldest_first=oldest_first)
        ]
        assert read == sorted(range(201), reverse=not oldest_first)


async def test_history_of_a_class_holds_nothing_else(autojump_clock):
    async with world("Tom", message_types=[Order]) as (_w, tom):
        chat = await tom.create_conversation(["Jerry"])
        await tom.send(chat, Order(["a"]))
        await tom.send(chat, Message('{"_lctype":5,"names":"no list"}'))
        assert [type(m) for m in await tom.history_page(chat, type=5)] == [Order, Message]
        assert [m.names for m in await tom.history_page(chat, type=Order)] == [["a"]]
        assert [m.names async for m in tom.history(chat, type=Order, page_size=1)] == [["a"]]
        with pytest.raises(ValueError, match="does not know Transfer: open it with message_types"):
            await tom.history_page(chat, type=Transfer)
        for kind in (TypedMessage, BinaryMessage, "text", True):
            with pytest.raises(TypeError, match="expected a message type or its number"):
                tom.history(chat, type=kind)
