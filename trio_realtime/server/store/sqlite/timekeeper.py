"""Noticing that the clock of the machine was set back, also between two runs.

What clients remember of the time before is recorded as a step: a time between its ends was given
out twice. Rules ask for the earliest one that is meant (`Tx.earliest`).
"""

from __future__ import annotations

import sqlite3

import attrs

from .steady_clock import SteadyClock

RECORDED_EVERY = 1000
"""Milliseconds between two records of the time; so much later times may have been given out."""
_STEPS_KEPT = 100


@attrs.define
class Timekeeper:
    """Records in the transactions of the one writer what time it is."""

    clock: SteadyClock
    _recorded: int = 0
    _steps: list[tuple[int, int]] = attrs.field(factory=list)
    """Those that are not durable yet."""

    def open(self, connection: sqlite3.Connection) -> None:
        """Go on from the time of the last run."""
        row = connection.execute("SELECT latest FROM clock").fetchone()
        if row is not None:
            self.clock.start_from(row[0])

    def note(self, connection: sqlite3.Connection) -> None:
        """Within a transaction, before its rules: record the time, and a step if there was one."""
        step = self.clock.begin()
        if step is not None:
            self._steps.append(step)
        now = self.clock()
        if not self._steps and now < self._recorded + RECORDED_EVERY:
            return
        connection.execute("INSERT OR REPLACE INTO clock (id, latest) VALUES (1, ?)", (now,))
        self._recorded = now
        for since, until in self._steps:
            connection.execute(
                "INSERT INTO clock_steps (since, until) VALUES (?, ?)",
                (since, until + RECORDED_EVERY),
            )
            connection.execute(
                "DELETE FROM clock_steps WHERE id <= (SELECT max(id) FROM clock_steps) - ?",
                (_STEPS_KEPT,),
            )

    def committed(self) -> None:
        """What was noted is durable."""
        self._steps.clear()

    def lost(self) -> None:
        """The transaction failed: what was noted is to be noted again."""
        self._recorded = 0
