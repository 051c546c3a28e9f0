"""The embedded store: SQLite behind one writer.

Rules that write are queued. The writer takes all that are queued at each turn, runs them in
a worker thread inside one transaction, and reports each result in the event loop after the
commit. So one flush to the disk is shared by everybody who waits, and the order of results
is the order of submission. Rules that only read have connections of their own, and see what
was committed when they begin, which includes every write already reported.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

import attrs
import outcome
import trio

from trio_realtime._values.times import now_ms
from trio_realtime.server.store.interface import StoreError, Tx
from trio_realtime.server.store.patterns import REGEX_STEPS

from .database import Database
from .lock import lock
from .runner import Job, Runner
from .schema import connect

T = TypeVar("T")

_log = logging.getLogger(__name__)

_BATCH_AT_MOST = 1000
_READERS = 4


@attrs.frozen
class StoreStatistics:
    """How much a store has done since it was opened."""

    commits: int
    """Transactions that wrote; fewer than ``writes``, since they are shared."""
    writes: int
    reads: int
    waiting: int
    """Rules queued now."""


class SqliteStore:
    """`Store` on SQLite: made by `open_store`."""

    def __init__(
        self,
        writer: Runner,
        *,
        inline: bool,
        alone: bool,
        clock: Callable[[], int],
    ) -> None:
        self._writer = writer
        self._inline = inline
        self._alone = alone
        self._clock = clock
        self._latest = 0
        self._writes: deque[Job] = deque()
        self._reads: deque[Job] = deque()
        self._write_lot = trio.lowlevel.ParkingLot()
        self._read_lot = trio.lowlevel.ParkingLot()
        self._write_limiter = trio.CapacityLimiter(1)
        self._read_limiter = trio.CapacityLimiter(_READERS)
        self._closed = False
        self._commits = 0
        self._written = 0
        self._read = 0

    def statistics(self) -> StoreStatistics:
        """A snapshot of the counters."""
        waiting = len(self._writes) + len(self._reads)
        return StoreStatistics(self._commits, self._written, self._read, waiting)

    def submit(
        self,
        app_id: str,
        rule: Callable[[Tx], T],
        done: Callable[[outcome.Outcome[T]], None],
        *,
        mode: Literal["read", "write"] = "write",
    ) -> None:
        """Queue a rule without waiting: see `Store.submit`. Raises `StoreError` once closed."""
        if self._closed:
            raise StoreError("the store is closed")
        # Time as rules see it never goes back.
        self._latest = max(self._latest, self._clock())
        job = Job(app_id, rule, done, self._latest, read_only=mode == "read")
        if mode == "write" or self._alone:
            self._writes.append(job)
            self._write_lot.unpark()
        else:
            self._reads.append(job)
            self._read_lot.unpark()

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

    async def _wait(
        self, app_id: str, rule: Callable[[Tx], T], mode: Literal["read", "write"]
    ) -> T:
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
        return result.unwrap()

    # The tasks of the store. They end when it closes, and finish what they began: a write
    # that happened is reported.

    async def write_queued(self) -> None:
        with trio.CancelScope(shield=True):
            while await self._some(self._writes, self._write_lot):
                count = min(len(self._writes), _BATCH_AT_MOST)
                batch = [self._writes.popleft() for _ in range(count)]
                results = await self._call(self._writer.write, batch, self._write_limiter)
                wrote = sum(not job.read_only for job in batch)
                self._commits += wrote > 0
                self._written += wrote
                self._read += len(batch) - wrote
                for job, result in zip(batch, results, strict=True):
                    _report(job, result)

    async def read_queued(self, reader: Runner) -> None:
        with trio.CancelScope(shield=True):
            while await self._some(self._reads, self._read_lot):
                job = self._reads.popleft()
                result = await self._call(reader.read, job, self._read_limiter)
                self._read += 1
                _report(job, result)

    async def _call(
        self, function: Callable[[Any], T], argument: Any, limiter: trio.CapacityLimiter
    ) -> T:
        return await _call(self._inline, function, argument, limiter=limiter)

    async def _some(self, queue: deque[Job], lot: trio.lowlevel.ParkingLot) -> bool:
        while not queue and not self._closed:
            await lot.park()
        return bool(queue)

    def close(self, *, finish: bool) -> None:
        """Take no more rules; the tasks end when the queues are empty."""
        self._closed = True
        if not finish:
            for queue in (self._writes, self._reads):
                while queue:
                    _report(queue.popleft(), outcome.Error(StoreError("the store is closed")))
        self._write_lot.unpark_all()
        self._read_lot.unpark_all()


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
    readers = 0 if inline or path is None else _READERS
    files = await _call(inline, _Files.open, path, readers, query_seconds, regex_steps)
    body: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            store = SqliteStore(files.writer, inline=inline, alone=not files.readers, clock=clock)
            nursery.start_soon(store.write_queued)
            for reader in files.readers:
                nursery.start_soon(store.read_queued, reader)
            try:
                yield store
            except BaseException as exc:
                body = exc
                raise
            finally:
                store.close(finish=body is None)
    except BaseExceptionGroup as group:
        if body is None or group.exceptions != (body,):
            raise
    finally:
        with trio.CancelScope(shield=True):
            await _call(inline, files.close)
    if body is not None:
        # As it was raised, without the nursery's wrapping.
        raise body


@attrs.frozen
class _Files:
    """Everything that must be closed again."""

    writer: Runner
    readers: tuple[Runner, ...]
    claim: IO[bytes] | None

    @classmethod
    def open(
        cls, path: Path | None, readers: int, query_seconds: float, regex_steps: int
    ) -> _Files:
        def open_database(*, read_only: bool) -> Database:
            connection = connect(path, read_only=read_only, regex_steps=regex_steps)
            return Database(connection, query_seconds)

        with ExitStack() as undo:
            claim = None if path is None else undo.enter_context(lock(path))
            writer = Runner(open_database(read_only=False))
            undo.callback(writer.close)
            opened: list[Runner] = []
            for _ in range(readers):
                opened.append(Runner(open_database(read_only=True)))
                undo.callback(opened[-1].close)
            undo.pop_all()
        return cls(writer, tuple(opened), claim)

    def close(self) -> None:
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
