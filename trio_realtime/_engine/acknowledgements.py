"""Which received messages are still to be acknowledged: ranges of times, of nothing else.

An acknowledgement names a conversation and two times, and everything between them counts as
delivered. So a range must not reach over a message that never came to the user: one that a
subscription dropped, that nobody has asked for yet, or that was lost in a gap. Received messages
are numbered in each conversation; a range only grows by a message whose number is next to it.

Protocol: docs/protocol/messages.md §1.4.
"""

from __future__ import annotations

import attrs

REMEMBERED = 65_536
"""Messages remembered that wait for the user; beyond it the oldest are never acknowledged."""


@attrs.define(eq=False)
class _Run:
    """Messages received one after the other, all of which reached the user."""

    first: int
    last: int
    """Numbers."""
    begin: int
    end: int
    """Times."""

    def take_in(self, number: int, timestamp: int) -> bool:
        """Grow by a message; False if it is not next to this run."""
        if number == self.last + 1:
            self.last = number
        elif number == self.first - 1:
            self.first = number
        else:
            return False
        self.begin = min(self.begin, timestamp)
        self.end = max(self.end, timestamp)
        return True


class Acknowledgements:
    """What one client has to acknowledge: at most one burst a second, the first at once."""

    INTERVAL = 1.0
    """Seconds between two bursts."""

    def __init__(self) -> None:
        self._received: dict[str, int] = {}
        """How many messages have come in each conversation."""
        self._waiting: dict[tuple[str, str], int] = {}
        """The numbers of those that have not reached the user."""
        self._runs: dict[str, list[_Run]] = {}
        self._next_at = float("-inf")

    def receive(self, cid: str, mid: str) -> None:
        """A message has come that is to be acknowledged when the user has it."""
        number = self._received[cid] = self._received.get(cid, 0) + 1
        self._waiting[cid, mid] = number
        if len(self._waiting) > REMEMBERED:
            del self._waiting[next(iter(self._waiting))]

    def hand_over(self, cid: str, mid: str, timestamp: int) -> bool:
        """A message has reached the user, which counts once; whether a burst begins with it."""
        number = self._waiting.pop((cid, mid), None)
        if number is None:
            return False
        begins = not self._runs
        runs = self._runs.setdefault(cid, [])
        for run in reversed(runs):
            if run.take_in(number, timestamp):
                return begins
        runs.append(_Run(number, number, timestamp, timestamp))
        return begins

    @property
    def due_at(self) -> float:
        """When the next burst may leave; infinity if there is nothing to acknowledge."""
        return self._next_at if self._runs else float("inf")

    def take(self, now: float) -> list[tuple[str, int, int]]:
        """The burst to send now: conversation, first and last time."""
        if not self._runs or now < self._next_at:
            return []
        self._next_at = now + self.INTERVAL
        burst = [(cid, run.begin, run.end) for cid, runs in self._runs.items() for run in runs]
        self._runs.clear()
        return burst

    def link_lost(self) -> None:
        """The link is gone, and with it perhaps a message that no number was given.

        What was not acknowledged is when the next link is up.
        """
        self._next_at = float("-inf")
        for cid in self._received:
            self._received[cid] += 1
