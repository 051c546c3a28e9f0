"""One connection to the database, with what is remembered of it."""

from __future__ import annotations

import sqlite3

import attrs

_KNOWN_AT_MOST = 100_000


@attrs.define
class Database:
    """A connection to the database, and the ids it knows by heart.

    Apps and clients are never deleted, so an id once committed stays true. What a rule
    added before it was undone is forgotten by `forget`.
    """

    connection: sqlite3.Connection
    query_seconds: float = 2.0
    """How long one query may take."""
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
