"""What each member has received and read: docs/protocol/messages.md §4 and §5."""

# ruff: noqa: S608 - SQL text is joined from constants of this program only.

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from trio_realtime.server.store.interface import MessageRow, ReadMarks, UnreadRow

from .base import AMONG, CONVERSATION, conversation_row
from .messages import MESSAGES, Messages, message_row

UNREAD_AT_MOST = 100
"""Where counting stops; older messages fall out of the count."""

_COUNTED_OVER = 1000
"""Over how many of the newest messages unread ones are counted: who has written so many since
will have seen what was there before."""

_RECEIPTS_AT_ONCE = 200
"""Of how many of the newest messages with a receipt one acknowledgement tells the senders."""

_STAMPED_AT_ONCE = 1000
"""On how many of the newest messages the time of an acknowledgement is noted."""


class Receipts(Messages):
    """The receipt operations of a transaction."""

    def acknowledge(self, cid: str, client_id: str, *, first: int, last: int) -> list[MessageRow]:
        place, client = self._place(cid), self._client(client_id)
        if place is None or not self._is_member(place.key, client):
            return []
        last = min(last, place.clock)
        if first > last:
            return []
        self._execute(
            "UPDATE members SET acked = max(coalesce(acked, 0), ?)"
            " WHERE conversation = ? AND client = ?",
            (last, place.key, client),
        )
        received = [
            key
            for (key,) in self._execute(
                # Bounded before it is asked what is new: repetition is as cheap.
                "SELECT newest.id FROM (SELECT rowid AS id, sender FROM messages"
                " WHERE conversation = ? AND receipt AND timestamp BETWEEN ? AND ?"
                " ORDER BY timestamp DESC LIMIT ?) newest WHERE newest.sender <> ?"
                " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message = newest.id AND client = ?)",
                (place.key, first, last, _RECEIPTS_AT_ONCE, client, client),
            )
        ]
        self._database.connection.executemany(
            "INSERT INTO deliveries (message, client) VALUES (?, ?)",
            [(key, client) for key in received],
        )
        self._stamp("ack_at", place.key, client, first, last)
        return self._in_order(received)

    def mark_read(self, cid: str, client_id: str, upto: int) -> list[MessageRow]:
        place, client = self._place(cid), self._client(client_id)
        if place is None:
            return []
        row = self._execute(
            "SELECT max(coalesce(read, 0), floor), read FROM members"
            " WHERE conversation = ? AND client = ?",
            (place.key, client),
        ).fetchone()
        # A mark beyond the newest message would hide the next ones.
        upto = min(upto, place.clock)
        if row is None or upto <= (row[1] or 0):
            return []
        self._execute(
            "UPDATE members SET read = ?, reckoned_at = ? WHERE conversation = ? AND client = ?",
            (upto, self.now, place.key, client),
        )
        first = row[0] + 1
        read = [
            key
            for (key,) in self._execute(
                "SELECT newest.id FROM (SELECT rowid AS id, sender FROM messages"
                " WHERE conversation = ? AND receipt AND timestamp BETWEEN ? AND ?"
                " ORDER BY timestamp DESC LIMIT ?) newest WHERE newest.sender <> ?",
                (place.key, first, upto, _RECEIPTS_AT_ONCE, client),
            )
        ]
        self._stamp("ack_at", place.key, client, first, upto)
        self._stamp("read_at", place.key, client, first, upto)
        return self._in_order(read)

    def marks(self, cid: str, client_ids: Sequence[str] | None = None) -> list[ReadMarks]:
        rows = self._execute(
            "SELECT k.name, x.acked, x.read FROM members x JOIN clients k ON k.id = x.client"
            " WHERE x.conversation = ? ORDER BY x.position",
            (self._key(cid),),
        )
        wanted = None if client_ids is None else set(client_ids)
        return [
            ReadMarks(name, _later(acked, read), read)
            for name, acked, read in rows
            if wanted is None or name in wanted
        ]

    def unread(self, cid: str, client_id: str) -> UnreadRow:
        self._existing(cid)
        (row,) = self.unread_in(client_id, [cid])
        return row

    def unread_in(self, client_id: str, cids: Sequence[str]) -> list[UnreadRow]:
        rows = self._execute(f"SELECT {CONVERSATION}, c.id FROM {AMONG}", self._among(cids))
        found = {row[0]: (row[-1], row) for row in rows}
        return self._unread(client_id, [found[cid] for cid in dict.fromkeys(cids) if cid in found])

    def unread_of(
        self, client_id: str, *, since: int | None = None, limit: int = 50
    ) -> list[UnreadRow]:
        # Own messages move the clock, but change nothing for their sender.
        news = (
            "c.clock > {0} AND EXISTS (SELECT 1 FROM (SELECT m.sender FROM messages m"
            " WHERE m.conversation = c.id AND m.timestamp > max({0}, x.floor)"
            " ORDER BY m.timestamp DESC LIMIT :over) newest WHERE sender <> :client)"
        )
        if since is None:
            condition = news.format("max(coalesce(x.read, 0), x.floor)")
        else:
            condition = f"(x.reckoned_at > :since OR ({news.format(':since')}))"
        rows = self._execute(
            f"SELECT {CONVERSATION}, c.id FROM members x"
            " JOIN conversations c ON c.id = x.conversation"
            f" WHERE x.client = :client AND {condition}"
            " AND (c.expires_at IS NULL OR c.expires_at > :now) ORDER BY c.clock DESC LIMIT :limit",
            {
                "client": self._client(client_id),
                "now": self.now,
                "since": since,
                "limit": limit,
                "over": _COUNTED_OVER,
            },
        )
        return self._unread(client_id, [(row[-1], row) for row in rows])

    def _unread(self, name: str, found: Sequence[tuple[int, Sequence[Any]]]) -> list[UnreadRow]:
        """The unread state of one client in the conversations of these keys and columns."""
        # One number tells count and mention, so that the messages are looked at once.
        counts = dict(
            self._execute(
                "SELECT x.conversation, (SELECT count(*) * 2 + coalesce(max(mentioned), 0) FROM"
                " (SELECT m.mention_all OR (m.mentions IS NOT NULL AND EXISTS (SELECT 1 FROM"
                " json_each(m.mentions) WHERE value = :name)) AS mentioned FROM"
                " (SELECT rowid AS id, sender AS by FROM messages"
                " WHERE conversation = x.conversation"
                " AND timestamp > max(coalesce(x.read, 0), x.floor)"
                " ORDER BY timestamp DESC LIMIT :over) newest JOIN messages m ON m.rowid = newest.id"
                " WHERE newest.by <> x.client LIMIT :most))"
                " FROM json_each(:keys) j JOIN members x ON x.conversation = j.value"
                " AND x.client = :client",
                {
                    "name": name,
                    "client": self._client(name),
                    "keys": json.dumps([key for key, _ in found]),
                    "most": UNREAD_AT_MOST,
                    "over": _COUNTED_OVER,
                },
            ).fetchall()
        )
        conversations = [(counts.get(key, 0), conversation_row(row)) for key, row in found]
        newest = self.last_messages([conversation.id for _, conversation in conversations])
        return [
            UnreadRow(conversation, number // 2, bool(number % 2), newest.get(conversation.id))
            for number, conversation in conversations
        ]

    def _is_member(self, key: int, client: int) -> bool:
        row = self._execute(
            "SELECT 1 FROM members WHERE conversation = ? AND client = ?", (key, client)
        ).fetchone()
        return row is not None

    def _stamp(self, column: str, key: int, client: int, first: int, last: int) -> None:
        """Note on the messages when *the* other member got them, in a conversation of two.

        Elsewhere the column has no meaning, and is not worth the writes.
        """
        (members,) = self._execute(
            "SELECT count(*) FROM (SELECT 1 FROM members WHERE conversation = ? LIMIT 3)", (key,)
        ).fetchone()
        if members > 2:
            return
        self._execute(
            f"UPDATE messages SET {column} = ? WHERE {column} IS NULL AND rowid IN (SELECT rowid"
            " FROM messages WHERE conversation = ? AND timestamp BETWEEN ? AND ?"
            " ORDER BY timestamp DESC LIMIT ?) AND sender <> ?",
            (self.now, key, first, last, _STAMPED_AT_ONCE, client),
        )

    def _in_order(self, keys: Sequence[int]) -> list[MessageRow]:
        rows = (
            self._execute(f"{MESSAGES} WHERE m.rowid = ?", (key,)).fetchone()
            for key in reversed(keys)
        )
        return [message_row(row) for row in rows]


def _later(one: int | None, other: int | None) -> int | None:
    times = [time for time in (one, other) if time is not None]
    return max(times, default=None)
