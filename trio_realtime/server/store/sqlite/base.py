"""What every operation of a transaction stands on: a database, an app, and an instant."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from trio_realtime.server.store.interface import ConversationRow, Kind, StoreError
from trio_realtime.server.store.json import object_from_json

from .database import Database

CONVERSATION = (
    "c.cid, c.kind, c.creator, c.created_at, c.updated_at, c.name, c.attributes,"
    " c.unique_id, c.last_message_at, c.expires_at, c.service"
)
"""The columns `conversation_row` reads."""


AMONG = (
    "json_each(:cids) j JOIN conversations c ON c.app = :app AND c.cid = j.value"
    " AND (c.expires_at IS NULL OR c.expires_at > :now)"
)
"""A table of several living conversations, for the parameters of `TxBase._among`."""


class Place(NamedTuple):
    """A living conversation, as its other tables refer to it."""

    key: int
    kind: Kind
    clock: int


class TxBase:
    """The base of a transaction, below its operations."""

    def __init__(self, database: Database, app: int, now: int) -> None:
        self._database = database
        self._execute = database.connection.execute
        self._app = app
        self.now = now
        self._places: dict[str, Place] = {}
        """Conversations that this transaction has looked up: a rule asks many things about one."""

    def earliest(self, mark: int) -> int:
        steps = self._execute("SELECT since, until FROM clock_steps ORDER BY id DESC")
        for since, until in steps:
            if since < mark <= until:
                mark = since
        return mark

    # Clients.

    def _client(self, name: str) -> int:
        """A client's id, 0 if the app has never seen it."""
        return self._database.client(self._app, name, create=False)

    def _any_client(self, name: str) -> int:
        """A client's id, made up if need be."""
        return self._database.client(self._app, name, create=True)

    def _known_clients(self, names: Iterable[str]) -> list[tuple[str, int]]:
        """Each known client once, in the order given."""
        pairs = ((name, self._client(name)) for name in dict.fromkeys(names))
        return [(name, key) for name, key in pairs if key]

    # Conversations, as the other tables refer to them.

    def _place(self, cid: str) -> Place | None:
        place = self._places.get(cid)
        if place is not None:
            return place
        row = self._execute(
            "SELECT id, kind, clock FROM conversations WHERE app = ? AND cid = ?"
            " AND (expires_at IS NULL OR expires_at > ?)",
            (self._app, cid, self.now),
        ).fetchone()
        if row is None:
            return None
        place = self._places[cid] = Place(row[0], Kind(row[1]), row[2])
        return place

    def _key(self, cid: str) -> int:
        """A living conversation's id, 0 if there is none."""
        place = self._place(cid)
        return 0 if place is None else place.key

    def _among(self, cids: Iterable[str]) -> dict[str, Any]:
        return {"app": self._app, "cids": json.dumps(list(dict.fromkeys(cids))), "now": self.now}

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
        attributes={} if row[6] == "{}" else object_from_json(row[6]),
        unique_id=row[7],
        last_message_at=row[8],
        expires_at=row[9],
        service=row[10],
    )
