"""How far the user has come: what a later run of the program need not be given again.

Something counts as dealt with when a subscription has it (or, where that is asked for, when its
loop has come back for the next), or when no subscription wants it. Everything before the oldest
that was not dealt with is behind the user.
"""

from __future__ import annotations

import heapq
from datetime import datetime
from typing import Any

import attrs

from trio_realtime._values.events import (
    Event,
    Gap,
    MessageRecalled,
    MessageReceived,
    MessageUpdated,
)
from trio_realtime._values.times import datetime_from_ms, ms_from_datetime

from .delivery import NOWHERE, SETTLED, Place
from .notices import BY_NAME, PERSONAL, Notice

OPEN = 65_536
"""Messages of one conversation that may wait to be dealt with; then its position stands still."""
AHEAD = 1_000
"""Messages remembered that were dealt with before older ones; of more, some come again."""

GAP = ""
"""Stands for a gap where others have the ids of messages; no message has it."""


@attrs.define(eq=False)
class Progress:
    """How far the user has come in one conversation."""

    reached: Place | None = None
    """Everything up to here is dealt with."""
    earlier: dict[str, int] = attrs.field(factory=dict)
    """Ids and times of what an earlier run of the program dealt with behind that."""
    _beside: dict[str, int] = attrs.field(factory=dict)
    """Ids of what is dealt with and of the very time up to which everything is."""
    _places: list[Place] = attrs.field(factory=list)
    """A heap of what was delivered behind that."""
    _open: set[str] = attrs.field(factory=set)
    """Ids of those that are not dealt with."""
    _own: dict[str, tuple[int, float]] = attrs.field(factory=dict)
    """What this client sent itself a moment ago, and when that was answered."""
    _gaps: list[tuple[int, int | None]] = attrs.field(factory=list)
    """From when until when something is missing of which the user has not been told."""
    _stands_still: bool = False

    def deliver(self, place: Place) -> None:
        """A message is about to be handed to the user."""
        if len(self._open) >= OPEN:
            self._stands_still = True
        if not self._stands_still:
            heapq.heappush(self._places, place)
            self._open.add(place[1])

    def hold(self, since: int, until: int | None) -> None:
        """Something is missing in this time, and the user is about to be told.

        Then everything before its end is dealt with; without one it is to be fetched again.
        """
        self.deliver((since, GAP))
        self._gaps.append((since, until))

    def told(self, since: int) -> bool:
        """The user has been told of what is missing since then; whether that is news."""
        gap = next((one for one in self._gaps if one[0] == since), None)
        if gap is None:
            return False
        self._gaps.remove(gap)
        if gap[1] is not None:
            heapq.heappush(self._places, (gap[1], GAP))
        return self._gaps != [] or self.deal_with(GAP)

    def awaits(self, place: Place) -> bool:
        """Whether something before that is not dealt with."""
        return any(one < place and one[1] in self._open for one in self._places)

    def deal_with(self, mid: str) -> bool:
        """It was dealt with; whether that is news."""
        if mid not in self._open:
            return False
        self._open.remove(mid)
        self._advance()
        return True

    def send(self, place: Place, now: float) -> None:
        """This client sent a message, which it is not to be given."""
        self._own[place[1]] = (place[0], now)

    def join(self, timestamp: int) -> None:
        """The user is a member since then, and what was said before is none of its business."""
        if not self._places and self.reached is not None:
            self.reached = max(self.reached, (timestamp, ""))

    def _settle(self, now: float) -> None:
        """What was said before an own message has arrived by now."""
        for mid, (timestamp, answered_at) in list(self._own.items()):
            if answered_at + SETTLED > now:
                break
            del self._own[mid]
            if not self._stands_still:
                heapq.heappush(self._places, (timestamp, mid))
        self._advance()

    def _advance(self) -> None:
        places = self._places
        while places and places[0][1] not in self._open:
            place = heapq.heappop(places)
            if self.reached is None or place > self.reached:
                if self.reached is None or place[0] > self.reached[0]:
                    self._beside.clear()
                self.reached = place
            if place[0] == self.reached[0]:
                self._beside[place[1]] = place[0]

    def mark(self, now: float, *, complete: bool = True) -> Place | None:
        """Where another run of the program begins; without an id: before all of that time.

        ``complete``: nothing is missing that was said before the present link.
        """
        if complete:
            self._settle(now)
        if self.reached is None and self._places:
            return self._places[0][0], ""
        return self.reached

    def ahead(self) -> dict[str, int]:
        """Ids and times of what is dealt with already behind the mark, or at its very time."""
        dealt = {mid: timestamp for timestamp, mid in self._places if mid not in self._open}
        own = {mid: timestamp for mid, (timestamp, _) in self._own.items()}
        reached, mid = self.reached or NOWHERE
        earlier = {one: at for one, at in self.earlier.items() if at >= reached}
        ahead = earlier | self._beside | dealt | own
        ahead.pop(mid, None)
        return dict(sorted(ahead.items(), key=lambda item: item[1])[-AHEAD:])


class Positions:
    """The positions of one client."""

    def __init__(self) -> None:
        self.conversations: dict[str, Progress] = {}
        self._patches: dict[tuple[str, int], None] = {}
        self._notices: dict[tuple[type[Event], str, datetime], None] = {}

    def _of(self, cid: str) -> Progress:
        progress = self.conversations.get(cid)
        if progress is None:
            progress = self.conversations[cid] = Progress()
        return progress

    def receive(self, event: Event) -> None:
        """Something has come from the server that is not a message; it may still have to wait."""
        if isinstance(event, MessageUpdated | MessageRecalled):
            self._patches[event.message.id, event.message.updated_at_ms or 0] = None
        elif isinstance(event, PERSONAL) and event.at is not None:
            self._notices[type(event), event.conversation_id, event.at] = None

    def deliver(self, cid: str, place: Place) -> None:
        """A message is about to be handed to the user."""
        self._of(cid).deliver(place)

    def hold(self, cid: str, since: int, until: int | None) -> None:
        """Something is missing in this time, and the user is about to be told."""
        self._of(cid).hold(since, until)

    def send(self, cid: str, place: Place, now: float) -> None:
        """This client sent a message."""
        self._of(cid).send(place, now)

    def join(self, cid: str, timestamp: int) -> None:
        """This client became a member."""
        if cid in self.conversations:
            self.conversations[cid].join(timestamp)

    def deal_with(self, event: Event) -> bool:
        """The user has dealt with something; whether that is news."""
        if isinstance(event, MessageReceived):
            progress = self.conversations.get(event.conversation_id)
            return progress is not None and progress.deal_with(event.message.id)
        if isinstance(event, Gap):
            progress, since = self.conversations.get(event.conversation_id), event.missing_from
            if progress is None or since is None:
                return False
            return progress.told(ms_from_datetime(since))
        if isinstance(event, MessageUpdated | MessageRecalled):
            key = event.message.id, event.message.updated_at_ms or 0
            return _removed(self._patches, key)
        if isinstance(event, PERSONAL) and event.at is not None:
            return _removed(self._notices, (type(event), event.conversation_id, event.at))
        return False

    def has_dealt_with(self, notice: Notice) -> bool:
        """Whether news about this client, of which it was told, do not wait any more."""
        kind, cid, at = notice
        return (BY_NAME[kind], cid, datetime_from_ms(at)) not in self._notices

    def patches_until(self, known: int | None) -> int | None:
        """Up to when edits and recalls are dealt with, of those known."""
        oldest = min((at for _, at in self._patches), default=None)
        return known if oldest is None else min(known or 0, oldest - 1)

    def notices_until(self, known: int | None) -> int | None:
        """Up to when news about this client are dealt with, of those known."""
        oldest = min((ms_from_datetime(at) for *_, at in self._notices), default=None)
        return known if oldest is None else min(known or 0, oldest - 1)


def _removed(waiting: dict[Any, None], key: object) -> bool:
    if key not in waiting:
        return False
    del waiting[key]
    return True
