"""Files that are their owner's alone, claimed by one program at a time, and durable."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt

    def claim(file: IO[bytes]) -> None:
        """Claim what an open file stands for until it is closed. Raises `OSError` if it is taken."""
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def claim(file: IO[bytes]) -> None:
        """Claim what an open file stands for until it is closed. Raises `OSError` if it is taken."""
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def private(path: str, flags: int) -> int:
    """The ``opener`` of a file for its owner's eyes only."""
    return os.open(path, flags, 0o600)


def sync_folder(folder: Path) -> None:
    """Make durable which files there are in a folder."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
