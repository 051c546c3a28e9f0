"""Catching up at the pace that a server allows: docs/protocol/session.md §6."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager

import pytest
import trio

from tests.client.world import World, world
from tests.io.scripted_server import in_background
from tests.io.test_catch_up import received
from tests.io.test_delivery import answer_history, ids, item
from trio_realtime import Gap, MessageReceived, TextMessage, open_client
from trio_realtime.server import Limits
from trio_realtime.testing import open_server
from trio_realtime.wire import CommandType


@asynccontextmanager
async def limited(**limits):
    async with open_server(memory=True, limits=Limits(**limits)) as server:
        yield World(server, None)


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
