"""A query that knows whom to ask."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, Self, TypeVar

import attrs

from trio_realtime._values.conversations import BaseConversation
from trio_realtime._values.query import ConversationQuery

__all__ = ["BoundQuery"]

C = TypeVar("C", bound=BaseConversation)

PAGE = 100
"""Conversations asked for at a time while iterating, if the query does not say."""

Run = Callable[[ConversationQuery], Awaitable[Sequence[Any]]]


@attrs.frozen(kw_only=True)
class BoundQuery(ConversationQuery, Generic[C]):
    """A `ConversationQuery` of one client: build it further, then ask.

    ``await query.find()`` gives one page, ``async for conversation in query`` all of them.
    It can be pickled, but its client stays behind: ``client.query(query)`` gives it another.
    """

    _run: Run | None = attrs.field(default=None, eq=False, repr=False)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        # Nothing in it changes, and a client cannot be copied.
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        known = {field.name: getattr(self, field.name) for field in attrs.fields(ConversationQuery)}
        return _without_client, (type(self), known)

    async def _ask(self, query: Self) -> list[C]:
        if self._run is None:
            raise RuntimeError("this query has no client, for it was pickled: client.query(query)")
        return list(await self._run(query))

    async def find(self) -> list[C]:
        """One page: what fits into the limit, after what is skipped.

        Raises:
            RealtimeError: the server refused, or could not be reached.
        """
        return await self._ask(self)

    async def first(self) -> C | None:
        """The first conversation found, or None.

        Raises:
            RealtimeError: the server refused, or could not be reached.
        """
        page = await self._ask(self.limit(1))
        return page[0] if page else None

    def __aiter__(self) -> AsyncIterator[C]:
        """Every conversation found, each once; further pages are asked for as needed.

        The limit is the size of a page here. What changes its place meanwhile, by a new
        message for instance, may be missed; sort by ``createdAt`` where that matters.
        """
        return _Results(self, self.offset, self.page_size or PAGE)


def _without_client(cls: type[BoundQuery[Any]], known: Mapping[str, Any]) -> BoundQuery[Any]:
    return cls(**known)


@attrs.define(eq=False)
class _Results(AsyncIterator[C]):
    """The place of one loop. Not a generator: a loop may be left at any time."""

    _query: BoundQuery[C]
    _offset: int
    _page_size: int
    _page: deque[C] = attrs.field(factory=deque, init=False)
    _seen: set[str] = attrs.field(factory=set, init=False)
    _exhausted: bool = attrs.field(default=False, init=False)

    async def __anext__(self) -> C:
        while not self._page:
            if self._exhausted:
                raise StopAsyncIteration
            await self._fetch()
        return self._page.popleft()

    async def _fetch(self) -> None:
        page = await self._query.skip(self._offset).limit(self._page_size).find()
        self._offset += len(page)
        self._exhausted = len(page) < self._page_size
        for conversation in page:
            if conversation.id not in self._seen:
                self._seen.add(conversation.id)
                self._page.append(conversation)
