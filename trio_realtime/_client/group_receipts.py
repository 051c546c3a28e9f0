"""Who has read what in a group, told by the members themselves.

The server tells senders of two-person conversations when a message was read. In groups members
say so to each other, in transient messages that no application sees.
Protocol: docs/protocol/live-query-and-plugins.md §3.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

import attrs

from trio_realtime._values.conversations import BaseConversation, ChatRoom
from trio_realtime._values.events import ConversationEvent
from trio_realtime._values.messages import BaseMessage, SendOptions
from trio_realtime._values.results import MemberChange
from trio_realtime._values.times import utc_now
from trio_realtime._values.typed_messages import TypedMessage, date_field, message_type

from .im_client import IMClient
from .operands import ConversationLike, id_of
from .plugin import Plugin

__all__ = ["GroupRead", "GroupReceipts"]


@attrs.frozen
class GroupRead(ConversationEvent):
    """A member of a group has read it. In the JavaScript plugin: ``lastreadtimestampsupdate``."""

    by: str
    """Client id of the member."""
    at: datetime
    """Server time; messages up to then were read."""


@message_type(-101)
@attrs.frozen(kw_only=True, slots=False)
class _ReadMark(TypedMessage):
    """What a reader says to the group."""

    send_options: ClassVar[SendOptions] = SendOptions(transient=True)

    at: datetime | None = date_field(name="timestamp", default=None)  # noqa: RUF009 - an attrs field


class GroupReceipts:
    """Read receipts in groups, for one client; understood by the JavaScript plugin.

    ::

        receipts = GroupReceipts()
        async with open_client("Tom", plugins=[receipts.plugin], ...) as tom:
            await receipts.read(group)
            async for event in tom.events(GroupRead):
                print(event.by, "has read everything until", event.at)

    `IMClient.fetch_receipts` says how far the members had come before.

    Protocol: docs/protocol/live-query-and-plugins.md §3.
    """

    def __init__(self) -> None:
        self._client: IMClient | None = None
        self._early: list[GroupRead] = []
        """What came with the login, before there was a client to publish it."""
        self.plugin: Plugin = Plugin(
            name="group-receipts",
            message_types=[_ReadMark],
            before_message_dispatch=self._keep,
            on_client_create=self._attach,
        )
        """To be passed to ``open_client(plugins=[...])``."""

    async def read(self, *conversations: ConversationLike) -> None:
        """Mark conversations as read as `IMClient.read` does, and tell the members of groups.

        Raises:
            RuntimeError: no client was opened with the plugin.
            RealtimeError: the server refused, or could not be reached.
        """
        client = self._client
        if client is None:
            raise RuntimeError("open a client with plugins=[receipts.plugin] first")
        await client.read(*conversations)
        for one in conversations:
            known = one.conversation if isinstance(one, MemberChange) else one
            conversation = known if isinstance(known, BaseConversation) and known.members else None
            if conversation is None:
                conversation = await client.get_conversation(id_of(one))
            if conversation is not None and _is_group(conversation):
                await client.send(conversation, _ReadMark(at=utc_now()))

    def _attach(self, client: IMClient) -> None:
        self._client = client
        early, self._early = self._early, []
        for event in early:
            client.publish(event)

    def _keep(self, message: BaseMessage) -> bool:
        """Turn a mark into an event; all other messages pass."""
        if not isinstance(message, _ReadMark):
            return True
        event = GroupRead(message.conversation_id, message.sender, message.timestamp)
        if self._client is None:
            self._early.append(event)
        else:
            self._client.publish(event)
        return False


def _is_group(conversation: BaseConversation) -> bool:
    return not isinstance(conversation, ChatRoom) and len(conversation.members) > 2
