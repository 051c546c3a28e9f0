"""What a client has not read, by conversation. Protocol: docs/protocol/messages.md §5.

The server counts after a login and after reading on any device, and names the newest
message it counted; from there on the client counts what arrives. Since every message has
its place, it does not matter in which order counts and messages come: a count may overtake
messages, or wait behind those that are fetched after a broken link.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from trio_realtime._values.events import MessageReceived, UnreadUpdated
from trio_realtime._values.times import ms_from_datetime
from trio_realtime.wire import CommandType, GenericCommand, ReadCommand, ReadTuple

from .delivery import NOWHERE, Place

__all__ = ["Unread"]

MAX_COUNT = 100
"""The server counts no further."""

AT_ONCE = 30
"""Read marks in one command: more might not fit into its 5 KB."""

LAST_ID = "\U0010ffff"
"""Behind every id."""


@attrs.frozen
class Unread:
    """Unread messages of one conversation."""

    count: int = 0
    """How many, at most 100."""
    mentioned: bool = False
    """Whether one of them mentions this client."""


NOTHING = Unread()


@attrs.define(eq=False)
class _Counter:
    """The unread messages of one conversation."""

    counted: Unread = NOTHING
    """What is unread up to a place, by the last count of the server or of the user."""
    upto: Place = NOWHERE
    later: dict[Place, bool] = attrs.field(factory=dict)
    """The messages received behind that place, and whether they mention this client."""

    def receive(self, place: Place, *, mentioned: bool) -> None:
        if place > self.upto:
            self.later[place] = mentioned
            if len(self.later) > MAX_COUNT:
                del self.later[next(iter(self.later))]

    def count(self, counted: Unread, upto: Place) -> None:
        self.counted, self.upto = counted, upto
        if self.later:
            self.later = {place: m for place, m in self.later.items() if place > upto}

    @property
    def newest(self) -> Place:
        """The newest message of somebody else that is known."""
        return max((self.upto, *self.later))

    @property
    def value(self) -> Unread:
        if not self.later:
            return self.counted
        return Unread(
            min(self.counted.count + len(self.later), MAX_COUNT),
            self.counted.mentioned or any(self.later.values()),
        )


class UnreadCounters:
    """The counters of one client, and the read marks that are still to be sent."""

    INTERVAL = 1.0
    """Seconds between two transmissions of read marks."""

    def __init__(self) -> None:
        self._counters: dict[str, _Counter] = {}
        self._marks: dict[str, ReadTuple] = {}
        self._sent: dict[str, ReadTuple] = {}
        """Marks under way, as far as it is known: a count may have left the server before the mark
        came. To send one again does no harm."""
        self._next_at = float("-inf")

    def of(self, cid: str) -> Unread:
        """The counter of one conversation."""
        counter = self._counters.get(cid)
        return NOTHING if counter is None else counter.value

    def all(self) -> dict[str, Unread]:
        """Conversations with unread messages."""
        values = {cid: counter.value for cid, counter in self._counters.items()}
        return {cid: value for cid, value in values.items() if value.count}

    def _counter(self, cid: str) -> _Counter:
        counter = self._counters.get(cid)
        if counter is None:
            counter = self._counters[cid] = _Counter()
        return counter

    def received(self, event: MessageReceived) -> None:
        """A message of somebody else arrived."""
        message = event.message
        place = message.timestamp_ms, message.id
        self._counter(event.conversation_id).receive(place, mentioned=message.mentioned)

    def counted_by_server(self, event: UnreadUpdated) -> None:
        """The server says how it is."""
        cid, last = event.conversation_id, event.last_message
        counter = self._counter(cid)
        sent = self._sent.get(cid)
        if last is not None:
            upto = last.timestamp_ms, last.id
        elif event.at is not None:
            upto = ms_from_datetime(event.at), LAST_ID
        else:
            upto = counter.newest
        if sent is not None and event.count == 0 and upto >= _place(sent):
            del self._sent[cid]
        mark = self._marks.get(cid) or sent
        if mark is not None and upto <= _place(mark):
            # The user has read all that, which the server may not have known yet.
            counter.count(NOTHING, max(upto, counter.upto))
        else:
            counter.count(Unread(event.count, event.mentioned), upto)

    def read(self, cids: Iterable[str], now_ms: int) -> None:
        """The user has read these conversations."""
        for cid in cids:
            counter = self._counter(cid)
            newest = counter.newest
            counter.count(NOTHING, newest)
            timestamp, mid = (now_ms, None) if newest == NOWHERE else newest
            # Only the place of a message has an id that the server knows.
            self._marks[cid] = ReadTuple(
                cid=cid, timestamp=timestamp, mid=None if mid == LAST_ID else mid
            )

    def forget(self, cid: str) -> None:
        """The client is no longer a member."""
        self._counters.pop(cid, None)
        self._marks.pop(cid, None)
        self._sent.pop(cid, None)

    def link_lost(self) -> None:
        """What was sent last may not have arrived: it is sent again, if not outdated."""
        self._marks = {**self._sent, **self._marks}
        self._sent = {}

    @property
    def due_at(self) -> float:
        """When the next read marks may leave; infinity if there are none."""
        return self._next_at if self._marks else float("inf")

    def take(self, now: float) -> list[GenericCommand]:
        """The commands that report what was read, if it is time."""
        if not self._marks or now < self._next_at:
            return []
        self._next_at = now + self.INTERVAL
        marks, self._marks = list(self._marks.values()), {}
        self._sent.update((mark.cid or "", mark) for mark in marks)
        return [
            GenericCommand(
                cmd=CommandType.READ,
                read_message=ReadCommand(convs=marks[start : start + AT_ONCE]),
            )
            for start in range(0, len(marks), AT_ONCE)
        ]


def _place(mark: ReadTuple) -> Place:
    return mark.timestamp or 0, mark.mid or LAST_ID
