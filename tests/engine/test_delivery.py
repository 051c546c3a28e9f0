from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_realtime._engine.delivery import (
    FORGOTTEN,
    REMEMBERED,
    SLACK,
    Delivery,
    Track,
)


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
        track.note_own(n, f"m{n}", 0)
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
    assert delivery.defer() == ["c"]
    delivery.deferred("c").append("event")
    delivery.defer()
    assert delivery.deferred("c") == ["event"], "deferring again keeps what waits"
    assert delivery.deferred("other") is None
    delivery.release("c")
    assert delivery.deferred("c") is None


def test_what_was_pushed_out_of_memory_is_still_known():
    delivery = Delivery()
    for n in range(REMEMBERED + 3):
        assert delivery.accept("c", n, f"m{n}")
    assert not delivery.accept("c", 0, "m0")
    assert delivery.accept("c", 0, "fleeting", stored=False), "without a place in the history"


def test_own_messages_hide_none_that_are_being_caught_up():
    delivery = Delivery()
    delivery.accept("c", 1, "a")
    delivery.defer()
    for n in range(REMEMBERED * 2):
        delivery.sent("c", 100 + n, f"mine{n}")
    assert delivery.tracks["c"].mark == (1, "a")
    for n in range(2, 100):
        assert delivery.accept("c", n, f"m{n}")
    delivery.release("c")
    assert len(delivery.tracks["c"].seen) == REMEMBERED
    assert not any(delivery.accept("c", n, f"m{n}") for n in range(2, 100))
    assert not any(delivery.accept("c", 100 + n, f"mine{n}") for n in range(REMEMBERED * 2))


def test_of_history_that_was_read_the_latest_ids_are_remembered():
    delivery = Delivery()
    delivery.defer(["c"])
    delivery.accept("c", 5, "live", stored=False)
    last = REMEMBERED + 9
    for n in range(last + 1):
        delivery.accept("c", n, f"m{n}")
    delivery.sent("c", 9999, "mine")
    delivery.known_upto("c", last, f"m{last}")
    track = delivery.tracks["c"]
    assert len(track.seen) == REMEMBERED + 2
    assert track.mark == (last, f"m{last}")
    assert not any(delivery.accept("c", n, f"m{n}") for n in range(last + 1))
    assert delivery.accept("c", last - 1, "late"), "which no history showed"
    assert not delivery.accept("c", 3, "so old that it cannot be told from a repetition")


def test_an_own_message_moves_the_mark_once_what_was_said_before_must_have_arrived():
    for heard_at, mark in [(105.0, (5, "a")), (110.0, (9, "mine"))]:
        delivery = Delivery()
        delivery.accept("c", 5, "a")
        delivery.sent("c", 9, "mine", 100.0)
        delivery.hear(9, heard_at)
        delivery.lose_link()
        assert delivery.tracks["c"].mark == mark


def test_who_left_has_nothing_to_catch_up_until_it_is_back():
    delivery = Delivery()
    delivery.accept("c", 5, "a")
    delivery.left("c", 7)
    delivery.lose_link()
    assert delivery.waiting == []
    delivery.joined("c", 9)
    assert delivery.start("c") == (9, "")
    delivery.left("c", 8)
    delivery.lose_link()
    assert delivery.waiting == ["c"], "it is a member again since"


def test_a_conversation_that_has_been_silent_for_long_is_forgotten():
    delivery = Delivery()
    delivery.begin(0, 0.0)
    delivery.accept("c", 5, "a")
    delivery.hear(FORGOTTEN + 2 * SLACK, 0.0)
    delivery.accept("d", FORGOTTEN, "b")
    delivery.lose_link()
    assert list(delivery.tracks) == ["d"]
    delivery.defer(["c"])
    assert delivery.start("c") == (FORGOTTEN + SLACK, ""), "from when on nothing is certain"


def test_what_is_missing_begins_before_the_first_of_several_breaks():
    delivery = Delivery()
    delivery.begin(100_000, 0.0)
    delivery.hear(200_000, 0.0)
    delivery.lose_link()
    assert delivery.away_since == 140_000
    delivery.hear(400_000, 0.0)
    delivery.lose_link()
    assert delivery.away_since == 140_000
    delivery.caught_up(410_000)
    assert delivery.complete_until == 350_000
