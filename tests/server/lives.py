"""Users of a server that ends again and again: what they send, and all that they see."""

from __future__ import annotations

import trio

from tests.server.serve_process import PATIENCE, free_port, log_in, serving
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


async def lived(tmp_path, ends, messages=30, programs=()):
    """Let users live through these ends of the server; then the users, and the history.

    Each end is given the process when everybody has sent some messages more, and returns
    when it has ended; each of ``programs`` is started instead of the ordinary server.
    """
    port = free_port()
    lives = [Life(name) for name in CLIENTS]
    go, stop = trio.Event(), trio.Event()
    async with serving(tmp_path, port), log_in("Tom", port) as tom:
        chat = (await tom.create_conversation(CLIENTS)).id
    with trio.fail_after(PATIENCE + len(ends) * 15):
        async with trio.open_nursery() as nursery:
            for turn, end in enumerate([*ends, None]):
                program = programs[turn] if turn < len(programs) else None
                async with serving(tmp_path, port, program) as process:
                    if not turn:
                        for life in lives:
                            await nursery.start(life.live, chat, port, go, stop)
                        go.set()
                    before = [len(life.sent) for life in lives]
                    while process.poll() is None and any(  # noqa: ASYNC110 - progress is polled
                        len(life.sent) < count + messages
                        for life, count in zip(lives, before, strict=True)
                    ):
                        await trio.sleep(0.02)
                    if end is not None:
                        await end(process)
                        continue
                    stop.set()
                    while nursery.child_tasks:  # noqa: ASYNC110
                        await trio.sleep(0.05)
    async with serving(tmp_path, port), log_in("Tom", port) as tom:
        history = [message async for message in tom.history(chat, oldest_first=True)]
    return lives, history


def check(lives, history):
    """Everything that was sent is there, once, in order, and everybody saw it so."""
    times = [message.timestamp_ms for message in history]
    assert times == sorted(set(times)), "timestamps increase strictly"
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
