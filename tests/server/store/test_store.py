"""What every store promises to those who submit rules."""

from __future__ import annotations

import threading

import outcome
import pytest
import trio

from tests.server.store.world import query
from trio_realtime.server.store.interface import Kind, NewMessage, StoreError

APP = "app"


def create(tx):
    return tx.create_conversation(kind=Kind.NORMAL, creator="tom", members=["tom", "jerry"]).id


def count(tx):
    return len(tx.find(query({}, limit=1000)))


class Oops(Exception):
    pass


def create_and_fail(tx):
    tx.create_conversation(kind=Kind.NORMAL, creator="new", members=["newer", "newest"])
    raise Oops


async def test_write_then_read(open_store):
    async with open_store() as store:
        cid = await store.write(APP, create)
        assert await store.read(APP, lambda tx: tx.members(cid)) == ["tom", "jerry"]
        assert await store.write(APP, lambda tx: tx.member_count(cid)) == 2


async def test_a_raising_rule_is_undone_alone(open_store):
    async with open_store() as store:
        results = []
        for rule in (create, create_and_fail, create):
            store.submit(APP, rule, results.append)
        await store.write(APP, lambda _: None)
        good, bad, last = results
        assert isinstance(good, outcome.Value)
        assert isinstance(last, outcome.Value)
        with pytest.raises(Oops):
            bad.unwrap()
        assert await store.read(APP, count) == 2
        # What the failed rule was told about clients is forgotten as well.
        cid = good.value
        for name in ("newer", "newest", "new"):
            await store.write(APP, lambda tx, n=name: tx.add_members(cid, [n]))
        assert (await store.read(APP, lambda tx: tx.members(cid)))[2:] == [
            "newer",
            "newest",
            "new",
        ]


async def test_a_failed_first_rule_leaves_no_app(open_store):
    async with open_store() as store:
        with pytest.raises(Oops):
            await store.write("fresh", create_and_fail)
        await store.write("fresh", create)
        assert await store.read("fresh", count) == 1


async def test_a_reading_rule_cannot_write(open_store):
    async with open_store() as store:
        await store.write(APP, create)
        with pytest.raises(StoreError):
            await store.read(APP, create)
        assert await store.read(APP, count) == 1
        await store.write(APP, create)
        assert await store.read("unknown", count) == 0


async def test_results_come_in_the_order_of_submission(open_store):
    async with open_store() as store:
        cid = await store.write(APP, create)
        order, rows = [], []
        finished = trio.Event()

        def submit(n):
            def done(result):
                order.append(n)
                rows.append(result.unwrap()[0])
                if len(order) == 2500:
                    finished.set()

            store.submit(APP, lambda tx: tx.append(cid, NewMessage("tom", str(n))), done)

        for n in range(2500):
            submit(n)
        assert order == []
        await finished.wait()
        assert order == list(range(2500))
        assert await store.read(APP, lambda tx: tx.history(cid, limit=2500)) == rows


async def test_a_read_sees_every_write_already_reported(open_store):
    async with open_store() as store:
        for n in range(1, 30):
            await store.write(APP, create)
            assert await store.read(APP, count) == n


async def test_who_queues_many_delays_nobody_else(open_store):
    ran = threading.Event()

    def crowd(n):
        # The other's turn comes before the third of these.
        assert n < 2 or ran.wait(30)
        return n

    async with open_store() as store:
        results = []
        for n in range(50):
            store.submit(APP, lambda _, n=n: crowd(n), results.append, mode="query", owner="crowd")
        store.submit(APP, lambda _: ran.set(), results.append, mode="query", owner="single")
    answers = [result.unwrap() for result in results]
    assert [answer for answer in answers if answer is not None] == list(range(50))
    assert len(answers) == 51


async def test_a_query_sees_every_write_submitted_and_reported(open_store):
    async with open_store() as store:
        for n in range(1, 10):
            await store.write(APP, create)
            seen = trio.Event()
            results = []

            def done(result, results=results, seen=seen):
                results.append(result.unwrap())
                seen.set()

            store.submit(APP, count, done, mode="query", owner="tom")
            await seen.wait()
            assert results == [n]


async def test_a_query_cannot_write(open_store):
    async with open_store() as store:
        results = []
        store.submit(APP, create, results.append, mode="query")
        await store.write(APP, lambda _: None)
    with pytest.raises(StoreError):
        results[0].unwrap()


async def test_cancelling_the_caller_does_not_undo_the_write(open_store):
    token = trio.lowlevel.current_trio_token()
    here = threading.get_ident()
    async with open_store() as store:
        with trio.CancelScope() as scope:

            def create_unwanted(tx):
                if threading.get_ident() == here:
                    scope.cancel()
                else:
                    trio.from_thread.run_sync(scope.cancel, trio_token=token)
                return create(tx)

            await store.write(APP, create_unwanted)
        assert scope.cancelled_caught
        await store.write(APP, lambda _: None)
        assert await store.read(APP, count) == 1


async def test_a_cancelled_caller_submits_nothing(open_store):
    async with open_store() as store:
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.write(APP, create)
        assert scope.cancelled_caught
        assert await store.read(APP, count) == 0


async def test_leaving_finishes_what_is_queued(open_store, implementation):
    results = []
    async with open_store() as store:
        for _ in range(5):
            store.submit(APP, create, results.append)
    assert [type(result) for result in results] == [outcome.Value] * 5
    with pytest.raises(StoreError, match="closed"):
        store.submit(APP, create, results.append)
    with pytest.raises(StoreError, match="closed"):
        await store.write(APP, create)
    if implementation.durable:
        async with open_store() as store:
            assert await store.read(APP, count) == 5


async def test_leaving_by_an_exception_tells_those_who_wait(open_store):
    results = []
    with pytest.raises(Oops):  # noqa: PT012 - leaving the block is what is tested
        async with open_store() as store:
            for _ in range(5):
                store.submit(APP, create, results.append)
            raise Oops
    assert len(results) == 5
    for result in results:
        with pytest.raises(StoreError, match="closed"):
            result.unwrap()


async def test_leaving_by_cancellation(open_store, implementation):
    with trio.CancelScope() as scope:
        async with open_store() as store:
            await store.write(APP, create)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    if implementation.durable:
        async with open_store() as store:
            assert await store.read(APP, count) == 1


async def test_a_raising_callback_harms_nobody(open_store, caplog):

    def bad(_):
        raise Oops

    async with open_store() as store:
        store.submit(APP, create, bad)
        await store.write(APP, create)
        assert await store.read(APP, count) == 2
    assert "callback" in caplog.text


async def test_the_clock_of_rules_never_goes_back(open_store):
    shown = [100]
    seen = []
    async with open_store(clock=lambda: shown[-1]) as store:
        for time in (100, 50, 70, 120):
            shown.append(time)
            seen.append(await store.write(APP, lambda tx: tx.now))
            seen.append(await store.read(APP, lambda tx: tx.now))
    assert seen == sorted(seen)
    assert len(set(seen[::2])) == 4
    assert (seen[0], seen[-1]) == (100, 120)


async def test_everything_is_there_after_reopening(open_store, implementation):
    if not implementation.durable:
        pytest.skip("keeps nothing")
    async with open_store() as store:
        cid = await store.write(APP, create)
        message, _ = await store.write(APP, lambda tx: tx.append(cid, NewMessage("tom", "hi")))
        chat = await store.read(APP, lambda tx: tx.conversation(cid))
    async with open_store(clock=lambda: 5) as store:
        assert await store.read(APP, lambda tx: tx.conversation(cid)) == chat
        assert await store.read(APP, lambda tx: tx.history(cid)) == [message]
        (row,) = await store.read(APP, lambda tx: tx.unread_of("jerry"))
        assert (row.count, row.newest) == (1, message)
        # The clock of the machine went back meanwhile.
        later, _ = await store.write(APP, lambda tx: tx.append(cid, NewMessage("tom", "hi")))
        assert later.timestamp == message.timestamp + 1
