"""How a stretch of history is divided, so that several parts of it can be read at once.

Pages of history have to be asked for one after another, each with the last message of the one
before. Windows of time do not depend on each other.
"""

from __future__ import annotations

from itertools import pairwise

import attrs

DAY = 86_400_000
MOST = 256
"""Windows of one round; each costs at least one request."""

EXTENDED = DAY
"""A shorter stretch is added to the part before it."""


@attrs.frozen
class Window:
    """Messages at ``low`` or later and before ``high``, in milliseconds."""

    low: int
    high: int


def windows(low: int, high: int) -> list[Window]:
    """Divide a stretch into windows of a day, or into fewer; the latest first."""
    if high <= low:
        return []
    count = max(1, min(MOST, -(-(high - low) // DAY)))
    edges = [low + (high - low) * number // count for number in range(count + 1)]
    return [Window(first, second) for first, second in pairwise(edges) if second > first][::-1]
