"""Creating and finding conversations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from trio_realtime._conversations import BaseConversation, Conversation
from trio_realtime._errors import MalformedReply
from trio_realtime._json import decode_date, dump
from trio_realtime._mapping import attributes_for_create, conversations_from_results
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    GenericCommand,
    JsonObjectMessage,
    OpType,
)

from ._base import Operations, client_ids, part


class ConversationOperations(Operations):
    """Conversations."""

    async def create_conversation(
        self,
        members: Iterable[str],
        *,
        name: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        unique: bool = True,
    ) -> Conversation:
        """Create a conversation with these members, and this client.

        Args:
            members: client ids; this client need not be named.
            name: what to call it.
            attributes: anything that can be expressed in JSON.
            unique: if a unique conversation with exactly these members exists already,
                return that one, unchanged.

        Raises:
            RejectedByApp: a hook of the application refused.
            SignatureFailed: the application demands a signature.
            RealtimeError: the server refused otherwise, or could not be reached.

        Protocol: conversations.md §2.
        """
        everybody = sorted({*client_ids(members), self._session.client_id})
        attr = attributes_for_create(name, attributes or {})
        reply = await self._session.request(
            GenericCommand(
                cmd=CommandType.CONV,
                op=OpType.START,
                conv_message=ConvCommand(
                    m=everybody, unique=unique, attr=JsonObjectMessage(data=dump(attr))
                ),
            ),
            # A repeated command finds the unique conversation that the first one made.
            retry=unique,
        )
        started = part(reply, reply.conv_message)
        if not started.cid:
            raise MalformedReply("a conversation was created without an id")
        if started.existing:
            found = await self.get_conversation(started.cid)
            if isinstance(found, Conversation):
                return found
        created_at = decode_date(started.cdate)
        conversation = Conversation(
            started.cid,
            name=name,
            members=everybody,
            creator=self._session.client_id,
            created_at=created_at,
            updated_at=created_at,
            attributes=dict(attributes or {}),
            unique=unique,
            unique_id=started.unique_id or None,
        )
        self._session.conversations[conversation.id] = conversation
        return conversation

    async def get_conversation(
        self, conversation_id: str, *, refresh: bool = False
    ) -> BaseConversation | None:
        """The conversation with this id, or None if there is none.

        A conversation that is known already is returned as it was last seen.

        Args:
            conversation_id: which one.
            refresh: ask the server even if it is known.

        Raises:
            RealtimeError: the server refused, or could not be reached.

        Protocol: conversations.md §3.
        """
        if not refresh and (known := self._session.conversations.get(conversation_id)) is not None:
            return known
        conv = ConvCommand(limit=1)
        if conversation_id.startswith("_tmp:"):
            conv.temp_conv_ids = [conversation_id]
        else:
            conv.where = JsonObjectMessage(data=dump({"objectId": conversation_id}))
        reply = await self._session.request(
            GenericCommand(cmd=CommandType.CONV, op=OpType.QUERY, conv_message=conv)
        )
        answer = part(reply, reply.conv_message)
        results = answer.results.data if answer.results is not None else None
        session = self._session
        for found in conversations_from_results(
            results or "[]", datetime.now(UTC), session.registry, session.client_id
        ):
            session.conversations[found.id] = found
        return session.conversations.get(conversation_id)
