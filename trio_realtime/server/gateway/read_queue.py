"""What a connection wants to read of the store, one after another.

An answer may be a whole page of history. So the next is looked for only when most of those
before it have been taken: however much is asked for at once, little more than one answer
waits.
"""

from __future__ import annotations

from collections.abc import Callable

from .send_buffer import SendBuffer, Spawn

Begin = Callable[[], None]


class ReadQueue:
    """Reads of one connection, in the order in which they are asked for.

    None begins before the one before it is `finished`, or while more than ``at_most`` bytes
    are due. ``spawn`` is ``start_soon`` of a nursery that outlives the connection.
    """

    def __init__(self, buffer: SendBuffer, *, at_most: int, spawn: Spawn) -> None:
        self._buffer = buffer
        self._at_most = at_most
        self._spawn = spawn
        self._waiting: list[Begin] = []
        self._busy = False

    def enter(self, begin: Begin) -> None:
        """Have a read begun when its turn comes; `finished` must follow."""
        self._waiting.append(begin)
        self._go_on()

    def finished(self) -> None:
        """The read that was begun has been answered."""
        self._busy = False
        self._go_on()

    def _go_on(self) -> None:
        if self._busy or not self._waiting:
            return
        self._busy = True
        if self._buffer.due > self._at_most:
            self._spawn(self._begin_later)
        else:
            self._waiting.pop(0)()

    async def _begin_later(self) -> None:
        await self._buffer.wait_due(self._at_most)
        self._waiting.pop(0)()
