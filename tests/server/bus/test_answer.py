from __future__ import annotations

import outcome
import pytest
import trio

from trio_realtime.server.bus.answer import DONE, Answer


async def test_what_is_known_is_there_at_once():
    answer, seen = Answer.of(3), []
    answer.then(seen.append)
    assert seen == [outcome.Value(3)]
    assert [await answer, await answer] == [3, 3]
    assert [await DONE, await DONE] == [None, None]


async def test_an_error_is_raised_to_everybody_who_waits():
    answer = Answer.failed(KeyError("k"))
    for _ in range(2):
        with pytest.raises(KeyError):
            await answer


async def test_who_asks_earlier_is_answered_earlier(autojump_clock):
    answer, seen = Answer(), []

    async def wait():
        seen.append(await answer)

    answer.then(lambda result: seen.append(result.value + 1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        answer.then(lambda result: seen.append(result.value + 2))
        answer.settle(outcome.Value(1))
    assert seen == [2, 3, 1]


async def test_cancelling_the_wait_leaves_no_trace(autojump_clock):
    answer = Answer()
    with trio.move_on_after(1) as scope:
        await answer
    assert scope.cancelled_caught
    answer.settle(outcome.Value(1))
    assert await answer == 1
