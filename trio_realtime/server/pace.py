"""How fast frames are read that cost the server time and the sender nothing.

Pings, echoes, and whatever comes before a login do no work that would slow their sender down.
A connection may send some of them at once; beyond that it is read as slowly as the limit
says. Nothing is refused: the sender's own data waits in its own socket.

A request of a stranger is such work as well, but how many of them a machine can bear nobody
can say beforehand. They wait when others do.
"""

from __future__ import annotations

import attrs
import trio

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


BUSY = 0.0005
"""Seconds that one pass of an event loop takes which has more to do than to wait."""
PASSES = 30
"""So many a stranger stays away then."""
AWAY_AT_MOST = 1.0
"""Seconds."""


async def give_way() -> None:
    """Let others go first while the event loop is busy; a checkpoint where it is not.

    However many strangers ask at once, few of them are in any one pass. So whoever waits for
    something else does not wait behind them all.
    """
    began = trio.current_time()
    await trio.lowlevel.checkpoint()
    passed = trio.current_time() - began
    if passed > BUSY:
        await trio.sleep(min(passed * PASSES, AWAY_AT_MOST))
