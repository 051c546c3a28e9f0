"""What a client has not read, by conversation. Protocol: messages.md §5."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ._events import MessageReceived, UnreadUpdated
from .wire import CommandType, GenericCommand, ReadCommand, ReadTuple

__all__ = ["Unread"]

MAX_COUNT = 100
"""The server counts no further."""


@attrs.frozen
class Unread:
    """Unread messages of one conversation."""

    count: int = 0
    """How many, at most 100."""
    mentioned: bool = False
    """Whether one of them mentions this client."""


class UnreadCounters:
    """The counters of one client, and the read marks that are still to be sent.

    The server tells the counts after a login and after reading on any device; between, the
    client counts what arrives.
    """

    INTERVAL = 1.0
    """Seconds between two transmissions of read marks."""

    def __init__(self) -> None:
        self._counters: dict[str, Unread] = {}
        self._newest: dict[str, tuple[int, str]] = {}
        self._marks: dict[str, ReadTuple] = {}
        self._next_at = float("-inf")

    def of(self, cid: str) -> Unread:
        """The counter of one conversation."""
        return self._counters.get(cid, Unread())

    def all(self) -> dict[str, Unread]:
        """Conversations with unread messages."""
        return dict(self._counters)

    def received(self, event: MessageReceived) -> None:
        """A message of somebody else arrived."""
        cid, message = event.conversation_id, event.message
        self._newest[cid] = (message.timestamp_ms, message.id)
        before = self._counters.get(cid)
        if before is None:
            self._counters[cid] = Unread(1, message.mentioned)
        elif before.count < MAX_COUNT or (message.mentioned and not before.mentioned):
            count = min(before.count + 1, MAX_COUNT)
            self._counters[cid] = Unread(count, before.mentioned or message.mentioned)

    def told(self, event: UnreadUpdated) -> None:
        """The server says how it is."""
        cid = event.conversation_id
        if event.last_message is not None:
            newest = (event.last_message.timestamp_ms, event.last_message.id)
            self._newest[cid] = max(newest, self._newest.get(cid, newest))
        if event.count:
            self._counters[cid] = Unread(event.count, event.mentioned)
        else:
            self._counters.pop(cid, None)

    def read(self, cids: Iterable[str], now_ms: int) -> None:
        """The user has read these conversations."""
        for cid in cids:
            self._counters.pop(cid, None)
            timestamp, mid = self._newest.get(cid, (now_ms, None))
            self._marks[cid] = ReadTuple(cid=cid, timestamp=timestamp, mid=mid)

    @property
    def due_at(self) -> float:
        """When the next read marks may leave; infinity if there are none."""
        return self._next_at if self._marks else float("inf")

    def take(self, now: float) -> GenericCommand | None:
        """The command that reports what was read, if one is due."""
        if not self._marks or now < self._next_at:
            return None
        self._next_at = now + self.INTERVAL
        marks, self._marks = list(self._marks.values()), {}
        return GenericCommand(cmd=CommandType.READ, read_message=ReadCommand(convs=marks))
