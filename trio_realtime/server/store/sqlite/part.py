"""What every part of a transaction stands on: a connection, an app, and an instant."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from trio_realtime.server.store.interface import ConversationRow, Kind, StoreError
from trio_realtime.server.store.patterns import REGEX_STEPS

_KNOWN_AT_MOST = 100_000

CONVERSATION = (
    "c.cid, c.kind, c.creator, c.created_at, c.updated_at, c.name, c.attributes,"
    " c.unique_id, c.last_message_at, c.expires_at"
)
"""The columns `conversation_row` reads."""


@attrs.define
class Link:
    """A database connection, and the ids it knows by heart.

    Apps and clients are never deleted, so an id once committed stays true. What a rule
    added before it was undone is forgotten by `forget`.
    """

    connection: sqlite3.Connection
    query_seconds: float = 2.0
    """How long one query may take."""
    regex_steps: int = REGEX_STEPS
    """What one regular expression may cost on one text."""
    apps: dict[str, int] = attrs.field(factory=dict)
    clients: dict[tuple[int, str], int] = attrs.field(factory=dict)

    def forget(self) -> None:
        """Forget every id."""
        self.apps.clear()
        self.clients.clear()

    def app(self, name: str, *, create: bool) -> int:
        """The id of an app; 0, which no app has, if it is new and may not be created."""
        found = self.apps.get(name)
        if found is not None:
            return found
        row = self.connection.execute("SELECT id FROM apps WHERE name = ?", (name,)).fetchone()
        if row is None:
            if not create:
                return 0
            cursor = self.connection.execute("INSERT INTO apps (name) VALUES (?)", (name,))
            row = (cursor.lastrowid,)
        self.apps[name] = row[0]
        return int(row[0])

    def client(self, app: int, name: str, *, create: bool) -> int:
        """The id of a client; 0, which no client has, if it is new and may not be created."""
        found = self.clients.get((app, name))
        if found is not None:
            return found
        row = self.connection.execute(
            "SELECT id FROM clients WHERE app = ? AND name = ?", (app, name)
        ).fetchone()
        if row is None:
            if not create:
                return 0
            cursor = self.connection.execute(
                "INSERT INTO clients (app, name) VALUES (?, ?)", (app, name)
            )
            row = (cursor.lastrowid,)
        if len(self.clients) >= _KNOWN_AT_MOST:
            self.clients.clear()
        self.clients[app, name] = row[0]
        return int(row[0])


@attrs.frozen
class Place:
    """A living conversation, as its other tables refer to it."""

    key: int
    kind: Kind
    clock: int


class Part:
    """The base of the parts of a transaction."""

    def __init__(self, link: Link, app: int, now: int) -> None:
        self._link = link
        self._execute = link.connection.execute
        self._app = app
        self.now = now

    # The client table is the same for every part.

    def _client(self, name: str) -> int:
        """A client's id, 0 if the app has never seen it."""
        return self._link.client(self._app, name, create=False)

    def _any_client(self, name: str) -> int:
        """A client's id, made up if need be."""
        return self._link.client(self._app, name, create=True)

    def _known_clients(self, names: Iterable[str]) -> list[tuple[str, int]]:
        """Each known client once, in the order given."""
        pairs = ((name, self._client(name)) for name in dict.fromkeys(names))
        return [(name, key) for name, key in pairs if key]

    # Conversations are referred to by every part.

    def _place(self, cid: str) -> Place | None:
        row = self._execute(
            "SELECT id, kind, clock FROM conversations WHERE app = ? AND cid = ?"
            " AND (expires_at IS NULL OR expires_at > ?)",
            (self._app, cid, self.now),
        ).fetchone()
        return None if row is None else Place(row[0], Kind(row[1]), row[2])

    def _key(self, cid: str) -> int:
        """A living conversation's id, 0 if there is none."""
        row = self._execute(
            "SELECT id FROM conversations WHERE app = ? AND cid = ?"
            " AND (expires_at IS NULL OR expires_at > ?)",
            (self._app, cid, self.now),
        ).fetchone()
        return 0 if row is None else int(row[0])

    def _existing(self, cid: str) -> Place:
        place = self._place(cid)
        if place is None:
            raise StoreError(f"there is no conversation {cid!r}")
        return place

    def _touch(self, key: int) -> None:
        self._execute("UPDATE conversations SET updated_at = ? WHERE id = ?", (self.now, key))


def conversation_row(row: Sequence[Any]) -> ConversationRow:
    """The value of the columns of `CONVERSATION`."""
    return ConversationRow(
        id=row[0],
        kind=Kind(row[1]),
        creator=row[2],
        created_at=row[3],
        updated_at=row[4],
        name=row[5],
        attributes={} if row[6] == "{}" else json.loads(row[6]),
        unique_id=row[7],
        last_message_at=row[8],
        expires_at=row[9],
    )


def to_json(value: Any) -> str:
    """Compact JSON text that SQLite can store and search.

    Lone surrogates, which JSON can spell and UTF-8 cannot, stay escaped.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if storable(text) else json.dumps(value, separators=(",", ":"))


def storable(text: str) -> bool:
    """Whether text has an UTF-8 form."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
