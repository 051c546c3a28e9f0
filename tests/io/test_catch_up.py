"""What is fetched after a break, and when: docs/protocol/session.md §6, §7."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import trio
import trio.testing

from tests.client.world import World, world
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
from trio_realtime.server import Limits
from trio_realtime.testing import open_server
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    GenericCommand,
    OpType,
    QueryDirection,
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


@asynccontextmanager
async def limited(**limits):
    async with open_server(memory=True, limits=Limits(**limits)) as server:
        yield World(server, None)


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


async def test_a_quota_slows_catching_up_and_loses_nothing(autojump_clock):
    async with limited(history_per_minute=30) as w, w.open("Tom") as tom, w.open("Jerry") as jerry:
        chats = [await tom.create_conversation(["Jerry"], unique=False) for _ in range(100)]
        quiet = await tom.create_conversation(["Jerry"], unique=False)
        for chat in (*chats, quiet):
            await tom.send(chat, TextMessage("seen"))
        await trio.sleep(100)
        events = jerry.events(MessageReceived, Gap)
        await ids(events, 101)
        w.server.drop_connections("Jerry")
        for chat in chats:
            await tom.send(chat, TextMessage("missed"))
        await trio.sleep(10)
        began = trio.current_time()
        await tom.send(quiet, TextMessage("live"))
        seen = []
        while "live" not in seen:
            event = await anext(events)
            seen.append(event.message.text if isinstance(event, MessageReceived) else event)
        assert trio.current_time() - began < 1, "this one missed nothing, and does not wait"
        with trio.move_on_after(600):
            while True:
                event = await anext(events)
                seen.append(event.message.text if isinstance(event, MessageReceived) else event)
        assert [text for text in seen if isinstance(text, str)].count("missed") == 100
        assert [gap for gap in seen if isinstance(gap, Gap) and gap.error] == []


async def test_a_server_without_quotas_is_asked_as_fast_as_it_answers(autojump_clock):
    async with world("Tom", "Jerry") as (_w, tom, jerry):
        chats = [await tom.create_conversation(["Jerry"], unique=False) for _ in range(150)]
        jerry.pause()
        for chat in chats:
            await tom.send(chat, TextMessage("missed"))
        began = trio.current_time()
        jerry.resume()
        events = jerry.events(MessageReceived)
        assert len(await ids(events, 150)) == 150
        assert trio.current_time() - began < 5


@pytest.mark.parametrize("history_quota", [None, 120])
async def test_a_service_with_quotas_costs_time_and_nothing_else(
    history_quota, scripted, autojump_clock
):
    """As on LeanCloud: 120 histories in each minute of the clock, and no more."""

    async def server():
        link = await scripted.log_in()
        await link.abort()
        link = await scripted.accept()
        link.last = {f"c{n}": (3000, f"m{n}") for n in range(500)}
        await link.welcome(at=5000)
        links.append(link)
        while (command := await link.receive()) is not None:
            if command.cmd != CommandType.LOGS:
                continue
            minute = int(trio.current_time() // 60)
            asked[minute] += 1
            if asked[minute] > 120:
                refused.append(minute)
                await link.refuse(command, 4116)
            else:
                cid = command.logs_message.cid
                await answer_history(link, command, item(f"m{cid[1:]}", 3000))

    links, asked, refused = [], Counter(), []
    options = {**scripted.options, "history_quota": history_quota}
    async with in_background(server), open_client("Tom", **options) as tom:
        events = tom.events(MessageReceived, Gap)
        with trio.fail_after(700):
            seen = [await anext(events) for _ in range(1000)]
        assert len(set(received(seen))) == 500
        assert [gap for gap in seen if isinstance(gap, Gap) and gap.error] == []
        assert len(links) == 1
        # Those under way when it was too much, each time.
        assert len(refused) <= (0 if history_quota else 40)


async def test_within_the_known_quota_no_question_is_refused(autojump_clock):
    async with (
        limited(history_per_minute=120) as w,
        w.open("Tom") as tom,
        w.open("Jerry", history_quota=120) as jerry,
    ):
        refused = []
        jerry._session._catch_up._questions._budget.refused = refused.append
        chats = [await tom.create_conversation(["Jerry"], unique=False) for _ in range(150)]
        for chat in chats:
            await tom.send(chat, TextMessage("seen"))
        await trio.sleep(100)
        w.server.drop_connections("Jerry")
        for chat in chats:
            await tom.send(chat, TextMessage("missed"))
        await trio.sleep(300)
        events = jerry.events(MessageReceived)
        assert len(await ids(events, 300)) == 300
        assert refused == []


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


async def test_pushed_offline_messages_tell_what_they_leave_out(autojump_clock):
    async with world("Tom") as (w, tom):
        chat = await tom.create_conversation(["Jerry"])
        sent = [await tom.send(chat, TextMessage(str(number))) for number in range(150)]
        async with w.open("Jerry", offline_messages="push") as jerry:
            events = jerry.events(MessageReceived, Gap)
            gap = await anext(events)
            texts = [(await anext(events)).message.text for _ in range(20)]
            assert texts == [str(number) for number in range(130, 150)]
            assert gap == Gap(chat.id, missing_until=sent[130].timestamp)
            with trio.move_on_after(10):
                pytest.fail(f"nothing more: {await anext(events)}")


async def test_of_what_was_pushed_a_gap_leaves_out_what_the_history_has(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.abort()
        link = await scripted.log_in(at=5000, last={"c": (4000, "d")})
        await link.send(push(mid="c", timestamp=3000, offline=True, has_more=True))
        await link.send(push(mid="d", timestamp=4000, offline=True, has_more=True))
        found = item("b", 2000), item("c", 3000), item("d", 4000)
        await answer_history(link, await link.receive(), *found)
        await link.serve_goodbye()

    options = scripted.options | {"offline_messages": "push"}
    async with in_background(server), open_client("Tom", **options) as tom:
        events = tom.events(MessageReceived, Gap)
        assert await ids(events, 3) == ["b", "c", "d"]
        gaps = [await anext(events), await anext(events)]
        # Before the first login there may have been more; since then there was not.
        assert gaps == [Gap("c", missing_until=moment(1000)), Gap("c", filled=3)]


async def test_what_was_said_before_the_first_login_is_in_a_gap_though_others_came_live(
    scripted, autojump_clock
):
    async def server():
        link = await scripted.log_in()
        await link.send(push(mid="a", timestamp=2000))
        # The missed ones were still to be pushed.
        await link.abort()
        link = await scripted.log_in(at=5000, last={"c": (3000, "b")})
        await link.send(push(mid="b", timestamp=3000, offline=True, has_more=True))
        await answer_history(link, await link.receive(), item("a", 2000), item("b", 3000))
        await link.serve_goodbye()

    options = scripted.options | {"offline_messages": "push"}
    async with in_background(server), open_client("Tom", **options) as tom:
        events = tom.events(MessageReceived, Gap)
        assert await ids(events, 2) == ["a", "b"]
        assert await anext(events) == Gap("c", missing_until=moment(1000))
        assert await anext(events) == Gap("c", filled=1)


async def test_what_is_pushed_late_after_a_login_has_no_gap_where_the_history_is_read(
    scripted, autojump_clock
):
    async def server():
        link = await scripted.log_in()
        await trio.sleep(15)
        await link.send(push("other", mid="x", timestamp=100_000, conv_type=1))
        await link.abort()
        link = await scripted.log_in(at=200_000, last={})
        with trio.move_on_after(15):
            await link.receive()
        await link.send(push(mid="b", timestamp=100_001, offline=True, has_more=True))
        await answer_history(link, await link.receive(), item("a", 100_000), item("b", 100_001))
        await link.serve_goodbye()

    options = scripted.options | {"offline_messages": "push"}
    async with in_background(server), open_client("Tom", **options) as tom:
        events = tom.events(MessageReceived, Gap)
        assert await ids(events, 3) == ["x", "a", "b"]
        assert await anext(events) == Gap("c", filled=2)


@pytest.mark.parametrize("all_gone", [True, False])
async def test_what_is_cut_off_a_history_twice_is_two_gaps(all_gone, scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.send(push(mid="a", timestamp=2000))
        await link.abort()
        link = await scripted.log_in(at=90_000, last={"c": (80_000, "z")})
        page = [item(f"b{number}", 10_000 + number) for number in range(100)]
        await answer_history(link, await link.receive(), *page)
        await answer_history(link, await link.receive())
        await link.receive()
        await link.abort()
        # Until the client is back, the history is cut off once more.
        link = await scripted.log_in(at=90_000, last={"c": (80_000, "z")})
        rest = [] if all_gone else [item("z", 80_000)]
        while (asked := await link.receive()) and asked.cmd == CommandType.LOGS:
            old = asked.logs_message.direction == QueryDirection.OLD
            await answer_history(link, asked, *([] if old else rest))

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        events = tom.events(MessageReceived, Gap)
        await ids(events, 101 if all_gone else 102)
        gaps = [await anext(events), await anext(events)]
        assert [(gap.missing_from, gap.missing_until) for gap in gaps] == [
            (moment(2000), moment(10_000)),
            (moment(10_099), moment(90_000 if all_gone else 80_000)),
        ]
        with trio.move_on_after(20):
            pytest.fail(f"nothing more: {await anext(events)}")


async def test_a_history_is_read_again_until_it_shows_what_was_pushed_of_the_missed(
    scripted, autojump_clock
):
    async def server():
        link = await scripted.log_in()
        # All that the first login brings has come.
        await trio.sleep(15)
        await link.send(push(mid="a", timestamp=2000, conv_type=1))
        await link.abort()
        link = await scripted.log_in(at=9000)
        await link.send(push(mid="d", timestamp=5000, conv_type=1, offline=True, has_more=True))
        await answer_history(link, await link.receive(), item("a", 2000), item("b", 3000))
        found = item("b", 3000), item("c", 4000), item("d", 5000)
        await answer_history(link, await link.receive(), *found)
        await link.serve_goodbye()

    options = scripted.options | {"offline_messages": "push"}
    async with in_background(server), open_client("Tom", **options) as tom:
        events = tom.events(MessageReceived, Gap)
        assert await ids(events, 4) == ["a", "b", "c", "d"]
        assert await anext(events) == Gap("c", filled=3)
