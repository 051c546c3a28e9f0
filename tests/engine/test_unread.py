"""Read marks reach the server, whatever breaks and whatever it has counted meanwhile."""

from __future__ import annotations

import pytest

from trio_realtime._engine.unread import UnreadCounters
from trio_realtime._values.events import MessageReceived, UnreadUpdated
from trio_realtime._values.typed_messages import TextMessage


def message(timestamp):
    return TextMessage("x", id=f"m{timestamp}", conversation_id="c", timestamp_ms=timestamp)


def marks(counters, now):
    return [
        (mark.cid, mark.timestamp)
        for command in counters.take(now)
        for mark in command.read_message.convs
    ]


@pytest.fixture
def counters():
    counters = UnreadCounters()
    counters.received(MessageReceived("c", message(500)))
    counters.read(["c"], now_ms=999)
    assert marks(counters, 0.0) == [("c", 500)]
    return counters


def test_a_count_made_before_a_mark_came_does_not_confirm_it(counters):
    counters.counted_by_server(UnreadUpdated("c", count=3, last_message=message(500)))
    assert counters.of("c").count == 0
    counters.link_lost()
    assert marks(counters, 100.0) == [("c", 500)]


def test_nothing_unread_confirms_a_mark(counters):
    counters.counted_by_server(UnreadUpdated("c", count=0, last_message=message(500)))
    counters.link_lost()
    assert marks(counters, 100.0) == []


def test_a_count_of_the_time_before_confirms_nothing(counters):
    counters.counted_by_server(UnreadUpdated("c", count=0, last_message=message(400)))
    counters.link_lost()
    assert marks(counters, 100.0) == [("c", 500)]


def test_a_later_mark_stands_for_an_earlier_one(counters):
    counters.received(MessageReceived("c", message(600)))
    counters.read(["c"], now_ms=999)
    counters.link_lost()
    assert marks(counters, 100.0) == [("c", 600)]
