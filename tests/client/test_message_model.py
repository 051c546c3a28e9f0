"""Unread counts and receipts on several devices of several users, through broken links."""

from __future__ import annotations

import random

import pytest
import trio
from trio.testing import MockClock

from tests.client.world import world
from trio_realtime import MessageDelivered, MessageRead, SendOptions, TextMessage, Unread

DEVICES = ("Tom", "Tom", "Jerry", "Jerry", "Mary")
USERS = sorted(set(DEVICES))


async def live(seed):
    rng = random.Random(seed)
    async with world(*DEVICES) as (w, *devices):
        chat = await devices[0].create_conversation(USERS, unique=False)
        owned = {user: [d for d in devices if d.client_id == user] for user in USERS}
        receipts = {user: owned[user][0].events(MessageDelivered, MessageRead) for user in USERS}
        unread = dict.fromkeys(USERS, 0)
        mentioned = dict.fromkeys(USERS, False)
        asked = {user: [] for user in USERS}  # own messages with a receipt
        delivered = {user: set() for user in USERS}
        for number in range(30):
            device = rng.choice(devices)
            user = device.client_id
            kind = rng.choice(["send", "send", "send", "read", "drop", "pause"])
            if kind == "send":
                whom = [rng.choice(USERS)] if rng.random() < 0.3 else []
                sent = await device.send(
                    chat, TextMessage(str(number), mentions=whom), SendOptions(receipt=True)
                )
                asked[user].append(sent.id)
                for other in USERS:
                    if other != user:
                        unread[other] += 1
                        mentioned[other] |= other in whom
            elif kind == "read":
                await device.read(chat)
                unread[user], mentioned[user] = 0, False
            elif kind == "drop":
                w.server.drop_connections(user)
            else:
                device.pause()
                await trio.sleep(1)
                device.resume()
            await trio.sleep(20)
            for one in devices:
                expected = Unread(unread[one.client_id], mentioned[one.client_id])
                trace = f"seed {seed}, step {number} ({kind} of {user}): unread of {one.client_id}"
                assert one.unread(chat) == expected, trace
        history = [message async for message in devices[0].history(chat, oldest_first=True)]
        assert len(history) == sum(map(len, asked.values()))
        for user in USERS:
            with trio.move_on_after(1):
                async for event in receipts[user]:
                    assert event.message_id in asked[user]
                    delivered[user].add(event.message_id)
            known = await devices[0].fetch_receipts(chat)
            assert known.keys() <= set(USERS)
        fresh = await w.client("Mary")
        await trio.sleep(5)
        assert fresh.unread(chat) == Unread(unread["Mary"], mentioned["Mary"])
        assert any(delivered.values())


@pytest.mark.parametrize("seed", range(10))
def test_counts_equal_a_recomputation(seed):
    trio.run(live, seed, clock=MockClock(autojump_threshold=0))
