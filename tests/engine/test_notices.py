from __future__ import annotations

from datetime import UTC, datetime, timedelta

from trio_realtime import Invited, MembersJoined
from trio_realtime._engine.notices import OVERLAP, REMEMBERED, ToldNotices

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def invited(n, ms):
    return Invited(str(n), "x", at=EPOCH + timedelta(milliseconds=ms))


def test_notices_are_told_once_however_many_there_are():
    told = ToldNotices()
    notices = [invited(n, 1000) for n in range(1000)]
    assert all(told.note(one, 1000) for one in notices)
    assert not any(told.note(one, 1000) for one in notices)


def test_what_no_replay_repeats_is_forgotten():
    told = ToldNotices()
    for n in range(1000):
        told.note(invited(n, n), OVERLAP + 2000)
    assert len(told._told) == REMEMBERED


def test_only_what_has_a_time_and_concerns_this_client_is_remembered():
    told = ToldNotices()
    assert told.note(Invited("c", "x"), 0)
    assert told.note(Invited("c", "x"), 0)
    assert told.note(MembersJoined("c", "x", ("y",), at=EPOCH), 0)
    assert told.note(MembersJoined("c", "x", ("y",), at=EPOCH), 0)
