"""How many questions may be asked: a token bucket, and patience after a refusal."""

from __future__ import annotations

FIRST_PAUSE = 2.0
LONGEST_PAUSE = 60.0
"""Seconds to ask nothing after a server has said that it was too much, doubled each time."""

USUAL = 120.0
"""Questions in a minute that a server with quotas is taken to allow: those of LeanCloud."""


class Budget:
    """What may be asked when. Times are seconds of a monotonic clock.

    Args:
        per_minute: how many questions the server allows in any minute; None: as many as one likes,
            until a server says that it was too much, and the usual number from then on.
    """

    def __init__(self, per_minute: float | None) -> None:
        self._limited = per_minute is not None
        allowed = USUAL if per_minute is None else per_minute
        # A full bucket and what flows in during a minute are together what is allowed.
        self._size = max(allowed / 2, 1.0)
        self._rate = allowed / 120
        self._tokens = self._size
        self._filled_at = float("-inf")
        self._paused_until = float("-inf")
        self._pause = FIRST_PAUSE

    def take(self, now: float) -> float:
        """Take the right to ask one question; returns the time at which it may be asked."""
        if not self._limited:
            return self.resumes(now)
        if now > self._filled_at:
            self._tokens = min(self._size, self._tokens + (now - self._filled_at) * self._rate)
            self._filled_at = now
        self._tokens -= 1
        wait = -self._tokens / self._rate if self._tokens < 0 else 0.0
        return self.resumes(now + wait)

    def resumes(self, now: float) -> float:
        """When something may be asked that is not counted: now, or after the pause."""
        return max(now, self._paused_until)

    def refused(self, now: float) -> None:
        """The server says that it was too much: ask nothing for a while, and less from then on."""
        if now < self._paused_until:
            # An answer to what was asked before the pause.
            return
        if not self._limited:
            self._limited, self._tokens, self._filled_at = True, 0.0, now
        self._paused_until = now + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def granted(self) -> None:
        """The server answered."""
        self._pause = FIRST_PAUSE
