"""Who is told why a client has ended.

An error that ends a client is given to every loop and every operation that waits. If there is
none that belongs to the user, the body of the client's block is cancelled, so that the block can
raise the error: a client is never dead without its program knowing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from .exception_groups import is_cancelled, raise_as_it_is

BUSY_LOOP = 30.0
"""Seconds in which a loop that is busy with an event may come back and be told."""


class Ending:
    """The end of one client by an error."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        """What ended the client, if it was not the user."""
        self._seen = False
        self._body: trio.CancelScope | None = None
        self._deadline = float("inf")

    def seen(self) -> None:
        """A loop or an operation of the user has been given the error."""
        self._seen = True
        self._end_body_at(float("inf"))

    def end(self, error: Exception, *, loops: bool) -> None:
        """The client has ended.

        Args:
            error: why.
            loops: there are subscriptions whose loops may come back for it.
        """
        self.error = error
        if not self._seen:
            self._end_body_at(trio.current_time() + (BUSY_LOOP if loops else 0))

    def _end_body_at(self, deadline: float) -> None:
        self._deadline = deadline
        if self._body is not None:
            self._body.deadline = deadline

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Raise the error at the end of this block if nobody else has been given it."""
        raised: BaseException | None = None
        with trio.CancelScope(deadline=self._deadline) as self._body:
            try:
                yield
            except BaseException as error:
                if is_cancelled(error):
                    raise
                # A scope that was cancelled takes groups apart: this one goes around it.
                raised = error
        if raised is not None:
            try:
                raise_as_it_is(raised)
            finally:
                del raised
        if self.error is not None and not self._seen:
            raise self.error
