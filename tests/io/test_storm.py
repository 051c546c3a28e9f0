"""Random breaks under random traffic: every client sees everything once, in order."""

from __future__ import annotations

import random

import pytest
import trio

from tests.client.world import world
from trio_realtime import Gap, MessageReceived, TextMessage

MEMBERS = ("Tom", "Jerry", "Spike", "Tyke")


async def listen(client, seen):
    async for event in client.events(MessageReceived, Gap):
        if isinstance(event, Gap):
            assert event.error is None, event
        else:
            seen.setdefault(event.conversation_id, []).append(event.message.id)


async def talk(rng, client, chats, count, sent):
    for number in range(count):
        chat = rng.choice(chats)
        message = await client.send(chat, TextMessage(f"{client.client_id} {number}"))
        sent.add(message.id)
        await trio.sleep(rng.choice([0, 0, 0.001, 0.3, 2]))


async def misfortune(rng, w, clients):
    while True:
        await trio.sleep(rng.expovariate(1 / 3))
        match rng.randrange(10):
            case 0:
                await w.server.restart()
            case 1:
                client = rng.choice(clients)
                client.pause()
                await trio.sleep(rng.choice([0, 1, 30]))
                client.resume()
            case 2:
                w.server.drop_connections()
            case _:
                w.server.drop_connections(rng.choice(MEMBERS))


async def storm(seed, count):
    rng = random.Random(seed)
    async with world(*MEMBERS) as (w, *clients):
        tom = clients[0]
        chats = [(await tom.create_conversation(MEMBERS, unique=False)).id for _ in range(3)]
        seen = {name: {} for name in MEMBERS}
        sent = {name: set() for name in MEMBERS}
        await trio.sleep(1)
        async with trio.open_nursery() as listeners:
            for client in clients:
                listeners.start_soon(listen, client, seen[client.client_id])
            async with trio.open_nursery() as fate:
                fate.start_soon(misfortune, rng, w, clients)
                async with trio.open_nursery() as talkers:
                    for client in clients:
                        talkers.start_soon(talk, rng, client, chats, count, sent[client.client_id])
                fate.cancel_scope.cancel()
            for client in clients:
                client.resume()
            await trio.sleep(1000)
            listeners.cancel_scope.cancel()
        for chat in chats:
            history = [m async for m in tom.history(chat, oldest_first=True)]
            for name in MEMBERS:
                expected = [m.id for m in history if m.id not in sent[name]]
                assert seen[name].get(chat, []) == expected, f"{name} with seed {seed}"
        assert {len(ids) for ids in sent.values()} == {count}


@pytest.mark.parametrize("seed", range(8))
async def test_everything_arrives_once_and_in_order(seed, autojump_clock):
    await storm(seed, 100)


@pytest.mark.slow
async def test_everything_arrives_once_and_in_order_for_long(autojump_clock):
    for seed in range(100, 160):
        await storm(seed, 300)
