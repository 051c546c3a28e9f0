"""Files for their owner's eyes only."""

from __future__ import annotations

import os


def private(path: str, flags: int) -> int:
    """The ``opener`` of such a file."""
    return os.open(path, flags, 0o600)
