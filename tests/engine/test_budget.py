from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_realtime._engine.budget import Budget


@given(st.floats(2, 500), st.lists(st.floats(0, 30), min_size=1, max_size=300))
def test_no_minute_has_more_questions_than_allowed(per_minute, pauses):
    budget, now, asked = Budget(per_minute), 0.0, []
    for pause in pauses:
        now = max(now + pause, budget.take(now + pause))
        asked.append(now)
    for start in asked:
        in_a_minute = [at for at in asked if start <= at < start + 59.99]
        assert len(in_a_minute) <= per_minute + 1


def test_without_a_quota_nobody_waits():
    budget = Budget(None)
    assert {budget.take(5.0) for _ in range(1000)} == {5.0}


def test_a_server_that_says_it_was_too_much_is_asked_less_from_then_on():
    budget = Budget(None)
    for _ in range(200):
        budget.take(5.0)
    budget.refused(5.0)
    asked = [max(at, budget.take(at)) for at in [7.0] * 60]
    assert asked[:2] == [7.0, 7.0]
    # What flows in during a minute is half of the usual quota.
    assert asked[-1] == 65.0


def test_a_refusal_stops_all_questions_and_repeated_ones_for_longer():
    budget = Budget(10_000)
    budget.refused(10.0)
    budget.refused(10.5)
    assert budget.take(11.0) == budget.resumes(11.0) == 12.0, "one refusal, told twice"
    for now, pause in [(12.0, 4.0), (16.0, 8.0), (24.0, 16.0), (40.0, 32.0), (72.0, 60.0)]:
        budget.refused(now)
        assert budget.take(now) == now + pause
    budget.granted()
    budget.refused(200.0)
    assert budget.take(200.0) == 202.0
