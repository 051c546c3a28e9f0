from __future__ import annotations

import errno
import json
import logging
import math

import pytest
import trio

from tests.server.gateway.world import conversation_of, direct, peer_of, world
from tests.server.test_http import KEYS, ask
from trio_realtime.server.accepting import PAUSE, accept
from trio_realtime.server.health import TRIAL_TIMEOUT, Health
from trio_realtime.server.store.interface import StoreError, StoreUnavailable
from trio_realtime.server.store.sqlite.store import open_store
from trio_realtime.server.troubles import TroubleLog
from trio_realtime.testing._pipe import memory_streams

APP = "test-app"


def limited(to=None):
    """A rule that sets how many pages the database may have: as many as it has, or these."""

    def rule(tx):
        pages = to or tx._execute("PRAGMA page_count").fetchone()[0]
        tx._execute(f"PRAGMA max_page_count = {pages}")

    return rule


def loud(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def health_of(server):
    status, body, _ = await ask(server, "GET", "/healthz")
    return status, body


async def test_a_full_database_is_told_and_survived(clock, caplog):
    caplog.set_level(logging.INFO)
    async with world() as server, peer_of(server) as tom:
        store = server._store
        await tom.login("Tom")
        cid = await conversation_of(tom, "Tom", "Jerry")
        assert await health_of(server) == (200, {"status": "ok"})
        await store.write(APP, limited())
        codes = [(await tom.call(direct(cid, "x" * 4000))).ack_message.code for _ in range(100)]
        refused = sum(code == 4200 for code in codes)
        assert refused > 50
        assert set(codes[-50:]) == {4200}
        said = loud(caplog)
        assert said == ["the database failed once: OperationalError: database or disk is full"]
        await trio.sleep(70)
        assert len(loud(caplog)) == 2
        assert loud(caplog)[1].startswith(f"the database failed {refused - 1} times: ")
        assert await health_of(server) == (
            503,
            {
                "status": "failing",
                "problems": ["the database cannot be written: database or disk is full"],
            },
        )
        big = {"name": "a", "metaData": {"text": "x" * 8000}}
        status, body, _ = await ask(
            server, "POST", "/1.1/fileTokens", headers=KEYS, body=json.dumps(big).encode()
        )
        assert (status, body["code"]) == (507, 507)
        await store.write(APP, limited(10**6))
        await trio.sleep(1)
        assert await health_of(server) == (200, {"status": "ok"})
        assert (await tom.call(direct(cid, "x" * 4000))).ack_message.code is None
        assert server.stats().metrics.internal_errors_total == 0
        assert server.stats().metrics.store_failures_total == refused + 1
    assert "Traceback" not in caplog.text


async def test_a_defect_is_no_trouble_of_the_disk(clock, tmp_path):
    async with open_store(None, inline=True) as store:
        with pytest.raises(StoreError, match="no such table") as caught:
            await store.write(APP, lambda tx: tx._execute("SELECT * FROM nowhere"))
        assert not isinstance(caught.value, StoreUnavailable)
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.write(APP, lambda _: None)


class SlowStore:
    """Answers after some seconds."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.asked = 0

    async def write(self, _app_id, _rule):
        self.asked += 1
        await trio.sleep(self.seconds)


async def test_a_database_that_does_not_answer(clock):
    health = Health(SlowStore(math.inf))
    assert await health.problems() == [f"the database has not answered for {TRIAL_TIMEOUT:g} s"]


async def test_many_who_ask_share_a_trial(clock):
    store = SlowStore(0.1)
    health = Health(store)
    answers = []

    async def ask_it():
        answers.append(await health.problems())

    async with trio.open_nursery() as nursery:
        for _ in range(1000):
            nursery.start_soon(ask_it)
    assert answers == [[]] * 1000
    assert store.asked == 2  # put and deleted, once


# Descriptors.


class FullListener(trio.abc.Listener):
    """A listener whose ``accept`` raises errors of these numbers, or returns what is no number."""

    def __init__(self, *results):
        self.results = list(results)
        self.asked = 0

    async def accept(self):
        self.asked += 1
        if not self.results:
            await trio.sleep_forever()
        result = self.results.pop(0)
        await trio.lowlevel.checkpoint()
        if isinstance(result, int):
            raise OSError(result, "no more")
        return result

    async def aclose(self):
        await trio.lowlevel.checkpoint()


async def accepting(listener, seconds=3600):
    """What was served and what was turned away."""
    served, turned_away = [], []

    async def serve(stream):
        served.append(stream)

    async def turn_away(stream):
        turned_away.append(stream)

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            troubles = TroubleLog(logging.getLogger("trio_realtime.server"))
            await accept(listener, serve, turn_away, nursery=nursery, troubles=troubles)
    return served, turned_away


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_failing_to_accept_neither_spins_nor_floods(clock, caplog, number):
    caplog.set_level(logging.INFO)
    listener = FullListener(*[number] * 10_000)
    assert await accepting(listener, 59) == ([], [])
    assert 59 / PAUSE / 2 <= listener.asked <= 59 / PAUSE * 2 + 2
    assert len(loud(caplog)) == 1
    assert "Traceback" not in caplog.text


async def test_who_cannot_be_served_is_turned_away_and_others_are_served_after(clock):
    first, second = object(), object()
    listener = FullListener(errno.EMFILE, first, second)
    assert await accepting(listener, 10) == ([second], [first])


async def test_another_error_of_accept_is_not_hidden(clock):
    with pytest.raises(ExceptionGroup) as caught:
        await accepting(FullListener(errno.EBADF))
    assert caught.group_contains(OSError, match="no more")


async def test_who_is_turned_away_reads_why(clock):
    async with world() as server:
        ours, theirs = memory_streams()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.server._listener.turn_away, theirs, "there is no room")
            await ours.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while data := await ours.receive_some():
                answer += data
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert json.loads(body) == {"status": "failing", "problems": ["there is no room"]}


async def test_who_is_turned_away_and_silent_is_dropped(clock):
    async with world() as server:
        ours, theirs = memory_streams()
        began = trio.current_time()
        await server.server._listener.turn_away(theirs, "there is no room")
        assert trio.current_time() - began <= 2 * server.server.config.limits.close_timeout
        assert await ours.receive_some() == b""
