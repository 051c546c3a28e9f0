"""Random clients change a membership; server, events and a small model agree."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from tests.client.world import world
from trio_realtime import (
    CommandError,
    Invited,
    Kicked,
    MembersJoined,
    MembersLeft,
    NothingSucceeded,
)

NAMES = ("Tom", "Jerry", "Spike", "Tyke")


class Model:
    """Who is in, who is kept out. The creator may do everything, the others invite and leave."""

    def __init__(self):
        self.members, self.blocked = {"Tom", "Jerry"}, set()

    def add(self, actor, who):
        if actor in self.members or actor == who:
            self.members |= {who} - self.blocked

    def remove(self, actor, who):
        if actor in {"Tom", who}:
            self.members -= {who}

    def block(self, actor, who):
        if actor == "Tom" and who != "Tom":
            self.blocked.add(who)
            self.members.discard(who)

    def unblock(self, actor, who):
        if actor == "Tom":
            self.blocked.discard(who)


def step(rng):
    return rng.choice(["add", "add", "remove", "join", "quit", "block", "unblock"])


async def live(seed):
    rng = random.Random(seed)
    model = Model()
    async with world(*NAMES) as (w, *everybody):
        clients = dict(zip(NAMES, everybody, strict=True))
        chat = (await clients["Tom"].create_conversation(["Jerry"], unique=False)).id
        believed = {name: set(model.members) if name in model.members else None for name in NAMES}
        await w.forget()
        for number in range(25):
            kind, actor, target = step(rng), rng.choice(NAMES), rng.choice(NAMES)
            if kind in {"join", "quit"}:
                target = actor
            if actor == target == "Tom":
                continue  # whether the owner may leave depends on roles
            client = clients[actor]
            operation = {
                "add": lambda c=client, t=target: c.add_members(chat, [t]),
                "remove": lambda c=client, t=target: c.remove_members(chat, [t]),
                "join": lambda c=client: c.join(chat),
                "quit": lambda c=client: c.quit(chat),
                "block": lambda c=client, t=target: c.block_members(chat, [t]),
                "unblock": lambda c=client, t=target: c.unblock_members(chat, [t]),
            }[kind]
            with suppress(CommandError, NothingSucceeded):
                await operation()
            rule = {"join": "add", "quit": "remove"}.get(kind, kind)
            getattr(model, rule)(actor, target)
            trace = f"seed {seed}, step {number}: {actor} {kind} {target}"
            for name in NAMES:
                for event in await w.seen(name):
                    match event:
                        case Invited():
                            believed[name] = None
                        case Kicked():
                            believed[name] = None
                        case MembersJoined(members=who) if believed[name] is not None:
                            believed[name] |= set(who)
                        case MembersLeft(members=who) if believed[name] is not None:
                            believed[name] -= set(who)
                if name in model.members and believed[name] is None:
                    believed[name] = set(model.members)  # newly in: it asks who else is
                elif name in model.members:
                    assert believed[name] == model.members, f"{trace}: what {name} was told"
                else:
                    assert believed[name] is None, f"{trace}: {name} was not told to be out"
            fresh = await clients["Tom"].get_conversation(chat, refresh=True)
            assert set(fresh.members) == model.members, trace


@pytest.mark.parametrize("seed", range(12))
def test_server_events_and_model_agree(seed):
    trio.run(live, seed, clock=MockClock(autojump_threshold=0))
