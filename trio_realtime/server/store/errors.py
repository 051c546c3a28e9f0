"""What a store raises."""

from __future__ import annotations


class ExpectedError(Exception):
    """What a rule may raise as its answer. Nobody wants to know where it was raised.

    Its traceback is dropped: frames that it names hold the answer themselves, a circle of some
    eighty objects for the garbage collector.
    """


class StoreError(Exception):
    """The store could not do its work: it cannot be opened, is closed, could not commit (disk
    full), or was asked to change what does not exist.
    """


class StoreUnavailable(StoreError):
    """The store cannot work now: the disk is full or broken, or the store is closed.

    Nothing is wrong with what was asked; later it may succeed.
    """


class NotStorable(StoreError):
    """A rule wanted to store or find what is no JSON or has no UTF-8 form."""


class QueryError(ExpectedError):
    """A query that is illegal or too expensive: 4310 on the wire.

    ``limit`` names which of the `Limits` was reached, if one was.
    """

    def __init__(self, message: str, limit: str | None = None) -> None:
        super().__init__(message)
        self.limit = limit
