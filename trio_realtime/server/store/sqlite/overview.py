"""What only the operator asks: across the conversations and the clients of an app."""

# ruff: noqa: S608 - SQL text is joined from constants of this program only.

from __future__ import annotations

from typing import Any

from trio_realtime.server.store.interface import Bound, Kind, MemberInfoRow, MessageRow

from .base import TxBase
from .find import running_query
from .messages import MESSAGES, message_row


class Overview(TxBase):
    """The operations of a transaction that look at an app as a whole."""

    def feed(
        self,
        *,
        start: Bound | None = None,
        start_included: bool = False,
        end: Bound | None = None,
        end_included: bool = False,
        newer: bool = False,
        limit: int = 100,
        sender: str | None = None,
    ) -> list[MessageRow]:
        conditions = ["c.app = ?"]
        parameters: list[Any] = [self._app]
        away, back = (">", "<") if newer else ("<", ">")
        for bound, sign, included in ((start, away, start_included), (end, back, end_included)):
            if bound is None:
                continue
            timestamp, mid = bound
            # The time alone is what the index knows.
            conditions.append(f"m.timestamp {sign if mid is None else sign + '='} ?")
            if mid is None and included:
                conditions[-1] = f"m.timestamp {sign}= ?"
            parameters.append(timestamp)
            if mid is not None:
                conditions.append(f"(m.timestamp, m.id) {sign}{'=' * included} (?, ?)")
                parameters += [timestamp, mid]
        if sender is not None:
            conditions.append(f"m.sender = ? AND c.kind <> {Kind.SERVICE:d}")
            parameters.append(self._client(sender))
        order = "ASC" if newer else "DESC"
        # The join is not to be turned around: the index of times gives the order.
        select = MESSAGES.replace(" JOIN ", " CROSS JOIN ")
        sql = (
            f"{select} WHERE {' AND '.join(conditions)}"
            f" ORDER BY m.timestamp {order}, m.id {order} LIMIT ?"
        )
        with running_query(self._database.connection, sql, self._database.query_seconds):
            rows = self._execute(sql, (*parameters, max(0, limit))).fetchall()
        return [message_row(row) for row in rows]

    def all_member_infos(self, *, after: str = "", limit: int = 100) -> list[MemberInfoRow]:
        rows = self._execute(
            "SELECT x.id, c.cid, k.name, x.role FROM roles x"
            " JOIN conversations c ON c.id = x.conversation JOIN clients k ON k.id = x.client"
            " WHERE c.app = ? AND x.id > ? ORDER BY x.id LIMIT ?",
            (self._app, after, max(0, limit)),
        )
        return [MemberInfoRow(*row) for row in rows]

    def subscribers(
        self, cid: str, *, after: str | None = None, limit: int = 50
    ) -> list[tuple[str, int]]:
        key = self._key(cid)
        row = self._execute(
            "SELECT position FROM members WHERE conversation = ? AND client = ?",
            (key, self._client(after) if after else 0),
        ).fetchone()
        if after and row is None:
            return []
        return self._execute(
            "SELECT k.name, x.joined_at FROM members x JOIN clients k ON k.id = x.client"
            " WHERE x.conversation = ? AND x.position > ? ORDER BY x.position LIMIT ?",
            (key, row[0] if row else 0, max(0, limit)),
        ).fetchall()

    def subscriptions(self, client_id: str) -> list[tuple[str, int]]:
        return self._execute(
            "SELECT c.cid, x.joined_at FROM members x JOIN conversations c ON c.id = x.conversation"
            f" WHERE x.client = ? AND c.kind = {Kind.SERVICE:d} AND c.service IS NULL ORDER BY x.joined_at, c.cid",
            (self._client(client_id),),
        ).fetchall()

    def clients_seen(self, expiring_after: int) -> int:
        (count,) = self._execute(
            "SELECT count(DISTINCT client) FROM tokens WHERE app = ? AND expires_at > ?",
            (self._app, expiring_after),
        ).fetchone()
        return int(count)
