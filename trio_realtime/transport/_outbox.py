"""The outgoing buffer: many tasks fill it, one empties it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import outcome
import trio

from ._errors import closed_error

if TYPE_CHECKING:
    from ._interface import Payload

HIGH_WATER = 256 * 1024
"""Queued bytes (characters, for text) beyond which senders wait."""


class Outbox:
    """Bounded, first in first out, emptied in one go.

    Waiting senders leave their payload with the outbox, so their order is that in which they came,
    and a sender that is cancelled takes nothing away but its own payload.
    """

    def __init__(self, high_water: int = HIGH_WATER) -> None:
        self._high_water = high_water
        self._payloads: list[Payload] = []
        self._size = 0
        self._waiting: dict[trio.lowlevel.Task, Payload] = {}
        self._writer = trio.lowlevel.ParkingLot()
        self._rung = False
        self._end: tuple[int, str] | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is queued, nobody waits, and the end has not come."""
        return not (self._rung or self._payloads or self._waiting or self._end)

    def offer(self, payload: Payload) -> bool:
        """Queue `payload` if there is room, and say whether there was."""
        if self._end is not None:
            raise closed_error(*self._end)
        if self._size >= self._high_water:
            return False
        self._payloads.append(payload)
        self._size += len(payload)
        if not self._rung:
            self.ring()
        return True

    async def wait_turn(self, payload: Payload) -> None:
        """Queue `payload` as soon as there is room; for use when `offer` refused it."""
        task = trio.lowlevel.current_task()

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            del self._waiting[task]
            return trio.lowlevel.Abort.SUCCEEDED

        self._waiting[task] = payload
        await trio.lowlevel.wait_task_rescheduled(abort)

    def ring(self) -> None:
        """Make the writer look, even if no payload is queued."""
        self._rung = True
        self._writer.unpark_all()

    async def take(self) -> list[Payload]:
        """Wait until the bell rings; then hand over everything that is queued, possibly nothing."""
        while not self._rung:
            await self._writer.park()
        taken, self._payloads = self._payloads, []
        self._size = 0
        self._rung = False
        while self._waiting and self._size < self._high_water:
            task = next(iter(self._waiting))
            self.offer(self._waiting.pop(task))
            trio.lowlevel.reschedule(task)
        return taken

    def end(self, code: int, reason: str) -> None:
        """Refuse further payloads, also those of the waiting senders; keep what is queued."""
        if self._end is not None:
            return
        self._end = code, reason
        for task in self._waiting:
            trio.lowlevel.reschedule(task, outcome.Error(closed_error(code, reason)))
        self._waiting.clear()
