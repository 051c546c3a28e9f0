"""Messages: appending, history, edits."""

# ruff: noqa: S608 - SQL text is joined from constants of this program only.

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from trio_realtime.server.store.ids import message_id
from trio_realtime.server.store.interface import (
    Bound,
    Kind,
    MessageRow,
    NewMessage,
    PatchRow,
    StoreError,
)
from trio_realtime.server.store.json import from_json, to_json

from .base import AMONG, TxBase

MESSAGES = (
    # A line is told as its service.
    "SELECT m.id, coalesce(c.service, c.cid), c.kind, k.name, m.timestamp, m.body, m.mentions,"
    " m.mention_all, m.receipt, m.patched_at, m.recalled, m.ack_at, m.read_at, m.push_data,"
    " m.lctype, m.address, CASE WHEN c.service IS NOT NULL THEN c.creator END, c.cid"
    " FROM messages m JOIN conversations c ON c.id = m.conversation"
    " JOIN clients k ON k.id = m.sender"
)
"""Selects what `message_row` reads; a condition follows."""

_KINDS = {int(kind): kind for kind in Kind}


class Messages(TxBase):
    """The message operations of a transaction."""

    def append(self, cid: str, message: NewMessage) -> tuple[MessageRow, bool]:
        place = self._existing(cid)
        sender = self._any_client(message.sender)
        row = MessageRow(
            id=message.id or message_id(),
            conversation_id=cid,
            kind=place.kind,
            sender=message.sender,
            timestamp=max(self.now, place.clock + 1),
            body=message.body,
            mentions=message.mentions,
            mention_all=message.mention_all,
            receipt=message.receipt,
            push_data=message.push_data,
            lctype=message.lctype,
            address=message.address,
        )
        try:
            self._insert(place.key, sender, message.dt, row)
        except sqlite3.IntegrityError as exc:
            first = message.dt and self.sent_before(cid, message.sender, message.dt)
            if not first:
                raise StoreError(f"the message id {row.id!r} is taken") from exc
            return first, False
        # A service conversation shows no time of a last message.
        latest = None if place.kind is Kind.SERVICE else row.timestamp
        self._execute(
            "UPDATE conversations SET clock = ?, last_message_at = ? WHERE id = ?",
            (row.timestamp, latest, place.key),
        )
        self._places[cid] = place._replace(clock=row.timestamp)
        return row, True

    def _insert(self, key: int, sender: int, dt: str | None, row: MessageRow) -> None:
        self._execute(
            "INSERT INTO messages (conversation, timestamp, id, sender, dt, body, mentions,"
            " mention_all, receipt, push_data, lctype, address)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                key,
                row.timestamp,
                row.id,
                sender,
                dt,
                row.body,
                _mentions(row.mentions),
                row.mention_all,
                row.receipt,
                row.push_data,
                row.lctype,
                row.address,
            ),
        )

    def next_timestamp(self, cid: str) -> int:
        place = self._existing(cid)
        timestamp = max(self.now, place.clock + 1)
        self._execute("UPDATE conversations SET clock = ? WHERE id = ?", (timestamp, place.key))
        self._places[cid] = place._replace(clock=timestamp)
        return timestamp

    def sent_before(self, cid: str, sender: str, dt: str) -> MessageRow | None:
        return self._one(
            "m.conversation = ? AND m.sender = ? AND m.dt = ?",
            (self._key(cid), self._client(sender), dt),
        )

    def message(self, cid: str, mid: str) -> MessageRow | None:
        return self._one("m.conversation = ? AND m.id = ?", (self._key(cid), mid))

    def last_message(self, cid: str) -> MessageRow | None:
        return self._one("m.conversation = ? ORDER BY m.timestamp DESC LIMIT 1", (self._key(cid),))

    def last_messages(self, cids: Sequence[str]) -> dict[str, MessageRow]:
        rows = self._execute(
            f"{MESSAGES} WHERE m.rowid IN (SELECT (SELECT n.rowid FROM messages n"
            " WHERE n.conversation = c.id ORDER BY n.timestamp DESC LIMIT 1)"
            f" FROM {AMONG})",
            self._among(cids),
        )
        return {row[-1]: message_row(row) for row in rows}

    def history(
        self,
        cid: str,
        *,
        start: Bound | None = None,
        start_included: bool = False,
        end: Bound | None = None,
        end_included: bool = False,
        newer: bool = False,
        limit: int = 20,
        lctype: int | None = None,
    ) -> list[MessageRow]:
        conditions = ["m.conversation = ?"]
        parameters: list[Any] = [self._key(cid)]
        away, back = (">", "<") if newer else ("<", ">")
        for bound, sign, included in (
            (start, away, start_included),
            (end, back, end_included),
        ):
            if bound is not None:
                condition, values = _beyond(bound, sign + "=" * included)
                conditions.append(condition)
                parameters += values
        if lctype is not None:
            conditions.append("m.lctype = ?")
            parameters.append(lctype)
        order = "ASC" if newer else "DESC"
        rows = self._execute(
            f"{MESSAGES} WHERE {' AND '.join(conditions)}"
            # Only what was imported has two messages of one time.
            f" ORDER BY m.timestamp {order}, m.id {order} LIMIT ?",
            (*parameters, max(0, limit)),
        ).fetchall()
        return [message_row(row) for row in (rows if newer else reversed(rows))]

    def patch(
        self,
        cid: str,
        mid: str,
        *,
        body: str | bytes,
        recalled: bool,
        mentions: tuple[str, ...],
        mention_all: bool,
        lctype: int | None,
        code: int | None = None,
        reason: str | None = None,
    ) -> PatchRow:
        ((patched_at,),) = self._execute(
            "UPDATE apps SET patch_clock = max(?, patch_clock + 1) WHERE id = ?"
            " RETURNING patch_clock",
            (self.now, self._app),
        ).fetchall()
        self._execute(
            "UPDATE messages SET body = ?, recalled = ?, mentions = ?, mention_all = ?,"
            " lctype = ?, patched_at = ?, patch_code = ?, patch_reason = ?"
            " WHERE conversation = ? AND id = ?",
            (
                body,
                recalled,
                _mentions(mentions),
                mention_all,
                lctype,
                patched_at,
                code,
                reason,
                self._key(cid),
                mid,
            ),
        )
        message = self.message(cid, mid)
        if message is None:
            raise StoreError(f"there is no message {mid!r} in {cid!r}")
        return PatchRow(message, patched_at, code, reason)

    def patches_for(self, client_id: str, after: int | None, *, limit: int = 100) -> list[PatchRow]:
        order = "DESC" if after is None else "ASC"
        # One short index range for each of the client's conversations.
        newest = self._execute(
            "SELECT m.rowid, m.patched_at, m.patch_code, m.patch_reason"
            " FROM members x CROSS JOIN messages m"
            " ON m.conversation = x.conversation AND m.patched_at > ?"
            f" WHERE x.client = ? ORDER BY m.patched_at {order} LIMIT ?",
            (after or 0, self._client(client_id), max(0, limit)),
        ).fetchall()
        if after is None:
            newest.reverse()
        found = ((self._one("m.rowid = ?", (key,)), *patch) for key, *patch in newest)
        return [PatchRow(message, *patch) for message, *patch in found if message is not None]

    def latest_patch(self) -> int:
        row = self._execute("SELECT patch_clock FROM apps WHERE id = ?", (self._app,)).fetchone()
        return 0 if row is None else int(row[0])

    def delete_message(self, cid: str, mid: str) -> bool:
        key = self._key(cid)
        deleted = self._execute(
            "DELETE FROM messages WHERE conversation = ? AND id = ? RETURNING timestamp",
            (key, mid),
        ).fetchall()
        if not deleted:
            return False
        ((timestamp,),) = deleted
        self._execute(
            "UPDATE conversations SET last_message_at = (SELECT max(timestamp) FROM messages"
            " WHERE conversation = ?) WHERE id = ? AND last_message_at = ?",
            (key, key, timestamp),
        )
        self._execute(
            "UPDATE members SET reckoned_at = ?"
            " WHERE conversation = ? AND max(coalesce(read, 0), floor) < ?",
            (self.now, key, timestamp),
        )
        return True

    def _one(self, condition: str, parameters: Sequence[Any]) -> MessageRow | None:
        row = self._execute(f"{MESSAGES} WHERE {condition}", parameters).fetchone()
        return None if row is None else message_row(row)


def message_row(row: Sequence[Any]) -> MessageRow:
    """The value of a row of `MESSAGES`."""
    return MessageRow(
        id=row[0],
        conversation_id=row[1],
        kind=_KINDS[row[2]],
        sender=row[3],
        timestamp=row[4],
        body=row[5],
        mentions=tuple(from_json(row[6]) or ()) if row[6] else (),
        mention_all=bool(row[7]),
        receipt=bool(row[8]),
        patched_at=row[9],
        recalled=bool(row[10]),
        ack_at=row[11],
        read_at=row[12],
        push_data=row[13],
        lctype=row[14],
        address=row[15],
        receiver=row[16],
    )


def _mentions(names: Sequence[str]) -> str | None:
    return to_json(list(names)) if names else None


def _beyond(bound: Bound, comparison: str) -> tuple[str, list[Any]]:
    timestamp, mid = bound
    if mid is None:
        return f"m.timestamp {comparison} ?", [timestamp]
    return f"(m.timestamp, m.id) {comparison} (?, ?)", [timestamp, mid]
