"""When to try again: 1 second doubling to a bound, with jitter, none after a resume."""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs

FIRST_DELAY = 1.0
MAX_DELAY = 300.0
JITTER = 0.2
"""A delay is shortened by up to this share, so that clients do not return in step."""


@attrs.define
class Backoff:
    """The reconnect schedule of one connection. Protocol: docs/protocol/transport.md §7."""

    longest: float = attrs.field(default=MAX_DELAY, kw_only=True)
    """Seconds beyond which the delay does not grow."""
    attempt: int = 0
    """Number of the next attempt, from 0."""
    _immediate: bool = False
    _random: Callable[[], float] = random.random

    def next_delay(self) -> float:
        """Seconds to wait before attempt number `attempt`."""
        if self._immediate:
            return 0.0
        # 2 ** 9 exceeds 300 already; the exponent is bounded because attempts are not.
        full: float = min(FIRST_DELAY * 2 ** min(self.attempt, 9), self.longest)
        return full * (1.0 - JITTER * self._random())

    def attempted(self) -> None:
        """An attempt begins: the next one waits longer."""
        self.attempt += 1
        self._immediate = False

    def reset(self) -> None:
        """Connected, or the user asked for a retry: start over."""
        self.attempt = 0
        self._immediate = False

    def skip_next(self) -> None:
        """The network is known to be back: do not wait."""
        self.attempt = 0
        self._immediate = True
