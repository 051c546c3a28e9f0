"""Session tokens, notifications for replay, and documents of other parts."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from trio_realtime._values.protocol import TOKEN_GRACE_MS
from trio_realtime.server.store.interface import (
    NOTIFICATIONS_KEPT,
    TOKENS_KEPT,
    NotificationRow,
    TokenRow,
)
from trio_realtime.server.store.json import object_from_json, to_json

from .base import TxBase

_PURGED_AT_ONCE = 20


class Records(TxBase):
    """Operations on rows that belong to no conversation."""

    # Sessions.

    def forget_tokens(self, client_id: str) -> None:
        self._execute("DELETE FROM tokens WHERE app = ? AND client = ?", (self._app, client_id))

    def put_token(self, token: str, row: TokenRow) -> None:
        self._execute(
            "DELETE FROM tokens WHERE id IN (SELECT id FROM tokens WHERE expires_at <= ? LIMIT ?)",
            (self.now - TOKEN_GRACE_MS, _PURGED_AT_ONCE),
        )
        self._execute(
            "DELETE FROM tokens WHERE app = ?1 AND client = ?2 AND id <= (SELECT id FROM tokens"
            " WHERE app = ?1 AND client = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)",
            (self._app, row.client_id, TOKENS_KEPT - 1),
        )
        # A repeated token becomes the newest one.
        self._execute(
            "INSERT OR REPLACE INTO tokens (app, digest, client, expires_at, tag, device_id)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                self._app,
                _digest(token),
                row.client_id,
                row.expires_at,
                row.tag,
                row.device_id,
            ),
        )

    def token(self, token: str) -> TokenRow | None:
        row = self._execute(
            "SELECT client, expires_at, tag, device_id FROM tokens"
            " WHERE app = ? AND digest = ? AND expires_at > ?",
            (self._app, _digest(token), self.now - TOKEN_GRACE_MS),
        ).fetchone()
        return None if row is None else TokenRow(*row)

    def recent_login(self, client_id: str, since: int) -> TokenRow | None:
        row = self._execute(
            "SELECT expires_at, tag, device_id FROM tokens WHERE app = ? AND client = ?"
            " AND expires_at >= ? ORDER BY id DESC LIMIT 1",
            (self._app, client_id, since),
        ).fetchone()
        return None if row is None else TokenRow(client_id, *row)

    def tag_holder(self, client_id: str, tag: str) -> TokenRow | None:
        row = self._execute(
            "SELECT expires_at, tag, device_id FROM tokens WHERE app = ? AND client = ?"
            " AND tag = ? AND expires_at > ? ORDER BY id DESC LIMIT 1",
            (self._app, client_id, tag, self.now - TOKEN_GRACE_MS),
        ).fetchone()
        return None if row is None else TokenRow(client_id, *row)

    # Notifications kept for replay.

    def keep_notification(self, client_ids: Sequence[str], item: Mapping[str, Any]) -> None:
        if not client_ids:
            return
        notice = self._execute("INSERT INTO notices (item) VALUES (?)", (to_json(item),)).lastrowid
        clients = json.dumps([self._any_client(name) for name in dict.fromkeys(client_ids)])
        # Never the same time twice, because clients page by time.
        told = self._execute(
            "INSERT INTO notifications (client, position, timestamp, notice)"
            " SELECT j.value, coalesce(x.position, 0) + 1,"
            " max(:now, coalesce(x.timestamp, 0) + 1), :notice FROM json_each(:clients) j"
            " LEFT JOIN notifications x ON x.client = j.value AND x.timestamp ="
            " (SELECT max(timestamp) FROM notifications WHERE client = j.value)"
            " RETURNING client, position",
            {"clients": clients, "now": self.now, "notice": notice},
        ).fetchall()
        full = [client for client, position in told if position > NOTIFICATIONS_KEPT]
        if full:
            self._drop_oldest_notification(full)

    def notifications(self, client_id: str, after: int, *, limit: int) -> list[NotificationRow]:
        rows = self._execute(
            "SELECT x.timestamp, n.item FROM notifications x JOIN notices n ON n.id = x.notice"
            " WHERE x.client = ? AND x.timestamp > ? ORDER BY x.timestamp LIMIT ?",
            (self._client(client_id), after, max(0, limit)),
        )
        return [NotificationRow(timestamp, object_from_json(item)) for timestamp, item in rows]

    def _drop_oldest_notification(self, clients: Sequence[int]) -> None:
        dropped = self._execute(
            "DELETE FROM notifications WHERE (client, timestamp) IN (SELECT j.value,"
            " (SELECT min(timestamp) FROM notifications WHERE client = j.value)"
            " FROM json_each(?) j) RETURNING notice",
            (json.dumps(clients),),
        ).fetchall()
        if dropped:
            self._execute(
                "DELETE FROM notices WHERE id IN (SELECT value FROM json_each(?))"
                " AND NOT EXISTS (SELECT 1 FROM notifications WHERE notice = notices.id)",
                (json.dumps([notice for (notice,) in dropped]),),
            )

    # Documents.

    def put_document(self, table: str, key: str, value: Mapping[str, Any]) -> None:
        self._execute(
            "INSERT INTO documents (app, kind, key, value) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (app, kind, key) DO UPDATE SET value = excluded.value",
            (self._app, table, key, to_json(value)),
        )

    def document(self, table: str, key: str) -> Mapping[str, Any] | None:
        row = self._execute(
            "SELECT value FROM documents WHERE app = ? AND kind = ? AND key = ?",
            (self._app, table, key),
        ).fetchone()
        return None if row is None else object_from_json(row[0])

    def which_documents(self, table: str, keys: Sequence[str]) -> set[str]:
        rows = self._execute(
            "SELECT key FROM documents WHERE app = ? AND kind = ?"
            " AND key IN (SELECT value FROM json_each(?))",
            (self._app, table, json.dumps(list(keys))),
        )
        return {key for (key,) in rows}

    def delete_document(self, table: str, key: str) -> bool:
        cursor = self._execute(
            "DELETE FROM documents WHERE app = ? AND kind = ? AND key = ?",
            (self._app, table, key),
        )
        return cursor.rowcount > 0

    def documents(
        self, table: str, *, prefix: str = "", after: str | None = None, limit: int = 100
    ) -> list[tuple[str, Mapping[str, Any]]]:
        rows = self._execute(
            "SELECT key, value FROM documents WHERE app = ?1 AND kind = ?2 AND key >= ?3"
            " AND (?4 IS NULL OR key > ?4) ORDER BY key LIMIT ?5",
            (self._app, table, max(prefix, after or ""), after, max(0, limit)),
        )
        # Keys with the prefix lie together.
        return [
            (key, object_from_json(value))
            for key, value in itertools.takewhile(lambda row: row[0].startswith(prefix), rows)
        ]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
