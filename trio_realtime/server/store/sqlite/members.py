"""Who belongs to a conversation: members, roles, do-not-disturb, silence and block lists."""

# ruff: noqa: S608 - SQL text is joined from constants of this program only.

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from trio_realtime.server.store.ids import object_id
from trio_realtime.server.store.interface import Listing, MemberInfoRow, Membership

from .base import AMONG, CONVERSATION, TxBase, conversation_row


class Members(TxBase):
    """The membership operations of a transaction."""

    # Members.

    def members(self, cid: str) -> list[str]:
        rows = self._execute(
            "SELECT k.name FROM members x JOIN clients k ON k.id = x.client"
            " WHERE x.conversation = ? ORDER BY x.position",
            (self._key(cid),),
        )
        return [name for (name,) in rows]

    def members_of(self, cids: Sequence[str]) -> dict[str, list[str]]:
        rows = self._execute(
            f"SELECT c.cid, k.name FROM {AMONG} JOIN members x ON x.conversation = c.id"
            " JOIN clients k ON k.id = x.client ORDER BY c.id, x.position",
            self._among(cids),
        )
        return _grouped(rows)

    def member_count(self, cid: str) -> int:
        (count,) = self._execute(
            "SELECT count(*) FROM members WHERE conversation = ?", (self._key(cid),)
        ).fetchone()
        return int(count)

    def is_member(self, cid: str, client_id: str) -> bool:
        return self.joined_at(cid, client_id) is not None

    def joined_at(self, cid: str, client_id: str) -> int | None:
        row = self._execute(
            "SELECT joined_at FROM members WHERE conversation = ? AND client = ?",
            (self._key(cid), self._client(client_id)),
        ).fetchone()
        return None if row is None else int(row[0])

    def joined(self, client_id: str, cids: Sequence[str]) -> dict[str, int]:
        rows = self._execute(
            f"SELECT c.cid, x.joined_at FROM {AMONG}"
            " JOIN members x ON x.conversation = c.id AND x.client = :client",
            {**self._among(cids), "client": self._client(client_id)},
        )
        return dict(rows.fetchall())

    def awaiting(self, client_id: str, *, temporary: bool, limit: int) -> list[Membership]:
        # What was sent in the very millisecond of joining counts as sent afterwards.
        mark = "max(coalesce(x.acked, 0), coalesce(x.read, 0), x.joined_at - 1)"
        rows = self._execute(
            f"SELECT {CONVERSATION}, {mark} FROM members x"
            " JOIN conversations c ON c.id = x.conversation"
            f" WHERE x.client = :client AND c.clock > {mark}"
            " AND (c.expires_at IS NULL OR (:temporary AND c.expires_at > :now))"
            " AND EXISTS (SELECT 1 FROM messages m WHERE m.conversation = c.id"
            f" AND m.timestamp > {mark} AND m.sender <> :client)"
            " ORDER BY coalesce(c.last_message_at, c.updated_at) DESC LIMIT :limit",
            {
                "client": self._client(client_id),
                "temporary": temporary,
                "now": self.now,
                "limit": limit,
            },
        )
        return [Membership(conversation_row(row), row[-1]) for row in rows]

    def add_members(self, cid: str, client_ids: Sequence[str]) -> list[str]:
        place = self._existing(cid)
        (position,) = self._execute(
            "SELECT coalesce(max(position), 0) FROM members WHERE conversation = ?",
            (place.key,),
        ).fetchone()
        added: list[str] = []
        for name in dict.fromkeys(client_ids):
            cursor = self._execute(
                "INSERT INTO members (conversation, position, client, joined_at, floor)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT (conversation, client) DO NOTHING",
                (
                    place.key,
                    position + len(added) + 1,
                    self._any_client(name),
                    self.now,
                    place.clock,
                ),
            )
            if cursor.rowcount:
                added.append(name)
        self._touch(place.key)
        return added

    def remove_members(self, cid: str, client_ids: Sequence[str]) -> list[str]:
        key = self._existing(cid).key
        names = {client: name for name, client in self._known_clients(client_ids)}
        removed = self._execute(
            "DELETE FROM members WHERE conversation = ? AND client IN (SELECT value FROM"
            " json_each(?)) RETURNING client",
            (key, json.dumps(list(names))),
        ).fetchall()
        gone = {client for (client,) in removed}
        for table in ("roles", "muted") if gone else ():
            self._execute(
                f"DELETE FROM {table} WHERE conversation = ? AND client IN (SELECT value FROM"
                " json_each(?))",
                (key, json.dumps(list(gone))),
            )
        if gone:
            self._touch(key)
        return [name for client, name in names.items() if client in gone]

    # Do not disturb.

    def muted_by(self, cid: str) -> list[str]:
        rows = self._execute(
            "SELECT k.name FROM muted x JOIN clients k ON k.id = x.client"
            " WHERE x.conversation = ? ORDER BY x.client",
            (self._key(cid),),
        )
        return [name for (name,) in rows]

    def muted_in(self, cids: Sequence[str], *, limit: int) -> dict[str, list[str]]:
        rows = self._execute(
            f"SELECT c.cid, k.name FROM {AMONG} JOIN clients k ON k.id IN (SELECT client FROM muted"
            " WHERE conversation = c.id ORDER BY client LIMIT :limit) ORDER BY c.id, k.id",
            {**self._among(cids), "limit": limit},
        )
        return _grouped(rows)

    def muting(self, client_id: str, cids: Sequence[str]) -> set[str]:
        rows = self._execute(
            f"SELECT c.cid FROM {AMONG} JOIN muted x ON x.conversation = c.id AND x.client = :client",
            {**self._among(cids), "client": self._client(client_id)},
        )
        return {cid for (cid,) in rows}

    def set_muted(self, cid: str, client_id: str, muted: bool) -> None:
        key = self._existing(cid).key
        if muted:
            self._execute(
                "INSERT INTO muted (conversation, client) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (key, self._any_client(client_id)),
            )
        else:
            self._execute(
                "DELETE FROM muted WHERE conversation = ? AND client = ?",
                (key, self._client(client_id)),
            )

    # Roles.

    def member_infos(self, cid: str, *, limit: int = 1000, skip: int = 0) -> list[MemberInfoRow]:
        rows = self._execute(
            "SELECT x.id, k.name, x.role FROM roles x JOIN clients k ON k.id = x.client"
            " WHERE x.conversation = ? ORDER BY x.client LIMIT ? OFFSET ?",
            (self._key(cid), max(0, limit), max(0, skip)),
        )
        return [MemberInfoRow(id_, cid, name, role) for id_, name, role in rows]

    def role(self, cid: str, client_id: str) -> str | None:
        row = self._execute(
            "SELECT role FROM roles WHERE conversation = ? AND client = ?",
            (self._key(cid), self._client(client_id)),
        ).fetchone()
        return None if row is None else str(row[0])

    def set_role(self, cid: str, client_id: str, role: str) -> MemberInfoRow:
        ((id_,),) = self._execute(
            "INSERT INTO roles (conversation, client, id, role) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (conversation, client) DO UPDATE SET role = excluded.role"
            " RETURNING id",
            (self._existing(cid).key, self._any_client(client_id), object_id(self.now), role),
        ).fetchall()
        return MemberInfoRow(id_, cid, client_id, role)

    # Silence and block lists. Temporary entries act like the others until they expire, but
    # have no place in the pages and the size of the list.

    def listed(
        self, listing: Listing, cid: str, *, limit: int, after: str | None = None, skip: int = 0
    ) -> tuple[list[str], str | None]:
        if limit <= 0:
            return [], None
        # A client may send any cursor; one that is not ours is the end of the list.
        if after and not (after.isascii() and after.isdecimal() and len(after) < 19):
            return [], None
        rows = self._execute(
            "SELECT x.client, k.name FROM listed x JOIN clients k ON k.id = x.client"
            " WHERE x.conversation = ? AND x.listing = ? AND x.client > ?"
            " AND x.expires_at IS NULL ORDER BY x.client LIMIT ? OFFSET ?",
            (self._key(cid), listing, int(after or 0), limit + 1, max(0, skip)),
        ).fetchall()
        names = [name for _, name in rows[:limit]]
        return names, str(rows[limit - 1][0]) if len(rows) > limit else None

    def which_listed(self, listing: Listing, cid: str, client_ids: Sequence[str]) -> set[str]:
        key = self._key(cid)
        if len(client_ids) == 1:
            # Asked for every message.
            row = self._execute(
                "SELECT 1 FROM listed WHERE conversation = ? AND listing = ? AND client = ?"
                " AND (expires_at IS NULL OR expires_at > ?)",
                (key, listing, self._client(client_ids[0]), self.now),
            ).fetchone()
            return set() if row is None else set(client_ids)
        clients = {client: name for name, client in self._known_clients(client_ids)}
        rows = self._execute(
            "SELECT client FROM listed WHERE conversation = ? AND listing = ?"
            " AND client IN (SELECT value FROM json_each(?))"
            " AND (expires_at IS NULL OR expires_at > ?)",
            (key, listing, json.dumps(list(clients)), self.now),
        )
        return {clients[client] for (client,) in rows}

    def listed_in(self, listing: Listing, client_id: str, cids: Sequence[str]) -> set[str]:
        rows = self._execute(
            f"SELECT c.cid FROM {AMONG} JOIN listed x ON x.conversation = c.id"
            " AND x.listing = :listing AND x.client = :client"
            " AND (x.expires_at IS NULL OR x.expires_at > :now)",
            {**self._among(cids), "listing": listing, "client": self._client(client_id)},
        )
        return {cid for (cid,) in rows}

    def listed_count(self, listing: Listing, cid: str) -> int:
        (count,) = self._execute(
            "SELECT count(*) FROM listed WHERE conversation = ? AND listing = ?"
            " AND expires_at IS NULL",
            (self._key(cid), listing),
        ).fetchone()
        return int(count)

    def add_listed(
        self,
        listing: Listing,
        cid: str,
        client_ids: Sequence[str],
        *,
        expires_at: int | None = None,
    ) -> None:
        key = self._existing(cid).key
        # A temporary entry never shortens a permanent one.
        self._database.connection.executemany(
            "INSERT INTO listed (conversation, listing, client, expires_at)"
            " VALUES (?, ?, ?, ?) ON CONFLICT (conversation, listing, client) DO UPDATE"
            " SET expires_at = excluded.expires_at WHERE expires_at IS NOT NULL",
            [(key, listing, self._any_client(name), expires_at) for name in client_ids],
        )

    def remove_listed(self, listing: Listing, cid: str, client_ids: Sequence[str]) -> None:
        key = self._key(cid)
        self._database.connection.executemany(
            "DELETE FROM listed WHERE conversation = ? AND listing = ? AND client = ?",
            [(key, listing, client) for _, client in self._known_clients(client_ids)],
        )

    def temporarily_silenced(self, cid: str, client_id: str) -> bool:
        row = self._execute(
            "SELECT 1 FROM listed WHERE conversation = ? AND listing = ? AND client = ?"
            " AND expires_at > ?",
            (self._key(cid), Listing.SILENCED, self._client(client_id), self.now),
        ).fetchone()
        return row is not None


def _grouped(rows: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for cid, name in rows:
        groups.setdefault(cid, []).append(name)
    return groups
