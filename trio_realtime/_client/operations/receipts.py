"""What was read: by this client, and by others."""

from __future__ import annotations

from datetime import datetime

import attrs

from trio_realtime._client.operands import ConversationLike, id_of
from trio_realtime._engine.mapping import part
from trio_realtime._engine.unread import Unread
from trio_realtime._values.times import optional_datetime
from trio_realtime.wire import CommandType, ConvCommand, GenericCommand, OpType

from .base import Operations

__all__ = ["ReadState"]


@attrs.frozen
class ReadState:
    """How far a member has come in a conversation."""

    delivered_at: datetime | None = None
    """Messages up to this time have been received; None: none."""
    read_at: datetime | None = None
    """Messages up to this time have been read; None: none."""


class ReceiptOperations(Operations):
    """Read marks, unread counts, receipts."""

    def unread(self, conversation: ConversationLike) -> Unread:
        """How many messages of a conversation this client has not read, as far as it knows.

        The server's counts arrive after the login as `UnreadUpdated` events.

        Protocol: docs/protocol/messages.md §5.
        """
        return self._session.unread.of(id_of(conversation))

    def unread_conversations(self) -> dict[str, Unread]:
        """The conversations with unread messages, by id.

        Protocol: docs/protocol/messages.md §5.
        """
        return self._session.unread.all()

    async def read(self, *conversations: ConversationLike) -> None:
        """Mark everything in these conversations as read, on all devices of the user.

        Returns when the marks are queued; they leave at most once a second, and after a
        broken connection when it is restored. Senders who asked for receipts are told.

        Protocol: docs/protocol/messages.md §5.
        """
        await self._session.mark_read([id_of(conversation) for conversation in conversations])

    async def fetch_receipts(self, conversation: ConversationLike) -> dict[str, ReadState]:
        """How far the other members have received and read a conversation, by client id.

        Members of whom nothing is known are left out.

        Raises:
            MembershipRequired: not a member.
            RealtimeError: the server refused otherwise, or could not be reached.

        Protocol: docs/protocol/conversations.md §5.2.
        """
        cid = id_of(conversation)
        reply = await self._session.request(
            GenericCommand(
                cmd=CommandType.CONV,
                op=OpType.MAX_READ,
                conv_message=ConvCommand(cid=cid, query_all_members=True),
            )
        )
        states = {
            one.pid or "": ReadState(
                optional_datetime(one.max_ack_timestamp or None),
                optional_datetime(one.max_read_timestamp or None),
            )
            for one in part(reply, reply.conv_message).max_read_tuples
        }
        cache = self._session.conversations
        known = cache.get(cid)
        if known is not None and len(known.members) == 2 and len(states) == 1:
            (state,) = states.values()
            cache.put(
                attrs.evolve(
                    known, last_delivered_at=state.delivered_at, last_read_at=state.read_at
                )
            )
        return states
