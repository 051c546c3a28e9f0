"""One logged-in client on a connection: its commands, its pushes, its return after a break."""

from __future__ import annotations

import itertools
import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import attrs
import outcome
import trio

from trio_realtime._engine.command_size import check_size
from trio_realtime._engine.commands import Outbox
from trio_realtime._engine.conversation_cache import ConversationCache
from trio_realtime._engine.delivery import Acknowledgements, Delivery
from trio_realtime._engine.login import Login
from trio_realtime._engine.mapping import events_from_command, message_from_direct
from trio_realtime._engine.plugins import Plugin, PluginRegistry
from trio_realtime._engine.session_state import SessionEvent, SessionMachine, SessionState
from trio_realtime._engine.signing import ConversationSigner, LoginSigner
from trio_realtime._engine.unread import UnreadCounters
from trio_realtime._values.conversations import ConversationKind
from trio_realtime._values.errors import (
    ClientClosed,
    CommandError,
    CommandTimeout,
    ConnectionLost,
    RealtimeError,
    Retry,
)
from trio_realtime._values.events import (
    ConversationEvent,
    Event,
    Kicked,
    MessageReceived,
    PluginFailed,
    Reconnected,
    ReconnectFailed,
    SessionClosed,
    SessionConflict,
    UnreadUpdated,
)
from trio_realtime._values.times import now_ms
from trio_realtime._values.typed_messages import TypedMessage
from trio_realtime.wire import AckCommand, CommandType, DirectCommand, GenericCommand, OpType

from .authentication import Authentication
from .catch_up import CatchUp
from .connection import Connection
from .future import Reply, all_gone, checked
from .rest import Rest
from .subscription import Hub

logger = logging.getLogger("trio_realtime")

COMMAND_TIMEOUT = 20.0
"""Seconds to wait for a reply: docs/protocol/transport.md §5."""

AckMode = Literal["delivery", "next"]


@attrs.frozen(kw_only=True)
class SessionConfig:
    """What a client may choose for itself."""

    command_timeout: float = COMMAND_TIMEOUT
    catch_up: bool = True
    ack: AckMode = "delivery"
    user_session_token: str | None = None
    sign_login: LoginSigner | None = None
    sign_conversation: ConversationSigner | None = None
    sign_block_list: ConversationSigner | None = None
    message_types: Sequence[type[TypedMessage]] = ()
    plugins: Sequence[Plugin] = ()


class Session:
    """A client id logged in on a connection.

    The reader calls `receive` for every push and never waits; tasks call `request`.
    """

    def __init__(self, connection: Connection, login: Login, config: SessionConfig) -> None:
        self.connection = connection
        self.login = login
        self.config = config
        self._token_prefix = secrets.token_hex(12)
        self._tokens = itertools.count(1)
        self.hub = Hub(self._delivered)
        self.registry = PluginRegistry(config.message_types, config.plugins, self._report)
        self.delivery: Delivery[Event] = Delivery()
        self.acks = Acknowledgements()
        self.unread = UnreadCounters()
        self._rooms: set[str] = set()
        """Chat rooms: their messages are neither acknowledged nor counted."""
        self.conversations = ConversationCache(lambda: self.client_id, self.unread.of)
        self.rest = Rest(self)
        self.authentication = Authentication(self)
        self._machine = SessionMachine()
        self._outbox = Outbox(connection.serials)
        self._control = Outbox(connection.serials)
        self._catch_up = CatchUp(self)
        self._resumed = False
        """Whether this is not the first link, and gaps are to be filled."""
        self.body_scope: trio.CancelScope | None = None
        """Cancelled where an error that ends the client would reach nobody."""
        self.error: Exception | None = None
        """What ended this client, if it was not the user."""

    def _report(self, event: PluginFailed) -> None:
        self.hub.publish(event)

    @property
    def client_id(self) -> str:
        """The id of this client."""
        assert self.login.client_id is not None, "not logged in yet"
        return self.login.client_id

    # Commands.

    def new_token(self) -> str:
        """A token by which the server recognises one sending when it is repeated."""
        return f"{self._token_prefix}-{next(self._tokens)}"

    async def request(
        self,
        command: GenericCommand,
        *,
        retry: bool = True,
        timeout: float | None = None,  # noqa: ASYNC109 - configured by the user for all commands
    ) -> GenericCommand:
        """Send a command and wait for its reply, across broken links unless ``retry`` is off.

        Raises:
            CommandError: the server refused.
            MessageTooLarge: it does not fit into one command.
            CommandTimeout: no reply in time.
            ConnectionLost: no link, or it broke and ``retry`` is off.
            RealtimeError: the client has ended.
        """
        if command.peer_id is None:
            command.peer_id = self.login.client_id
        check_size(command)
        timeout = self.config.command_timeout if timeout is None else timeout
        with trio.move_on_after(timeout) as scope:
            answer = await self._transact(command, retry=retry)
        if scope.cancelled_caught:
            if self._outbox.online:
                raise CommandTimeout(command.cmd, command.op, timeout)
            raise ConnectionLost(1006, f"not connected for {timeout:g} seconds")
        return checked(answer)

    async def insist(self, command: GenericCommand) -> GenericCommand:
        """Send a command until it is answered; only for what the server knows when repeated.

        Raises:
            CommandError: the server refused.
            RealtimeError: the client has ended.
        """
        return checked(
            await self._transact(command, retry=True, resend_after=self.config.command_timeout)
        )

    async def _transact(
        self, command: GenericCommand, *, retry: bool, resend_after: float = float("inf")
    ) -> GenericCommand:
        outbox, connection = self._outbox, self.connection
        if self.error is not None:
            self.hub.error_seen = True
        elif not (retry or outbox.online):
            raise ConnectionLost(1006, "not connected")
        reply: Reply[GenericCommand] = Reply()
        waiting = outbox.submit(command, reply.set, retry=retry, resend_after=resend_after)
        try:
            if outbox.online:
                await connection.transmit_waiting(waiting)
            return await reply.get()
        finally:
            outbox.withdraw(waiting)

    async def exchange(
        self, command: GenericCommand, took: Callable[[GenericCommand], None]
    ) -> None:
        """A command of the session itself, which cannot wait for the session to be online.

        ``took`` sees a good reply before anything that follows it on the wire.
        """
        reply: Reply[None] = Reply()

        def settle(result: outcome.Value[GenericCommand] | outcome.Error) -> None:
            def take() -> None:
                took(checked(result.unwrap()))

            reply.set(outcome.capture(take))

        waiting = self._control.submit(command, settle, retry=False)
        try:
            with trio.move_on_after(self.config.command_timeout) as scope:
                await self.connection.transmit_waiting(waiting)
                await reply.get()
            if scope.cancelled_caught:
                raise CommandTimeout(command.cmd, command.op, self.config.command_timeout)
        finally:
            self._control.withdraw(waiting)

    # The life of the session.

    async def open(self) -> None:
        """Log in for the first time. Raises what the server or the link says."""
        with trio.move_on_after(self.config.command_timeout) as scope:
            await self.connection.wait_up()
        if scope.cancelled_caught:
            raise ConnectionLost(1006, "not connected")
        self.connection.attached[self] = None
        self._move(SessionEvent.OPEN)
        try:
            await self.authentication.log_in()
        except BaseException:
            self._move(SessionEvent.CLOSE)
            self._detach()
            raise
        # If the link ended in the moment of the answer, the next one resumes the session.
        if self._machine.state is SessionState.OPENING:
            self._ready()

    def _ready(self) -> None:
        self._move(SessionEvent.READY)
        self.connection.arm_timer(self.due_at)

    def _move(self, event: SessionEvent) -> None:
        self._machine.handle(event)
        self._outbox.online = self._machine.state is SessionState.ONLINE

    def opened(self, *, again: bool) -> None:
        """The server has let the client in; pushes may follow at once."""
        self.connection.healthy()
        self._resumed = again and self.config.catch_up
        self.connection.sessions[self.client_id] = self

    async def resume(self) -> None:
        """Log in again on a new link, send what waits, and fetch what was missed."""
        self._move(SessionEvent.RESUME)
        try:
            await self.authentication.log_in()
        except (ConnectionLost, CommandTimeout) as error:
            self.connection.drop(str(error))
            return
        except RealtimeError as error:
            self.hub.publish(ReconnectFailed(error=error))
            if isinstance(error, CommandError) and error.retry is not Retry.LATER:
                self.end(error)
            else:
                self.connection.drop(str(error))
            return
        # The link may have ended in the moment of the answer.
        await trio.lowlevel.checkpoint_if_cancelled()
        self.hub.publish(Reconnected())
        await self._transmit_waiting()
        self._ready()
        if self.config.catch_up:
            await self._catch_up.notifications()
            self._catch_up.start()

    async def _transmit_waiting(self) -> None:
        """Send what waited, in order; new commands queue up behind until that is done."""
        while waiting := self._outbox.untransmitted():
            for one in waiting:
                # It may have been withdrawn while others were on their way.
                if one in self._outbox:
                    await self.connection.transmit_waiting(one)

    async def sends_settled(self, cid: str) -> None:
        """Wait until the ids of the messages under way to a conversation are known."""
        await all_gone(
            one
            for one in self._outbox
            if (direct := one.command.direct_message) is not None and direct.cid == cid
        )
        # What was answered just now is noted by a task that is about to run.
        await trio.lowlevel.checkpoint()

    def link_lost(self, error: Exception) -> None:
        """The link broke. What comes on the next one waits until the gap is filled."""
        self._move(SessionEvent.LOST)
        self._outbox.suspend(error)
        self._control.suspend(error)
        self.acks.link_lost()
        self.unread.link_lost()
        self.conversations.clear()
        if self.config.catch_up:
            self.delivery.hold()

    def end(self, error: RealtimeError) -> None:
        """Nothing more can happen: everybody who waits learns why, or the body is cancelled."""
        if self.error is not None:
            return
        self.error = error
        self._move(SessionEvent.END)
        told = self.hub.listening or len(self._outbox) > 0 or len(self._control) > 0
        if len(self._outbox) or len(self._control):
            self.hub.error_seen = True
        self._outbox.end(error)
        self._control.end(error)
        self.hub.end(error)
        self._detach()
        if not told and self.body_scope is not None:
            self.body_scope.cancel()

    def connection_closed(self) -> None:
        """The user left the block: loops end, whatever still waits fails."""
        self._move(SessionEvent.CLOSE)
        closed = ClientClosed("the client has been closed")
        self._outbox.end(closed)
        self._control.end(closed)
        self.hub.end(None)

    async def log_out(self) -> None:
        """Tell the server that this client leaves, if there is a link; bounded in time."""
        if self._outbox.online:
            self._move(SessionEvent.LEAVE)
            with trio.move_on_after(1.0, shield=True):
                try:
                    await self.exchange(self.login.close_command(), lambda _reply: None)
                except RealtimeError as error:
                    logger.debug("logging out: %s", error)
        self.connection_closed()
        self._detach()

    def _detach(self) -> None:
        self.connection.attached.pop(self, None)
        client_id = self.login.client_id
        if client_id is not None and self.connection.sessions.get(client_id) is self:
            del self.connection.sessions[client_id]

    # Pushes.

    def receive(self, command: GenericCommand) -> None:
        """Handle one push, without waiting."""
        self.login.saw(command)
        if command.cmd == CommandType.DIRECT:
            if command.direct_message is not None:
                self._receive_message(command.direct_message)
        elif command.cmd == CommandType.SESSION:
            self._receive_closed(command)
        else:
            for event in events_from_command(command, self.registry, self.client_id):
                if self._resumed and isinstance(event, UnreadUpdated):
                    self._catch_up.unread(event)
                self._catch_up.note(event)
                self.deliver(event)

    def _receive_message(self, direct: DirectCommand) -> None:
        if direct.conv_type == ConversationKind.CHAT_ROOM and direct.cid:
            self._rooms.add(direct.cid)
        if direct.offline and direct.cid and self._resumed:
            self._catch_up.unseen(direct.cid)
        message = message_from_direct(direct, self.registry, self.client_id)
        self.deliver(MessageReceived(direct.cid or "", message))

    def _receive_closed(self, command: GenericCommand) -> None:
        session = command.session_message
        if command.op != OpType.CLOSED or session is None:
            return
        error = CommandError.from_wire(session.code or 0, session.reason or "", session.detail)
        if session.code == 4111:
            self.hub.publish(SessionConflict(reason=session.reason or ""))
        else:
            self.hub.publish(SessionClosed(error=error))
        self.end(error)

    def deliver(self, event: Event) -> None:
        """Publish an event now, or after what is being fetched for its conversation."""
        if isinstance(event, ConversationEvent):
            held = self.delivery.is_held(event.conversation_id)
            if held is not None:
                held.append(event)
                return
        self.publish(event)

    def publish(self, event: Event) -> bool:
        """Hand an event to the subscriptions; False for a message that was delivered before."""
        if type(event) is not MessageReceived:
            if isinstance(event, ConversationEvent):
                self.conversations.follow(event)
                if isinstance(event, UnreadUpdated):
                    self.unread.told(event)
                elif isinstance(event, Kicked):
                    self.unread.forget(event.conversation_id)
            self.hub.publish(event)
            return True
        message = event.message
        cid, stored = event.conversation_id, not message.transient
        if not self.delivery.accept(cid, message.timestamp_ms, message.id, stored=stored):
            return False
        self.conversations.follow(event)
        if not self.registry.lets_through(event):
            self.handled(event)
            return True
        if (
            message.sender != self.client_id
            and not message.transient
            and event.conversation_id not in self._rooms
        ):
            self.unread.received(event)
        if self.hub.publish(event):
            self._delivered(event)
        return True

    def _delivered(self, event: Event) -> None:
        """A subscription has taken the event."""
        if self.config.ack == "delivery":
            self.handled(event)

    def handled(self, event: Event) -> None:
        """A message has reached the user: acknowledge it."""
        if isinstance(event, MessageReceived):
            message = event.message
            expected = (
                not message.transient
                and message.sender != self.client_id
                and event.conversation_id not in self._rooms
            )
            if expected and self.acks.add(event.conversation_id, message.timestamp_ms):
                self.connection.arm_timer(self.due_at)

    async def mark_read(self, cids: Sequence[str]) -> None:
        """Report that conversations were read, now or as soon as that is possible."""
        self._outbox.check()
        self.unread.read(cids, now_ms())
        for command in self.due_commands(trio.current_time()):
            await self.connection.transmit(command)
        self.connection.arm_timer(self.due_at)
        await trio.lowlevel.checkpoint()

    @property
    def due_at(self) -> float:
        """When something is to be sent by itself; infinity if there is nothing."""
        if not self._outbox.online:
            return float("inf")
        return min(self.acks.due_at, self.unread.due_at, self.authentication.renew_at)

    def due_commands(self, now: float) -> Iterable[GenericCommand]:
        """What is to be sent by itself now: acknowledgements and read marks.

        The token is renewed in the background when its time has come.
        """
        if not self._outbox.online:
            return []
        self.authentication.tick(now)
        read = self.unread.take(now)
        for command in read:
            command.peer_id = self.login.client_id
        return [*self._acknowledgements(now), *read]

    def _acknowledgements(self, now: float) -> Iterable[GenericCommand]:
        """The acknowledgements to send now: docs/protocol/messages.md §1.4."""
        return [
            GenericCommand(
                cmd=CommandType.ACK,
                peer_id=self.login.client_id,
                ack_message=AckCommand(cid=cid, fromts=first, tots=last),
            )
            for cid, first, last in self.acks.take(now)
        ]
