"""Members of conversations: who is in, and who may do what."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, overload

import attrs

from trio_realtime._client.operands import (
    ConversationLike,
    checked_page_size,
    client_ids,
    conversation_ids,
    id_of,
    pages_of_ids,
)
from trio_realtime._engine.mapping import member_info_from_json, partial_result
from trio_realtime._values.conversations import (
    BaseConversation,
    Conversation,
    MemberInfo,
    Role,
    ServiceConversation,
)
from trio_realtime._values.errors import MalformedReply, OwnerPromotionNotAllowed
from trio_realtime._values.json import load_object
from trio_realtime._values.results import MemberChange
from trio_realtime.wire import ConvCommand, ConvMemberInfo, OpType

from .conversations import ConversationOperations

C = TypeVar("C", bound=BaseConversation)

MEMBER_INFOS_PAGE = 1000


class MemberOperations(ConversationOperations):
    """Membership and roles."""

    @overload
    async def add_members(
        self, conversation: C | MemberChange[C], members: Iterable[str]
    ) -> MemberChange[C]: ...

    @overload
    async def add_members(
        self, conversation: str, members: Iterable[str]
    ) -> MemberChange[BaseConversation]: ...

    async def add_members(
        self, conversation: ConversationLike, members: Iterable[str]
    ) -> MemberChange[Any]:
        """Add clients to a conversation.

        Some of them may fail while others succeed: look at the result's ``failures``. Its
        ``conversation`` is the new snapshot, and operations take the result itself as well:
        ``chat = await tom.add_members(chat, ["Mary"])``.

        Raises:
            ConversationFull: there is no room for any of them.
            BlockedError: the conversation blocks all of them.
            MembershipRequired: this client is not a member.
            NothingSucceeded: all failed, for several reasons.
            RealtimeError: the server refused otherwise, or could not be reached.

        Protocol: docs/protocol/conversations.md §5.1.
        """
        return await self._change(conversation, client_ids(members), OpType.ADD, "invite")

    @overload
    async def remove_members(
        self, conversation: C | MemberChange[C], members: Iterable[str]
    ) -> MemberChange[C]: ...

    @overload
    async def remove_members(
        self, conversation: str, members: Iterable[str]
    ) -> MemberChange[BaseConversation]: ...

    async def remove_members(
        self, conversation: ConversationLike, members: Iterable[str]
    ) -> MemberChange[Any]:
        """Remove clients from a conversation; see `add_members` for partial success.

        Raises:
            OperationUnauthorized: this client's role is too low.
            RealtimeError: the server refused otherwise, or could not be reached.

        Protocol: docs/protocol/conversations.md §5.1.
        """
        return await self._change(conversation, client_ids(members), OpType.REMOVE, "kick")

    @overload
    async def join(self, conversation: C | MemberChange[C]) -> C: ...

    @overload
    async def join(self, conversation: str) -> BaseConversation: ...

    async def join(self, conversation: ConversationLike) -> BaseConversation:
        """Become a member of a conversation, or enter a chat room; returns the new snapshot.

        Raises:
            ConversationFull: there is no room.
            BlockedError: the conversation blocks this client.
            RealtimeError: the server refused otherwise, or could not be reached.

        Protocol: docs/protocol/conversations.md §1, §5.1.
        """
        me = [self._session.client_id]
        return (await self._change(conversation, me, OpType.ADD, "invite")).conversation

    @overload
    async def quit(self, conversation: C | MemberChange[C]) -> C: ...

    @overload
    async def quit(self, conversation: str) -> BaseConversation: ...

    async def quit(self, conversation: ConversationLike) -> BaseConversation:
        """Leave a conversation or a chat room; returns the new snapshot.

        Raises:
            CommandError: the owner may not leave (4324).
            RealtimeError: the server refused otherwise, or could not be reached.

        Protocol: docs/protocol/conversations.md §5.1.
        """
        me = [self._session.client_id]
        left = (await self._change(conversation, me, OpType.REMOVE, "kick")).conversation
        # No push says so of a chat room, and a link that breaks now would hide it.
        self._session.delivery.left(left.id)
        return left

    @overload
    async def subscribe(self, conversation: C | MemberChange[C]) -> C: ...

    @overload
    async def subscribe(self, conversation: str) -> BaseConversation: ...

    async def subscribe(self, conversation: ConversationLike) -> BaseConversation:
        """Subscribe to a service conversation; returns the new snapshot. See `join`."""
        return await self.join(conversation)

    @overload
    async def unsubscribe(self, conversation: C | MemberChange[C]) -> C: ...

    @overload
    async def unsubscribe(self, conversation: str) -> BaseConversation: ...

    async def unsubscribe(self, conversation: ConversationLike) -> BaseConversation:
        """Unsubscribe from a service conversation; returns the new snapshot. See `quit`."""
        return await self.quit(conversation)

    async def _change(
        self, conversation: ConversationLike, targets: list[str], op: OpType, action: str
    ) -> MemberChange[BaseConversation]:
        cid = id_of(conversation)
        conv = ConvCommand(m=targets, cid=cid)
        await self._session.authentication.sign_conversation(conv, cid, targets, action)
        reply = await self._conv(op, conv)
        result = partial_result(reply).checked()
        before = await self._known(conversation)
        after = before
        if isinstance(before, Conversation):
            changed = set(result.succeeded)
            members = [one for one in before.members if one not in changed]
            if op == OpType.ADD:
                members = list(dict.fromkeys((*before.members, *result.succeeded)))
            after = attrs.evolve(before, members=members)
        elif (
            isinstance(before, ServiceConversation) and self._session.client_id in result.succeeded
        ):
            after = attrs.evolve(before, joined=op == OpType.ADD)
        return MemberChange(
            result.succeeded, result.failures, conversation=self._remember(after, reply)
        )

    async def count_members(self, conversation: ConversationLike) -> int:
        """How many members there are; for a chat room, how many are in it now.

        Raises:
            RealtimeError: the server refused, or could not be reached.

        Protocol: docs/protocol/conversations.md §5.2.
        """
        reply = await self._conv(OpType.COUNT, ConvCommand(cid=id_of(conversation)))
        if reply.count is None:
            raise MalformedReply("the number of members is missing")
        return reply.count

    async def online_members(self, conversation: ConversationLike, *, limit: int = 50) -> list[str]:
        """Some of the clients that are in a chat room now, at most 50.

        Raises:
            RealtimeError: the server refused, or could not be reached.

        Protocol: docs/protocol/conversations.md §5.2.
        """
        conv = ConvCommand(cid=id_of(conversation), limit=checked_page_size(limit))
        return list((await self._conv(OpType.MEMBERS, conv)).m)

    async def is_member(self, conversations: Iterable[ConversationLike]) -> dict[str, bool]:
        """Of which of these conversations this client is a member or subscriber, by id; any number.

        Raises:
            RealtimeError: the server refused, or could not be reached.

        Protocol: docs/protocol/conversations.md §5.2.
        """
        memberships: dict[str, bool] = {}
        for some in pages_of_ids(dict.fromkeys(conversation_ids(conversations))):
            reply = await self._conv(OpType.IS_MEMBER, ConvCommand(cids=some))
            results = load_object(reply.results.data or "") if reply.results is not None else None
            if results is None:
                raise MalformedReply("the answer about memberships is missing")
            memberships |= {cid: value is True for cid, value in results.items()}
        return memberships

    # Roles.

    async def get_member_infos(self, conversation: ConversationLike) -> dict[str, MemberInfo]:
        """The roles of all members, by client id.

        Raises:
            ConnectFailed: the REST server did not answer properly.
            RealtimeError: the server refused, or could not be reached.

        Protocol: docs/protocol/conversations.md §6.
        """
        known = await self._known(conversation)
        answer = await self._session.rest.get(
            "/1.1/classes/_ConversationMemberInfo",
            {
                "client_id": self._session.client_id,
                "where": {"cid": known.id},
                "limit": str(MEMBER_INFOS_PAGE),
            },
        )
        rows = answer.get("results") if isinstance(answer, dict) else None
        if not isinstance(rows, list):
            raise MalformedReply("the answer about roles is missing")
        infos = {one: MemberInfo(known.id, one) for one in known.members}
        for row in rows:
            info = member_info_from_json(row)
            infos[info.client_id] = info
        if known.creator in infos:
            infos[known.creator] = MemberInfo(known.id, known.creator, Role.OWNER)
        return infos

    async def get_member_info(
        self, conversation: ConversationLike, client_id: str
    ) -> MemberInfo | None:
        """The role of one member; None for who is no member. See `get_member_infos`."""
        (wanted,) = client_ids([client_id])
        return (await self.get_member_infos(conversation)).get(wanted)

    async def set_role(
        self, conversation: ConversationLike, client_id: str, role: Role
    ) -> MemberInfo:
        """Make a member a manager, or an ordinary member again.

        Raises:
            OwnerPromotionNotAllowed: nobody can be made owner; nothing was sent.
            OperationUnauthorized: this client's role is too low.
            RealtimeError: the server refused otherwise, or could not be reached.

        Protocol: docs/protocol/conversations.md §6.
        """
        if not isinstance(role, Role):
            raise TypeError(f"a role is Role.MANAGER or Role.MEMBER, not {role!r}")
        if role is Role.OWNER:
            raise OwnerPromotionNotAllowed
        (client_id,) = client_ids([client_id])
        cid = id_of(conversation)
        await self._conv(
            OpType.MEMBER_INFO_UPDATE,
            ConvCommand(
                cid=cid,
                target_client_id=client_id,
                info=ConvMemberInfo(pid=client_id, role=role.value),
            ),
        )
        return MemberInfo(cid, client_id, role)
