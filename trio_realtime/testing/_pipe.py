"""A connection without a socket: two streams, each the other's peer, bounded like a socket."""

from __future__ import annotations

import operator

import trio

CAPACITY = 64 * 1024
"""Bytes one side may be ahead of the other."""


class _Pipe:
    """One direction."""

    def __init__(self) -> None:
        self.data: bytearray = bytearray()
        self.ended = False
        """The sender has said all."""
        self.broken = False
        """The receiver is gone, or the sender without saying so."""
        self.changed: trio.lowlevel.ParkingLot = trio.lowlevel.ParkingLot()

    def change(self) -> None:
        self.changed.unpark_all()


class _Alone:
    """Refuses a second task in the same half of a stream, as sockets do."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._busy = False

    def __enter__(self) -> None:
        if self._busy:
            raise trio.BusyResourceError(f"another task is already {self._doing}")
        self._busy = True

    def __exit__(self, *_exc: object) -> None:
        self._busy = False


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of an in-memory connection; `memory_streams` makes both."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._closed = False
        self._sending = _Alone("sending")
        self._receiving = _Alone("receiving")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send; waits while the peer is a full buffer behind."""
        pipe = self._outgoing
        rest = memoryview(data)
        with self._sending:
            await trio.lowlevel.checkpoint()
            while True:
                self._check_open()
                if pipe.ended:
                    raise trio.ClosedResourceError("this end has said that it is done")
                if pipe.broken:
                    raise trio.BrokenResourceError("the peer is gone")
                free = CAPACITY - len(pipe.data)
                if free > 0 and rest:
                    pipe.data += rest[:free]
                    rest = rest[free:]
                    pipe.change()
                if not rest:
                    return
                await pipe.changed.park()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room to send."""
        pipe = self._outgoing
        with self._sending:
            await trio.lowlevel.checkpoint()
            while len(pipe.data) >= CAPACITY and not (pipe.broken or self._closed):
                await pipe.changed.park()
            self._check_open()

    async def send_eof(self) -> None:
        """Say that nothing more will be sent."""
        with self._sending:
            await trio.lowlevel.checkpoint()
            self._check_open()
            self._outgoing.ended = True
            self._outgoing.change()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive what is there; empty at the end."""
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError("max_bytes must be at least 1")
        pipe = self._incoming
        with self._receiving:
            await trio.lowlevel.checkpoint()
            while True:
                self._check_open()
                if pipe.data:
                    data = bytes(pipe.data[:max_bytes])
                    del pipe.data[:max_bytes]
                    pipe.change()
                    return data
                if pipe.ended:
                    return b""
                await pipe.changed.park()

    def close(self) -> None:
        """Close at once: the peer reads to the end, and cannot send any more."""
        self._closed = True
        self._outgoing.ended = True
        self._incoming.broken = True
        self._incoming.data.clear()
        self._outgoing.change()
        self._incoming.change()

    async def aclose(self) -> None:
        """Close, with a checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this end was closed")


def memory_streams() -> tuple[MemoryStream, MemoryStream]:
    """Both ends of a new connection."""
    there, back = _Pipe(), _Pipe()
    return MemoryStream(back, there), MemoryStream(there, back)
