"""Changing and taking back messages."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar, overload

import attrs

from trio_realtime._client.operands import (
    MAX_CONVERSATION_ID,
    ConversationLike,
    client_ids,
    id_of,
    message_of,
)
from trio_realtime._client.sending import uploaded
from trio_realtime._engine.mapping import part
from trio_realtime._values.events import MessageRecalled, MessageUpdated
from trio_realtime._values.messages import BaseMessage, MessageStatus, with_envelope
from trio_realtime._values.texts import checked_id, encodable
from trio_realtime._values.times import ms_from_datetime
from trio_realtime._values.typed_messages import RecalledMessage, TextMessage
from trio_realtime.wire import CommandType, GenericCommand, OpType, PatchCommand, PatchItem

from .base import Operations

M = TypeVar("M", bound=BaseMessage)

__all__ = ["MessageRef"]


@attrs.frozen
class MessageRef:
    """Names a message that is not at hand."""

    conversation: ConversationLike
    """Where it was sent, by value or by id."""
    id: str
    """Its id."""
    timestamp: datetime
    """Its time, to the millisecond."""


class EditOperations(Operations):
    """Edit and recall."""

    @overload
    async def edit(self, original: BaseMessage | MessageRef, replacement: M) -> M: ...

    @overload
    async def edit(self, original: BaseMessage | MessageRef, replacement: str) -> TextMessage: ...

    async def edit(
        self, original: BaseMessage | MessageRef, replacement: BaseMessage | str
    ) -> BaseMessage:
        """Replace the content of a message this client has sent.

        Args:
            original: the message as it was sent or received, or its reference.
            replacement: the new content, a text for a `TextMessage`; its mentions count, and its
                files are uploaded.

        Returns:
            The replacement with the id, place and time of the original.

        Raises:
            MessageOwnershipRequired: somebody else sent it.
            MessageNotFound: there is no such message.
            MessageTooLarge: it does not fit into one command; nothing was sent.
            RejectedByApp: a hook of the application refused.
            RealtimeError: the server refused otherwise, or could not be reached.

        Protocol: docs/protocol/messages.md §8.
        """
        content = await uploaded(self._session, message_of(replacement))
        body = content.payload()
        item = PatchItem(
            recall=False,
            data=encodable(body, "the text of a message") if isinstance(body, str) else None,
            binary_msg=None if isinstance(body, str) else body,
            mention_all=content.mention_all,
            mention_pids=client_ids(content.mentions),
        )
        edited = with_envelope(content, await self._patch(original, item))
        self._session.conversations.follow(MessageUpdated(edited.conversation_id, edited))
        return edited

    async def recall(self, original: BaseMessage | MessageRef) -> RecalledMessage:
        """Take back a message this client has sent. Arguments and errors as in `edit`.

        Protocol: docs/protocol/messages.md §8.
        """
        fields = await self._patch(original, PatchItem(recall=True))
        recalled = RecalledMessage(**fields)
        self._session.conversations.follow(MessageRecalled(recalled.conversation_id, recalled))
        return recalled

    async def _patch(self, original: BaseMessage | MessageRef, item: PatchItem) -> dict[str, Any]:
        cid, item.mid, item.timestamp = _named(original)
        item.cid = cid
        reply = await self._session.request(
            GenericCommand(
                cmd=CommandType.PATCH, op=OpType.MODIFY, patch_message=PatchCommand(patches=[item])
            )
        )
        patched = part(reply, reply.patch_message)
        return {
            "id": item.mid,
            "conversation_id": cid,
            "sender": self._session.client_id,
            "timestamp_ms": item.timestamp,
            "updated_at_ms": patched.last_patch_time or item.timestamp,
            "status": MessageStatus.SENT,
        }


def _named(original: BaseMessage | MessageRef) -> tuple[str, str, int]:
    if isinstance(original, MessageRef):
        mid = checked_id(original.id, "a message id", MAX_CONVERSATION_ID)
        return id_of(original.conversation), mid, ms_from_datetime(original.timestamp)
    if not isinstance(original, BaseMessage):
        raise TypeError(f"expected a message or a MessageRef, not {original!r}")
    if not original.id:
        raise ValueError("a message that was never sent cannot be changed: send it")
    return original.conversation_id, original.id, original.timestamp_ms
