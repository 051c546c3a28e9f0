"""Telling our server what clients have told the old service, and hearing what it says."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import attrs
import trio

from trio_realtime._cli.recording import ABNORMAL, Ended, Happening, Opened, Recorded, now
from trio_realtime._engine.dialect import DIALECTS, DialectName
from trio_realtime.transport import (
    ConnectError,
    Payload,
    Transport,
    TransportClosed,
    TransportError,
    connect,
)
from trio_realtime.wire import WireError

from .rehearsal import Rehearsal

NO_CODE = 1005
HURRY = 20
"""By how much less is waited for pushes, and for what was not answered before."""
LARGEST_FRAME = 16 * 1024 * 1024
FAMILIES = {"protobuf": "lc.protobuf2.3", "base64": "lc.proto2base64.3", "json": "lc.json.3"}
"""The sub-protocols of recordings that do not name them."""


@attrs.define(eq=False)
class Line:
    """One connection to ours."""

    transport: Transport | None
    dialect: DialectName = "protobuf"
    leaving: bool = False
    """Whether it is this side that closes it."""
    over: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


@attrs.define
class Performance:
    """Plays what happens to our server, in order."""

    url: str
    """Of our server's WebSockets."""
    rehearsal: Rehearsal
    live: bool = False
    """Whether frames are as they were sent, not masked."""
    told: Callable[[], None] = lambda: None
    """Called when there is something new in the report."""
    _lines: dict[int, Line] = attrs.field(factory=dict)
    _news: trio.Event = attrs.field(factory=trio.Event)
    _settled: float = 0.0

    async def run(self, happenings: AsyncIterator[Happening]) -> None:
        """Until there is nothing more to tell, and ours has had time to answer all of it."""
        async with trio.open_nursery() as nursery:
            async for happening in happenings:
                self.rehearsal.begins(happening.time, _now())
                await self._play(happening, nursery)
                self._settle()
            # A push may come behind everything else.
            await self._wait(0, lambda: self.rehearsal.unfinished)
            self.rehearsal.finish()
            self.told()
            nursery.cancel_scope.cancel()

    async def _play(self, happening: Happening, nursery: trio.Nursery) -> None:
        number = happening.connection
        if isinstance(happening, Opened):
            await self._end(Ended(happening.time, number, "client", 1000))
            await self._open(number, happening.subprotocol or None, nursery)
        elif isinstance(happening, Ended):
            await self._end(happening)
        elif happening.direction == "to-client":
            self.rehearsal.old_says(happening, trio.current_time())
        else:
            if number not in self._lines:
                await self._open(number, FAMILIES[happening.dialect], nursery)
            await self._tell(happening)

    async def _open(self, number: int, subprotocol: str | None, nursery: trio.Nursery) -> None:
        self._lines[number] = await nursery.start(self._serve, number, subprotocol)

    async def _serve(
        self, number: int, subprotocol: str | None, *, task_status: trio.TaskStatus[Line]
    ) -> None:
        line = Line(None)
        try:
            with line.scope:
                async with connect(
                    self.url,
                    subprotocol=subprotocol,
                    max_message_size=LARGEST_FRAME,
                    connect_timeout=self.rehearsal.patience,
                ) as line.transport:
                    task_status.started(line)
                    await self._hear(number, line)
        except ConnectError as error:
            self.rehearsal.ours_failed(number, f"not connected: {error}")
            task_status.started(line)
        except TransportError as error:
            code = error.code if isinstance(error, TransportClosed) else ABNORMAL
            if not line.leaving:
                self.rehearsal.ours_failed(number, f"closed with {code}")
        finally:
            line.over.set()
            self._happened()

    async def _hear(self, number: int, line: Line) -> None:
        assert line.transport is not None
        while True:
            for payload in await line.transport.receive():
                frame = Recorded(now(), number, "to-client", line.dialect, payload)
                self.rehearsal.ours_says(frame, trio.current_time())
            self._happened()

    async def _tell(self, frame: Recorded) -> None:
        line = self._lines[frame.connection]
        line.dialect = frame.dialect
        await self._wait(frame.connection, lambda: self.rehearsal.waits_for(frame))
        with trio.move_on_after(self.rehearsal.patience / HURRY) as scope:
            while self.rehearsal.owes():
                await self._news.wait()
        if scope.cancelled_caught:
            self.rehearsal.overdue(trio.current_time())
        try:
            command = self.rehearsal.command(frame, _now())
            payload: Payload = frame.payload
            if command != frame.command():
                payload = DIALECTS[frame.dialect].encode(command)
        except WireError:
            self.rehearsal.report.unreadable += 1
            if not self.live:
                return  # of what was no command, nothing was recorded
            payload = frame.payload
        if line.transport is None or line.over.is_set():
            return
        with trio.move_on_after(self.rehearsal.patience) as scope, suppress(TransportError):
            await line.transport.send(payload)
        if scope.cancelled_caught:
            self.rehearsal.ours_failed(frame.connection, "does not read")
            line.scope.cancel()

    async def _end(self, ended: Ended) -> None:
        line = self._lines.pop(ended.connection, None)
        if line is None:
            return
        number = ended.connection
        await self._wait(number, lambda: self.rehearsal.waits_for_end(number))
        if ended.by == "server":
            # Ours should do the same by itself.
            with trio.move_on_after(self.rehearsal.patience):
                await line.over.wait()
        if line.transport is not None and not line.over.is_set() and ended.code != ABNORMAL:
            line.leaving = True
            with suppress(ValueError):
                await line.transport.aclose(1000 if ended.code == NO_CODE else ended.code)
        line.scope.cancel()
        await line.over.wait()
        self.rehearsal.old_ended(ended)

    async def _wait(self, connection: int, waits: Callable[[], bool]) -> None:
        """Until ours has said what it has to say, or has had time for it."""
        patience = self.rehearsal.patience
        with trio.move_on_after(patience) as scope:
            while waits():
                if self.rehearsal.given_up(connection):
                    scope.deadline = min(scope.deadline, trio.current_time() + patience / HURRY)
                await self._news.wait()
        if scope.cancelled_caught:
            self._settle(at_once=True)

    def _settle(self, *, at_once: bool = False) -> None:
        now = trio.current_time()
        if at_once:
            self.rehearsal.give_up()
        elif now < self._settled + self.rehearsal.patience / HURRY:
            return
        self._settled = now
        self.rehearsal.settle(now)
        self.told()

    def _happened(self) -> None:
        self._news.set()
        self._news = trio.Event()


def _now() -> int:
    return time.time_ns() // 1_000_000
