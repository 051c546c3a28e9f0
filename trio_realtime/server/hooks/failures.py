"""What the operator reads of hooks that fail: a line for each hook and minute, with a count."""

from __future__ import annotations

import logging
from collections import Counter
from math import inf

import trio

log: logging.Logger = logging.getLogger(__name__)

_EVERY = 60.0
"""Seconds between two lines about one hook."""


class FailureLog:
    """Logs the first failure of a hook at once, and those that follow in one line a minute.

    An application that fails is not our fault: its tracebacks are told to those who listen
    at the level DEBUG only.
    """

    def __init__(self) -> None:
        self.total: int = 0
        """Calls that failed."""
        self._untold: Counter[str] = Counter()
        self._latest: dict[str, str] = {}
        self._told_at: dict[str, float] = {}
        self._some = trio.Event()

    def note(self, hook: str, error: BaseException) -> None:
        """A call of this hook failed."""
        self.total += 1
        log.debug("the hook %s failed", hook, exc_info=error)
        self._latest[hook] = f"{type(error).__name__}: {error}".partition("\n")[0][:500]
        self._untold[hook] += 1
        if trio.current_time() - self._told_at.get(hook, -inf) >= _EVERY:
            self._tell(hook)
        else:
            self._some.set()

    async def run(self) -> None:
        """Tell the counts of hooks that failed again within a minute. Runs until cancelled."""
        try:
            while True:
                await self._some.wait()
                self._some = trio.Event()
                while self._untold:
                    await self._tell_due()
        finally:
            for hook in list(self._untold):
                self._tell(hook)

    async def _tell_due(self) -> None:
        await trio.sleep_until(min(self._told_at[hook] for hook in self._untold) + _EVERY)
        for hook in list(self._untold):
            if trio.current_time() - self._told_at[hook] >= _EVERY:
                self._tell(hook)

    def _tell(self, hook: str) -> None:
        count = self._untold.pop(hook)
        self._told_at[hook] = trio.current_time()
        often = "once" if count == 1 else f"{count} times"
        log.warning("the hook %s failed %s: %s", hook, often, self._latest[hook])
