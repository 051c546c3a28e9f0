"""How fast frames are read that cost the server time and the sender nothing.

Pings, echoes, and whatever comes before a login do no work that would slow their sender down.
A connection may send some of them at once; beyond that it is read as slowly as the limit
says. Nothing is refused: the sender's own data waits in its own socket.
"""

from __future__ import annotations

import attrs

BURST = 10.0
"""Seconds' worth of such frames that may come at once."""


@attrs.define
class Pace:
    """A bucket that fills with time. Times in seconds."""

    per_second: float
    _room: float = attrs.field(init=False)
    _since: float = 0.0

    def __attrs_post_init__(self) -> None:
        self._room = self.per_second * BURST

    def take(self, frames: int, now: float) -> float:
        """Count frames that have come; how long to read nothing until they are paid for."""
        filled = self._room + (now - self._since) * self.per_second
        self._room = min(filled, self.per_second * BURST) - frames
        self._since = now
        return max(0.0, -self._room / self.per_second) if self.per_second else float("inf")
