"""What comes in pages, one after another."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Pages(AsyncIterator[T], Generic[T]):
    """Iterates over the items of pages; an empty page is the end.

    ``fetch`` gets the last item of the page before. It may be left half-way.
    """

    def __init__(self, fetch: Callable[[T | None], Awaitable[Sequence[T]]]) -> None:
        self._fetch = fetch
        self._items: deque[T] = deque()
        self._last: T | None = None
        self._done = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if not self._items and not self._done:
            page = await self._fetch(self._last)
            self._items.extend(page)
            self._done = not page
            if page:
                self._last = page[-1]
        if self._done:
            raise StopAsyncIteration
        return self._items.popleft()
