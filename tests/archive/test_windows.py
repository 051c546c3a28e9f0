"""Dividing time, and following pages through it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_realtime._archive.errors import UnexpectedAnswer
from trio_realtime._archive.messages import Cursor, following
from trio_realtime._archive.windows import DAY, MOST, windows

TIMES = st.integers(0, 2**42)


@given(TIMES, TIMES)
def test_windows_cover_a_stretch_without_gap_or_overlap(low, high):
    found = windows(low, high)
    assert (not found) == (high <= low)
    for later, earlier in pairwise(found):
        assert later.low == earlier.high
    assert all(one.low < one.high for one in found)
    if found:
        assert (found[-1].low, found[0].high) == (low, high)
        assert len(found) <= MOST
        assert len(found) in {1, MOST} or found[0].high - found[0].low <= DAY


def row(at, number=0, cid="c"):
    return {"timestamp": at, "msg-id": f"m{number}", "to": cid}


@given(
    st.lists(st.integers(10, 30), max_size=60),
    st.integers(1, 7),
    st.integers(10, 20),
    st.integers(20, 31),
    st.booleans(),
)
def test_pages_of_any_size_give_each_message_once(times, size, low, high, inclusive):
    """Also of a server that answers with the message that it is to begin behind."""
    stored = sorted(
        (row(at, number) for number, at in enumerate(times)),
        key=lambda one: (one["timestamp"], one["msg-id"]),
        reverse=True,
    )
    found, cursor = [], None
    while True:
        if cursor is None:
            behind = [r for r in stored if r["timestamp"] < high + inclusive]
        else:
            place = (cursor.timestamp, cursor.id)
            keys = [(r["timestamp"], r["msg-id"]) for r in stored]
            behind = [
                r for r, key in zip(stored, keys, strict=True)
                if key < place or (inclusive and key == place)
            ]  # fmt: skip
        rows, cursor, more = following(behind[: size + inclusive], cursor, low, high)
        found += rows
        if not more:
            break
    assert found == [r for r in stored if low <= r["timestamp"] < high]


@pytest.mark.parametrize(
    ("page", "cursor"),
    [
        ([row(31)], None),
        ([row(25), row(26, 1)], None),
        ([row(25)], Cursor(24, "x", frozenset({("c", "x")}))),
    ],
)
def test_pages_that_go_back_are_noticed(page, cursor):
    with pytest.raises(UnexpectedAnswer):
        following(page, cursor, 10, 30)
