"""SQLite without an event loop: rules run at once, on one connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs

from trio_realtime.server.store.interface import Tx
from trio_realtime.server.store.sqlite.database import Database
from trio_realtime.server.store.sqlite.runner import Job, Runner
from trio_realtime.server.store.sqlite.schema import connect

T = TypeVar("T")


def ignore(_: Any) -> None:
    """A callback for results nobody wants."""


@attrs.frozen
class SqliteRules:
    """`Rules` on one connection."""

    runner: Runner

    @classmethod
    @contextmanager
    def opened(cls, path: Path | None) -> Iterator[SqliteRules]:
        """On a database file, or one in memory."""
        runner = Runner(Database(connect(path)))
        try:
            yield cls(runner)
        finally:
            runner.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """For a look at the tables themselves."""
        return self.runner.database.connection

    def write(self, rule: Callable[[Tx], T], app: str, now: int) -> T:
        (result,) = self.runner.write([Job(app, rule, ignore, now)])
        return result.unwrap()

    def read(self, rule: Callable[[Tx], T], app: str, now: int) -> T:
        [result] = self.runner.read([Job(app, rule, ignore, now, read_only=True)])
        return result.unwrap()
