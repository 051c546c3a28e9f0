"""Reading back what was said."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, TypeVar, overload

import attrs

from trio_realtime._client.operands import ConversationLike, checked_page_size, id_of
from trio_realtime._client.session_view import SessionView
from trio_realtime._engine.mapping import message_from_log_item, part
from trio_realtime._values.messages import BaseMessage
from trio_realtime._values.times import ms_from_datetime
from trio_realtime._values.typed_messages import TypedMessage
from trio_realtime.wire import CommandType, GenericCommand, LogsCommand, QueryDirection

from .base import Operations

T = TypeVar("T", bound=TypedMessage)

Point = BaseMessage | datetime
"""A place in a history: a message, or a time."""

PAGE = 100


@attrs.frozen
class _Range:
    """What part of a history is asked for."""

    cid: str
    start: tuple[int, str | None] | None
    start_included: bool
    end: tuple[int, str | None] | None
    end_included: bool
    newer: bool
    kind: type[TypedMessage] | int | None

    async def page(self, session: SessionView, limit: int) -> list[BaseMessage]:
        """A page from the start of the range, oldest first."""
        logs = LogsCommand(
            cid=self.cid,
            l=limit,
            direction=QueryDirection.NEW if self.newer else QueryDirection.OLD,
            lctype=self.kind
            if self.kind is None or isinstance(self.kind, int)
            else self.kind.lctype,
        )
        if self.start is not None:
            logs.t, logs.mid = self.start
            logs.t_included = self.start_included or None
        if self.end is not None:
            logs.tt, logs.tmid = self.end
            logs.tt_included = self.end_included or None
        reply = await session.request(GenericCommand(cmd=CommandType.LOGS, logs_message=logs))
        return [
            message_from_log_item(item, self.cid, session.registry, session.client_id)
            for item in part(reply, reply.logs_message).logs
        ]

    def admits(self, message: BaseMessage) -> bool:
        """Whether a message is of the class asked for; a body may bear its number and not fit."""
        kind = self.kind
        return kind is None or isinstance(kind, int) or isinstance(message, kind)

    def after(self, page: Sequence[BaseMessage]) -> _Range:
        """What is left of the range behind a page."""
        last = page[-1] if self.newer else page[0]
        return attrs.evolve(self, start=(last.timestamp_ms, last.id), start_included=False)


@attrs.define(eq=False)
class _Messages(AsyncIterator[BaseMessage]):
    """The place of one loop. Not a generator: a loop may be left at any time."""

    _session: SessionView
    _range: _Range
    _page_size: int
    _waiting: deque[BaseMessage] = attrs.field(factory=deque, init=False)
    _exhausted: bool = attrs.field(default=False, init=False)

    async def __anext__(self) -> BaseMessage:
        while not self._waiting:
            if self._exhausted:
                raise StopAsyncIteration
            page = await self._range.page(self._session, self._page_size)
            # Servers may give less than they are asked for, but all of them give PAGE.
            self._exhausted = len(page) < min(self._page_size, PAGE)
            if not page:
                raise StopAsyncIteration
            ordered = page if self._range.newer else reversed(page)
            self._waiting.extend(one for one in ordered if self._range.admits(one))
            self._range = self._range.after(page)
        return self._waiting.popleft()


class HistoryOperations(Operations):
    """History."""

    @overload
    def history(
        self,
        conversation: ConversationLike,
        *,
        start: Point | None = None,
        end: Point | None = None,
        start_included: bool = False,
        end_included: bool = False,
        oldest_first: bool = False,
        type: type[T],
        page_size: int = PAGE,
    ) -> AsyncIterator[T]: ...

    @overload
    def history(
        self,
        conversation: ConversationLike,
        *,
        start: Point | None = None,
        end: Point | None = None,
        start_included: bool = False,
        end_included: bool = False,
        oldest_first: bool = False,
        type: int | None = None,
        page_size: int = PAGE,
    ) -> AsyncIterator[BaseMessage]: ...

    def history(
        self,
        conversation: ConversationLike,
        *,
        start: Point | None = None,
        end: Point | None = None,
        start_included: bool = False,
        end_included: bool = False,
        oldest_first: bool = False,
        type: type[TypedMessage] | int | None = None,
        page_size: int = PAGE,
    ) -> AsyncIterator[Any]:
        """Walk through the messages of a conversation: ``async for message in ...``.

        Newest first, unless ``oldest_first``. Pages are asked for as needed. Messages that
        arrive meanwhile do not disturb: none is skipped or repeated.

        Args:
            conversation: by value or by id.
            start: where to begin; by default at the present, or with ``oldest_first`` at the
                beginning.
            end: where to stop.
            start_included: also the message at ``start``.
            end_included: also the message at ``end``.
            oldest_first: walk towards the present.
            type: only messages of this class, which the client must know, or with this number.
                What bears the number of the class and does not fit it is left out.
            page_size: messages asked for at a time, 1 to 1000.

        Raises:
            MembershipRequired: not a member.
            RealtimeError: the server refused otherwise, or could not be reached.

        Protocol: docs/protocol/messages.md §7.
        """
        self._check_type(type)
        wanted = _range(conversation, start, end, start_included, end_included, oldest_first, type)
        return _Messages(self._session, wanted, checked_page_size(page_size, "messages"))

    @overload
    async def history_page(
        self,
        conversation: ConversationLike,
        *,
        start: Point | None = None,
        end: Point | None = None,
        start_included: bool = False,
        end_included: bool = False,
        oldest_first: bool = False,
        type: type[T],
        limit: int = 20,
    ) -> list[T]: ...

    @overload
    async def history_page(
        self,
        conversation: ConversationLike,
        *,
        start: Point | None = None,
        end: Point | None = None,
        start_included: bool = False,
        end_included: bool = False,
        oldest_first: bool = False,
        type: int | None = None,
        limit: int = 20,
    ) -> list[BaseMessage]: ...

    async def history_page(
        self,
        conversation: ConversationLike,
        *,
        start: Point | None = None,
        end: Point | None = None,
        start_included: bool = False,
        end_included: bool = False,
        oldest_first: bool = False,
        type: type[TypedMessage] | int | None = None,
        limit: int = 20,
    ) -> list[Any]:
        """One page of a conversation's messages, always in ascending order of time.

        It holds the messages next to ``start``: those before it, or with ``oldest_first``
        those after it. The arguments are those of `history`; ``limit`` is at most 1000.

        Raises:
            MembershipRequired: not a member.
            RealtimeError: the server refused otherwise, or could not be reached.

        Protocol: docs/protocol/messages.md §7.
        """
        self._check_type(type)
        wanted = _range(conversation, start, end, start_included, end_included, oldest_first, type)
        page = await wanted.page(self._session, checked_page_size(limit, "messages"))
        return [message for message in page if wanted.admits(message)]

    def _check_type(self, kind: Any) -> None:
        if kind is None:
            return
        if isinstance(kind, int) and not isinstance(kind, bool):
            if not -(2**31) <= kind < 2**31:
                raise ValueError(f"the number of a message type has 32 bits, unlike {kind}")
            return
        if not isinstance(kind, type) or not issubclass(kind, TypedMessage) or not kind.lctype:
            raise TypeError(f"expected a message type or its number, not {kind!r}")
        if not self._session.registry.knows(kind):
            raise ValueError(
                f"this client does not know {kind.__name__}:"
                f" open it with message_types=[{kind.__name__}]"
            )


def _range(
    conversation: ConversationLike,
    start: Point | None,
    end: Point | None,
    start_included: bool,
    end_included: bool,
    oldest_first: bool,
    kind: type[TypedMessage] | int | None,
) -> _Range:
    return _Range(
        id_of(conversation),
        _point(start),
        start_included,
        _point(end),
        end_included,
        oldest_first,
        kind,
    )


def _point(point: Point | None) -> tuple[int, str | None] | None:
    if point is None:
        return None
    if isinstance(point, datetime):
        return ms_from_datetime(point), None
    if not isinstance(point, BaseMessage):
        raise TypeError(f"a message or a datetime says where history begins, not {point!r}")
    if not point.id:
        raise ValueError("a message that was never sent is nowhere in the history")
    return point.timestamp_ms, point.id
