"""Time as rules see it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

TOLERATED = 60_000
"""Milliseconds that a clock may be set back without anybody noticing: time stands still meanwhile."""


class SteadyClock:
    """A clock in milliseconds for several threads, which goes back only where it is told to."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._latest = 0
        self._lock = Lock()

    def __call__(self) -> int:
        """The time, or the latest given out before if that is later."""
        now = self._clock()
        with self._lock:
            self._latest = max(self._latest, now)
            return self._latest

    def start_from(self, latest: int) -> None:
        """Take a time as given out: of an earlier run."""
        with self._lock:
            self._latest = max(self._latest, latest)

    def begin(self) -> tuple[int, int] | None:
        """Begin a transaction that writes. If the clock was set back by more than is worth waiting
        for, follow it: what it is now, and the latest time given out.

        Where time stands still, it goes on by a millisecond for each transaction, so that what is
        told in one has a later time than what was told before.
        """
        now = self._clock()
        with self._lock:
            latest = self._latest
            if latest - now > TOLERATED:
                self._latest = now
                return now, latest
            if now < latest:
                self._latest += 1
            return None
