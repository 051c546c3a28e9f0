"""The server is replaced under load: users see connection events, and nothing else."""

from __future__ import annotations

import signal

import pytest
import trio
from serve_process import PATIENCE, free_port, log_in, serving

from trio_realtime import ConnectionEvent, Gap, MessageReceived, TextMessage, UnreadUpdated

CLIENTS = ("Tom", "Jerry", "Spike", "Tyke")


class Life:
    """One user: sends without pause, and notes all that happens."""

    def __init__(self, name):
        self.name = name
        self.sent = []
        self.events = []

    async def live(self, chat, port, go, stop, *, task_status):
        async with log_in(self.name, port) as client, trio.open_nursery() as nursery:

            @nursery.start_soon
            async def listen():
                async for event in client.events():
                    self.events.append(event)

            task_status.started()
            await go.wait()
            while not stop.is_set():
                message = TextMessage(f"{self.name} {len(self.sent)}")
                self.sent.append((await client.send(chat, message)).id)
            # What is still under way to this client arrives.
            await client.get_conversation(chat, refresh=True)
            await trio.sleep(2)
            nursery.cancel_scope.cancel()


async def restarts(tmp_path, count):
    port = free_port()
    lives = [Life(name) for name in CLIENTS]
    go, stop = trio.Event(), trio.Event()
    async with serving(tmp_path, port), log_in("Tom", port) as tom:
        chat = (await tom.create_conversation(CLIENTS)).id
    with trio.fail_after(PATIENCE + count * 15):
        async with trio.open_nursery() as nursery:
            for turn in range(count + 1):
                async with serving(tmp_path, port) as process:
                    if not turn:
                        for life in lives:
                            await nursery.start(life.live, chat, port, go, stop)
                        go.set()
                    before = [len(life.sent) for life in lives]
                    while any(  # noqa: ASYNC110 - progress is polled
                        len(life.sent) < count + 30
                        for life, count in zip(lives, before, strict=True)
                    ):
                        await trio.sleep(0.02)
                    if turn < count:
                        process.send_signal(signal.SIGTERM)
                        await process.wait()
                        assert process.returncode == 0
                        continue
                    stop.set()
                    while nursery.child_tasks:  # noqa: ASYNC110
                        await trio.sleep(0.05)
    async with serving(tmp_path, port), log_in("Tom", port) as tom:
        history = [message async for message in tom.history(chat, oldest_first=True)]
    return lives, history


def check(lives, history):
    for life in lives:
        texts = [message.text for message in history if message.sender == life.name]
        assert texts == [f"{life.name} {number}" for number in range(len(life.sent))]
        assert [m.id for m in history if m.sender == life.name] == life.sent
        received = [e.message.id for e in life.events if isinstance(e, MessageReceived)]
        assert received == [m.id for m in history if m.sender != life.name]
        for event in life.events:
            assert isinstance(event, MessageReceived | ConnectionEvent | Gap | UnreadUpdated)
            if isinstance(event, Gap):
                assert event.error is None
                assert event.missing_from is None


async def test_a_restart_under_load_is_invisible(tmp_path):
    check(*await restarts(tmp_path, 2))


@pytest.mark.slow
async def test_many_restarts_under_load_are_invisible(tmp_path):
    check(*await restarts(tmp_path, 15))
