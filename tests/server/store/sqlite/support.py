"""A transaction without an event loop: rules run at once on a database in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import attrs

from trio_realtime.server.store.conditions import parse_condition, parse_sort
from trio_realtime.server.store.interface import (
    ConversationRow,
    Kind,
    MessageRow,
    NewMessage,
    Query,
    Tx,
)
from trio_realtime.server.store.sqlite.database import Database
from trio_realtime.server.store.sqlite.runner import Job, Runner
from trio_realtime.server.store.sqlite.schema import connect

T = TypeVar("T")


def ignore(_: Any) -> None:
    """A callback for results nobody wants."""


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

    now: int = 1_000_000
    runner: Runner = attrs.field(factory=lambda: Runner(Database(connect(None))))

    def do(self, rule: Callable[[Tx], T], app: str = "app") -> T:
        """Run a rule that writes."""
        (result,) = self.runner.write([Job(app, rule, ignore, self.now)])
        return result.unwrap()

    def see(self, rule: Callable[[Tx], T], app: str = "app") -> T:
        """Run a rule that reads."""
        return self.runner.read(Job(app, rule, ignore, self.now, read_only=True)).unwrap()

    def create(self, *members: str, app: str = "app", **more: Any) -> ConversationRow:
        more = {"kind": Kind.NORMAL, "creator": members[0] if members else "nobody", **more}
        return self.do(lambda tx: tx.create_conversation(members=members, **more), app)

    def say(self, cid: str, sender: str, body: str | bytes = "hi", **more: Any) -> MessageRow:
        row, new = self.do(lambda tx: tx.append(cid, NewMessage(sender, body, **more)))
        assert new
        return row
