"""Taking over what another server has stored, with its ids and times."""

# ruff: noqa: S608 - SQL text is joined from constants of this program only.

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

import attrs

from trio_realtime.server.store.interface import (
    ConversationRow,
    ImportedMessage,
    ImportOutcome,
    Kind,
    StoreError,
)
from trio_realtime.server.store.json import to_json

from .base import AMONG, TxBase


@attrs.frozen
class Known:
    """A message that is here already."""

    key: int
    body: str | bytes
    patched: bool
    """Whether it was edited here."""


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
            self._places.clear()
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

    def which_conversations(self, cids: Sequence[str]) -> set[str]:
        rows = self._execute(f"SELECT c.cid FROM {AMONG}", self._among(cids))
        return {cid for (cid,) in rows}

    def import_messages(
        self, messages: Sequence[tuple[str, ImportedMessage]]
    ) -> list[ImportOutcome]:
        rows = self._execute(
            f"SELECT c.cid, c.id, c.kind FROM {AMONG}", self._among(cid for cid, _ in messages)
        )
        places = {cid: (key, kind) for cid, key, kind in rows}
        if missing := next((cid for cid, _ in messages if cid not in places), None):
            raise StoreError(f"there is no conversation {missing!r}")
        keyed = [(places[cid][0], message) for cid, message in messages]
        known = self._known_messages([(key, message.id) for key, message in keyed])
        outcomes: list[ImportOutcome] = []
        new: dict[tuple[int, str], ImportedMessage] = {}
        last = {(key, message.id): number for number, (key, message) in enumerate(keyed)}
        for number, (key, message) in enumerate(keyed):
            name = (key, message.id)
            before = known.get(name)
            if before is None:
                outcomes.append("changed" if name in new else "new")
                new[name] = message
            elif last[name] != number or before.body == message.body or before.patched:
                # An earlier version is not shown again, and what was edited here since stands.
                outcomes.append("known")
            else:
                self._execute(
                    "UPDATE messages SET body = ?, recalled = ?, lctype = ?, mentions = NULL,"
                    " mention_all = 0 WHERE rowid = ?",
                    (message.body, message.recalled, message.lctype, before.key),
                )
                outcomes.append("changed")
        self._insert_messages(new)
        self._note_latest(new, {key for key, kind in places.values() if kind == Kind.SERVICE})
        return outcomes

    def _known_messages(self, names: Sequence[tuple[int, str]]) -> dict[tuple[int, str], Known]:
        rows = self._execute(
            "SELECT m.conversation, m.id, m.rowid, m.body, m.patched_at FROM json_each(?) j"
            " JOIN messages m ON m.conversation = json_extract(j.value, '$[0]')"
            " AND m.id = json_extract(j.value, '$[1]')",
            (json.dumps(names),),
        )
        return {
            (conversation, mid): Known(key, body, patched=patched is not None)
            for conversation, mid, key, body, patched in rows
        }

    def _insert_messages(self, new: Mapping[tuple[int, str], ImportedMessage]) -> None:
        self._database.connection.executemany(
            "INSERT INTO messages (conversation, timestamp, id, sender, body, mention_all, receipt,"
            " recalled, ack_at, lctype, address) VALUES (?, ?, ?, ?, ?, 0, 0, ?, ?, ?, ?)",
            [
                (
                    key,
                    one.timestamp,
                    one.id,
                    self._any_client(one.sender),
                    one.body,
                    one.recalled,
                    one.ack_at,
                    one.lctype,
                    one.address,
                )
                for (key, _), one in new.items()
            ],
        )

    def _note_latest(
        self, new: Mapping[tuple[int, str], ImportedMessage], services: Collection[int]
    ) -> None:
        """Let clocks and times of last messages follow."""
        latest: dict[int, int] = {}
        for (key, _), one in new.items():
            latest[key] = max(latest.get(key, 0), one.timestamp)
        self._database.connection.executemany(
            "UPDATE conversations SET clock = max(clock, ?1), last_message_at ="
            " CASE WHEN ?2 IS NULL THEN last_message_at"
            " ELSE max(coalesce(last_message_at, 0), ?2) END WHERE id = ?3",
            [(at, None if key in services else at, key) for key, at in latest.items()],
        )
        self._places.clear()

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
