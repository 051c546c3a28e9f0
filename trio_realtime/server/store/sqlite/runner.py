"""Running rules on a connection: many writes in one commit, each on its own savepoint."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

import attrs
import outcome

from trio_realtime._values.times import now_ms
from trio_realtime.server.store.interface import (
    ExpectedError,
    NotStorable,
    StoreError,
    StoreUnavailable,
)

from .database import Database
from .timekeeper import Timekeeper
from .transaction import SqliteTx

_OUTSIDE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
"""What the disk, or who else has a hand in it, may do to any command."""


@attrs.frozen
class Job:
    """A rule that waits to be run, and who wants to know its result."""

    app_id: str
    rule: Callable[[SqliteTx], Any]
    done: Callable[[outcome.Outcome[Any]], None]
    now: int | None = None
    """Its time; None for that at which it is run."""
    read_only: bool = False


@attrs.frozen
class Runner:
    """Runs rules on one connection, in one thread at a time."""

    database: Database
    clock: Callable[[], int] = now_ms
    timekeeper: Timekeeper | None = None
    """Of the one runner that writes."""

    def write(self, jobs: Iterable[Job]) -> list[outcome.Outcome[Any]]:
        """Run rules in order in one durable transaction; one result for each that was taken of
        ``jobs``. Never raises.

        A rule that raises is undone alone. If the commit fails, all have failed; if the
        transaction cannot even begin, all that there are.
        """
        execute = self.database.connection.execute
        results: list[outcome.Outcome[Any]] = []
        waiting = iter(jobs)
        taken = 0
        try:
            execute("BEGIN IMMEDIATE")
            if self.timekeeper is not None:
                self.timekeeper.note(self.database.connection)
            for job in waiting:
                taken += 1
                results.append(self._one(job))
                if not self.database.connection.in_transaction:
                    # SQLite gave up the whole transaction, as it does when the disk is full.
                    _lost(results[-1])
            execute("COMMIT")
        except (sqlite3.Error, StoreError) as exc:
            self._abandon()
            if self.timekeeper is not None:
                self.timekeeper.lost()
            failed = taken or sum(1 for _ in waiting)
            return [outcome.Error(_failed(exc))] * failed
        if self.timekeeper is not None:
            self.timekeeper.committed()
        return results

    def read(self, jobs: Sequence[Job]) -> list[outcome.Outcome[Any]]:
        """Run rules, each on a snapshot of what is committed. Never raises."""
        return [self._read(job) for job in jobs]

    def _read(self, job: Job) -> outcome.Outcome[Any]:
        execute = self.database.connection.execute
        try:
            execute("BEGIN")
            result = self._run(job)
            execute("ROLLBACK")
        except sqlite3.Error as exc:
            self._abandon()
            return outcome.Error(_failed(exc))
        return result

    def close(self) -> None:
        """Close the connection; the last one to close tidies the write-ahead log away."""
        self.database.connection.close()

    def _one(self, job: Job) -> outcome.Outcome[Any]:
        connection = self.database.connection
        if job.read_only:
            # A rule that writes without saying so must fail here as it does on a reader.
            connection.execute("PRAGMA query_only = ON")
            result = self._run(job)
            connection.execute("PRAGMA query_only = OFF")
            return result
        connection.execute("SAVEPOINT rule")
        before = connection.total_changes
        result = self._run(job)
        if connection.in_transaction:
            if isinstance(result, outcome.Error):
                connection.execute("ROLLBACK TO rule")
                if connection.total_changes != before:
                    self.database.forget()
            connection.execute("RELEASE rule")
        return result

    def _run(self, job: Job) -> outcome.Outcome[Any]:
        try:
            app = self.database.app(job.app_id, create=not job.read_only)
            now = self.clock() if job.now is None else job.now
            return outcome.Value(job.rule(SqliteTx(self.database, app, now)))
        except sqlite3.Error as exc:
            return outcome.Error(_failed(exc))
        except UnicodeEncodeError as exc:
            return outcome.Error(_not_storable(exc))
        except ExpectedError as exc:
            exc.__traceback__ = exc.__context__ = exc.__cause__ = None
            return outcome.Error(exc)
        except Exception as exc:  # noqa: BLE001 - it belongs to whoever submitted the rule
            return outcome.Error(exc)

    def _abandon(self) -> None:
        self.database.forget()
        if self.database.connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self.database.connection.execute("ROLLBACK")


def _failed(exc: Exception) -> StoreError:
    if isinstance(exc, StoreError):
        return exc
    kind = StoreUnavailable if _outside(exc) else StoreError
    failure = kind(f"the database failed: {exc}")
    failure.__cause__ = exc
    return failure


def _outside(exc: Exception) -> bool:
    """Whether an error tells of the disk and not of what was asked."""
    code: int | None = getattr(exc, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _OUTSIDE


def _lost(result: outcome.Outcome[Any]) -> NoReturn:
    if isinstance(result, outcome.Error) and isinstance(result.error, StoreError):
        raise result.error
    raise StoreError(f"the transaction was lost: {result}")


def _not_storable(exc: UnicodeEncodeError) -> NotStorable:
    failure = NotStorable(f"not a text that UTF-8 can express: {exc.reason}")
    failure.__cause__ = exc
    return failure
