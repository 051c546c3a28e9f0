"""Conversations: creating, changing, finding."""

# ruff: noqa: S608 - SQL text is joined from constants of this program only.

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from trio_realtime.server.store.ids import object_id, temporary_id
from trio_realtime.server.store.interface import SAME_MARK, ConversationRow, Kind, Query
from trio_realtime.server.store.json import to_json

from .base import AMONG, CONVERSATION, Place, TxBase, conversation_row
from .find import count, find

_PURGED_AT_ONCE = 20


class Conversations(TxBase):
    """The conversation operations of a transaction."""

    def conversation(self, cid: str) -> ConversationRow | None:
        row = self._execute(
            f"SELECT {CONVERSATION}, c.id, c.clock FROM conversations c"
            " WHERE c.app = ? AND c.cid = ? AND (c.expires_at IS NULL OR c.expires_at > ?)",
            (self._app, cid, self.now),
        ).fetchone()
        if row is None:
            return None
        found = conversation_row(row)
        self._places[cid] = Place(row[-2], found.kind, row[-1])
        return found

    def conversations(self, cids: Sequence[str]) -> dict[str, ConversationRow]:
        rows = self._execute(f"SELECT {CONVERSATION} FROM {AMONG}", self._among(cids))
        found = (conversation_row(row) for row in rows)
        return {row.id: row for row in found}

    def conversations_by_unique_id(
        self, unique_id: str, kind: Kind, members: Sequence[str]
    ) -> list[ConversationRow]:
        names = list(dict.fromkeys(members))
        rows = self._execute(
            f"SELECT {CONVERSATION} FROM conversations c WHERE c.app = ? AND c.unique_id = ?"
            " AND c.creator IN (SELECT value FROM json_each(?)) AND c.kind = ?"
            " AND (c.expires_at IS NULL OR c.expires_at > ?)"
            " AND (SELECT count(*) FROM members WHERE conversation = c.id) = ?"
            " ORDER BY c.id LIMIT ?",
            (self._app, unique_id, json.dumps(names), kind, self.now, len(names), SAME_MARK),
        )
        return [conversation_row(row) for row in rows]

    def create_conversation(
        self,
        *,
        kind: Kind,
        creator: str,
        members: Sequence[str] = (),
        name: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        unique_id: str | None = None,
        expires_at: int | None = None,
    ) -> ConversationRow:
        if kind is Kind.TEMPORARY:
            self._purge()
        row = ConversationRow(
            id=temporary_id() if kind is Kind.TEMPORARY else object_id(self.now),
            kind=kind,
            creator=creator,
            created_at=self.now,
            updated_at=self.now,
            name=name,
            attributes=dict(attributes or {}),
            unique_id=unique_id,
            expires_at=expires_at,
        )
        cursor = self._execute(
            "INSERT INTO conversations (app, cid, kind, creator, name, attributes, unique_id,"
            " created_at, updated_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._app,
                row.id,
                kind,
                creator,
                row.name,
                to_json(row.attributes),
                unique_id,
                self.now,
                self.now,
                expires_at,
            ),
        )
        self._database.connection.executemany(
            "INSERT INTO members (conversation, position, client, joined_at, floor)"
            " VALUES (?, ?, ?, ?, 0)",
            [
                (cursor.lastrowid, position, self._any_client(member), self.now)
                for position, member in enumerate(dict.fromkeys(members), 1)
            ],
        )
        return row

    def update_conversation(
        self,
        cid: str,
        *,
        name: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        unique_id: str | None = None,
    ) -> ConversationRow:
        changes = {
            "name": name,
            "attributes": None if attributes is None else to_json(attributes),
            "unique_id": unique_id,
        }
        given = {column: value for column, value in changes.items() if value is not None}
        assignments = "".join(f", {column} = ?" for column in given)
        self._execute(
            f"UPDATE conversations SET updated_at = ?{assignments} WHERE id = ?",
            (self.now, *given.values(), self._existing(cid).key),
        )
        row = self.conversation(cid)
        assert row is not None
        return row

    def clear_name(self, cid: str) -> None:
        self._execute(
            "UPDATE conversations SET name = NULL, updated_at = ? WHERE id = ?",
            (self.now, self._key(cid)),
        )

    def delete_conversation(self, cid: str) -> None:
        self._execute("DELETE FROM conversations WHERE id = ?", (self._key(cid),))
        self._execute("DELETE FROM conversations WHERE app = ? AND service = ?", (self._app, cid))
        self._places.clear()

    def find(self, query: Query) -> list[ConversationRow]:
        database = self._database
        rows = find(database.connection, query, self._app, self.now, database.query_seconds)
        return [conversation_row(row) for row in rows]

    def count(self, query: Query) -> int:
        database = self._database
        return count(database.connection, query, self._app, self.now, database.query_seconds)

    def _purge(self) -> None:
        """Delete some expired conversations: each new one pays for its predecessors."""
        self._execute(
            "DELETE FROM conversations WHERE id IN (SELECT id FROM conversations"
            " WHERE expires_at <= ? LIMIT ?)",
            (self.now, _PURGED_AT_ONCE),
        )
