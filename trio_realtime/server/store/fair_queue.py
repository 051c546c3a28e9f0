"""A queue in which nobody waits for another's crowd."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items of many owners: one of each owner is out at a time, and owners take turns.

    Items of one owner come out in the order in which they were put in. Who has many waits
    for himself; others wait at most for one item of each owner.
    """

    def __init__(self) -> None:
        self._ready: dict[Hashable, deque[T]] = {}
        """Owners whose turn will come, in order, none of whose items is out."""
        self._out: dict[Hashable, deque[T]] = {}
        """Owners of whom an item is out, with the rest of their items."""

    def __len__(self) -> int:
        return sum(map(len, (*self._ready.values(), *self._out.values())))

    def put(self, owner: Hashable, item: T) -> None:
        """Add an item."""
        queues = self._out if owner in self._out else self._ready
        queues.setdefault(owner, deque()).append(item)

    def take(self) -> tuple[Hashable, T] | None:
        """The next owner and item, which is out until `finished`; None if no owner is ready."""
        if not self._ready:
            return None
        owner = next(iter(self._ready))
        items = self._ready.pop(owner)
        self._out[owner] = items
        return owner, items.popleft()

    def finished(self, owner: Hashable) -> None:
        """The owner's item is no longer out: it may take part again, behind the others."""
        items = self._out.pop(owner)
        if items:
            self._ready[owner] = items

    def drain(self) -> Iterator[T]:
        """Take all items that are not out, for good."""
        for queues in (self._ready, self._out):
            for items in queues.values():
                while items:
                    yield items.popleft()
        self._ready.clear()
