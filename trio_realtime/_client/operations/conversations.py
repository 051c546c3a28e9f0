"""Creating, finding and changing conversations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar, overload

import attrs

from trio_realtime._client.bound_query import BoundQuery
from trio_realtime._client.operands import (
    ConversationLike,
    client_ids,
    conversation_ids,
    id_of,
    pages_of_ids,
)
from trio_realtime._engine.conversation_cache import updated
from trio_realtime._engine.mapping import (
    attributes_for_create,
    attributes_for_update,
    conversations_from_results,
    part,
)
from trio_realtime._values.checks import checked_flag
from trio_realtime._values.conversations import (
    BaseConversation,
    ChatRoom,
    Conversation,
    ServiceConversation,
    TemporaryConversation,
)
from trio_realtime._values.errors import ConversationNotFound, MalformedReply
from trio_realtime._values.json import decode_date, dump, load_object
from trio_realtime._values.protocol import TEMPORARY_PREFIX
from trio_realtime._values.query import ConversationQuery
from trio_realtime._values.results import MemberChange
from trio_realtime._values.times import checked_seconds, utc_now
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    GenericCommand,
    JsonObjectMessage,
    OpType,
)

from .base import Operations

C = TypeVar("C", bound=BaseConversation)


class ConversationOperations(Operations):
    """Conversations."""

    # Creating.

    async def create_conversation(
        self,
        members: Iterable[str],
        *,
        name: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        unique: bool = True,
    ) -> Conversation:
        """Create a conversation with these members, and this client.

        One that is not unique is asked for once, when there is a connection: if that breaks
        before the answer, `ConnectionLost` says that it is not known whether there is one.

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

        Protocol: docs/protocol/conversations.md §2.
        """
        checked_flag(unique, "unique")
        everybody = sorted({*client_ids(members), self._session.client_id})
        started = await self._start(
            ConvCommand(m=everybody, unique=unique), name, attributes, retry=unique
        )
        if started.existing:
            found = await self.get_conversation(started.cid or "", refresh=True)
            if isinstance(found, Conversation):
                return found
        return self._created(
            Conversation,
            started,
            name,
            attributes,
            members=everybody,
            unique=unique,
            unique_id=started.unique_id or None,
        )

    async def create_chat_room(
        self, *, name: str | None = None, attributes: Mapping[str, Any] | None = None
    ) -> ChatRoom:
        """Create a chat room, and enter it.

        It is asked for once, when there is a connection: if that breaks before the answer,
        `ConnectionLost` says that it is not known whether there is one.

        Args:
            name: what to call it.
            attributes: anything that can be expressed in JSON.

        Raises:
            RealtimeError: the server refused, or could not be reached.

        Protocol: docs/protocol/conversations.md §1, §2.
        """
        started = await self._start(
            ConvCommand(m=[self._session.client_id], transient=True, unique=False, temp_conv=False),
            name,
            attributes,
            retry=False,
        )
        return self._created(ChatRoom, started, name, attributes)

    async def create_temporary_conversation(
        self, members: Iterable[str], *, ttl: float | None = None
    ) -> TemporaryConversation:
        """Create a conversation that ends by itself, with these members and this client.

        Args:
            members: client ids, at most 10 with this client.
            ttl: seconds until it ends; None: the server decides (a day).

        Raises:
            ConversationFull: too many members.
            RealtimeError: the server refused otherwise, or could not be reached.

        Protocol: docs/protocol/conversations.md §1, §2.
        """
        everybody = sorted({*client_ids(members), self._session.client_id})
        conv = ConvCommand(m=everybody, unique=True, temp_conv=True)
        if ttl is not None:
            if checked_seconds(ttl, "ttl") >= 2**31:
                raise ValueError(f"no conversation ends in {ttl} seconds")
            conv.temp_conv_ttl = math.ceil(ttl)
        started = await self._start(conv, None, None, retry=True)
        expires_at = None
        if started.temp_conv_ttl is not None:
            expires_at = datetime.fromtimestamp(utc_now().timestamp() + started.temp_conv_ttl, UTC)
        return self._created(
            TemporaryConversation, started, None, None, members=everybody, expires_at=expires_at
        )

    async def _start(
        self,
        conv: ConvCommand,
        name: str | None,
        attributes: Mapping[str, Any] | None,
        *,
        retry: bool,
    ) -> ConvCommand:
        session = self._session
        attr = attributes_for_create(name, attributes or {})
        conv.attr = JsonObjectMessage(data=dump(attr))
        await session.authentication.sign_conversation(conv, None, conv.m, "create")
        # A repeated command finds the unique conversation that the first one made.
        reply = await session.request(
            GenericCommand(cmd=CommandType.CONV, op=OpType.START, conv_message=conv),
            repeat="always" if retry else "unsent",
        )
        started = part(reply, reply.conv_message)
        if not started.cid:
            raise MalformedReply("a conversation was created without an id")
        return started

    def _created(
        self,
        kind: type[C],
        started: ConvCommand,
        name: str | None,
        attributes: Mapping[str, Any] | None,
        **fields: Any,
    ) -> C:
        created_at = decode_date(started.cdate)
        conversation = kind(
            started.cid or "",
            name=name,
            creator=self._session.client_id,
            created_at=created_at,
            updated_at=created_at,
            attributes=dict(attributes or {}),
            **fields,
        )
        self._session.conversations.put(conversation)
        return conversation

    # Finding.

    async def get_conversation(
        self, conversation_id: str, *, refresh: bool = False
    ) -> BaseConversation | None:
        """The conversation with this id, of whatever kind, or None if there is none.

        A conversation that is known already is returned as this client last saw it.

        Args:
            conversation_id: which one.
            refresh: ask the server even if it is known.

        Raises:
            RealtimeError: the server refused, or could not be reached.

        Protocol: docs/protocol/conversations.md §3.
        """
        return (await self.get_conversations([conversation_id], refresh=refresh))[0]

    async def get_conversations(
        self, ids: Iterable[str], *, refresh: bool = False
    ) -> list[BaseConversation | None]:
        """The conversations with these ids, in the order asked; None for those that are not.

        Args:
            ids: which ones; any number, temporary ones among them.
            refresh: ask the server even for those that are known.

        Raises:
            RealtimeError: the server refused, or could not be reached.

        Protocol: docs/protocol/conversations.md §3.
        """
        wanted = conversation_ids(ids)
        cache = self._session.conversations
        missing = [cid for cid in dict.fromkeys(wanted) if refresh or cache.get(cid) is None]
        temporary = [cid for cid in missing if cid.startswith(TEMPORARY_PREFIX)]
        stored = [cid for cid in missing if not cid.startswith(TEMPORARY_PREFIX)]
        found: dict[str, BaseConversation] = {}
        for some in pages_of_ids(stored):
            condition: Any = some[0] if len(some) == 1 else {"$in": some}
            where = JsonObjectMessage(data=dump({"objectId": condition}))
            for one in await self._query(ConvCommand(limit=len(some), where=where)):
                found[one.id] = one
        for some in pages_of_ids(temporary):
            for one in await self._query(ConvCommand(limit=len(some), temp_conv_ids=some)):
                found[one.id] = one
        for cid in missing:
            if cid not in found:
                cache.forget(cid)
        return [found.get(cid) or cache.get(cid) for cid in wanted]

    @overload
    def query(self, query: BoundQuery[C]) -> BoundQuery[C]: ...

    @overload
    def query(self, query: ConversationQuery | None = None) -> BoundQuery[BaseConversation]: ...

    def query(self, query: ConversationQuery | None = None) -> BoundQuery[Any]:
        """Look for conversations: build the query, then ``find()`` or iterate over it.

        Without a condition it finds the conversations of which this client is a member.

        Args:
            query: one that was built without a client, or pickled, to be asked by this one.

        Protocol: docs/protocol/conversations.md §3.
        """
        found: BoundQuery[Any] = BoundQuery(run=self._run_query)
        if query is None:
            return found
        if not isinstance(query, ConversationQuery):
            raise TypeError(f"expected a ConversationQuery, not {query!r}")
        return attrs.evolve(
            found,
            where=query.where,
            order=query.order,
            page_size=query.page_size,
            offset=query.offset,
            flag=query.flag,
        )

    def query_chat_rooms(self) -> BoundQuery[ChatRoom]:
        """Look for chat rooms. Protocol: docs/protocol/conversations.md §1, §3."""
        return BoundQuery(run=self._run_query).equal_to("tr", value=True)

    def query_service_conversations(self) -> BoundQuery[ServiceConversation]:
        """Look for service conversations. Protocol: docs/protocol/conversations.md §1, §3."""
        return BoundQuery(run=self._run_query).equal_to("sys", value=True)

    async def _run_query(self, query: ConversationQuery) -> Sequence[BaseConversation]:
        conv = ConvCommand(
            sort=query.sort,
            limit=query.page_size,
            skip=query.offset or None,
            flag=query.flag,
            where=JsonObjectMessage(data=dump(query.where_json())),
        )
        return await self._query(conv, complete=not query.flag & 1)

    async def _query(self, conv: ConvCommand, *, complete: bool = True) -> list[BaseConversation]:
        session = self._session
        reply = await session.request(
            GenericCommand(cmd=CommandType.CONV, op=OpType.QUERY, conv_message=conv)
        )
        answer = part(reply, reply.conv_message)
        results = answer.results.data if answer.results is not None else None
        found = conversations_from_results(
            results or "[]", utc_now(), session.registry, session.client_id
        )
        for position, one in enumerate(found):
            known = session.conversations.get(one.id)
            merged = one if known is None else _kept(one, known)
            found[position] = session.conversations.counted(merged)
            if complete:
                session.conversations.put(found[position])
        return found

    # Changing.

    @overload
    async def update_conversation(
        self,
        conversation: C | MemberChange[C],
        changes: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        delete: Iterable[str] = (),
        increment: Mapping[str, float] | None = None,
    ) -> C: ...

    @overload
    async def update_conversation(
        self,
        conversation: str,
        changes: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        delete: Iterable[str] = (),
        increment: Mapping[str, float] | None = None,
    ) -> BaseConversation: ...

    async def update_conversation(
        self,
        conversation: ConversationLike,
        changes: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        delete: Iterable[str] = (),
        increment: Mapping[str, float] | None = None,
    ) -> BaseConversation:
        """Change the name and attributes; returns the new snapshot.

        Args:
            conversation: by value or by id.
            changes: new values by attribute; a dotted path reaches into an object.
            name: the new name.
            delete: attributes, or dotted paths, to remove.
            increment: numbers to add to attributes. It is sent once, when there is a
                connection: if that breaks before the answer, `ConnectionLost` says that it is
                not known whether they were added.

        Raises:
            MembershipRequired: not a member.
            ConversationNotFound: no such conversation.
            RejectedByApp: a hook of the application refused.
            ValueError: nothing is changed, or something that an update cannot change.
            RealtimeError: the server refused otherwise, or could not be reached.

        Protocol: docs/protocol/conversations.md §4.
        """
        for what, given in ("changes", changes), ("increment", increment):
            if given is not None and not isinstance(given, Mapping):
                raise TypeError(f"{what} is a mapping of attributes, not {given!r}")
        if isinstance(delete, str) or not isinstance(delete, Iterable):
            raise TypeError(f"delete names several attributes, in a list: not {delete!r}")
        wanted: dict[str, Any] = dict(changes or {})
        if name is not None:
            wanted["name"] = name
        wanted |= {key: {"__op": "Delete"} for key in delete}
        wanted |= {
            key: {"__op": "Increment", "amount": amount}
            for key, amount in (increment or {}).items()
        }
        attr = JsonObjectMessage(data=dump(attributes_for_update(wanted)))
        cid = id_of(conversation)
        # An increment must not be counted twice.
        reply = await self._conv(OpType.UPDATE, ConvCommand(cid=cid, attr=attr), not increment)
        before = await self._known(conversation)
        modified = load_object(reply.attr_modified.data or "") if reply.attr_modified else None
        fields = updated(before, wanted if modified is None else {**wanted, **modified})
        if modified is not None:
            plain = {
                key: value
                for key, value in modified.items()
                if not (isinstance(value, Mapping) and "__op" in value)
            }
            removed = {key: {"__op": "Delete"} for key in delete}
            fields = updated(before, {**removed, **plain})
        return self._remember(attrs.evolve(before, **fields), reply)

    @overload
    async def mute(self, conversation: C | MemberChange[C]) -> C: ...

    @overload
    async def mute(self, conversation: str) -> BaseConversation: ...

    async def mute(self, conversation: ConversationLike) -> BaseConversation:
        """Do not disturb: no push notifications from here; returns the new snapshot.

        Raises:
            RealtimeError: the server refused, or could not be reached.

        Protocol: docs/protocol/conversations.md §5.2.
        """
        return await self._mute(conversation, OpType.MUTE, muted=True)

    @overload
    async def unmute(self, conversation: C | MemberChange[C]) -> C: ...

    @overload
    async def unmute(self, conversation: str) -> BaseConversation: ...

    async def unmute(self, conversation: ConversationLike) -> BaseConversation:
        """Get push notifications again; returns the new snapshot.

        Raises:
            RealtimeError: the server refused, or could not be reached.

        Protocol: docs/protocol/conversations.md §5.2.
        """
        return await self._mute(conversation, OpType.UNMUTE, muted=False)

    async def _mute(
        self, conversation: ConversationLike, op: OpType, *, muted: bool
    ) -> BaseConversation:
        reply = await self._conv(op, ConvCommand(cid=id_of(conversation)))
        before = await self._known(conversation)
        others = [one for one in before.muted_members if one != self._session.client_id]
        if muted:
            others.append(self._session.client_id)
        return self._remember(attrs.evolve(before, muted=muted, muted_members=others), reply)

    # What the operations on members share.

    async def _conv(self, op: OpType, conv: ConvCommand, retry: bool = True) -> ConvCommand:
        reply = await self._session.request(
            GenericCommand(cmd=CommandType.CONV, op=op, conv_message=conv),
            repeat="always" if retry else "unsent",
        )
        return part(reply, reply.conv_message)

    async def _known(self, conversation: ConversationLike) -> BaseConversation:
        """The latest snapshot of a conversation; asks for it if there is none."""
        known = self._session.conversations.get(id_of(conversation))
        if isinstance(conversation, MemberChange):
            conversation = conversation.conversation
        if known is None and isinstance(conversation, BaseConversation):
            known = conversation
        if known is None:
            known = await self.get_conversation(id_of(conversation), refresh=True)
        if known is None:
            raise ConversationNotFound(4303, detail=f"there is no conversation {conversation!r}")
        return known

    def _remember(self, conversation: BaseConversation, reply: ConvCommand) -> BaseConversation:
        at = decode_date(reply.udate)
        if at is not None:
            conversation = attrs.evolve(conversation, updated_at=at)
        self._session.conversations.put(conversation)
        return conversation


def _kept(found: BaseConversation, known: BaseConversation) -> BaseConversation:
    """What the server's answer does not say stays as it is known."""
    fields: dict[str, Any] = {
        "last_delivered_at": known.last_delivered_at,
        "last_read_at": known.last_read_at,
    }
    if found.last_message is None:
        fields["last_message"] = known.last_message
    return attrs.evolve(found, **fields)
