"""Silencing members, and blocking clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import attrs

from trio_realtime._client.operands import (
    ConversationLike,
    checked_page_size,
    client_ids,
    cursor,
    id_of,
    pages_of_ids,
)
from trio_realtime._engine.mapping import part, partial_result
from trio_realtime._values.results import Page, PartialResult
from trio_realtime.wire import BlacklistCommand, CommandType, ConvCommand, GenericCommand, OpType

from .conversations import ConversationOperations

LIST_PAGE = 50
"""Entries of a list asked for at a time while iterating."""


@attrs.define(eq=False)
class _Entries(AsyncIterator[str]):
    """Iterates over a list the server keeps, page by page."""

    _page: Callable[[str | None], Awaitable[Page[str]]]
    _items: list[str] = attrs.field(factory=list, init=False)
    _next: str | None = attrs.field(default=None, init=False)
    _begun: bool = attrs.field(default=False, init=False)

    async def __anext__(self) -> str:
        while not self._items:
            if self._begun and self._next is None:
                raise StopAsyncIteration
            page = await self._page(self._next)
            self._begun, self._next = True, page.next
            self._items = list(reversed(page.items))
        return self._items.pop()


class ModerationOperations(ConversationOperations):
    """Silence list and block list of a conversation."""

    # The silence list: who may read but not send. Protocol: docs/protocol/conversations.md §7.

    async def silence_members(
        self, conversation: ConversationLike, members: Iterable[str]
    ) -> PartialResult:
        """Forbid members to send; they may still read.

        Raises:
            OperationUnauthorized: this client's role is too low.
            NothingSucceeded: all failed, for several reasons.
            RealtimeError: the server refused otherwise, or could not be reached.

        Protocol: docs/protocol/conversations.md §7.
        """
        conv = ConvCommand(m=client_ids(members), cid=id_of(conversation))
        return partial_result(await self._conv(OpType.ADD_SHUTUP, conv)).checked()

    async def unsilence_members(
        self, conversation: ConversationLike, members: Iterable[str]
    ) -> PartialResult:
        """Let members send again. Raises as `silence_members` does.

        Protocol: docs/protocol/conversations.md §7.
        """
        conv = ConvCommand(m=client_ids(members), cid=id_of(conversation))
        return partial_result(await self._conv(OpType.REMOVE_SHUTUP, conv)).checked()

    async def silenced_page(
        self, conversation: ConversationLike, *, limit: int = 10, after: str | None = None
    ) -> Page[str]:
        """A page of the silenced members; ``after`` is the ``next`` of the page before.

        Raises:
            RealtimeError: the server refused, or could not be reached.

        Protocol: docs/protocol/conversations.md §7.
        """
        conv = ConvCommand(
            cid=id_of(conversation), limit=checked_page_size(limit), next=cursor(after)
        )
        reply = await self._conv(OpType.QUERY_SHUTUP, conv)
        return Page(tuple(reply.m), reply.next or None)

    def silenced_members(self, conversation: ConversationLike) -> AsyncIterator[str]:
        """All silenced members, page by page: ``async for client_id in ...``."""
        return _Entries(
            lambda after: self.silenced_page(conversation, limit=LIST_PAGE, after=after)
        )

    async def which_silenced(
        self, conversation: ConversationLike, members: Iterable[str]
    ) -> list[str]:
        """Which of these members are silenced.

        Raises:
            RealtimeError: the server refused, or could not be reached.

        Protocol: docs/protocol/conversations.md §7.
        """
        cid, silenced = id_of(conversation), []
        for some in pages_of_ids(client_ids(members)):
            silenced += (await self._conv(OpType.CHECK_SHUTUP, ConvCommand(m=some, cid=cid))).m
        return silenced

    # The block list: who may not come in. Protocol: docs/protocol/conversations.md §8.

    async def block_members(
        self, conversation: ConversationLike, members: Iterable[str]
    ) -> PartialResult:
        """Remove clients, if they are members, and keep them out.

        Raises:
            OperationUnauthorized: this client's role is too low.
            SignatureFailed: the application demands a signature.
            NothingSucceeded: all failed, for several reasons.
            RealtimeError: the server refused otherwise, or could not be reached.

        Protocol: docs/protocol/conversations.md §8.
        """
        result = await self._block(conversation, members, OpType.BLOCK, "block")
        known = self._session.conversations.get(id_of(conversation))
        if known is not None:
            left = [one for one in known.members if one not in result.succeeded]
            self._session.conversations.put(attrs.evolve(known, members=left))
        return result

    async def unblock_members(
        self, conversation: ConversationLike, members: Iterable[str]
    ) -> PartialResult:
        """Let clients come in again. Raises as `block_members` does.

        Protocol: docs/protocol/conversations.md §8.
        """
        return await self._block(conversation, members, OpType.UNBLOCK, "unblock")

    async def blocked_page(
        self, conversation: ConversationLike, *, limit: int = 10, after: str | None = None
    ) -> Page[str]:
        """A page of the blocked clients; ``after`` is the ``next`` of the page before.

        Raises:
            RealtimeError: the server refused, or could not be reached.

        Protocol: docs/protocol/conversations.md §8.
        """
        command = BlacklistCommand(
            src_cid=id_of(conversation), limit=checked_page_size(limit), next=cursor(after)
        )
        reply = await self._blacklist(OpType.QUERY, command)
        return Page(tuple(reply.blocked_pids), reply.next or None)

    def blocked_members(self, conversation: ConversationLike) -> AsyncIterator[str]:
        """All blocked clients, page by page: ``async for client_id in ...``."""
        return _Entries(lambda after: self.blocked_page(conversation, limit=LIST_PAGE, after=after))

    async def which_blocked(self, conversation: ConversationLike, ids: Iterable[str]) -> list[str]:
        """Which of these clients are blocked.

        Raises:
            RealtimeError: the server refused, or could not be reached.

        Protocol: docs/protocol/conversations.md §8.
        """
        cid, blocked = id_of(conversation), []
        for some in pages_of_ids(client_ids(ids)):
            command = BlacklistCommand(src_cid=cid, to_pids=some)
            blocked += (await self._blacklist(OpType.CHECK_BLOCK, command)).blocked_pids
        return blocked

    async def _block(
        self, conversation: ConversationLike, members: Iterable[str], op: OpType, verb: str
    ) -> PartialResult:
        cid, targets = id_of(conversation), client_ids(members)
        command = BlacklistCommand(src_cid=cid, to_pids=targets)
        await self._session.authentication.sign_block_list(
            command, cid, targets, f"conversation-{verb}-clients"
        )
        return partial_result(await self._blacklist(op, command)).checked()

    async def _blacklist(self, op: OpType, command: BlacklistCommand) -> BlacklistCommand:
        reply = await self._session.request(
            GenericCommand(cmd=CommandType.BLACKLIST, op=op, blacklist_message=command)
        )
        return part(reply, reply.blacklist_message)
