"""A line that says how far a command is: drawn over and over on a terminal, else now and then."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from typing import TextIO

import attrs
import trio

TERMINAL_SECONDS = 0.3
LOG_SECONDS = 30.0
WIDTH = 24


@attrs.define(eq=False)
class ProgressBar:
    """Shows what ``text`` says."""

    text: Callable[[], str]
    stream: TextIO = attrs.field(factory=lambda: sys.stderr)
    _drawn: bool = False

    @property
    def live(self) -> bool:
        """Whether somebody watches."""
        return self.stream.isatty()

    async def run(self) -> None:
        """Show it until cancelled."""
        try:
            while True:
                # The first time there is nothing to tell yet.
                await trio.sleep(TERMINAL_SECONDS if self.live else LOG_SECONDS)
                self.show()
        finally:
            self.clear()

    def show(self) -> None:
        """Show it now."""
        text = self.text()
        if not text:
            return
        if not self.live:
            print(text, file=self.stream, flush=True)
            return
        columns = shutil.get_terminal_size().columns - 1
        self.stream.write("\r\x1b[K" + text[:columns])
        self.stream.flush()
        self._drawn = True

    def clear(self) -> None:
        """Leave the line to others."""
        if self._drawn:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
            self._drawn = False


def bar(share: float) -> str:
    """A share, drawn."""
    full = round(WIDTH * min(max(share, 0.0), 1.0))
    return f"[{'#' * full}{'-' * (WIDTH - full)}] {share:4.0%}"


def duration(seconds: float) -> str:
    """A time span for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"


def size(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
