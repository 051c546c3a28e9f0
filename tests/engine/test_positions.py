from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_realtime import Gap, Invited, MessageReceived, MessageUpdated, TextMessage
from trio_realtime._engine.positions import OPEN, Positions, Progress
from trio_realtime._values.messages import with_envelope
from trio_realtime._values.times import datetime_from_ms


def message(mid, at, updated=None):
    envelope = {"id": mid, "timestamp_ms": at, "updated_at_ms": updated, "conversation_id": "c"}
    return with_envelope(TextMessage("x"), envelope)


def test_everything_before_the_oldest_that_is_open_is_behind_the_user():
    progress = Progress()
    assert progress.mark(0) is None
    for n in range(5):
        progress.deliver((n, f"m{n}"))
    assert progress.mark(0) == (0, ""), "nothing of that time"
    for n in (0, 1, 3):
        assert progress.deal_with(f"m{n}")
        assert not progress.deal_with(f"m{n}"), "counts once"
    assert progress.mark(0) == (1, "m1")
    assert progress.ahead() == {"m3": 3}
    progress.deal_with("m2")
    assert progress.mark(0) == (3, "m3")
    assert progress.ahead() == {}


def test_an_own_message_is_behind_the_user_when_what_came_before_must_have_arrived():
    progress = Progress((1, "a"))
    progress.send((5, "mine"), 100.0)
    assert (progress.mark(105.0), progress.ahead()) == ((1, "a"), {"mine": 5})
    progress.deliver((3, "b"))
    assert (progress.mark(110.0), progress.ahead()) == ((1, "a"), {"mine": 5})
    progress.deal_with("b")
    assert (progress.mark(110.0), progress.ahead()) == ((5, "mine"), {})


def test_what_an_earlier_run_dealt_with_is_kept_while_it_is_ahead():
    progress = Progress((1, "a"), {"c": 3})
    progress.deliver((2, "b"))
    assert (progress.mark(0), progress.ahead()) == ((1, "a"), {"c": 3})
    progress.deal_with("b")
    assert (progress.mark(0), progress.ahead()) == ((2, "b"), {"c": 3})
    progress.deliver((4, "d"))
    progress.deal_with("d")
    assert (progress.mark(0), progress.ahead()) == ((4, "d"), {})


def test_a_user_who_deals_with_nothing_costs_no_more_than_that():
    progress = Progress((0, "a"))
    for n in range(1, OPEN + 100):
        progress.deliver((n, str(n)))
    assert len(progress._places) == OPEN
    assert progress.mark(0) == (0, "a")


@given(st.permutations(range(12)), st.integers(0, 12))
def test_a_later_run_is_given_what_is_missing_and_nothing_else(order, done):
    progress = Progress()
    for n in range(12):
        progress.deliver((n // 3, f"m{n}"))
    for n in order[:done]:
        progress.deal_with(f"m{n}")
    mark, ahead = progress.mark(0), progress.ahead()
    history = sorted((n // 3, f"m{n}") for n in range(12))
    again = {mid for at, mid in history if (at, mid) > mark and mid not in ahead}
    assert again == {f"m{n}" for n in order[done:]}


def test_edits_and_news_hold_back_their_times_until_they_are_dealt_with():
    positions = Positions()
    edit = MessageUpdated("c", message("a", 1, updated=50))
    invited = Invited("c", "Tom", at=datetime_from_ms(70))
    assert (positions.patches_until(90), positions.notices_until(None)) == (90, None)
    positions.receive(edit)
    positions.receive(invited)
    assert (positions.patches_until(90), positions.notices_until(90)) == (49, 69)
    assert positions.deal_with(edit)
    assert positions.deal_with(invited)
    assert not positions.deal_with(edit)
    assert not positions.deal_with(MessageReceived("c", message("z", 1)))
    assert (positions.patches_until(90), positions.notices_until(90)) == (90, 90)


def gap(since, until):
    return Gap("c", missing_from=datetime_from_ms(since), missing_until=datetime_from_ms(until))


def test_the_position_waits_until_the_user_knows_of_a_gap():
    positions = Positions()
    progress = positions.conversations["c"] = Progress(reached=(10, "a"))
    positions.hold("c", 10, 20)
    for at in (20, 21):
        positions.deliver("c", (at, f"m{at}"))
        positions.deal_with(MessageReceived("c", message(f"m{at}", at)))
    assert progress.mark(0) == (10, "a")
    assert not positions.deal_with(Gap("c", filled=2)), "another one"
    assert not positions.deal_with(gap(5, 8)), "likewise"
    assert progress.mark(0) == (10, "a")
    assert positions.deal_with(gap(10, 20))
    assert not positions.deal_with(gap(10, 20))
    assert progress.mark(0) == (21, "m21")


def test_of_two_gaps_the_user_has_to_know_both():
    positions = Positions()
    progress = positions.conversations["c"] = Progress(reached=(10, "a"))
    positions.hold("c", 10, 20)
    positions.hold("c", 30, 40)
    positions.deal_with(gap(10, 20))
    assert progress.mark(0) == (10, "a")
    positions.deal_with(gap(30, 40))
    assert progress.mark(0) == (40, ""), "everything before that time"


def test_what_could_not_be_had_is_fetched_again_from_where_it_began():
    positions = Positions()
    progress = positions.conversations["c"] = Progress(reached=(10, "a"))
    positions.hold("c", 10, None)
    assert positions.deal_with(gap(10, 90))
    assert progress.mark(0) == (10, "a")
