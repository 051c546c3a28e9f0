"""Lines: what a service says to one client alone.

A line is a conversation of its own, with the client for its one member, so that whatever is kept
of conversations (what was received, read, edited) is kept of lines too. Its id is a secret of the
store: nobody else can name it, and clients know it as its service.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence

from msgspec import structs

from trio_realtime.server.store.ids import copy_id, message_id
from trio_realtime.server.store.interface import Kind, MessageRow, NewMessage

from .messages import Messages

PREFIX = "_line:"


class Lines(Messages):
    """The operations of a transaction on lines."""

    def append_to_lines(
        self, cid: str, client_ids: Sequence[str], message: NewMessage
    ) -> list[MessageRow]:
        timestamp, sender = self.next_timestamp(cid), self._any_client(message.sender)
        row = MessageRow(
            id=message.id or message_id(),
            conversation_id=cid,
            kind=Kind.SERVICE,
            sender=message.sender,
            timestamp=timestamp,
            body=message.body,
            mentions=message.mentions,
            mention_all=message.mention_all,
            push_data=message.push_data,
            lctype=message.lctype,
            address=message.address,
        )
        copies = [
            structs.replace(
                row, id=copy_id(row.id, client_id) if number else row.id, receiver=client_id
            )
            for number, client_id in enumerate(dict.fromkeys(client_ids))
        ]
        for copy in copies:
            line = self._existing(self.open_line(cid, copy.receiver or ""))
            self._insert(line.key, sender, None, copy)
            # By the time of its last change the liveliest are found.
            self._execute(
                "UPDATE conversations SET clock = ?, updated_at = ? WHERE id = ?",
                (timestamp, self.now, line.key),
            )
        self._places.clear()
        return copies

    def lines(self, client_id: str, cids: Sequence[str]) -> dict[str, str]:
        rows = self._execute(
            "SELECT c.service, c.cid FROM json_each(?) j JOIN conversations c"
            " ON c.app = ? AND c.service = j.value AND c.creator = ?",
            (json.dumps(list(dict.fromkeys(cids))), self._app, client_id),
        )
        return dict(rows.fetchall())

    def open_line(self, cid: str, client_id: str) -> str:
        self._existing(cid)
        found = self.lines(client_id, [cid])
        if found:
            return found[cid]
        line = PREFIX + secrets.token_hex(16)
        key = self._execute(
            "INSERT INTO conversations (app, cid, kind, creator, attributes, created_at,"
            " updated_at, service) VALUES (?, ?, ?, ?, '{}', ?, ?, ?)",
            (self._app, line, Kind.SERVICE, client_id, self.now, self.now, cid),
        ).lastrowid
        self._execute(
            "INSERT INTO members (conversation, position, client, joined_at, floor)"
            " VALUES (?, 1, ?, ?, ?)",
            # What is said now is unread, what was imported is not.
            (key, self._any_client(client_id), self.now, self.now - 1),
        )
        return line
