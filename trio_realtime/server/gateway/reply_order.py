"""The order in which one session is answered.

Rules that read run beside the writer, so that a change may be done while something asked for
earlier is still being looked for. Its reply, and all that is queued later, then waits for the
answer of the read: a client that is told of the change first would take what it has asked for
before as what is true after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs

from .send_buffer import SendBuffer, Slot


@attrs.define(eq=False)
class Turn:
    """A command of the session that is not answered yet."""

    reads: bool
    slot: Slot | None = None
    """Its place in the buffer, once a later change has been answered."""


class ReplyOrder:
    """What one session waits for, in the order in which it has asked."""

    def __init__(self, buffer: SendBuffer) -> None:
        self._buffer = buffer
        self._turns: dict[Turn, None] = {}
        self._when_done: list[Callable[[], None]] = []

    def begin(self, *, reads: bool) -> Turn:
        """A command is taken on. `answering` must follow, once."""
        turn = Turn(reads)
        self._turns[turn] = None
        return turn

    @contextmanager
    def answering(self, turn: Turn) -> Iterator[None]:
        """What is queued within the block, without waiting, is the answer to a command."""
        try:
            if turn.slot is not None:
                with self._buffer.filling(turn.slot):
                    yield
            else:
                if not turn.reads:
                    self._keep_places(turn)
                yield
        finally:
            del self._turns[turn]
            if not self._turns:
                waiting, self._when_done = self._when_done, []
                for then in waiting:
                    then()

    def when_done(self, then: Callable[[], None]) -> None:
        """Call back when all that was asked has been answered: at once if it has been."""
        if self._turns:
            self._when_done.append(then)
        else:
            then()

    def _keep_places(self, before: Turn) -> None:
        for turn in self._turns:
            if turn is before:
                return
            if turn.reads and turn.slot is None:
                turn.slot = self._buffer.slot(awaits_read=True)
