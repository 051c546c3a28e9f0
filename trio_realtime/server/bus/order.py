"""The order of connections."""

from __future__ import annotations

from collections.abc import Callable

_STEPS = 1 << 12


class ConnectionOrder:
    """Numbers connections by their age: whoever connected later has the greater number.

    The numbers are made of the time, so that they also tell which is the younger one of two
    connections to different processes, as far as their clocks agree; or to one that was
    started again.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._last = 0

    def next(self) -> int:
        """A number greater than all before it. ``clock`` counts milliseconds."""
        self._last = max(self._last + 1, self._clock() * _STEPS)
        return self._last
