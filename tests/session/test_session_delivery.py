from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_realtime.session._delivery import REMEMBERED, Acknowledgements, Delivery, Track


def test_a_message_is_accepted_once():
    delivery = Delivery()
    assert delivery.accept("c", 5, "a")
    assert not delivery.accept("c", 5, "a")
    assert delivery.accept("d", 5, "a")


def test_the_mark_is_the_newest_message_delivered():
    delivery = Delivery()
    for timestamp, mid in [(5, "b"), (7, "a"), (6, "c")]:
        delivery.accept("c", timestamp, mid)
    assert delivery.tracks["c"].mark == (7, "a")


def test_own_messages_do_not_move_the_mark_but_are_not_delivered():
    delivery = Delivery()
    delivery.accept("c", 5, "a")
    delivery.sent("c", 9, "mine")
    assert delivery.tracks["c"].mark == (5, "a")
    assert not delivery.accept("c", 9, "mine")


def test_what_is_pushed_out_of_memory_moves_the_mark():
    track = Track(None)
    for n in range(REMEMBERED + 3):
        track.note_own(n, f"m{n}")
    assert len(track.seen) == REMEMBERED
    assert track.mark == (2, "m2")


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from("abcdef")), max_size=60))
def test_nothing_is_accepted_twice_whatever_the_order(messages):
    delivery = Delivery()
    accepted = [m for m in messages if delivery.accept("c", *m)]
    mids = [mid for _, mid in accepted]
    assert len(mids) == len(set(mids))
    assert set(mids) == {mid for _, mid in messages}


def test_held_conversations_keep_events_until_released():
    delivery = Delivery()
    delivery.accept("c", 1, "a")
    assert delivery.hold() == ["c"]
    delivery.is_held("c").append("event")
    delivery.hold()
    assert delivery.is_held("c") == ["event"], "holding again keeps what waits"
    assert delivery.is_held("other") is None
    assert delivery.release("c") == ["event"]
    assert delivery.is_held("c") is None


def test_acknowledgements_leave_as_ranges_at_most_once_a_second():
    acks = Acknowledgements()
    assert acks.due_at == float("inf")
    acks.add("c", 5)
    assert acks.take(100.0) == [("c", 5, 5)]
    for timestamp in (7, 6, 9):
        acks.add("c", timestamp)
    acks.add("d", 1)
    assert acks.due_at == 101.0
    assert acks.take(100.5) == []
    assert acks.take(101.0) == [("c", 6, 9), ("d", 1, 1)]
    assert acks.take(200.0) == []


def test_a_broken_link_only_delays_acknowledgements():
    acks = Acknowledgements()
    acks.add("c", 5)
    acks.take(100.0)
    acks.add("c", 7)
    acks.link_lost()
    assert acks.take(100.1) == [("c", 7, 7)]
