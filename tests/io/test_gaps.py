"""What is said to be missing where the server pushes the latest, or has given up the rest."""

from __future__ import annotations

import pytest
import trio

from tests.client.world import world
from tests.io.scripted_server import in_background, push
from tests.io.test_catch_up import moment
from tests.io.test_delivery import answer_history, ids, item
from trio_realtime import Gap, MessageReceived, TextMessage, open_client
from trio_realtime.wire import CommandType, QueryDirection


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
