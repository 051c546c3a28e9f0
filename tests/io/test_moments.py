"""Wishes at every moment: whatever is under way when the user pauses, nothing breaks."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.client.world import world
from trio_realtime import (
    Disconnected,
    LinkState,
    MessageReceived,
    Offline,
    Online,
    Reconnected,
    TextMessage,
    open_client,
)

MOMENTS = 60
"""More turns of the scheduler than coming back takes."""


async def turns(count):
    for _ in range(count):
        await trio.lowlevel.cancel_shielded_checkpoint()


@pytest.mark.parametrize("waiting", [False, True])
async def test_pausing_at_any_moment_of_coming_back(waiting, autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        inbox = jerry.events(MessageReceived)
        for moment in range(MOMENTS):
            w.server.drop_connections("Tom")
            await trio.testing.wait_all_tasks_blocked()
            assert tom.state is LinkState.DISCONNECTED
            start = trio.current_time()
            async with trio.open_nursery() as nursery:
                if waiting:
                    nursery.start_soon(tom.send, chat, TextMessage(f"waiting {moment}"))
                    nursery.start_soon(tom.online, ["Jerry"])
                    await trio.testing.wait_all_tasks_blocked()
                tom.retry()
                await turns(moment)
                tom.pause()
                assert tom.state is LinkState.OFFLINE
                await turns(moment % 7)
                tom.resume()
                await tom.send(chat, TextMessage(f"moment {moment}"))
            assert trio.current_time() - start < 5, f"nothing waited for a time-out: {moment}"
            if waiting:
                assert (await anext(inbox)).message.text == f"waiting {moment}"
            assert (await anext(inbox)).message.text == f"moment {moment}"


async def test_what_happens_is_told_in_order_whenever_it_is_paused(autojump_clock):
    async with world("Tom") as (w, tom):
        for moment in range(MOMENTS):
            with tom.events(Disconnected, Offline, Online, Reconnected) as events:
                w.server.drop_connections("Tom")
                await trio.testing.wait_all_tasks_blocked()
                tom.retry()
                await turns(moment)
                tom.pause()
                tom.resume()
                await trio.sleep(3)
                seen = []
                with trio.move_on_after(0.1):
                    async for event in events:
                        seen.append(type(event).__name__)  # noqa: PERF401 - the loop may be cut short
            assert seen in (
                ["Disconnected", "Offline", "Online", "Reconnected"],
                ["Disconnected", "Disconnected", "Offline", "Online", "Reconnected"],
                ["Disconnected", "Reconnected", "Disconnected", "Offline", "Online", "Reconnected"],
            ), (moment, seen)


async def test_pausing_when_an_attempt_fails(autojump_clock):
    async with world() as (w,):
        refusing = False

        async def open_stream(host, port):
            await turns(3)
            if refusing:
                raise ConnectionRefusedError("refused by the test")
            return await w.server.open_stream(host, port)

        async with open_client(
            "Tom",
            app_id=w.server.app_id,
            app_key=w.server.app_key,
            rtm_servers=["ws://a.test/"],
            open_stream=open_stream,
        ) as tom:
            for moment in range(MOMENTS):
                refusing = True
                w.server.drop_connections("Tom")
                await trio.testing.wait_all_tasks_blocked()
                tom.retry()
                await turns(moment)
                refusing = False
                tom.pause()
                tom.resume()
                await trio.sleep(5)
                assert tom.state is LinkState.CONNECTED, moment


async def test_what_is_said_in_the_very_millisecond_of_the_login_is_caught_up(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        events = tom.events(MessageReceived)
        w.server.drop_connections("Tom")
        chat = await jerry.create_conversation(["Tom"])
        sent = await jerry.send(chat, TextMessage("x"))
        assert sent.timestamp_ms == tom._session.login.opened_at
        assert (await anext(events)).message.id == sent.id
