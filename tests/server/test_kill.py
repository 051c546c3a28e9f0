"""SIGKILL of a serving process, under load: what was acknowledged is there, once, in order."""

from __future__ import annotations

import random

import pytest
import trio

from tests.server.serve_process import PATIENCE, free_port, log_in, serving
from trio_realtime import TextMessage

CLIENTS = ("Tom", "Jerry", "Spike", "Tyke")


async def talk(name, chat, port, acknowledged, stop):
    """Send until told to stop; note what the server has acknowledged."""
    async with log_in(name, port) as client:
        number = 0
        while not stop.is_set():
            sent = await client.send(chat, TextMessage(f"{name} {number}"))
            acknowledged.append(sent)
            number += 1


async def run(tmp_path, kills, pause):
    port = free_port()
    acknowledged = {name: [] for name in CLIENTS}
    stop = trio.Event()
    async with serving(tmp_path, port), log_in("Tom", port) as tom:
        chat = (await tom.create_conversation(CLIENTS)).id
    with trio.fail_after(PATIENCE + kills * 10):
        async with trio.open_nursery() as nursery:
            for kill in range(kills + 1):
                async with serving(tmp_path, port) as process:
                    if not kill:
                        for name in CLIENTS:
                            nursery.start_soon(talk, name, chat, port, acknowledged[name], stop)
                    before = [len(sent) for sent in acknowledged.values()]
                    while any(  # noqa: ASYNC110 - progress is polled
                        len(sent) < count + 20
                        for sent, count in zip(acknowledged.values(), before, strict=True)
                    ):
                        await trio.sleep(0.02)
                    await trio.sleep(pause())
                    if kill < kills:
                        process.kill()
                        continue
                    stop.set()
                    while any(t.name.endswith("talk") for t in nursery.child_tasks):  # noqa: ASYNC110
                        await trio.sleep(0.05)
    async with serving(tmp_path, port), log_in("Tom", port) as tom:
        history = [message async for message in tom.history(chat, oldest_first=True)]
    return acknowledged, history


def check(acknowledged, history):
    times = [message.timestamp_ms for message in history]
    assert times == sorted(set(times)), "timestamps increase strictly"
    stored = {message.id: message for message in history}
    for name, sent in acknowledged.items():
        texts = [message.text for message in history if message.sender == name]
        assert texts == [f"{name} {number}" for number in range(len(sent))], (
            "every message once, in the order in which it was sent"
        )
        for message in sent:
            assert stored[message.id].timestamp_ms == message.timestamp_ms


async def test_what_was_acknowledged_survives_a_kill(tmp_path):
    rng = random.Random(1)
    check(*await run(tmp_path, 1, lambda: rng.uniform(0, 0.2)))


@pytest.mark.slow
async def test_what_was_acknowledged_survives_many_kills(tmp_path):
    rng = random.Random(2)
    check(*await run(tmp_path, 20, lambda: rng.uniform(0, 0.5)))
