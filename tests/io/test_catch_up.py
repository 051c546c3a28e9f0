"""What is fetched after a break, and when: docs/protocol/session.md §6, §7."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio
import trio.testing

from tests.client.world import world
from tests.io.scripted_server import in_background, push
from tests.io.test_delivery import answer_history, ids, item
from trio_realtime import (
    Gap,
    Invited,
    MessageReceived,
    Reconnected,
    SendOptions,
    TextMessage,
    open_client,
)
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    GenericCommand,
    OpType,
    UnreadCommand,
    UnreadTuple,
)


def moment(ms):
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def received(events):
    return [event.message.id for event in events if isinstance(event, MessageReceived)]


def unread(cid, *, count=1, mid=None, timestamp=None):
    data = None if mid is None else mid
    one = UnreadTuple(cid=cid, unread=count, mid=mid, timestamp=timestamp, data=data)
    return GenericCommand(
        cmd=CommandType.UNREAD, peer_id="Tom", unread_message=UnreadCommand(convs=[one])
    )


def notice(op, cid, at):
    return GenericCommand(
        cmd=CommandType.CONV,
        op=op,
        peer_id="Tom",
        server_ts=at,
        notification_type=1,
        conv_message=ConvCommand(cid=cid, init_by="Jerry"),
    )


# Beside, not before.


async def test_a_silent_rest_host_delays_no_message(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        known = await tom.create_conversation(["Jerry"])
        await tom.send(known, TextMessage("before"))
        await w.forget()
        jerry._session.rest.get = silent
        events = jerry.events(MessageReceived, Reconnected)
        w.server.drop_connections("Jerry")
        await tom.send(known, TextMessage("missed"))
        await anext(events)
        began = trio.current_time()
        await tom.send(known, TextMessage("live"))
        assert [(await anext(events)).message.text for _ in range(2)] == ["missed", "live"]
        assert trio.current_time() - began < 1


async def silent(_path, _params):
    await trio.sleep_forever()


async def test_a_loop_that_is_slow_is_not_overrun_by_what_it_missed(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        await tom.send(chat, TextMessage("seen"))
        await w.forget()
        events = jerry.events(MessageReceived, max_buffer=20)
        w.server.drop_connections("Jerry")
        for number in range(300):
            await tom.send(chat, TextMessage(str(number)))
        for number in range(300):
            await trio.sleep(0.1)
            assert (await anext(events)).message.text == str(number)


# What has changed.


async def test_conversations_that_missed_nothing_cost_no_question_each(scripted, autojump_clock):
    commands = []

    async def server():
        link = await scripted.log_in()
        for number in range(500):
            await link.send(push(f"c{number}", mid="a", timestamp=2000, conv_type=1))
        await link.abort()
        link = await scripted.accept()
        await link.welcome(at=3000)
        link.last = {f"c{number}": (2000, "a") for number in range(500)}
        link.last["c7"] = (2500, "b")
        await link.send(push("c9", mid="live", timestamp=3001))
        while (command := await link.receive_any()) is not None:
            if command.cmd == CommandType.CONV:
                commands.append(command)
                await link.answer_last_messages(command)
            elif command.cmd == CommandType.LOGS:
                commands.append(command)
                await answer_history(link, command, item("a", 2000), item("b", 2500))

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        events = tom.events(MessageReceived, Gap)
        await ids(events, 500)
        seen = [await anext(events) for _ in range(3)]
        assert set(received(seen)) == {"live", "b"}
        assert [e for e in seen if isinstance(e, Gap)] == [Gap("c7", filled=1)]
        await trio.sleep(60)
    asked = [command.logs_message.cid for command in commands if command.cmd == CommandType.LOGS]
    assert asked == ["c7"]
    assert len(commands) < 15


async def test_what_another_device_sent_is_found(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, _jerry):
        chat = await tom.create_conversation(["Jerry"])
        await tom.send(chat, TextMessage("one"))
        async with w.open("Tom") as other:
            await w.forget()
            w.server.drop_connections("Tom")
            await other.send(chat, TextMessage("two"))
            await trio.sleep(5)
        seen = [e for e in await w.seen("Tom") if isinstance(e, MessageReceived)]
        assert [event.message.text for event in seen] == ["two"]


async def test_temporary_and_service_conversations_and_rooms_are_caught_up(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        temporary = await tom.create_temporary_conversation(["Jerry"])
        room = await tom.create_chat_room(name="room")
        await jerry.join(room)
        for chat in (temporary, room):
            await tom.send(chat, TextMessage("seen"))
        await w.forget()
        jerry.pause()
        await trio.sleep(1)
        for chat in (temporary, room):
            await tom.send(chat, TextMessage("missed"))
        jerry.resume()
        gaps = [e for e in await w.seen("Jerry") if isinstance(e, Gap)]
        assert sorted(gaps, key=lambda gap: gap.conversation_id) == sorted(
            [Gap(temporary.id, filled=1), Gap(room.id, filled=1)],
            key=lambda gap: gap.conversation_id,
        )


@pytest.mark.parametrize("kind", [3, None])
async def test_a_conversation_whose_last_message_is_not_told_is_read(
    kind, scripted, autojump_clock
):
    async def server():
        link = await scripted.log_in()
        await link.send(push(mid="a", timestamp=2000, conv_type=kind))
        await link.abort()
        # A service conversation; or one that the query hides.
        link = await scripted.log_in(last={"c": (None, None)} if kind else {})
        await answer_history(link, await link.receive(), item("a", 2000), item("b", 2001))
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        assert await ids(tom.events(MessageReceived), 2) == ["a", "b"]


async def test_of_several_messages_of_one_time_none_is_missed(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.send(push(mid="b", timestamp=2000))
        await link.abort()
        link = await scripted.log_in(last={"c": (2000, "a")})
        asked = await link.receive()
        assert (asked.logs_message.t, asked.logs_message.mid) == (2000, None)
        await answer_history(link, asked, item("a", 2000), item("b", 2000), item("c", 2000))
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        assert await ids(tom.events(MessageReceived), 3) == ["b", "a", "c"]


async def test_more_new_conversations_than_a_login_names_are_found(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        jerry.pause()
        await trio.sleep(1)
        for number in range(70):
            chat = await tom.create_conversation(["Jerry"], unique=False)
            await tom.send(chat, TextMessage(str(number)))
        jerry.resume()
        await trio.sleep(60)
        seen = [e for e in await w.seen("Jerry") if isinstance(e, MessageReceived)]
        assert {event.message.text for event in seen} == {str(number) for number in range(70)}


# Own messages under way.


async def test_an_unanswered_send_does_not_stop_what_is_received(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.send(push(mid="a", timestamp=2000))
        sending = await link.receive()
        body = sending.direct_message.msg
        await link.abort()
        link = await scripted.accept()
        await link.welcome(at=3000)
        while (command := await link.receive()) is not None:
            if command.cmd == CommandType.LOGS:
                await answer_history(
                    link,
                    command,
                    item("a", 2000),
                    item("b", 2001),
                    # One of these two is being sent, one was sent elsewhere.
                    *(described_own(mid, at, body) for mid, at in [("x", 2002), ("y", 2003)]),
                    item("c", 2004),
                )
                await link.send(push(mid="d", timestamp=3001))
            elif command.cmd == CommandType.DIRECT and link.protocol is not None:
                if sending is not None:
                    sending = None
                    continue
                await trio.sleep(5)
                await link.acknowledge(command, "x", 2002)

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        events = tom.events(MessageReceived)
        assert await ids(events, 1) == ["a"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tom.send, "c", TextMessage("mine"))
            with trio.fail_after(10):
                assert await ids(events, 3) == ["b", "c", "d"]
        assert await ids(events, 1) == ["y"]
        with trio.move_on_after(60):
            pytest.fail(f"nothing more: {await anext(events)}")


@pytest.mark.parametrize("turns", range(8))
async def test_what_is_answered_while_its_history_is_read_is_no_event(
    scripted, autojump_clock, turns
):
    """Answers may come in any turn of the scheduler after the history that shows the messages."""
    count = 20

    async def server():
        link = await scripted.log_in()
        await link.send(push(mid="a", timestamp=2000))
        for _ in range(count):
            await link.receive()
        await link.abort()
        link = await scripted.accept()
        await link.welcome(at=3000)
        again = []
        while (command := await link.receive()) is not None:
            if command.cmd == CommandType.DIRECT:
                again.append(command)
            elif command.cmd == CommandType.LOGS:
                break
        while len(again) < count:
            again.append(await link.receive())
        own = [
            described_own(f"x{n}", 2001 + n, one.direct_message.msg) for n, one in enumerate(again)
        ]
        await answer_history(link, command, item("a", 2000), *own, item("z", 2900))
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        for n, one in enumerate(again):
            await link.acknowledge(one, f"x{n}", 2001 + n)
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        events = tom.events(MessageReceived)
        assert await ids(events, 1) == ["a"]
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(tom.send, "c", TextMessage(str(number)))
        assert await ids(events, 1) == ["z"]


def described_own(mid, at, body):
    one = item(mid, at, sender="Tom")
    one.data = body
    return one


# Gaps that are true.


async def test_who_quit_misses_nothing(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        await tom.send(chat, TextMessage("one"))
        await w.forget()
        await jerry.quit(chat)
        await tom.send(chat, TextMessage("two"))
        await w.forget()
        for _ in range(2):
            w.server.drop_connections("Jerry")
            await trio.sleep(10)
            assert await w.seen("Jerry") == []
        await tom.add_members(chat, ["Jerry"])
        await tom.send(chat, TextMessage("three"))
        w.server.drop_connections("Jerry")
        await tom.send(chat, TextMessage("four"))
        await trio.sleep(10)
        seen = [e for e in await w.seen("Jerry") if isinstance(e, MessageReceived | Gap)]
        assert [e.message.text for e in seen if isinstance(e, MessageReceived)] == ["three", "four"]
        assert seen[-1] == Gap(chat.id, filled=1)


async def test_who_was_removed_while_away_is_told_once(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        await tom.send(chat, TextMessage("one"))
        await w.forget()
        jerry.pause()
        await trio.sleep(1)
        await tom.send(chat, TextMessage("two"))
        await tom.remove_members(chat, ["Jerry"])
        jerry.resume()
        (gap,) = [e for e in await w.seen("Jerry") if isinstance(e, Gap)]
        assert gap.error.code == 4312
        assert gap.notices == 1
        jerry.pause()
        await trio.sleep(1)
        jerry.resume()
        assert await w.seen("Jerry") == []


async def test_who_was_invited_late_misses_nothing_said_before(autojump_clock):
    async with world("Tom", "Jerry", "Mary") as (w, tom, jerry, _mary):
        chat = await tom.create_conversation(["Mary"], unique=False)
        await w.forget()
        jerry.pause()
        await trio.sleep(1)
        await tom.send(chat, TextMessage("among ourselves"))
        await trio.sleep(1)
        await tom.add_members(chat, ["Jerry"])
        await tom.send(chat, TextMessage("welcome"))
        jerry.resume()
        seen = [e for e in await w.seen("Jerry") if isinstance(e, MessageReceived | Gap)]
        assert [e.message.text for e in seen if isinstance(e, MessageReceived)] == ["welcome"]
        assert seen[-1] == Gap(chat.id, filled=1, notices=1)


async def test_a_conversation_in_which_only_a_will_was_heard_has_no_gap(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        await tom.send(chat, TextMessage("farewell"), SendOptions(will=True))
        await w.forget()
        w.server.drop_connections("Tom")
        assert "farewell" in [
            e.message.text for e in await w.seen("Jerry") if isinstance(e, MessageReceived)
        ]
        jerry.pause()
        await trio.sleep(1)
        jerry.resume()
        assert [e for e in await w.seen("Jerry") if isinstance(e, Gap)] == []


async def test_many_invitations_at_once_come_once(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        await trio.sleep(1)
        ask, jerry._session.rest.get = jerry._session.rest.get, None

        async def late(path, params):
            await trio.sleep(5)
            return await ask(path, params)

        jerry._session.rest.get = late
        w.server.drop_connections("Jerry")
        await trio.sleep(2)
        chats = [await tom.create_conversation(["Jerry"], unique=False) for _ in range(100)]
        await trio.sleep(20)
        invited = [e.conversation_id for e in await w.seen("Jerry") if isinstance(e, Invited)]
        assert sorted(invited) == sorted(chat.id for chat in chats)


@pytest.mark.parametrize("blind", [False, True])
async def test_what_was_missed_before_the_first_push_of_a_conversation_is_delivered(
    blind, scripted, autojump_clock
):
    async def server():
        link = await scripted.log_in()
        await link.abort()
        link = await scripted.log_in(at=5000, last=None if blind else {"new": (5001, "c")})
        if blind:
            await trio.sleep(3)
        await link.send(push("new", mid="c", timestamp=5001))
        await link.send(unread("new", count=3))
        asked = await link.receive()
        assert asked.logs_message.t == 1000
        await answer_history(link, asked, item("a", 2000), item("b", 3000), item("c", 5001))
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        events = tom.events(MessageReceived, Gap)
        assert await ids(events, 3) == ["a", "b", "c"]
        assert await anext(events) == Gap("new", filled=3)


async def test_a_counter_names_what_the_list_of_changes_did_not(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.send(push(mid="a", timestamp=2000, conv_type=1))
        await link.abort()
        link = await scripted.log_in(at=5000, last={"c": (2000, "a")})
        with trio.move_on_after(1):
            pytest.fail(f"nothing is asked but what has changed: {await link.receive()}")
        await link.send(unread("c", mid="b", timestamp=3000))
        await answer_history(link, await link.receive(), item("a", 2000), item("b", 3000))
        # What was delivered meanwhile is no news.
        await link.send(unread("c", mid="b", timestamp=3000))
        assert (await link.receive()).op == OpType.CLOSE

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        events = tom.events(MessageReceived, Gap)
        assert await ids(events, 2) == ["a", "b"]
        assert await anext(events) == Gap("c", filled=1)
        await trio.sleep(5)


@pytest.mark.parametrize(("late", "expected"), [(True, list("acbd")), (False, list("abcd"))])
async def test_a_push_a_little_older_than_the_history_read_is_delivered(
    late, expected, scripted, autojump_clock
):
    async def server():
        link = await scripted.log_in()
        await link.send(push(mid="a", timestamp=2000))
        await link.abort()
        link = await scripted.log_in(last={"c": (2002, "c")})
        asked = await link.receive()
        if not late:
            await link.send(push(mid="b", timestamp=2001))
        await answer_history(link, asked, item("a", 2000), item("c", 2002))
        await trio.sleep(1)
        await link.send(push(mid="b", timestamp=2001))
        await link.send(push(mid="b", timestamp=2001))
        await link.send(push(mid="c", timestamp=2002))
        await link.send(push(mid="d", timestamp=2003))
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        assert await ids(tom.events(MessageReceived), 4) == expected
