"""Rows that are read in one go, and field by field: the same."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_realtime.server.rules.bodies import lctype_of
from trio_realtime.server.rules.operator.message_rows import (
    LARGEST_BODY,
    checked_row,
    imported,
    row_from,
)
from trio_realtime.server.rules.operator.row_checks import NotTaken

NOW = 1_795_000_000_000
odd = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=4) | st.floats()


def field(*usual):
    return st.sampled_from(usual) | odd


rows = st.fixed_dictionaries(
    {
        "msg-id": field("m1", "", "x" * 128, "x" * 129),
        "timestamp": field(NOW - 1, NOW + 10**6, NOW + 10**9, 5, True, 1e12),
        "to": field("c1", "_tmp:x", ""),
        "from": field("Tom", "y" * 64, "y" * 65),
        "data": field("hi", '{"_lctype":-1}', "aGk=", "\ud800", "z" * LARGEST_BODY),
    },
    optional={
        "bin": field(True, False),
        "is-room": field(True, False),
        "ack-at": field(NOW, 0, -1, 2**53, 1.5),
        "from-ip": field("1.2.3.4", "x" * 129),
        "to-client": field("Jerry", ""),
        "conv-id": field("internal"),
    },
)


def outcome(row):
    """What is stored, or why nothing is."""
    try:
        return imported(row(), NOW)
    except NotTaken as reason:
        return str(reason)


@given(rows)
def test_what_is_read_in_one_go_is_what_is_read_field_by_field(fields):
    line = json.dumps(fields).encode()
    slow = outcome(lambda: checked_row(fields, NOW))
    try:
        row = row_from(line)
    except msgspec.MsgspecError:
        return
    assert outcome(lambda: row) == slow
    assert checked_row(fields, NOW) == row or isinstance(slow, str)


@pytest.mark.parametrize("data", ["hi", "aGk="])
def test_a_usual_row_is_read_in_one_go(data):
    fields = {
        "msg-id": "m",
        "timestamp": NOW,
        "to": "c",
        "from": "Tom",
        "data": data,
        "bin": data != "hi",
        "is-conv": True,
        "is-room": False,
        "from-ip": "1.2.3.4",
        "ack-at": NOW,
    }
    stored = imported(row_from(json.dumps(fields).encode()), NOW)
    assert stored == imported(checked_row(fields, NOW), NOW)
    assert (stored.id, stored.sender, stored.ack_at) == ("m", "Tom", NOW)
    assert stored.body == ("hi" if data == "hi" else b"hi")


@given(
    st.sampled_from(
        ["-1", "1.0", "true", "null", '"-1"', "2147483648", "-2147483648", "[]", "1e2"]
    ),
    st.sampled_from(['{{"_lctype":{}}}', '{{"_lctype":5,"_lctype":{}}}', '[{{"_lctype":{}}}]'])
    | st.sampled_from(['{{"a":NaN,"_lctype":{}}}', '{{"\\u005flctype":{}}}', ' {{"_lctype":{}}} ']),
    st.sampled_from(["", "x", "}"]),
)
def test_the_type_of_a_body_is_what_python_reads(value, form, rest):
    body = form.format(value) + rest
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    found = parsed.get("_lctype") if isinstance(parsed, dict) else None
    expected = found if type(found) is int and -(2**31) <= found < 2**31 else None
    assert lctype_of(body) == expected
