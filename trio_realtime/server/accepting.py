"""Accepting connections, also while there are no file descriptors left."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable

import trio

from .health import OUT_OF_DESCRIPTORS
from .troubles import TroubleLog

Serve = Callable[[trio.abc.Stream], Awaitable[None]]

FULL = OUT_OF_DESCRIPTORS | {errno.ENOBUFS, errno.ENOMEM}
"""Errors of ``accept`` that pass: the process or the system is overloaded."""

PAUSE = 0.1
"""Seconds until the next try where nothing better can be done."""

SPARE = 8


class SpareDescriptors:
    """Some descriptors kept open for the time when there are no others.

    Who is turned away with one of them learns why; otherwise he would wait in vain.
    """

    def __init__(self, count: int = SPARE) -> None:
        self._held: list[int] = []
        self._missing = count
        self.fill()

    def fill(self) -> None:
        """Open those that are missing, as far as there are any."""
        while self._missing:
            try:
                self._held.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                return
            self._missing -= 1

    def free(self) -> bool:
        """Close one of them, for somebody else to open; whether there was one."""
        if not self._held:
            return False
        os.close(self._held.pop())
        self._missing += 1
        return True

    def close(self) -> None:
        """Close all."""
        while self.free():
            pass


async def accept(
    listener: trio.SocketListener,
    serve: Serve,
    turn_away: Serve,
    *,
    nursery: trio.Nursery,
    troubles: TroubleLog,
) -> None:
    """Serve what is accepted, each in a task of the nursery. Runs until cancelled."""
    spare = SpareDescriptors()

    async def turn_one_away(stream: trio.abc.Stream) -> None:
        await turn_away(stream)
        spare.fill()

    try:
        async with listener:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    if error.errno not in FULL:
                        raise
                    troubles.note("a connection could not be accepted", error)
                    late = await _accept_with(spare, listener)
                    if late is None:
                        await trio.sleep(PAUSE)
                    else:
                        nursery.start_soon(turn_one_away, late)
                else:
                    spare.fill()
                    nursery.start_soon(serve, stream)
    finally:
        spare.close()


async def _accept_with(
    spare: SpareDescriptors, listener: trio.SocketListener
) -> trio.SocketStream | None:
    """Accept with one of the spare descriptors."""
    if spare.free():
        try:
            with trio.move_on_after(PAUSE):
                return await listener.accept()
        except OSError:
            pass  # somebody else took it
        spare.fill()
    return None
