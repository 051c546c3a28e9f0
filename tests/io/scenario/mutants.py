"""Faults put into the client by hand: each must be found by a few hundred lives."""

from __future__ import annotations

from datetime import timedelta
from unittest.mock import patch

import attrs

from trio_realtime import ConnectionLost
from trio_realtime._engine.delivery import Delivery, Track
from trio_realtime._engine.positions import Positions, Progress
from trio_realtime._engine.reading import Reading
from trio_realtime._io import catch_up
from trio_realtime._io.catch_up import CatchUp


def mutants():
    """Names of faults, and what puts each of them in for the time of a block."""
    return {
        "caught up too soon": patch.object(CatchUp, "_finish", caught_up_at_once),
        "released unread": patch.object(CatchUp, "_conversation", released_when_the_link_breaks),
        "always shown": patch.object(CatchUp, "_is_shown", lambda *_: True),
        "never cut": patch.object(Reading, "cut", never(), create=True),
        "nothing has changed": patch.object(catch_up, "changed", lambda *_: False),
        "one page": patch.object(Reading, "_read", only_one_page),
        "not the whole time": patch.object(Reading, "command", without_the_time_itself()),
        "not deferred": patch.object(Delivery, "defer", lambda *_: []),
        "told again": patch.object(Track, "note", forgets_ids(Track.note)),
        "own messages are strangers'": patch.object(Track, "note_own", lambda *_: None),
        "own messages move the mark": patch.object(Track, "note_own", moves_the_mark),
        "no slack": patch.object(Delivery, "complete_until", property(without_slack)),
        "gaps without an end": patch.object(CatchUp, "_missed_until", an_hour_later()),
        "gaps from long ago": patch.object(CatchUp, "_fill", from_long_ago(CatchUp._fill)),
        "gaps are not waited for": patch.object(Positions, "hold", lambda *_: None),
        "cuts are forgotten": patch.object(CatchUp, "begin", forgets_cuts(CatchUp.begin)),
        "gaps again and again": patch.object(Delivery, "given_up", lambda *_: None),
        "dealt with when delivered": patch.object(Progress, "mark", at_the_latest(Progress.mark)),
        "nothing ahead": patch.object(Progress, "ahead", lambda _self: {}),
        "patches are not awaited": patch.object(
            Positions, "patches_until", lambda _self, known: known
        ),
    }


def caught_up_at_once(self):
    self._delivery.caught_up(self._login.returned_at)


async def released_when_the_link_breaks(self, cid):
    try:
        await self._fill(cid)
    except ConnectionLost:
        self._delivery.release(cid)
        return
    self._reading.pop(cid, None)
    self._release(cid)
    self._finish()


def never():
    return property(lambda _self: False, lambda _self, _value: None)


def only_one_page(self, items):
    if items:
        self.upto = items[-1].timestamp, items[-1].msg_id
    self._finished = True
    return items


def without_the_time_itself():
    command = Reading.command.fget

    def asked(self):
        question = command(self)
        if question is not None and self._held is None:
            question.logs_message.t_included = None
        return question

    return property(asked)


def forgets_ids(note):
    def noted(self, timestamp, mid, *, stored=True):
        return note(self, timestamp, mid, stored=stored) or mid in self.seen

    return noted


def moves_the_mark(self, timestamp, mid, _now):
    self.seen[mid] = timestamp
    self._advance((timestamp, mid))


def without_slack(self):
    return self.heard if self.away_since is None else self.away_since


def an_hour_later():
    missed_until = CatchUp._missed_until
    return lambda self, cid: missed_until(self, cid) + timedelta(hours=1)


def from_long_ago(fill):
    async def wide(self, cid):
        return attrs.evolve(await fill(self, cid), missing_from=None)

    return wide


def forgets_cuts(begin):
    def begun(self):
        self._cuts.clear()
        begin(self)

    return begun


def at_the_latest(mark):
    def latest(self, now, *, complete=True):
        return max(self._places) if self._places else mark(self, now, complete=complete)

    return latest
