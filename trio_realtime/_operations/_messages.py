"""Reading back what was said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from trio_realtime._conversations import BaseConversation
from trio_realtime._mapping import message_from_log_item
from trio_realtime._messages import BaseMessage
from trio_realtime.wire import (
    CommandType,
    GenericCommand,
    LogsCommand,
    QueryDirection,
)

from ._base import Operations, id_of, part

M = TypeVar("M", bound=BaseMessage)


class MessageOperations(Operations):
    """History."""

    async def history(
        self,
        conversation: BaseConversation | str,
        *,
        oldest_first: bool = False,
        page_size: int = 100,
    ) -> AsyncIterator[BaseMessage]:
        """Walk through all messages of a conversation, newest first or oldest first.

        Asks the server for pages as needed. Messages that arrive meanwhile do not disturb:
        none is skipped or repeated.

        Raises:
            MembershipRequired: not a member.
            RealtimeError: the server refused otherwise, or could not be reached.

        Protocol: messages.md §7.
        """
        cid = id_of(conversation)
        start: BaseMessage | None = None
        while True:
            page = await self._page(cid, start, newer=oldest_first, limit=page_size)
            for message in page if oldest_first else reversed(page):
                yield message
            if len(page) < page_size:
                return
            start = page[-1] if oldest_first else page[0]

    async def _page(
        self, cid: str, start: BaseMessage | None, *, newer: bool, limit: int
    ) -> Sequence[BaseMessage]:
        logs = LogsCommand(cid=cid, l=limit)
        if start is not None:
            logs.t = start.timestamp_ms
            logs.mid = start.id
        logs.direction = QueryDirection.NEW if newer else QueryDirection.OLD
        reply = await self._session.request(GenericCommand(cmd=CommandType.LOGS, logs_message=logs))
        session = self._session
        return [
            message_from_log_item(item, cid, session.registry, session.client_id)
            for item in part(reply, reply.logs_message).logs
        ]
