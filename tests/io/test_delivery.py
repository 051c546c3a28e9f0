"""The promises of the client: order, once, nothing lost, nothing leaked. Time is virtual."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import trio
import trio.testing

from tests.client.world import world
from tests.io.scripted_server import in_background, push
from trio_realtime import (
    CommandTimeout,
    ConnectFailed,
    ConnectionLost,
    Disconnected,
    Gap,
    Invited,
    MessageReceived,
    NotificationGap,
    Reconnected,
    TextMessage,
    open_client,
)
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    ErrorCommand,
    GenericCommand,
    LogItem,
    LogsCommand,
    OpType,
    QueryDirection,
    UnreadCommand,
    UnreadTuple,
)


def item(mid, timestamp, sender="Jerry"):
    return LogItem(from_=sender, data=mid, timestamp=timestamp, msg_id=mid)


async def answer_history(link, command, *items):
    await link.send(
        GenericCommand(
            cmd=CommandType.LOGS, i=command.i, logs_message=LogsCommand(logs=list(items))
        )
    )


async def ids(events, count):
    return [(await anext(events)).message.id for _ in range(count)]


async def test_answering_inside_the_loop_never_deadlocks(autojump_clock):
    async with world("Tom", "Jerry") as (_w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])

        async def echo():
            async for event in jerry.events(MessageReceived):
                await jerry.send(event.conversation_id, TextMessage(f"re {event.message.text}"))
                await jerry.get_conversation(event.conversation_id, refresh=True)

        answers = tom.events(MessageReceived)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo)
            for number in range(200):
                nursery.start_soon(tom.send, chat, TextMessage(str(number)))
            seen = {(await anext(answers)).message.text for _ in range(200)}
            nursery.cancel_scope.cancel()
        assert seen == {f"re {number}" for number in range(200)}


async def test_what_is_pushed_again_is_delivered_once(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        for mid, at in [("a", 10), ("b", 20), ("a", 10), ("c", 30), ("b", 20), ("d", 40)]:
            await link.send(push(mid=mid, timestamp=at))
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        assert await ids(tom.events(MessageReceived), 4) == ["a", "b", "c", "d"]


async def test_a_gap_is_filled_before_live_messages_and_overlap_is_harmless(
    scripted, autojump_clock
):
    async def server():
        link = await scripted.log_in()
        await link.send(push(mid="a", timestamp=10))
        await link.abort()
        link = await scripted.log_in()
        await link.send(push(mid="d", timestamp=40))
        asked = await link.receive()
        assert (asked.logs_message.t, asked.logs_message.mid) == (10, None)
        assert asked.logs_message.t_included
        await link.send(push(mid="e", timestamp=50))
        await answer_history(
            link, asked, item("a", 10), item("b", 20), item("c", 30), item("d", 40)
        )
        await link.send(push(mid="f", timestamp=60))
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        events = tom.events(MessageReceived, Gap)
        seen = [await anext(events) for _ in range(7)]
        assert [e.message.id for e in seen if isinstance(e, MessageReceived)] == list("abcdef")
        assert [e for e in seen if isinstance(e, Gap)] == [Gap("c", filled=3)]


async def test_a_gap_is_filled_although_the_link_breaks_again_meanwhile(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.send(push(mid="a", timestamp=10))
        await link.abort()
        link = await scripted.log_in()
        await link.send(push(mid="c", timestamp=30))
        await link.receive()
        await link.abort()
        link = await scripted.log_in()
        asked = await link.receive()
        assert asked.logs_message.t == 10
        await answer_history(link, asked, item("a", 10), item("b", 20), item("c", 30))
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        assert await ids(tom.events(MessageReceived), 3) == ["a", "b", "c"]


async def test_a_gap_that_cannot_be_filled_is_reported(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.send(push(mid="a", timestamp=10))
        await link.abort()
        link = await scripted.log_in()
        await link.send(push(mid="m", timestamp=50))
        await link.receive()
        await link.abort()
        link = await scripted.log_in(at=80)
        await link.send(push(mid="z", timestamp=90))
        asked = await link.receive()
        await link.send(
            GenericCommand(
                cmd=CommandType.ERROR,
                i=asked.i,
                error_message=ErrorCommand(code=4312, reason="CONVERSATION_LOG_REJECTED"),
            )
        )
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        events = tom.events(MessageReceived, Gap)
        a, m, z, gap = [await anext(events) for _ in range(4)]
        assert (a.message.id, m.message.id, z.message.id) == ("a", "m", "z")
        assert gap.error.code == 4312
        assert gap.missing_from == a.message.timestamp
        assert gap.missing_until == z.message.timestamp


async def test_a_dead_link_is_no_reason_to_give_up_a_gap(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.send(push(mid="a", timestamp=10))
        await link.abort()
        _silent = await scripted.log_in()
        link = await scripted.log_in()
        asked = await link.receive()
        await answer_history(link, asked, item("a", 10), item("b", 20))
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        events = tom.events(MessageReceived, Gap)
        assert await ids(events, 2) == ["a", "b"]
        assert await anext(events) == Gap("c", filled=1)


async def test_a_server_that_keeps_history_to_itself_is_reported(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.send(push(mid="a", timestamp=10))
        await link.abort()
        link = await scripted.log_in(at=80, last={"c": (70, "b")})
        await link.receive()
        await trio.sleep(10)
        await link.send(push("d", mid="other", timestamp=90))
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        events = tom.events(MessageReceived, Gap)
        assert await ids(events, 2) == ["a", "other"]
        gap = await anext(events)
        assert isinstance(gap.error, CommandTimeout)
        assert gap.missing_until == datetime.fromtimestamp(0.08, UTC), "the time of the login"


@pytest.mark.parametrize(
    ("named", "pushed", "until"),
    [
        (True, None, 150),  # The last message that the server named after the login.
        (False, (160, "c"), 160),  # The first that was said since.
        (False, (75, "late"), 60_080),  # That was said before.
        (False, None, 60_080),  # Nobody knows how far the conversation is ahead.
    ],
)
async def test_a_gap_ends_where_a_conversation_was_that_is_ahead_of_the_clock(
    named, pushed, until, scripted, autojump_clock
):
    async def server():
        link = await scripted.log_in()
        await link.send(push(mid="a", timestamp=10))
        # Ahead of the next login's time, and not said after it.
        await link.send(push(mid="b", timestamp=100))
        await link.abort()
        link = await scripted.log_in(at=80, last={"c": (150, "x")} if named else None)
        await link.receive()
        if pushed is not None:
            await link.send(push(mid=pushed[1], timestamp=pushed[0]))
        await trio.sleep(10)
        # The link is alive.
        await link.send(push("d", mid="other", timestamp=90))
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        events = tom.events(MessageReceived, Gap, conversation="c")
        assert await ids(events, 2) == ["a", "b"]
        if pushed is not None:
            assert await ids(events, 1) == [pushed[1]]
        gap = await anext(events)
        assert gap.missing_from == datetime.fromtimestamp(0.1, UTC)
        assert gap.missing_until == datetime.fromtimestamp(until / 1000, UTC)


@pytest.mark.parametrize("shows_at", [1, float("inf")])
async def test_a_history_that_does_not_show_the_last_message_yet_is_read_again(
    shows_at, scripted, autojump_clock
):
    async def server():
        link = await scripted.log_in()
        await link.send(push(mid="a", timestamp=10))
        await link.abort()
        link = await scripted.log_in(at=80, last={"c": (70, "c")})
        began = trio.current_time()
        while (asked := await link.receive()) is not None and asked.cmd == CommandType.LOGS:
            history = [item("a", 10), item("b", 60)]
            if trio.current_time() >= began + shows_at:
                history.append(item("c", 70))
            since = asked.logs_message.t
            await answer_history(link, asked, *(one for one in history if one.timestamp >= since))
        again = await scripted.log_in(at=100_000, last={"c": (70, "c")})
        await again.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        events = tom.events(MessageReceived, Gap)
        assert await ids(events, 2) == ["a", "b"]
        if shows_at == 1:
            assert await ids(events, 1) == ["c"]
            assert await anext(events) == Gap("c", filled=2)
        else:
            gap = await anext(events)
            assert (gap.filled, gap.error) == (1, None)
            assert gap.missing_from == datetime.fromtimestamp(0.06, UTC)
            assert gap.missing_until == datetime.fromtimestamp(0.07, UTC)
        # It is said once.
        tom.pause()
        tom.resume()
        with trio.move_on_after(100) as scope:
            await anext(events)
        assert scope.cancelled_caught


@pytest.mark.parametrize("older_exists", [False, True])
async def test_history_that_no_longer_reaches_back_is_reported(
    older_exists, scripted, autojump_clock
):
    async def server():
        link = await scripted.log_in()
        await link.send(push(mid="a", timestamp=10))
        await link.abort()
        link = await scripted.log_in()
        asked = await link.receive()
        await answer_history(link, asked, item("d", 40), item("e", 50))
        asked = await link.receive()
        logs = asked.logs_message
        assert (logs.t, logs.mid, logs.l, logs.t_included) == (10, "a", 1, True)
        assert logs.direction == QueryDirection.OLD
        # What is known was deleted alone, or went with everything as old.
        await answer_history(link, asked, *([item("z", 5)] if older_exists else []))
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        events = tom.events(MessageReceived, Gap)
        a, d, e, gap = [await anext(events) for _ in range(4)]
        assert [event.message.id for event in (a, d, e)] == ["a", "d", "e"]
        if older_exists:
            assert gap == Gap("c", filled=2)
        else:
            assert gap == Gap(
                "c",
                filled=2,
                missing_from=a.message.timestamp,
                missing_until=d.message.timestamp,
            )


async def test_catching_up_begins_with_what_is_in_the_history(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.send(push(mid="a", timestamp=10))
        await link.send(push(mid="typing", timestamp=20, transient=True))
        await link.abort()
        link = await scripted.log_in()
        asked = await link.receive()
        assert (asked.logs_message.t, asked.logs_message.mid) == (10, None)
        await answer_history(link, asked, item("a", 10), item("b", 30))
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        assert await ids(tom.events(MessageReceived), 3) == ["a", "typing", "b"]


async def test_notices_that_cannot_be_fetched_are_reported(autojump_clock):
    async with world("Tom", "Jerry") as (_w, tom, jerry):
        events = jerry.events(NotificationGap, Invited)
        await trio.sleep(1)
        jerry.pause()
        chat = await tom.create_conversation(["Jerry"])
        ask, jerry._session.rest.get = jerry._session.rest.get, refuse
        jerry.resume()
        began = trio.current_time()
        gap = await anext(events)
        assert trio.current_time() - began > 10
        assert str(gap.error) == "not today"
        assert gap.missing_from < chat.created_at
        jerry._session.rest.get = ask
        jerry.pause()
        jerry.resume()
        assert (await anext(events)).conversation_id == chat.id


async def test_notices_are_asked_for_again_when_the_api_does_not_answer(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        await trio.sleep(1)
        await w.forget()
        jerry.pause()
        first = await tom.create_conversation(["Jerry"], unique=False)
        await trio.sleep(1)
        ask, jerry._session.rest.get = jerry._session.rest.get, refuse
        jerry.resume()
        await trio.sleep(0.5)
        # A live notice does not make the missed one forgotten, nor does another break.
        second = await tom.create_conversation(["Jerry"], unique=False)
        w.server.drop_connections("Jerry")
        await trio.sleep(2)
        jerry._session.rest.get = ask
        events = await w.seen("Jerry")
        events += await w.seen("Jerry")
        events += await w.seen("Jerry")
        invited = [event.conversation_id for event in events if isinstance(event, Invited)]
        assert sorted(invited) == sorted([first.id, second.id])
        assert Gap(first.id, notices=1) in events


async def test_an_api_that_is_silent_withholds_no_messages(autojump_clock):
    async def silent(path, params):
        asked.append(path)
        await trio.sleep(20)
        return await ask(path, params)

    asked = []
    async with world("Tom", "Jerry") as (_w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"], unique=False)
        events = jerry.events(MessageReceived)
        await tom.send(chat, TextMessage("before"))
        await anext(events)
        notices = jerry.events(Invited, Gap)
        ask, jerry._session.rest.get = jerry._session.rest.get, silent
        jerry.pause()
        await tom.send(chat, TextMessage("missed"))
        other = await tom.create_conversation(["Jerry"], unique=False)
        began = trio.current_time()
        jerry.resume()
        await tom.send(chat, TextMessage("live"))
        assert [(await anext(events)).message.text for _ in range(2)] == ["missed", "live"]
        assert trio.current_time() - began < 3
        assert asked == ["/1.1/rtm/notifications"]
        # What is answered late is told all the same.
        while not isinstance(event := await anext(notices), Invited):
            assert event == Gap(chat.id, filled=2)
        assert event.conversation_id == other.id
        assert await anext(notices) == Gap(other.id, notices=1)
        assert 20 <= trio.current_time() - began < 25


async def refuse(_path, _params):
    raise ConnectFailed("not today")


async def test_a_conversation_that_first_spoke_while_away_is_found(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in(at=1000)
        await link.abort()
        link = await scripted.log_in(at=5000)
        await link.send(
            GenericCommand(
                cmd=CommandType.UNREAD,
                peer_id="Tom",
                unread_message=UnreadCommand(convs=[UnreadTuple(cid="new", unread=1)]),
            )
        )
        asked = await link.receive()
        assert (asked.logs_message.cid, asked.logs_message.t) == ("new", 1000)
        await answer_history(link, asked, item("first", 2000))
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        assert await ids(tom.events(MessageReceived), 1) == ["first"]


async def test_catching_up_can_be_switched_off(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.send(push(mid="a", timestamp=10))
        await link.abort()
        link = await scripted.log_in()
        await link.send(push(mid="c", timestamp=30))
        # It may leave before it is quite back; then it says nothing.
        command = await link.receive()
        assert command is None or command.op == OpType.CLOSE, "no history was asked for"

    async with (
        in_background(server),
        open_client("Tom", **scripted.options, catch_up=False) as tom,
    ):
        assert await ids(tom.events(MessageReceived), 2) == ["a", "c"]


async def test_an_expired_token_leads_to_a_login_without_it(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in(token="old")
        await link.abort()
        link = await scripted.accept()
        command = await link.receive()
        assert command.session_message.st == "old"
        await link.send(
            GenericCommand(
                cmd=CommandType.ERROR,
                i=command.i,
                error_message=ErrorCommand(code=4112, reason="SESSION_TOKEN_EXPIRED"),
            )
        )
        command = await link.welcome(token="new")
        assert command.session_message.st is None
        assert command.session_message.r is True
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        assert await anext(tom.events(Reconnected)) == Reconnected()


async def test_sends_wait_are_repeated_with_their_token_and_keep_their_order(
    scripted, autojump_clock
):
    tokens = []

    async def server():
        link = await scripted.log_in()
        tokens.extend([(await link.receive()).direct_message.dt for _ in range(3)])
        await link.abort()  # nothing was acknowledged
        link = await scripted.log_in()
        for number in range(5):
            command = await link.receive()
            assert command.direct_message.msg.count(f'"{number}"') == 1
            if number < 3:
                assert command.direct_message.dt == tokens[number]
            await link.acknowledge(command, f"m{number}", 100 + number)
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        results = {}

        async def send(number):
            results[number] = (await tom.send("c", TextMessage(str(number)))).id

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(send, number)
                await trio.testing.wait_all_tasks_blocked()
                if number == 2:
                    await trio.sleep(0.1)  # now the link is down
        assert results == {number: f"m{number}" for number in range(5)}


async def test_an_unanswered_send_is_repeated_after_the_time_out(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        first = await link.receive()
        again = await link.receive()
        assert again.direct_message.dt == first.direct_message.dt
        assert again.i != first.i
        await link.acknowledge(first, "late", 1)
        await link.acknowledge(again, "m", 2)
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        start = trio.current_time()
        assert (await tom.send("c", TextMessage("x"))).id == "m"
        assert trio.current_time() - start == 20


async def test_without_retry_a_send_fails_at_once(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.receive()
        scripted.refusing = True
        await link.abort()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        for _ in range(2):
            with pytest.raises(ConnectionLost):
                await tom.send("c", TextMessage("x"), retry=False)


async def test_other_commands_time_out_after_20_seconds(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        start = trio.current_time()
        with pytest.raises(CommandTimeout, match="session/query"):
            await tom.online(["Jerry"])
        assert trio.current_time() - start == 20
        assert len(tom._session.commands.pending) == len(tom._session.connection.serials) == 0


async def test_nothing_survives_the_block(autojump_clock):
    async with world() as (w,):
        await trio.testing.wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        options = {
            "app_id": w.server.app_id,
            "app_key": w.server.app_key,
            "server": w.server.url,
            "open_stream": w.server.open_stream,
        }
        for _ in range(3):
            async with open_client("Tom", **options) as tom:
                await tom.create_conversation(["Jerry"])
        await trio.sleep(10)
        assert trio.lowlevel.current_statistics().tasks_living == before
        assert w.server.stats().connections == 0


async def test_what_must_not_happen_twice_is_not_sent_again_after_a_break(scripted, autojump_clock):
    asked = []

    async def server():
        link = await scripted.log_in()
        asked.append(await link.receive())
        await link.abort()
        link = await scripted.log_in()
        while (command := await link.receive()) is not None:
            asked.append(command)

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        with pytest.raises(
            ConnectionLost, match="whether the command was carried out is not known"
        ):
            await tom.create_chat_room()
        await trio.sleep(60)
        assert [(one.cmd, one.op) for one in asked] == [(CommandType.CONV, OpType.START)]


async def test_what_was_never_sent_leaves_once_the_link_is_up(scripted, autojump_clock):
    asked = []

    async def server():
        link = await scripted.log_in()
        scripted.refusing = True
        await link.abort()
        link = await scripted.log_in()
        asked.append(command := await link.receive())
        await link.send(
            GenericCommand(
                cmd=CommandType.CONV,
                op=OpType.STARTED,
                i=command.i,
                conv_message=ConvCommand(cid="room"),
            )
        )
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        with tom.events(Disconnected) as events:
            await anext(events)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tom.create_chat_room)
            await trio.sleep(3)
            assert asked == []
            scripted.refusing = False
        assert len(asked) == 1
