"""Bytes on their way to one receiver, bounded, and never waited for by anybody else.

`SendBuffer.put` only queues. Once per scheduler pass the `Flusher` writes what each touched
buffer has gathered, with one system call per receiver. A receiver that takes less than it
is given keeps its backlog in its own buffer, written by its own task, until it has taken
everything or the bound is reached. Nobody waits for it in the meantime.

The bound is for what others push. What the receiver has asked for counts apart: who does not
take it is not read from any more, and cannot ask for more.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import trio

from trio_realtime.server.rules.types import HIGH, LOW, NORMAL

ASKED = 0
"""In the place of a priority: an answer. It is never shed, and no reason to give anybody up."""

BATCH = 64 * 1024
"""Bytes written at once."""

Spawn = Callable[..., Any]
"""``nursery.start_soon`` of a nursery that outlives the connections."""


FLUSHED_AT_ONCE = 100
"""Buffers after which others have a turn in the event loop: each costs a system call."""


class Flusher:
    """Writes out, once per scheduler pass, every buffer touched during it.

    Where very many were touched, by a message to a large chat room, those touched later do not wait
    for all of them.
    """

    def __init__(self) -> None:
        self._touched: list[SendBuffer] = []
        self._lot = trio.lowlevel.ParkingLot()

    def touch(self, buffer: SendBuffer) -> None:
        """Have this buffer flushed at the end of the pass."""
        if not self._touched:
            self._lot.unpark_all()
        self._touched.append(buffer)

    async def run(self) -> None:
        """Flush until cancelled."""
        turns: deque[list[SendBuffer]] = deque()
        while True:
            if self._touched:
                turns.append(self._touched)
                self._touched = []
            if not turns:
                await self._lot.park()
                continue
            touched = turns.popleft()
            for buffer in touched[:FLUSHED_AT_ONCE]:
                buffer.flush()
            if rest := touched[FLUSHED_AT_ONCE:]:
                turns.append(rest)
            if turns:
                await trio.lowlevel.checkpoint()


@attrs.frozen(eq=False)
class Slot:
    """A place in the queue for what is not known yet. What is queued later waits behind it."""

    awaits_read: bool = False
    """Whether it is filled by a read of this connection."""


@attrs.frozen(eq=False)
class Pause:
    """A time without writing between what was queued before and what was queued after."""

    seconds: float


class SendBuffer:
    """The outgoing side of one connection.

    ``on_overflow`` is called when more than ``limit`` bytes wait that nobody has asked for,
    and nothing may be shed; ``on_broken`` when the stream is.
    """

    def __init__(
        self,
        stream: trio.abc.SendStream,
        *,
        limit: int,
        flusher: Flusher,
        spawn: Spawn,
        on_overflow: Callable[[], None],
        on_broken: Callable[[], None],
    ) -> None:
        self.size: int = 0
        """Bytes not yet taken by the receiver's socket."""
        self.unasked: int = 0
        """Those of them that the receiver has not asked for."""
        self.shed: int = 0
        """Frames dropped because the receiver was overloaded."""
        self._stream = stream
        self._write = _direct_writer(stream)
        self._limit = limit
        self._flusher = flusher
        self._spawn = spawn
        self._on_overflow = on_overflow
        self._on_broken = on_broken
        # Lists, mostly empty: an empty deque takes more than half a KiB.
        self._frames: list[tuple[int, bytes]] = []
        self._waiting = {NORMAL: 0, LOW: 0}
        self._begun: list[tuple[int, bytes]] = []
        """What is being written. It counts until the socket has taken it."""
        self._held: list[tuple[int, bytes] | Slot | Pause] = []
        """What waits behind the slot or pause that is its first item."""
        self._behind = 0
        """The bytes of it."""
        self._touched = False
        self._draining = False
        self._broken = False
        self._below = trio.lowlevel.ParkingLot()

    def put(self, frame: bytes, priority: int = HIGH) -> None:
        """Queue one frame, with the priority of a push or `ASKED`. Neither blocks nor raises."""
        if self._broken:
            return
        self.size += len(frame)
        if priority != ASKED:
            self.unasked += len(frame)
        item = (priority, frame)
        if self._held:
            self._held.append(item)
            self._behind += len(frame)
        else:
            self._append(item)
        if self.size > self._limit:
            self.flush()  # a fast receiver takes a burst at once
            # One frame larger than the bound is no backlog.
            if (
                priority != ASKED
                and self._limit < self.unasked > len(frame)
                and not self._make_room()
            ):
                self._on_overflow()

    def pause(self, seconds: float) -> None:
        """Write nothing queued from now on until this long after what is queued already."""
        if self._broken or (self._held and isinstance(self._held[-1], Pause)):
            return
        self._held.append(Pause(seconds))
        if len(self._held) == 1:
            self._go_on()

    def slot(self, *, awaits_read: bool = False) -> Slot:
        """Keep a place in the queue; `filling` fills it."""
        slot = Slot(awaits_read)
        if not self._broken:
            self._held.append(slot)
        return slot

    @contextmanager
    def filling(self, slot: Slot) -> Iterator[None]:
        """What is queued within the block, without waiting, takes the place of the slot.

        If the slot has been forgotten meanwhile, it is queued at the end.
        """
        held = self._held
        if slot not in held:
            yield
            return
        place = held.index(slot)
        before = self._held = held[:place]
        try:
            yield
        finally:
            if self._held is before:  # and nothing was discarded
                first = not before
                before.extend(held[place + 1 :])
                if first:
                    self._go_on()

    def close_gaps(self) -> None:
        """Forget every slot: nobody will fill it any more."""
        held = self._held
        waited = bool(held) and isinstance(held[0], Slot)
        held[:] = [item for item in held if not isinstance(item, Slot)]
        if waited:
            self._go_on()

    def flush(self) -> None:
        """Write what the socket takes at once; leave the rest to a task."""
        self._touched = False
        if self._draining or self._broken:
            return
        if self._write is not None:
            try:
                self._write_now(self._write)
            except OSError:
                self._break()
                return
        if self._begun or self._frames:
            self._draining = True
            self._spawn(self._drain)

    def discard(self) -> None:
        """Forget every frame of which nothing has been written yet."""
        self._frames.clear()
        self._held = []
        self._behind = 0
        self._waiting = {NORMAL: 0, LOW: 0}
        self.size = sum(len(frame) for _, frame in self._begun)
        self.unasked = sum(len(frame) for priority, frame in self._begun if priority != ASKED)

    @property
    def due(self) -> int:
        """Bytes that do not wait for a read of this connection, which may wait for them."""
        first = self._held[0] if self._held else None
        if isinstance(first, Slot) and first.awaits_read:
            return self.size - self._behind
        return self.size

    async def wait_due(self, size: int) -> None:
        """Wait until at most ``size`` bytes are due, or the stream is broken."""
        while self.due > size and not self._broken:
            await self._below.park()

    async def wait_below(self, size: int) -> None:
        """Wait until at most ``size`` bytes are queued, or the stream is broken."""
        while self.size > size and not self._broken:
            await self._below.park()

    def retire(self) -> None:
        """The connection is over: nobody is to be told anything any more."""
        self._broken = True
        self._on_overflow = self._on_broken = _nobody

    def _append(self, item: tuple[int, bytes]) -> None:
        self._frames.append(item)
        if item[0] in self._waiting:
            self._waiting[item[0]] += 1
        if not self._touched and not self._draining:
            self._touched = True
            self._flusher.touch(self)

    def _make_room(self) -> bool:
        """Shed low, then normal frames, oldest first; whether the bound holds again."""
        target = self._limit * 3 // 4  # the next few frames need not shed again
        for priority in (LOW, NORMAL):
            if not self._waiting[priority]:
                continue
            kept: list[tuple[int, bytes]] = []
            for item in self._frames:
                if item[0] == priority and self.unasked > target:
                    self.size -= len(item[1])
                    self.unasked -= len(item[1])
                    self.shed += 1
                    self._waiting[priority] -= 1
                else:
                    kept.append(item)
            self._frames = kept
            if self.unasked <= self._limit:
                return True
        return False

    def _take(self) -> bytes:
        """The next bytes to write, about a batch."""
        begun = self._begun
        size = sum(len(frame) for _, frame in begun)
        taken = 0
        for item in self._frames:
            if size >= BATCH:
                break
            if item[0] in self._waiting:
                self._waiting[item[0]] -= 1
            size += len(item[1])
            taken += 1
        begun += self._frames[:taken]
        del self._frames[:taken]
        return b"".join(frame for _, frame in begun)

    def _taken(self, count: int) -> None:
        """The socket has taken so many bytes of what is begun."""
        self.size -= count
        begun, gone = self._begun, 0
        while count:
            priority, frame = begun[gone]
            if len(frame) > count:
                begun[gone] = (priority, frame[count:])
            else:
                gone += 1
            part = min(len(frame), count)
            if priority != ASKED:
                self.unasked -= part
            count -= part
        del begun[:gone]

    def _write_now(self, write: Callable[[bytes], int]) -> None:
        while self._begun or self._frames:
            data = self._take()
            try:
                written = write(data)
            except BlockingIOError:
                written = 0
            self._taken(written)
            if written < len(data):
                break
        if self._below:
            self._below.unpark_all()

    async def _drain(self) -> None:
        try:
            while self._begun or self._frames:
                data = self._take()
                await self._stream.send_all(data)
                self._taken(len(data))
                self._below.unpark_all()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._break()
        finally:
            self._draining = False

    def _go_on(self) -> None:
        """Queue what was held, up to the next slot or pause."""
        self._below.unpark_all()
        held, gone = self._held, 0
        for item in held:
            if isinstance(item, Slot):
                break
            if isinstance(item, Pause):
                self._spawn(self._resume_after, item)
                break
            self._append(item)
            self._behind -= len(item[1])
            gone += 1
        del held[:gone]

    async def _resume_after(self, pause: Pause) -> None:
        await trio.sleep(pause.seconds)
        if self._held and self._held[0] is pause:
            del self._held[0]
            self._go_on()

    def _break(self) -> None:
        self._broken = True
        self._begun.clear()
        self.discard()
        self._below.unpark_all()
        self._on_broken()


def _nobody() -> None:
    """Is told."""


def _direct_writer(stream: trio.abc.SendStream) -> Callable[[bytes], int] | None:
    """A non-blocking write to the stream's socket, where there is one to write to."""
    if os.name != "posix" or not isinstance(stream, trio.SocketStream):
        return None  # TLS and in-memory streams, and Windows' sockets, need their task
    fileno = stream.socket.fileno

    def write(data: bytes) -> int:
        return os.write(fileno(), data)

    return write
