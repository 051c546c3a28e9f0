from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_realtime._engine import acknowledgements
from trio_realtime._engine.acknowledgements import Acknowledgements


def receive(acks, *timestamps, cid="c"):
    for timestamp in timestamps:
        acks.receive(cid, f"m{timestamp}")


def hand_over(acks, *timestamps, cid="c"):
    return [acks.hand_over(cid, f"m{timestamp}", timestamp) for timestamp in timestamps]


def test_they_leave_as_ranges_at_most_once_a_second():
    acks = Acknowledgements()
    assert acks.due_at == float("inf")
    receive(acks, 5, 7, 6, 9)
    receive(acks, 1, cid="d")
    assert hand_over(acks, 5) == [True]
    assert acks.take(100.0) == [("c", 5, 5)]
    assert hand_over(acks, 7, 6, 9) == [True, False, False]
    assert hand_over(acks, 1, cid="d") == [False]
    assert acks.due_at == 101.0
    assert acks.take(100.5) == []
    assert acks.take(101.0) == [("c", 6, 9), ("d", 1, 1)]
    assert acks.take(200.0) == []


def test_a_broken_link_only_delays_them():
    acks = Acknowledgements()
    receive(acks, 5, 7)
    hand_over(acks, 5)
    acks.take(100.0)
    hand_over(acks, 7)
    acks.link_lost()
    assert acks.take(100.1) == [("c", 7, 7)]


def test_a_range_does_not_reach_over_what_may_have_been_missed():
    acks = Acknowledgements()
    receive(acks, 5)
    acks.link_lost()
    receive(acks, 9)
    hand_over(acks, 5, 9)
    assert acks.take(0.0) == [("c", 5, 5), ("c", 9, 9)]


def test_a_message_is_acknowledged_once_however_many_deal_with_it():
    acks = Acknowledgements()
    receive(acks, 5)
    assert hand_over(acks, 5, 5) == [True, False]
    assert acks.take(0.0) == [("c", 5, 5)]
    assert hand_over(acks, 5) == [False]
    assert acks.due_at == float("inf")


def test_what_never_reaches_the_user_is_forgotten_some_day(monkeypatch):
    monkeypatch.setattr(acknowledgements, "REMEMBERED", 3)
    acks = Acknowledgements()
    receive(acks, *range(5))
    hand_over(acks, 1, 2, 3, 4)
    assert acks.take(0.0) == [("c", 2, 4)]


@given(st.lists(st.sampled_from(["early", "late", "never", "break", "send"])), st.randoms())
def test_ranges_cover_what_reached_the_user_and_nothing_else(story, random):
    acks = Acknowledgements()
    acked, handed, late = set(), set(), []
    for timestamp, fate in enumerate(story):
        if fate == "break":
            acks.link_lost()
        elif fate == "send":
            acked |= {t for _, a, b in acks.take(float("inf")) for t in range(a, b + 1)}
        else:
            receive(acks, timestamp)
            if fate == "early":
                hand_over(acks, timestamp)
                handed.add(timestamp)
            elif fate == "late":
                late.append(timestamp)
    random.shuffle(late)
    hand_over(acks, *late)
    acks.link_lost()
    acked |= {t for _, a, b in acks.take(float("inf")) for t in range(a, b + 1)}
    messages = {t for t, fate in enumerate(story) if fate not in {"break", "send"}}
    assert acked & messages == handed | set(late)
