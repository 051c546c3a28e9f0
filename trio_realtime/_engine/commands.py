"""Commands in flight: serial ids, replies, and what happens to them when the link breaks.

A command waits in its `Outbox` from the moment it is submitted until it is settled. The
outbox is ordered. While the session is online a submitted command leaves at once; while it
is not, commands that may be retried stay and leave, in the order in which they were
submitted, when the session resumes. That is why order survives a broken link.
Protocol: docs/protocol/transport.md §5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs
from outcome import Error, Value

from trio_realtime.wire import GenericCommand

MAX_SERIAL = 2**31 - 1


@attrs.define(eq=False)
class Waiting:
    """One command that waits for its reply."""

    command: GenericCommand
    retry: bool
    """May be sent again after the session resumes."""
    settle: Callable[[Value[GenericCommand] | Error], None]
    """Told the result, once."""
    outbox: Outbox
    resend_after: float = float("inf")
    """Seconds without a reply after which it is sent again."""
    sent_at: float = 0.0
    """When it was transmitted last."""
    gone: Callable[[], None] | None = None
    """Told when nobody waits for the command any more."""
    serial: int = 0
    """The serial id under which it was transmitted last; 0: not on the present link."""


class Serials:
    """Serial ids of one connection and who waits for each."""

    def __init__(self) -> None:
        self._last = 0
        self._waiting: dict[int, Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def stamp(self, waiting: Waiting, now: float) -> GenericCommand:
        """Give the command a fresh serial id, also when it is sent again.

        A reply to an earlier transmission is then a late one, and ignored.
        """
        self.forget(waiting)
        serial = self.skip()
        waiting.serial = waiting.command.i = serial
        waiting.sent_at = now
        self._waiting[serial] = waiting
        return waiting.command

    def skip(self) -> int:
        """A serial id whose reply nobody waits for (heartbeats)."""
        self._last = self._last + 1 if self._last < MAX_SERIAL else 1
        return self._last

    def forget(self, waiting: Waiting) -> None:
        """No reply is expected any more; a late one will be dropped silently."""
        if waiting.serial:
            self._waiting.pop(waiting.serial, None)
            waiting.serial = 0

    @property
    def resend_at(self) -> float:
        """When the first of the unanswered commands is to be sent again; or infinity."""
        return min(
            (waiting.sent_at + waiting.resend_after for waiting in self._waiting.values()),
            default=float("inf"),
        )

    def overdue(self, now: float) -> list[Waiting]:
        """The commands that are to be sent again."""
        waiting = self._waiting.values()
        return [one for one in waiting if one.sent_at + one.resend_after <= now]

    def reply(self, command: GenericCommand) -> None:
        """Settle the command this is the reply to; an unknown serial id is a late reply."""
        waiting = self._waiting.pop(command.i or 0, None)
        if waiting is not None:
            waiting.serial = 0
            waiting.outbox.settled(waiting, Value(command))


class Outbox:
    """The unsettled commands of one session, in the order of submission."""

    def __init__(self, serials: Serials) -> None:
        self._serials = serials
        self._unsettled: dict[Waiting, None] = {}
        self._ended: Exception | None = None
        self.online = False
        """Commands leave as soon as they are submitted."""

    def __len__(self) -> int:
        return len(self._unsettled)

    def __contains__(self, waiting: Waiting) -> bool:
        return waiting in self._unsettled

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._unsettled)

    def check(self) -> None:
        """Raise what ended the session, if anything has."""
        if self._ended is not None:
            raise self._ended

    def submit(
        self,
        command: GenericCommand,
        settle: Callable[[Value[GenericCommand] | Error], None],
        *,
        retry: bool,
        resend_after: float = float("inf"),
    ) -> Waiting:
        """Enter a command. If `online`, the caller transmits it with `Serials.stamp`."""
        self.check()
        waiting = Waiting(command, retry, settle, self, resend_after=resend_after)
        self._unsettled[waiting] = None
        return waiting

    def withdraw(self, waiting: Waiting) -> None:
        """The caller stopped waiting: leave no trace."""
        self._serials.forget(waiting)
        self._unsettled.pop(waiting, None)
        if waiting.gone is not None:
            gone, waiting.gone = waiting.gone, None
            gone()

    def settled(self, waiting: Waiting, result: Value[GenericCommand] | Error) -> None:
        """The command has its result."""
        if waiting in self._unsettled:
            del self._unsettled[waiting]
            waiting.settle(result)

    def suspend(self, error: Exception) -> None:
        """The link broke: what may not be retried fails, the rest is untransmitted again."""
        self.online = False
        for waiting in list(self._unsettled):
            self._serials.forget(waiting)
            if not waiting.retry:
                self.settled(waiting, Error(error))

    def untransmitted(self) -> list[Waiting]:
        """What is to be transmitted when the session resumes, in this order."""
        return [waiting for waiting in self._unsettled if not waiting.serial]

    def end(self, error: Exception) -> None:
        """Nothing will be sent any more: everything waiting, and all that comes, fails."""
        self.online = False
        self._ended = error
        for waiting in list(self._unsettled):
            self._serials.forget(waiting)
            self.settled(waiting, Error(error))
