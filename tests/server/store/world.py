"""Stores for the contract suite: one line for each implementation, and a world around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Protocol, TypeVar

import attrs

from tests.server.store.sqlite.support import SqliteRules
from trio_realtime.server.store.conditions import parse_condition, parse_sort
from trio_realtime.server.store.interface import (
    ConversationRow,
    Kind,
    MessageRow,
    NewMessage,
    Query,
    Store,
    Tx,
)
from trio_realtime.server.store.sqlite.store import open_store

T = TypeVar("T")


class Rules(Protocol):
    """Runs rules at once, at a time the test says, without an event loop."""

    def write(self, rule: Callable[[Tx], T], app: str, now: int) -> T: ...

    def read(self, rule: Callable[[Tx], T], app: str, now: int) -> T: ...


class OpenStore(Protocol):
    """Opens a store as a server does; opened again, it has what was there."""

    def __call__(self, *, clock: Callable[[], int] = ...) -> AbstractAsyncContextManager[Store]: ...


@attrs.frozen
class Implementation:
    """One way to store everything, as the contract suite needs it."""

    name: str
    rules: Callable[[Path], AbstractContextManager[Rules]]
    """Given a new directory."""
    opener: Callable[[Path], OpenStore]
    durable: bool
    """Whether what was written is there when it is opened again."""


def _sqlite_memory(_: Path, *, inline: bool = False) -> OpenStore:
    return lambda **options: open_store(None, inline=inline, **options)


def _sqlite_file(directory: Path, *, inline: bool = False) -> OpenStore:
    return lambda **options: open_store(directory / "data.db", inline=inline, **options)


SQLITE_MEMORY = Implementation(
    "sqlite-memory", lambda _: SqliteRules.opened(None), _sqlite_memory, durable=False
)
SQLITE_FILE = Implementation(
    "sqlite-file",
    lambda directory: SqliteRules.opened(directory / "data.db"),
    _sqlite_file,
    durable=True,
)
SQLITE_INLINE = Implementation(
    "sqlite-inline",
    SQLITE_MEMORY.rules,
    lambda directory: _sqlite_memory(directory, inline=True),
    durable=False,
)
SQLITE_FILE_INLINE = Implementation(
    "sqlite-file-inline",
    SQLITE_FILE.rules,
    lambda directory: _sqlite_file(directory, inline=True),
    durable=True,
)

TABLES = [SQLITE_MEMORY, SQLITE_FILE]
"""What keeps its data differently: the suite of `Tx` runs on each."""

STORES = [*TABLES, SQLITE_INLINE, SQLITE_FILE_INLINE]
"""What runs rules differently: the suite of `Store` runs on each."""


def query(
    where: Mapping[str, Any] | None = None,
    sort: Iterable[tuple[str, bool]] = (("lm", True),),
    **more: Any,
) -> Query:
    """A query from JSON, as a client sends it."""
    return Query(parse_condition(where or {}), parse_sort(sort), **more)


@attrs.define
class World:
    """A store whose clock the test moves."""

    rules: Rules
    now: int = 1_000_000

    def do(self, rule: Callable[[Tx], T], app: str = "app") -> T:
        """Run a rule that writes."""
        return self.rules.write(rule, app, self.now)

    def see(self, rule: Callable[[Tx], T], app: str = "app") -> T:
        """Run a rule that reads."""
        return self.rules.read(rule, app, self.now)

    def create(self, *members: str, app: str = "app", **more: Any) -> ConversationRow:
        more = {"kind": Kind.NORMAL, "creator": members[0] if members else "nobody", **more}
        return self.do(lambda tx: tx.create_conversation(members=members, **more), app)

    def say(self, cid: str, sender: str, body: str | bytes = "hi", **more: Any) -> MessageRow:
        row, new = self.do(lambda tx: tx.append(cid, NewMessage(sender, body, **more)))
        assert new
        return row


def worlds(implementation: Implementation, root: Path) -> Iterator[Callable[[], World]]:
    """Makes as many worlds as a test needs, each on empty tables."""

    with ExitStack() as opened:
        count = 0

        def make() -> World:
            nonlocal count
            count += 1
            directory = root / str(count)
            directory.mkdir()
            return World(opened.enter_context(implementation.rules(directory)))

        yield make
