"""Pulling from a service in use, badly connected, by a program that is stopped again and again."""

from __future__ import annotations

import os
import random
from contextlib import suppress

import pytest
import trio

from tests.archive.service import Service, conversation, iso
from tests.archive.world import by_place, pull, rows
from trio_realtime._archive.archive import read_manifest
from trio_realtime._archive.check import check
from trio_realtime._archive.pulling import Scope
from trio_realtime.rest import RestError

SEEDS = int(os.environ.get("ARCHIVE_SEEDS", "4"))


class Busy(Service):
    """People go on talking while it is asked."""

    def __init__(self, seed):
        super().__init__(seed)
        self.quiet = False
        self.left = 0
        self.enough = trio.CancelScope()
        self.before_answer = lambda _: None if self.quiet else self.go_on()

    def go_on(self):
        chance = self.random
        self.left -= 1
        if not self.left:
            self.enough.cancel()
        if chance.random() < 0.5:
            self.say(chance.randrange(1, 4), step=chance.choice([0, 1, 1000, 30_000]))
        if chance.random() < 0.1:
            # Stored late: earlier than what can be seen already.
            late = {**self.messages[-1], "msg-id": f"late{len(self.messages):08d}"}
            late["timestamp"] -= chance.randrange(0, 240_000)
            self.messages.insert(len(self.messages) - 1, late)
        if chance.random() < 0.2:
            number = chance.randrange(max(0, len(self.messages) - 30), len(self.messages))
            if self.messages[number]["timestamp"] > self.now - 300_000:
                self.edit(number, f"edited {chance.random()}")
        if chance.random() < 0.05:
            row = conversation(len(self.conversations) + 100, self.now)
            if chance.random() < 0.5:
                row["objectId"] = f"old{len(self.conversations)}"
            self.conversations.append(row)
        if chance.random() < 0.1:
            number = chance.randrange(len(self.conversations))
            old = self.conversations[number]
            news = {"name": f"renamed {chance.random()}", "updatedAt": iso(self.now)}
            self.conversations[number] = {**old, **news}
        if chance.random() < 0.05:
            self.now += chance.choice([60_000, 3_600_000, 3 * 86_400_000])


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_in_the_end_everything_is_there_as_it_is(seed, tmp_path, clock):
    chance = random.Random(seed)
    service = Busy(seed)
    service.fill(conversations=8, messages=400, days=chance.choice([0.01, 1.0, 20.0]))
    service.largest_page = chance.choice([3, 20, 1000])
    service.short_pages = chance.choice([0.0, 0.5])
    service.fault_rate = chance.choice([0.0, 0.1])
    for _ in range(12):
        service.left = chance.choice([5, 50, 200, 0])
        with trio.CancelScope() as service.enough, suppress(RestError):
            await pull(service, tmp_path, patience=100_000)
        if (tmp_path / "manifest.json").exists():
            assert check(tmp_path).problems == []
    service.quiet, service.fault_rate = True, 0.0
    # The round that was begun, and one that looks back as far as edits go.
    for _ in range(2):
        await pull(service, tmp_path, Scope(again=3600.0))
    latest = {(row["to"], row["msg-id"]): row for row in rows(tmp_path, "messages")}
    assert by_place(latest.values()) == by_place(service.messages)
    found = {row["objectId"]: row for row in rows(tmp_path, "conversations")}
    assert found == {row["objectId"]: row for row in service.conversations}
    assert check(tmp_path).whole
    assert read_manifest(tmp_path).round > 2
