from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_realtime.server.store.fair_queue import FairQueue


def test_owners_take_turns():
    queue = FairQueue()
    for n in range(4):
        queue.put("crowd", n)
    queue.put("single", 9)
    assert len(queue) == 5
    assert queue.take() == ("crowd", 0)
    assert queue.take() == ("single", 9)
    # One of the crowd is out: no other may go.
    assert queue.take() is None
    queue.put("single", 8)
    assert queue.take() is None
    queue.finished("crowd")
    assert queue.take() == ("crowd", 1)
    queue.finished("single")
    queue.finished("crowd")
    assert [queue.take(), queue.take()] == [("single", 8), ("crowd", 2)]


def test_what_is_drained_is_gone():
    queue = FairQueue()
    for owner, item in (("a", 1), ("a", 2), ("b", 3)):
        queue.put(owner, item)
    queue.take()
    assert sorted(queue.drain()) == [2, 3]
    queue.finished("a")
    assert queue.take() is None
    assert len(queue) == 0


@given(st.lists(st.one_of(st.integers(0, 3), st.none(), st.just("finish"))))
def test_nothing_is_lost_and_nobody_is_out_twice(steps):
    queue = FairQueue()
    put, taken, out, waiting = [], [], [], {}
    for step in steps:
        if step is None:
            got = queue.take()
            if got is None:
                assert all(owner in out for owner, count in waiting.items() if count)
            else:
                assert got[0] not in out
                out.append(got[0])
                waiting[got[0]] -= 1
                taken.append(got)
        elif step == "finish":
            if out:
                queue.finished(out.pop(0))
        else:
            put.append((step, len(put)))
            queue.put(*put[-1])
            waiting[step] = waiting.get(step, 0) + 1
    while out or len(queue):
        while out:
            queue.finished(out.pop())
        while (got := queue.take()) is not None:
            out.append(got[0])
            taken.append(got)
    for owner in range(4):
        assert [t for t in taken if t[0] == owner] == [p for p in put if p[0] == owner]
