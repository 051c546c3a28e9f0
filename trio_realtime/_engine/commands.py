"""Commands in flight: serial ids, replies, and what happens to them when the link breaks.

A command is pending from the moment it is submitted until it is settled. Pending commands
are kept in order. While the session is online a submitted command leaves at once; while it
is not, commands that may wait stay and leave, in the order in which they were submitted,
when the session resumes. That is why order survives a broken link. The same happens to
commands that the server answers with "no session": they wait for the next login.
Protocol: docs/protocol/transport.md §5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import attrs

from trio_realtime.wire import CommandType, GenericCommand

from .refusals import Consequence, consequences

MAX_SERIAL = 2**31 - 1


Repeat = Literal["always", "unsent", "never"]
"""What becomes of a command where there is no link: it waits, and is sent again if need be; it
waits, but only as long as it was not sent, for twice would be once too often; or it fails."""


@attrs.define(eq=False)
class PendingCommand:
    """One command that waits for its reply."""

    command: GenericCommand
    repeat: Repeat
    """Whether it may wait for the session to resume, and be sent again then."""
    settle: Callable[[GenericCommand | Exception], None]
    """Called with the reply, or with what came instead, once."""
    siblings: PendingCommands
    """All pending commands of its session."""
    internal: bool = False
    """The client's own: no task of the user waits for it."""
    resend_after: float = float("inf")
    """Seconds without a reply after which it is sent again."""
    sent_at: float = 0.0
    """When it was transmitted last."""
    on_done: list[Callable[[], None]] | None = None
    """Called when nobody waits for the command any more; made when it is first asked for."""
    refused: bool = False
    """Has been answered with "no session" before, and was sent again."""
    serial: int = 0
    """The serial id under which it was transmitted last; 0: not on the present link."""

    def when_done(self, callback: Callable[[], None]) -> None:
        """Have something called when nobody waits for the command any more."""
        if self.on_done is None:
            self.on_done = []
        self.on_done.append(callback)


class Serials:
    """Serial ids of one connection and who waits for each."""

    def __init__(self) -> None:
        self._last = 0
        self._pending: dict[int, PendingCommand] = {}
        self._late: dict[int, Callable[[GenericCommand], None]] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def stamp(self, pending: PendingCommand, now: float) -> GenericCommand:
        """Give the command a fresh serial id, also when it is sent again.

        A reply to an earlier transmission is then a late one, and ignored.
        """
        self.forget(pending)
        serial = self.skip()
        pending.serial = pending.command.i = serial
        pending.sent_at = now
        self._pending[serial] = pending
        return pending.command

    def skip(self) -> int:
        """A serial id whose reply nobody waits for (heartbeats)."""
        self._last = self._last + 1 if self._last < MAX_SERIAL else 1
        return self._last

    def forget(self, pending: PendingCommand) -> None:
        """No reply is expected any more; a late one will be dropped silently."""
        if pending.serial:
            self._pending.pop(pending.serial, None)
            pending.serial = 0

    def abandon(self, pending: PendingCommand, on_late: Callable[[GenericCommand], None]) -> None:
        """Nobody waits any more, but a reply that comes late has to be seen."""
        if pending.serial:
            self._late[pending.serial] = on_late
        self.forget(pending)

    def link_lost(self) -> None:
        """No reply can come late any more."""
        self._late.clear()

    @property
    def resend_at(self) -> float:
        """When the first of the unanswered commands is to be sent again; or infinity."""
        return min(
            (pending.sent_at + pending.resend_after for pending in self._pending.values()),
            default=float("inf"),
        )

    def overdue(self, now: float) -> list[PendingCommand]:
        """The commands that are to be sent again."""
        pending = self._pending.values()
        return [one for one in pending if one.sent_at + one.resend_after <= now]

    def reply(self, command: GenericCommand) -> None:
        """Settle the command this is the reply to; an unknown serial id is a late reply."""
        pending = self._pending.pop(command.i or 0, None)
        if pending is not None:
            pending.serial = 0
            pending.siblings.replied(pending, command)
        elif on_late := self._late.pop(command.i or 0, None):
            on_late(command)


class PendingCommands:
    """The unsettled commands of one session, in the order of submission."""

    def __init__(
        self, serials: Serials, on_session_required: Callable[[], None] = lambda: None
    ) -> None:
        self._serials = serials
        self._on_session_required = on_session_required
        self._unsettled: dict[PendingCommand, None] = {}
        self.error: Exception | None = None
        """What ended the session; nothing is sent any more."""
        self.online: bool = False
        """Commands leave as soon as they are submitted."""

    def __len__(self) -> int:
        return len(self._unsettled)

    def __contains__(self, pending: PendingCommand) -> bool:
        return pending in self._unsettled

    def __iter__(self) -> Iterator[PendingCommand]:
        return iter(self._unsettled)

    def check(self) -> None:
        """Raise what ended the session, if anything has."""
        if self.error is not None:
            raise self.error

    def submit(
        self,
        command: GenericCommand,
        settle: Callable[[GenericCommand | Exception], None],
        *,
        repeat: Repeat,
        internal: bool = False,
        resend_after: float = float("inf"),
    ) -> PendingCommand:
        """Enter a command. If `online`, the caller transmits it with `Serials.stamp`."""
        self.check()
        pending = PendingCommand(command, repeat, settle, self, internal, resend_after)
        self._unsettled[pending] = None
        return pending

    def withdraw(
        self, pending: PendingCommand, on_late: Callable[[GenericCommand], None] | None = None
    ) -> None:
        """The caller stopped waiting: leave no trace, unless a late reply has to be seen."""
        if on_late is not None:
            self._serials.abandon(pending, on_late)
        self._serials.forget(pending)
        self._unsettled.pop(pending, None)
        while pending.on_done:
            pending.on_done.pop()()

    def replied(self, pending: PendingCommand, reply: GenericCommand) -> None:
        """The command has its reply, which settles it unless it is to be sent again."""
        login_needed = asks_for_login(reply)
        if login_needed and pending.repeat != "never" and not pending.refused:
            pending.refused = True
        else:
            self.settled(pending, reply)
        if login_needed:
            self._on_session_required()

    def settled(self, pending: PendingCommand, result: GenericCommand | Exception) -> None:
        """The command has its result."""
        if pending in self._unsettled:
            del self._unsettled[pending]
            pending.settle(result)

    def suspend(self, error: Exception) -> None:
        """The link broke: what may not be sent again fails, the rest is untransmitted again."""
        self.online = False
        for pending in list(self._unsettled):
            sent = pending.serial != 0
            self._serials.forget(pending)
            if pending.repeat == "never" or (pending.repeat == "unsent" and sent):
                self.settled(pending, error)

    def untransmitted(self) -> list[PendingCommand]:
        """What is to be transmitted when the session resumes, in this order."""
        return [pending for pending in self._unsettled if not pending.serial]

    def end(self, error: Exception) -> None:
        """Nothing will be sent any more: everything pending, and all that comes, fails."""
        self.online = False
        self.error = error
        for pending in list(self._unsettled):
            self._serials.forget(pending)
            self.settled(pending, error)


def asks_for_login(reply: GenericCommand) -> bool:
    """Whether a command was refused because the server has no session for the client."""
    # Most replies are no errors, and acknowledgements without a code.
    said = reply.error_message if reply.cmd == CommandType.ERROR else reply.ack_message
    return (
        said is not None
        and said.code is not None
        and consequences(said.code).command is Consequence.LOG_IN
    )
