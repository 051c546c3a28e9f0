"""Taking over what another server has stored, with its ids and times."""

from __future__ import annotations

import json
from collections.abc import Sequence

from trio_realtime.server.store.interface import (
    ConversationRow,
    ImportedMessage,
    ImportOutcome,
    Kind,
    StoreError,
)
from trio_realtime.server.store.json import to_json

from .base import TxBase


class Imports(TxBase):
    """The importing operations of a transaction."""

    def import_conversation(
        self, row: ConversationRow, members: Sequence[str], muted: Sequence[str]
    ) -> ImportOutcome:
        found = self._execute(
            "SELECT id, kind, updated_at FROM conversations WHERE app = ? AND cid = ?",
            (self._app, row.id),
        ).fetchone()
        if found is not None and found[2] >= row.updated_at:
            return "known"
        values = (
            int(row.kind),
            row.creator,
            row.name,
            to_json(row.attributes),
            row.unique_id,
            row.created_at,
            row.updated_at,
        )
        if found is None:
            key = self._execute(
                "INSERT INTO conversations (kind, creator, name, attributes, unique_id, created_at,"
                " updated_at, last_message_at, app, cid) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, row.last_message_at, self._app, row.id),
            ).lastrowid
        else:
            key = found[0]
            self._execute(
                "UPDATE conversations SET kind = ?, creator = ?, name = ?, attributes = ?,"
                " unique_id = ?, created_at = ?, updated_at = ?,"
                " last_message_at = max(coalesce(last_message_at, 0), coalesce(?, 0)) WHERE id = ?",
                (*values, row.last_message_at, key),
            )
            if not row.last_message_at:
                self._execute(
                    "UPDATE conversations SET last_message_at = NULL"
                    " WHERE id = ? AND last_message_at = 0",
                    (key,),
                )
        assert key is not None
        self._import_members(key, members, row.created_at)
        self._execute("DELETE FROM muted WHERE conversation = ?", (key,))
        self._database.connection.executemany(
            "INSERT INTO muted (conversation, client) VALUES (?, ?)",
            [(key, self._any_client(name)) for name in dict.fromkeys(muted)],
        )
        return "new" if found is None else "changed"

    def _import_members(self, key: int, members: Sequence[str], joined_at: int) -> None:
        """Exactly these members, in this order of joining; they have read what was said before."""
        clients = [self._any_client(name) for name in dict.fromkeys(members)]
        self._execute(
            "DELETE FROM members WHERE conversation = ?"
            " AND client NOT IN (SELECT value FROM json_each(?))",
            (key, json.dumps(clients)),
        )
        (last,) = self._execute(
            "SELECT coalesce(max(position), 0) FROM members WHERE conversation = ?", (key,)
        ).fetchone()
        self._database.connection.executemany(
            "INSERT INTO members (conversation, position, client, joined_at, floor, acked, read)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (conversation, client) DO NOTHING",
            [
                (key, position, client, joined_at, self.now, self.now, self.now)
                for position, client in enumerate(clients, last + 1)
            ],
        )

    def import_messages(self, cid: str, messages: Sequence[ImportedMessage]) -> list[ImportOutcome]:
        place = self._existing(cid)
        ids = json.dumps([message.id for message in messages])
        known = {
            mid: (key, body, timestamp, patched)
            for key, mid, body, timestamp, patched in self._execute(
                "SELECT rowid, id, body, timestamp, patched_at FROM messages"
                " WHERE conversation = ? AND id IN (SELECT value FROM json_each(?))",
                (place.key, ids),
            )
        }
        outcomes: list[ImportOutcome] = []
        new: dict[str, ImportedMessage] = {}
        for message in messages:
            before = known.get(message.id)
            if before is None:
                outcomes.append("changed" if message.id in new else "new")
                new[message.id] = message
            elif before[1] == message.body or before[3] is not None:
                # What was edited here since stands.
                outcomes.append("known")
            else:
                self._execute(
                    "UPDATE messages SET body = ?, recalled = ?, lctype = ?, mentions = NULL,"
                    " mention_all = 0 WHERE rowid = ?",
                    (message.body, message.recalled, message.lctype, before[0]),
                )
                known[message.id] = (before[0], message.body, before[2], None)
                outcomes.append("changed")
        self._database.connection.executemany(
            "INSERT INTO messages (conversation, timestamp, id, sender, body, mention_all, receipt,"
            " recalled, ack_at, lctype) VALUES (?, ?, ?, ?, ?, 0, 0, ?, ?, ?)",
            [
                (
                    place.key,
                    one.timestamp,
                    one.id,
                    self._any_client(one.sender),
                    one.body,
                    one.recalled,
                    one.ack_at,
                    one.lctype,
                )
                for one in new.values()
            ],
        )
        if new:
            latest = max(one.timestamp for one in new.values())
            said = None if place.kind is Kind.SERVICE else latest
            self._execute(
                "UPDATE conversations SET clock = max(clock, ?1), last_message_at ="
                " CASE WHEN ?2 IS NULL THEN last_message_at"
                " ELSE max(coalesce(last_message_at, 0), ?2) END WHERE id = ?3",
                (latest, said, place.key),
            )
        return outcomes

    def import_role(self, cid: str, client_id: str, role: str, role_id: str) -> ImportOutcome:
        key = self._existing(cid).key
        client = self._any_client(client_id)
        row = self._execute(
            "SELECT id, role FROM roles WHERE conversation = ? AND client = ?", (key, client)
        ).fetchone()
        if row == (role_id, role):
            return "known"
        self._execute(
            "INSERT OR REPLACE INTO roles (conversation, client, id, role) VALUES (?, ?, ?, ?)",
            (key, client, role_id, role),
        )
        return "new" if row is None else "changed"

    def import_subscriber(self, cid: str, client_id: str, joined_at: int) -> ImportOutcome:
        place = self._existing(cid)
        if place.kind is not Kind.SERVICE:
            raise StoreError(f"{cid!r} has no subscribers")
        cursor = self._execute(
            "INSERT INTO members (conversation, position, client, joined_at, floor, acked, read)"
            " SELECT ?1, coalesce(max(position), 0) + 1, ?2, ?3, ?4, ?4, ?4 FROM members"
            " WHERE conversation = ?1 ON CONFLICT (conversation, client) DO NOTHING",
            (place.key, self._any_client(client_id), joined_at, self.now),
        )
        return "new" if cursor.rowcount else "known"
