"""What the operator reads of trouble that is not our fault: a line for each kind and minute."""

from __future__ import annotations

import logging
from collections import Counter
from math import inf

import trio

EVERY = 60.0
"""Seconds between two lines about one kind of trouble."""


class TroubleLog:
    """Logs the first trouble of a kind at once, and what follows in one line a minute.

    Applications that fail and disks that are full are not our fault: tracebacks are told to
    those who listen at the level DEBUG only. Each kind is remembered, so that nothing that a
    stranger may choose can be part of it.
    """

    def __init__(self, log: logging.Logger) -> None:
        self.total: int = 0
        """How often there was trouble."""
        self._log = log
        self._untold: Counter[str] = Counter()
        self._latest: dict[str, str] = {}
        self._told_at: dict[str, float] = {}
        self._some = trio.Event()

    def note(self, what: str, error: BaseException) -> None:
        """It has happened again: ``what`` is the beginning of the line."""
        self.total += 1
        self._log.debug("%s", what, exc_info=error)
        self._latest[what] = _line_about(error)
        self._untold[what] += 1
        if trio.current_time() - self._told_at.get(what, -inf) >= EVERY:
            self._tell(what)
        else:
            self._some.set()

    async def run(self) -> None:
        """Tell the counts of what happened again within a minute. Runs until cancelled."""
        try:
            while True:
                await self._some.wait()
                self._some = trio.Event()
                while self._untold:
                    await self._tell_due()
        finally:
            for what in list(self._untold):
                self._tell(what)

    async def _tell_due(self) -> None:
        await trio.sleep_until(min(self._told_at[what] for what in self._untold) + EVERY)
        for what in list(self._untold):
            if trio.current_time() - self._told_at[what] >= EVERY:
                self._tell(what)

    def _tell(self, what: str) -> None:
        count = self._untold.pop(what)
        self._told_at[what] = trio.current_time()
        often = "once" if count == 1 else f"{count} times"
        self._log.warning("%s %s: %s", what, often, self._latest[what])


def _line_about(error: BaseException) -> str:
    """One line, whatever the words of a stranger in it would do to a log or a terminal."""
    text = f"{type(error).__name__}: {error}".partition("\n")[0][:500]
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
