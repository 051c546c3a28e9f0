"""Time as rules see it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock


class SteadyClock:
    """A clock in milliseconds that never goes back, for several threads."""

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
