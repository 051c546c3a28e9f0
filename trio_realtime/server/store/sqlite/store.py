"""The embedded store: SQLite behind one writer.

Rules that write are queued. The writer runs what is queued in a worker thread inside one
transaction, for a few milliseconds, and reports each result in the event loop after the
commit. So one flush to the disk is shared by those who wait; whose turn it is, `WriteQueue`
says. The results come in the order of the commits, those of one owner in the order of
submission. Rules that only read have connections of their own, and see what
was committed when they begin, which includes every write already reported. Queries, which may
take long, have connections apart from those of quick reads.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Hashable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from itertools import islice
from math import inf
from pathlib import Path
from time import perf_counter
from typing import IO, Any, TypeVar

import attrs
import outcome
import trio

from trio_realtime._io.exception_groups import background_nursery
from trio_realtime._values.times import now_ms
from trio_realtime.server.store.fair_queue import FairQueue
from trio_realtime.server.store.interface import Mode, StoreUnavailable, Tx
from trio_realtime.server.store.patterns import REGEX_STEPS

from .checkpoints import LOG_PAGES, SECONDS_BETWEEN, Checkpoints
from .database import Database
from .lock import lock
from .runner import Job, Runner
from .schema import connect
from .steady_clock import SteadyClock
from .timekeeper import Timekeeper
from .write_queue import TRANSACTION_SECONDS, Transaction, WriteQueue

T = TypeVar("T")

_log = logging.getLogger(__name__)

REPORTING_SECONDS = 0.002
"""Of results, before others have a turn in the event loop."""
_READERS = 3
_READS_AT_ONCE = 8
"""A trip to a thread and back costs more than most of these rules."""
_QUERY_READERS = 2
"""More would only contend for the interpreter, and for the writer's share of it."""


@attrs.frozen
class StoreStatistics:
    """How much a store has done since it was opened."""

    commits: int
    """Transactions that wrote; fewer than ``writes``, since they are shared."""
    writes: int
    reads: int
    waiting: int
    """Rules queued now."""


class ReadLane:
    """Rules that read, waiting for one of the connections that are there for their kind."""

    def __init__(self, connections: int, *, at_once: int) -> None:
        self.at_once = at_once
        """Rules that one connection runs on one trip to its thread."""
        self.jobs: FairQueue[Job] = FairQueue()
        self.lot: trio.lowlevel.ParkingLot = trio.lowlevel.ParkingLot()
        self.limiter: trio.CapacityLimiter = trio.CapacityLimiter(connections)


class SqliteStore:
    """`Store` on SQLite: made by `open_store`."""

    def __init__(
        self,
        writer: Runner,
        writes: WriteQueue,
        *,
        inline: bool,
        alone: bool,
    ) -> None:
        self._writer = writer
        self._inline = inline
        self._alone = alone
        self._writes = writes
        self._write_lot = trio.lowlevel.ParkingLot()
        self._write_limiter = trio.CapacityLimiter(1)
        self._checkpoint_lot = trio.lowlevel.ParkingLot()
        self._checkpoint_limiter = trio.CapacityLimiter(1)
        self._taken_over = 0
        """How many of the commits the database has taken over."""
        self.reads: ReadLane = ReadLane(_READERS, at_once=_READS_AT_ONCE)
        self.queries: ReadLane = ReadLane(_QUERY_READERS, at_once=1)
        self._closed = False
        self._ending = trio.Event()
        self._abandoned = False
        self._commits = 0
        self._written = 0
        self._read = 0

    def statistics(self) -> StoreStatistics:
        """A snapshot of the counters."""
        waiting = len(self._writes) + len(self.reads.jobs) + len(self.queries.jobs)
        return StoreStatistics(self._commits, self._written, self._read, waiting)

    def submit(
        self,
        app_id: str,
        rule: Callable[[Tx], T],
        done: Callable[[outcome.Outcome[T]], None],
        *,
        mode: Mode = "write",
        owner: Hashable | None = None,
    ) -> None:
        """Queue a rule without waiting: see `Store.submit`. Raises `StoreUnavailable` once closed."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        job = Job(app_id, rule, done, read_only=mode != "write")
        if mode == "write" or (mode == "read" and self._alone):
            self._writes.put(owner, job)
            self._write_lot.unpark()
            return
        lane = self.queries if mode == "query" else self.reads
        lane.jobs.put(object() if owner is None else owner, job)
        (self._write_lot if self._alone else lane.lot).unpark()

    def succeed(self, owner: Hashable, successor: Hashable) -> None:
        """Let one owner come behind another: see `Store.succeed`."""
        self._writes.succeed(owner, successor)

    async def write(self, app_id: str, rule: Callable[[Tx], T]) -> T:
        """Run a rule that may write; returns when it is durable.

        Raises what the rule raises, or `StoreError`. Cancelling the caller stops the wait,
        not the write.
        """
        return await self._wait(app_id, rule, "write")

    async def read(self, app_id: str, rule: Callable[[Tx], T]) -> T:
        """Run a rule that only reads, beside the writer.

        Raises what the rule raises, or `StoreError`.
        """
        return await self._wait(app_id, rule, "read")

    async def _wait(self, app_id: str, rule: Callable[[Tx], T], mode: Mode) -> T:
        await trio.lowlevel.checkpoint_if_cancelled()
        finished = trio.Event()
        result: outcome.Outcome[T] | None = None

        def done(value: outcome.Outcome[T]) -> None:
            nonlocal result
            result = value
            finished.set()

        self.submit(app_id, rule, done, mode=mode)
        await finished.wait()
        assert result is not None
        try:
            return result.unwrap()
        finally:
            # An error names this frame in its traceback, which must not name the error.
            result = None

    # The tasks of the store. They end when it closes, and finish what they began: a write
    # that happened is reported.

    async def write_queued(self) -> None:
        with trio.CancelScope(shield=True):
            while await self._something_to_write():
                await self._write_some()
                if self._abandoned:
                    self._drop_writes()

    async def _write_some(self) -> None:
        # By itself, so that nothing is kept of a transaction until the next.
        transaction = Transaction(self._writes)
        results = await self._call(self._writer.write, transaction, self._write_limiter)
        transaction.committed()
        wrote = sum(not job.read_only for job in transaction.jobs)
        self._commits += wrote > 0
        self._written += wrote
        self._checkpoint_lot.unpark_all()
        self._read += len(transaction.jobs) - wrote
        await self._report_all(transaction.jobs, results)

    async def take_over(self, checkpoints: Checkpoints) -> None:
        """Have checkpoints made from time to time, while there is something new."""
        with trio.CancelScope(shield=True):
            while not self._closed:
                if self._taken_over == self._commits:
                    await self._checkpoint_lot.park()
                    continue
                self._taken_over = self._commits
                await trio.to_thread.run_sync(
                    checkpoints.take_over, limiter=self._checkpoint_limiter
                )
                with trio.move_on_after(SECONDS_BETWEEN):
                    await self._ending.wait()

    async def _report_all(
        self, jobs: Sequence[Job], results: Sequence[outcome.Outcome[Any]]
    ) -> None:
        until = perf_counter() + REPORTING_SECONDS
        for job, result in zip(jobs, results, strict=True):
            if not self._inline and perf_counter() > until:
                await trio.lowlevel.checkpoint()
                until = perf_counter() + REPORTING_SECONDS
            _report(job, result)

    async def read_queued(self, reader: Runner, lane: ReadLane) -> None:
        with trio.CancelScope(shield=True):
            while await self._read_some(reader, lane):
                pass

    async def _read_some(self, reader: Runner, lane: ReadLane) -> bool:
        taken = await self._next_reads(lane)
        if not taken:
            return False
        jobs = [job for _, job in taken]
        results = await self._call(reader.read, jobs, lane.limiter)
        for owner, _ in taken:
            lane.jobs.finished(owner)
        lane.lot.unpark()
        self._read += len(jobs)
        for job, result in zip(jobs, results, strict=True):
            _report(job, result)
        return True

    async def _something_to_write(self) -> bool:
        """Wait for it; false once the store is closed and all is done."""
        while True:
            if self._alone and (taken := self.queries.jobs.take()) is not None:
                # There is no other connection. One query in each turn, so that nobody waits long.
                owner, job = taken
                self.queries.jobs.finished(owner)
                self._writes.put(owner, job)
            delay = self._writes.delay()
            if delay == 0:
                return True
            if self._closed and delay is None:
                return False
            with trio.move_on_after(inf if delay is None else delay):
                await self._write_lot.park()

    async def _next_reads(self, lane: ReadLane) -> list[tuple[Hashable, Job]]:
        """What a reader does next; nothing once the store is closed and all is done."""
        while True:
            taken = list(islice(iter(lane.jobs.take, None), lane.at_once))
            if taken or self._closed:
                return taken
            await lane.lot.park()

    async def _call(
        self, function: Callable[[Any], T], argument: Any, limiter: trio.CapacityLimiter
    ) -> T:
        return await _call(self._inline, function, argument, limiter=limiter)

    def close(self, *, finish: bool) -> None:
        """Take no more rules; the tasks end when the queues are empty."""
        self._closed = True
        self._ending.set()
        self._writes.hurry()
        self._abandoned = not finish
        if self._abandoned:
            self._drop([*self.reads.jobs.drain(), *self.queries.jobs.drain()])
            self._drop_writes()
        for lot in (self._write_lot, self.reads.lot, self.queries.lot, self._checkpoint_lot):
            lot.unpark_all()

    def _drop_writes(self) -> None:
        self._drop(self._writes.drain())

    @staticmethod
    def _drop(jobs: Iterable[Job]) -> None:
        for job in jobs:
            _report(job, outcome.Error(StoreUnavailable("the store is closed")))


def _report(job: Job, result: outcome.Outcome[Any]) -> None:
    try:
        job.done(result)
    except Exception:  # noqa: BLE001 - a callback is not ours
        # The others who wait are not to suffer from one bad callback.
        _log.exception("a callback of the store raised")


@asynccontextmanager
async def open_store(
    path: Path | None,
    *,
    inline: bool = False,
    clock: Callable[[], int] = now_ms,
    query_seconds: float = 2.0,
    regex_steps: int = REGEX_STEPS,
) -> AsyncGenerator[SqliteStore]:
    """Open the database file ``path`` (created if need be), or one in memory for ``None``.

    ``inline`` runs rules in the event loop instead of threads, for tests in virtual time.
    ``clock`` gives the time in milliseconds. A conversation query that takes longer than
    ``query_seconds``, or uses a regular expression of more than ``regex_steps``, fails with
    `QueryError`. Leaving the block normally runs what is queued;
    leaving it by an exception or cancellation finishes only the commit that is under way.

    Raises `StoreError` if the file is not a database of this program, or if another process
    has it open.
    """
    readers = 0 if inline or path is None else _READERS + _QUERY_READERS
    # In virtual time nothing may depend on how fast the machine is.
    writes = WriteQueue(inf if inline else TRANSACTION_SECONDS)
    steady = SteadyClock(clock)
    files = await _call(inline, _Files.open, path, readers, steady, query_seconds, regex_steps)
    finish = False
    try:
        async with background_nursery() as nursery:
            store = SqliteStore(files.writer, writes, inline=inline, alone=not files.readers)
            nursery.start_soon(store.write_queued)
            for number, reader in enumerate(files.readers):
                lane = store.queries if number < _QUERY_READERS else store.reads
                nursery.start_soon(store.read_queued, reader, lane)
            if files.checkpoints is not None:
                nursery.start_soon(store.take_over, files.checkpoints)
            try:
                yield store
                finish = True
            finally:
                store.close(finish=finish)
    finally:
        with trio.CancelScope(shield=True):
            await _call(inline, files.close)


@attrs.frozen
class _Files:
    """Everything that must be closed again."""

    writer: Runner
    readers: tuple[Runner, ...]
    checkpoints: Checkpoints | None
    claim: IO[bytes] | None

    @classmethod
    def open(
        cls,
        path: Path | None,
        readers: int,
        clock: SteadyClock,
        query_seconds: float,
        regex_steps: int,
    ) -> _Files:
        def open_database(*, read_only: bool) -> Database:
            connection = connect(path, read_only=read_only, regex_steps=regex_steps)
            return Database(connection, query_seconds)

        with ExitStack() as undo:
            claim = None if path is None else undo.enter_context(lock(path))
            timekeeper = Timekeeper(clock)
            writer = Runner(open_database(read_only=False), clock, timekeeper)
            undo.callback(writer.close)
            timekeeper.open(writer.database.connection)
            opened: list[Runner] = []
            for _ in range(readers):
                opened.append(Runner(open_database(read_only=True), clock))
                undo.callback(opened[-1].close)
            checkpoints = None
            if readers:
                checkpoints = Checkpoints(connect(path, read_only=True))
                undo.callback(checkpoints.close)
                execute = writer.database.connection.execute
                execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
            undo.pop_all()
        return cls(writer, tuple(opened), checkpoints, claim)

    def close(self) -> None:
        if self.checkpoints is not None:
            self.checkpoints.close()
        for runner in (*self.readers, self.writer):
            runner.close()
        if self.claim is not None:
            self.claim.close()


async def _call(
    inline: bool,
    function: Callable[..., T],
    *arguments: Any,
    limiter: trio.CapacityLimiter | None = None,
) -> T:
    """Call a function that uses the disk, in a thread unless ``inline``."""
    if inline:
        await trio.lowlevel.checkpoint()
        return function(*arguments)
    return await trio.to_thread.run_sync(function, *arguments, limiter=limiter)
