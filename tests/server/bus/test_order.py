from __future__ import annotations

from trio_realtime.server.bus.order import ConnectionOrder


def test_later_is_greater_whatever_the_clock_does():
    times = iter([5000, 5000, 5000, 4000, 6000])
    order = ConnectionOrder(lambda: next(times))
    numbers = [order.next() for _ in range(5)]
    assert numbers == sorted(set(numbers))


def test_one_process_after_another():
    before, after = ConnectionOrder(lambda: 1000), ConnectionOrder(lambda: 1001)
    earlier = [before.next() for _ in range(1000)]
    assert max(earlier) < after.next()
