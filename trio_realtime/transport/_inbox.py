"""The incoming buffer: the reader fills it, whoever receives empties it.

A receiver that never waits can have the messages at once instead, without a buffer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ._errors import closed_error

if TYPE_CHECKING:
    from ._interface import Deliver, Payload

HIGH_WATER = 1024 * 1024
"""Bytes on the wire that may wait for a receiver before the socket is no longer read."""


class Inbox:
    """Bounded, first in first out, emptied in one go; its end comes after its last message."""

    def __init__(self, deliver: Deliver | None = None, high_water: int = HIGH_WATER) -> None:
        self._deliver = deliver
        self._high_water = high_water
        self._payloads: list[Payload] = []
        self._size = 0
        self._receivers = trio.lowlevel.ParkingLot()
        self._reader = trio.lowlevel.ParkingLot()
        self._end: tuple[int, str] | None = None

    def put(self, payloads: list[Payload], size: int) -> None:
        """Add messages that took `size` bytes on the wire. After the end they are dropped."""
        if self._end is not None or not payloads:
            return
        if self._deliver is not None:
            self._deliver(payloads)
        else:
            self._payloads += payloads
            self._size += size
            self._receivers.unpark_all()

    async def room(self) -> None:
        """Wait until it makes sense to read on."""
        while self._size >= self._high_water and self._end is None:
            await self._reader.park()

    async def take(self) -> list[Payload]:
        """Wait for messages and return all of them; raise the end once there are no more."""
        while not self._payloads:
            if self._end is not None:
                raise closed_error(*self._end)
            await self._receivers.park()
        taken, self._payloads = self._payloads, []
        self._size = 0
        self._reader.unpark_all()
        return taken

    def end(self, code: int, reason: str) -> None:
        """There will be no more messages. Only the first end counts."""
        if self._end is None:
            self._end = code, reason
            self._receivers.unpark_all()
            self._reader.unpark_all()
