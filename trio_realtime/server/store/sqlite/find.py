"""Running a conversation query: its SQL, and a limit on its time."""

# ruff: noqa: S608 - SQL text is joined from constants of this program only.

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from trio_realtime.server.store.interface import Kind, Query, QueryError

from .base import CONVERSATION
from .condition_fields import SOUND_DOCUMENT
from .conditions import Scope, condition_sql, field_sql
from .functions import calls_functions
from .sql import Sql

RESULTS_AT_MOST = 1000
"""The largest page: docs/protocol/conversations.md §3."""

_INSTRUCTIONS_BETWEEN_CHECKS = 20_000
"""About a millisecond. Each check takes the interpreter from others."""
_WHERE_FUNCTIONS_ARE_CALLED = 500
"""Each of which may take long."""


def find_sql(query: Query, scope: Scope, now: int) -> tuple[str, tuple[Any, ...]]:
    """The SQL of a query, selecting `CONVERSATION`. Raises `QueryError`."""
    if query.limit < 0 or query.skip < 0:
        raise QueryError("limit and skip cannot be negative")
    condition = _found(query, scope, now)
    orders = [(field_sql(key.field, scope).order(), key.descending) for key in query.sort]
    order = "".join(f"{sql.text}{' DESC' * descending}, " for sql, descending in orders)
    # Rows that tie keep their order from page to page.
    last = "c.id DESC" if orders and orders[0][1] else "c.id"
    sql = (
        f"SELECT {CONVERSATION} FROM conversations c WHERE c.app = ? AND {condition.text}"
        f" ORDER BY {order}{last} LIMIT ? OFFSET ?"
    )
    sorted_by = tuple(value for part, _ in orders for value in part.parameters)
    limit, skip = min(query.limit, RESULTS_AT_MOST), min(query.skip, 2**62)
    return sql, (scope.app, *condition.parameters, *sorted_by, limit, skip)


def count_sql(query: Query, scope: Scope, now: int) -> tuple[str, tuple[Any, ...]]:
    """The SQL of how many a query finds, whatever its page. Raises `QueryError`."""
    condition = _found(query, scope, now)
    sql = f"SELECT count(*) FROM conversations c WHERE c.app = ? AND {condition.text}"
    return sql, (scope.app, *condition.parameters)


def _found(query: Query, scope: Scope, now: int) -> Sql:
    """Whether a query is about a conversation."""
    if query.ids is not None:
        ids = json.dumps(list(query.ids))
        text = (
            f"c.kind = {Kind.TEMPORARY:d} AND c.expires_at > ?"
            " AND c.cid IN (SELECT value FROM json_each(?))"
        )
        return Sql(text, (now, ids))
    condition = condition_sql(query.where, scope)
    text = f"c.kind <> {Kind.TEMPORARY:d} AND c.service IS NULL AND ({condition.text})"
    return Sql(text, condition.parameters)


def find(
    connection: sqlite3.Connection, query: Query, app: int, now: int, seconds: float
) -> list[Any]:
    """The rows of a query, in so many seconds. Raises `QueryError`."""
    return _rows(connection, find_sql, query, app, now, seconds)


def count(connection: sqlite3.Connection, query: Query, app: int, now: int, seconds: float) -> int:
    """How many a query finds, whatever its page, in so many seconds. Raises `QueryError`."""
    ((number,),) = _rows(connection, count_sql, query, app, now, seconds)
    return int(number)


def _rows(
    connection: sqlite3.Connection,
    sql_of: Callable[[Query, Scope, int], tuple[str, tuple[Any, ...]]],
    query: Query,
    app: int,
    now: int,
    seconds: float,
) -> list[Any]:
    sql, parameters = sql_of(query, Scope(app), now)
    with running_query(connection, sql, seconds):
        try:
            return connection.execute(sql, parameters).fetchall()
        except sqlite3.OperationalError as exc:
            if "malformed JSON" not in str(exc):
                raise
            # Some row holds what is none; it must not spoil the answer about the others.
            scope = Scope(app, SOUND_DOCUMENT)
            return connection.execute(*sql_of(query, scope, now)).fetchall()


@contextmanager
def running_query(connection: sqlite3.Connection, sql: str, seconds: float) -> Iterator[None]:
    """Bound the time of one statement; what goes wrong with it becomes `QueryError`."""
    deadline = time.monotonic() + seconds
    interval = _INSTRUCTIONS_BETWEEN_CHECKS
    if calls_functions(sql):
        interval = _WHERE_FUNCTIONS_ARE_CALLED
    connection.set_progress_handler(lambda: time.monotonic() > deadline, interval)
    try:
        yield
    except sqlite3.Error as exc:
        if time.monotonic() > deadline:
            raise QueryError("the query is too slow", "query_seconds") from exc
        if "user-defined function" in str(exc):
            # SQLite does not pass on what a function of ours raised; only one raises.
            message = "the regular expression is too expensive for the data"
            raise QueryError(message, "regex_steps") from exc
        raise QueryError(str(exc)) from exc
    finally:
        connection.set_progress_handler(None, 0)
