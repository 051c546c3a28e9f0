"""The audit finds what is wrong: each kind of error in books that are right otherwise."""

from __future__ import annotations

import attrs
import pytest

from tests.ledger.ledger import Kind, Missing, Record, Sent, Sight, Stored, audit, report

A, B = ("Tom", "c"), ("Jerry", "c")


def books():
    """Tom sends three messages and edits one, Jerry one; Jerry has read two."""
    record = Record(members={"c": ("Tom", "Jerry")})
    for at, (who, content) in enumerate(
        [("Tom", "one"), ("Tom", "two"), ("Jerry", "hi"), ("Tom", "new")], start=1
    ):
        mid, text = f"m{at}", {"new": "three"}.get(content, content)
        record.sent.append(Sent("c", who, mid, at, text, content))
        record.turns[who, "c"].append(text)
        record.history.setdefault("c", []).append(Stored(mid, at, who, content))
        listener = "Jerry" if who == "Tom" else "Tom"
        record.seen[listener, "c"].append(Sight(Kind.NEW, mid, at, text))
    record.seen[B].append(Sight(Kind.CHANGED, "m4", 4, "new"))
    record.read[B] = record.marks[B] = 2
    record.unread |= {A: 1, B: 1}
    return record


def test_good_books():
    assert audit(books()) == []


def lose_a_message(record):
    del record.history["c"][0]


def store_a_message_twice(record):
    record.history["c"].append(attrs.evolve(record.history["c"][-1], id="m5", at=5))


def store_another_time(record):
    record.history["c"][1] = attrs.evolve(record.history["c"][1], at=2.5)


def lose_an_edit(record):
    record.history["c"][3] = attrs.evolve(record.history["c"][3], content="three")


def repeat_a_timestamp(record):
    record.history["c"][1] = attrs.evolve(record.history["c"][1], at=1)
    record.sent[1].at = 1


def swap_the_turns(record):
    record.turns[A][:2] = ["two", "one"]


def show_a_message_twice(record):
    record.seen[B].insert(2, record.seen[B][0])


def show_a_message_to_its_sender(record):
    record.seen[A].append(Sight(Kind.NEW, "m4", 4, "three"))


def show_messages_out_of_order(record):
    record.seen[B][:2] = reversed(record.seen[B][:2])


def hide_a_message(record):
    del record.seen[B][1]


def hide_an_edit(record):
    record.seen[B].pop()


def show_a_stranger(record):
    record.seen["Spike", "c"].append(Sight(Kind.NEW, "m1", 1, "one"))


def forget_a_read_mark(record):
    record.marks[B] = 1


def mark_what_does_not_exist(record):
    record.marks[B] = 9


def miscount(record):
    record.unread[B] = 2


@pytest.mark.parametrize(
    ("spoil", "rules"),
    [
        (lose_a_message, {"stored once", "seen once"}),
        (store_a_message_twice, {"stored once", "seen once", "unread"}),
        (store_another_time, {"stored once", "unread"}),
        (lose_an_edit, {"last edit", "changes seen"}),
        (repeat_a_timestamp, {"timestamps"}),
        (swap_the_turns, {"order of sending"}),
        (show_a_message_twice, {"seen once"}),
        (show_a_message_to_its_sender, {"seen once"}),
        (show_messages_out_of_order, {"seen in order"}),
        (hide_a_message, {"seen once"}),
        (hide_an_edit, {"changes seen"}),
        (show_a_stranger, {"seen once"}),
        (forget_a_read_mark, {"read mark", "unread"}),
        (mark_what_does_not_exist, {"read mark", "unread"}),
        (miscount, {"unread"}),
    ],
)
def test_each_error_is_found(spoil, rules):
    record = books()
    spoil(record)
    violations = audit(record)
    assert {violation.rule for violation in violations} == rules
    assert f"seed {7}" in report(record, violations, seed=7)


def test_a_gap_that_was_owned_up_to_excuses_what_lies_in_it():
    record = books()
    hide_a_message(record)
    record.missing[B].append(Missing(since=1, until=3, why="refused"))
    assert audit(record) == []
    record.missing[B] = [Missing(since=3, until=4, why="refused")]
    assert [violation.rule for violation in audit(record)] == ["seen once"]


def test_a_cancelled_sending_may_lose_its_turn():
    record = books()
    swap_the_turns(record)
    record.sent[1].in_turn = False
    assert audit(record) == []
