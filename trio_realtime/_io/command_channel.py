"""The commands of one client: sent, and sent again, until they are answered.

Protocol: docs/protocol/transport.md §5.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import trio

from trio_realtime._engine.command_size import check_size
from trio_realtime._engine.commands import PendingCommand, PendingCommands, Repeat, Serials
from trio_realtime._engine.login import LoginState
from trio_realtime._values.errors import (
    CommandError,
    CommandTimeout,
    ConnectionLost,
    RealtimeError,
    RemoteProtocolError,
)
from trio_realtime.wire import CommandType, GenericCommand, OpType

from .future import Future


class CommandChannel:
    """Sends commands of one client and waits for their replies.

    Args:
        login: whose commands these are.
        serials: the serial ids of the connection.
        transmit: puts a command on the present link, under a new serial id.
        on_session_required: called when a command was refused because the server has no
            session for the client.
        on_error_seen: called when an operation of the user is given the error that ended the
            client.
        timeout: seconds to wait for a reply.
    """

    def __init__(
        self,
        login: LoginState,
        *,
        serials: Serials,
        transmit: Callable[[PendingCommand], Awaitable[None]],
        on_session_required: Callable[[], None],
        on_error_seen: Callable[[], None],
        timeout: float,
    ) -> None:
        self._login = login
        self._transmit = transmit
        self._timeout = timeout
        self.pending: PendingCommands = PendingCommands(serials, on_session_required)
        self._on_error_seen = on_error_seen
        self._awaited: dict[PendingCommand, None] = {}
        """Commands whose callers have not learnt the answer, though it may have come."""

    @property
    def online(self) -> bool:
        """Whether commands leave as soon as they are submitted."""
        return self.pending.online

    @online.setter
    def online(self, value: bool) -> None:
        self.pending.online = value

    async def request(
        self,
        command: GenericCommand,
        *,
        repeat: Repeat = "always",
        internal: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 - configured by the user for all commands
        on_reply: Callable[[GenericCommand], None] | None = None,
    ) -> GenericCommand:
        """Send a command and wait for its reply, across broken links as far as ``repeat`` goes.

        ``internal``: the client asks for itself, and no operation of the user waits.
        ``on_reply`` sees a good reply before anything that follows it on the wire.

        Raises:
            CommandError: the server refused.
            MessageTooLarge: it does not fit into one command.
            CommandTimeout: no reply in time.
            ConnectionLost: no link, or it broke and the command may not be sent again.
            RealtimeError: the client has ended.
        """
        if command.peer_id is None:
            command.peer_id = self._login.client_id
        check_size(command)
        timeout = self._timeout if timeout is None else timeout
        with trio.move_on_after(timeout):
            return await self._settle(command, repeat=repeat, internal=internal, on_reply=on_reply)
        if self.online or (repeat == "unsent" and command.i):
            raise CommandTimeout(command.cmd, command.op, timeout)
        raise ConnectionLost(1006, f"not connected for {timeout:g} seconds")

    async def insist(
        self, command: GenericCommand, on_reply: Callable[[GenericCommand], None] | None = None
    ) -> GenericCommand:
        """Send a command until it is answered; only for what the server knows when repeated.

        ``on_reply`` sees a good reply before anything that follows it on the wire.

        Raises:
            CommandError: the server refused.
            RealtimeError: the client has ended.
        """
        return await self._settle(
            command, repeat="always", resend_after=self._timeout, on_reply=on_reply
        )

    async def exchange(
        self,
        command: GenericCommand,
        on_reply: Callable[[GenericCommand], None] | None = None,
        on_late: Callable[[GenericCommand], None] | None = None,
    ) -> GenericCommand:
        """A command of the session itself, which cannot wait for the session to be online.

        Args:
            command: what to send.
            on_reply: sees a good reply before anything that follows it on the wire.
            on_late: sees a reply that comes when nobody waits for it any more.

        Raises:
            CommandError: the server refused.
            CommandTimeout: no reply in time.
            ConnectionLost: the link broke.
        """
        with trio.move_on_after(self._timeout):
            return await self._settle(
                command,
                repeat="never",
                internal=True,
                at_once=True,
                on_reply=on_reply,
                on_late=on_late,
            )
        raise CommandTimeout(command.cmd, command.op, self._timeout)

    async def _settle(
        self,
        command: GenericCommand,
        *,
        repeat: Repeat,
        internal: bool = False,
        at_once: bool = False,
        resend_after: float = float("inf"),
        on_reply: Callable[[GenericCommand], None] | None = None,
        on_late: Callable[[GenericCommand], None] | None = None,
    ) -> GenericCommand:
        """Have a command transmitted and answered; the way of every command."""
        commands = self.pending
        if commands.error is not None:
            if not internal:
                self._on_error_seen()
        elif repeat == "never" and not (at_once or commands.online):
            raise ConnectionLost(1006, "not connected")
        future: Future[GenericCommand] = Future(
            raise_refusal if on_reply is None else partial(_accepted, on_reply)
        )
        pending = commands.submit(
            command, future.set, repeat=repeat, internal=internal, resend_after=resend_after
        )
        self._awaited[pending] = None
        try:
            if at_once or commands.online:
                await self._transmit(pending)
            return await future.get()
        except ConnectionLost as error:
            if repeat != "unsent":
                raise
            reason = (
                f"{error.reason or 'it broke'}; whether the command was carried out is not known"
            )
            raise ConnectionLost(error.code, reason) from error
        finally:
            del self._awaited[pending]
            commands.withdraw(pending, on_late)

    async def transmit_deferred(self) -> None:
        """Send what waited, in order; new commands queue up behind until that is done."""
        while deferred := self.pending.untransmitted():
            for one in deferred:
                # It may have been withdrawn while others were on their way.
                if one in self.pending:
                    await self._transmit(one)

    def is_sending(self, cid: str, body: str) -> bool:
        """Whether a message with this body is under way to a conversation."""
        return any(
            direct.cid == cid and (direct.binary_msg is not None or direct.msg == body)
            for one in self._awaited
            if (direct := one.command.direct_message) is not None
        )

    async def sends_settled(self, cid: str) -> None:
        """Wait until the ids of the messages under way to a conversation are known."""
        await _all_done(
            one
            for one in self._awaited
            if (direct := one.command.direct_message) is not None and direct.cid == cid
        )

    def check(self) -> None:
        """Raise what ended the client, if anything has."""
        self.pending.check()

    def suspend(self, error: Exception) -> None:
        """The link broke: what may not be sent again fails with this error."""
        self.pending.suspend(error)

    def end(self, error: RealtimeError) -> None:
        """Everything that waits, and all that comes, fails with this error."""
        if any(not one.internal for one in self.pending):
            self._on_error_seen()
        self.pending.end(error)


def _accepted(on_reply: Callable[[GenericCommand], None], reply: GenericCommand) -> None:
    raise_refusal(reply)
    on_reply(reply)


async def _all_done(commands: Iterable[PendingCommand]) -> None:
    """Wait until nobody waits for any of these commands any more."""
    done = []
    for one in commands:
        done.append(event := trio.Event())
        one.when_done(event.set)
    for event in done:
        await event.wait()


def raise_refusal(reply: GenericCommand) -> None:
    """Raise what a reply says that says no."""
    error = reply.error_message
    if reply.cmd == CommandType.ERROR and error is not None:
        raise CommandError.from_wire(
            error.code or 0, error.reason or "", error.detail, error.app_code, error.app_msg
        )
    session = reply.session_message
    if session is not None and reply.op == OpType.CLOSED and session.code:
        raise CommandError.from_wire(session.code, session.reason or "", session.detail)
    if reply.cmd == CommandType.ERROR:
        raise RemoteProtocolError("the server answered with an error that says nothing")
