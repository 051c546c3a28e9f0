"""One logged-in client on a connection: its commands, its pushes, its return after a break."""

from __future__ import annotations

import itertools
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import attrs
import trio

from trio_realtime._engine.backoff import Backoff
from trio_realtime._engine.budget import Budget
from trio_realtime._engine.commands import Repeat
from trio_realtime._engine.conversation_cache import ConversationCache
from trio_realtime._engine.delivery import Delivery
from trio_realtime._engine.login import LoginState
from trio_realtime._engine.mapping import events_from_command, message_from_direct
from trio_realtime._engine.message_hooks import HookedRegistry, MessageHooks
from trio_realtime._engine.refusals import Consequence, consequences
from trio_realtime._engine.saved_state import SavedState, restore, save
from trio_realtime._engine.session_state import FINAL, SessionMachine, SessionState, SessionTrigger
from trio_realtime._engine.unread import UnreadCounters
from trio_realtime._values.conversations import ConversationKind
from trio_realtime._values.errors import (
    ClientAlreadyOpen,
    ClientClosed,
    CommandError,
    CommandTimeout,
    ConnectFailed,
    ConnectionLost,
    RealtimeError,
    Retry,
)
from trio_realtime._values.events import (
    Event,
    Gap,
    MessageReceived,
    Reconnected,
    ReconnectFailed,
    Reconnecting,
    ReconnectScheduled,
    SessionClosed,
    SessionConflict,
    UnreadUpdated,
)
from trio_realtime._values.times import now_ms
from trio_realtime._values.typed_messages import TypedMessage
from trio_realtime.wire import CommandType, DirectCommand, GenericCommand, OpType

from .authentication import Authentication, Credentials
from .catch_up import CatchUp
from .command_channel import CommandChannel
from .connection import ClientConnection
from .ending import Ending
from .http import Http
from .inbox import Inbox
from .missed_notices import MissedNotices
from .rest import ClientRest
from .state import StateKeeper
from .subscription import Hub

logger = logging.getLogger("trio_realtime")

COMMAND_TIMEOUT = 20.0
"""Seconds to wait for a reply: docs/protocol/transport.md §5."""

HISTORY_QUOTA = 120.0
"""Questions about histories that LeanCloud allows a client in a minute."""

STABLE = 60.0
"""Seconds after which a login is not to blame for what becomes of the session."""

AckMode = Literal["delivery", "next"]


@attrs.frozen(kw_only=True)
class SessionConfig:
    """What a client may choose for itself."""

    command_timeout: float = COMMAND_TIMEOUT
    catch_up: bool = True
    history_quota: float | None = HISTORY_QUOTA
    ack: AckMode = "delivery"
    credentials: Credentials = attrs.field(factory=Credentials)
    message_types: Sequence[type[TypedMessage]] = ()
    plugins: Sequence[MessageHooks] = ()


class ClientSession:
    """A client id logged in on a connection.

    The reader calls `receive` for every push and never waits; tasks call `request`.
    """

    def __init__(
        self, connection: ClientConnection, login: LoginState, config: SessionConfig
    ) -> None:
        self.connection = connection
        self.login = login
        self.config = config
        self._token_prefix = secrets.token_hex(12)
        self._tokens = itertools.count(1)
        self._machine = SessionMachine()
        self.ending: Ending = Ending()
        self.inbox: Inbox = Inbox(
            login,
            message_types=config.message_types,
            plugins=config.plugins,
            ack_on_delivery=config.ack == "delivery",
            on_due=self._arm_timer,
            on_error_seen=self.ending.seen,
        )
        self.hub: Hub = self.inbox.hub
        self.registry: HookedRegistry = self.inbox.registry
        self.delivery: Delivery[Event] = self.inbox.delivery
        self.unread: UnreadCounters = self.inbox.unread
        self.conversations: ConversationCache = self.inbox.conversations
        self._keeper: StateKeeper | None = None
        self._cut: set[str] = set()
        """Conversations of which only the latest missed messages were pushed."""
        self.commands: CommandChannel = CommandChannel(
            login,
            serials=connection.serials,
            transmit=connection.transmit_pending,
            on_session_required=self.session_required,
            on_error_seen=self.ending.seen,
            timeout=config.command_timeout,
        )
        self.authentication: Authentication = Authentication(
            login,
            config.credentials,
            self.commands,
            sign_user=connection.rest.sign,
            on_login=self._logged_in,
            on_due=self._arm_timer,
            on_identity=self._attach,
            on_late=self._opened_too_late,
        )
        self.http: Http = connection.http
        self.rest: ClientRest = ClientRest(
            connection.rest, token=self.authentication.token, expire_token=login.expire_token
        )
        self._notices = MissedNotices(
            login=login,
            registry=self.registry,
            rest=self.rest,
            receive=self.inbox.received,
            publish=self.inbox.publish,
        )
        self._catch_up = CatchUp(
            login=login,
            delivery=self.delivery,
            registry=self.registry,
            commands=self.commands,
            notices=self._notices,
            link=connection.link,
            budget=Budget(config.history_quota),
            hub=self.hub,
            publish=self.inbox.publish,
        )
        self._resumed = False
        """Whether this is not the first link, and gaps are to be filled."""
        self._backoff = Backoff()
        """When to log in again on a link that is there."""
        self._logged_in_at = float("-inf")
        self._hurry = trio.Event()
        """Set when the wait for that is over."""

    @property
    def client_id(self) -> str:
        """The id of this client."""
        return self.login.assigned_id

    @property
    def begun(self) -> bool:
        """Whether this run of the program has logged the client in."""
        return self.login.begun and not self.login.anew

    @property
    def error(self) -> Exception | None:
        """What ended this client, if it was not the user."""
        return self.ending.error

    @property
    def closed(self) -> bool:
        """Whether the client has ended, by an error or by the user."""
        return self._machine.state in FINAL

    def request(
        self,
        command: GenericCommand,
        *,
        repeat: Repeat = "always",
        on_reply: Callable[[GenericCommand], None] | None = None,
    ) -> Coroutine[Any, Any, GenericCommand]:
        """Send a command and wait for its reply; see `CommandChannel.request`."""
        return self.commands.request(command, repeat=repeat, on_reply=on_reply)

    def insist(
        self, command: GenericCommand, on_reply: Callable[[GenericCommand], None] | None = None
    ) -> Coroutine[Any, Any, GenericCommand]:
        """Send a command until it is answered; see `CommandChannel.insist`."""
        return self.commands.insist(command, on_reply)

    def new_token(self) -> str:
        """A token by which the server recognises one sending when it is repeated."""
        return f"{self._token_prefix}-{next(self._tokens)}"

    def sent(self, cid: str, timestamp: int, mid: str) -> None:
        """A message of this client was stored: nobody here awaits it."""
        self.inbox.sent(cid, timestamp, mid)

    # The life of the session.

    @asynccontextmanager
    async def kept(self, keeper: StateKeeper) -> AsyncIterator[None]:
        """Go on where an earlier run of the program stopped, and leave a state to the next.

        Raises:
            StateError: the state cannot be used, or at the end not be written.
        """
        saved = await keeper.open()
        try:
            if saved is not None:
                restore(saved, self.login, self.delivery, self.inbox.positions)
                self._notices.link_lost()
            self._keeper = keeper
            self.inbox.on_progress = keeper.changed
            yield
        finally:
            for event in self.hub.unclaimed:
                self.inbox.positions.deal_with(event)
            await keeper.close()

    def _state(self) -> SavedState:
        unfetched_from, positions = self._notices.unfetched_from, self.inbox.positions
        return save(self.login, self.delivery, positions, unfetched_from, trio.current_time())

    async def open(self) -> None:
        """Log in for the first time. Raises what the server or the link says.

        Where the connection is to wait for its server, a link that breaks before the login and
        a refusal that passes are no end yet.
        """
        patient_until = trio.current_time() + self.connection.config.connect_retry
        try:
            while True:
                try:
                    await self._first_login()
                    break
                except (ConnectionLost, ConnectFailed, CommandError) as error:
                    now = trio.current_time()
                    if self.closed or now >= patient_until or not _passes(error):
                        raise
                    logger.warning("not logged in yet, trying again: %s", error)
                    if not isinstance(error, ConnectionLost):
                        delay = self._backoff.next_delay()
                        self._backoff.attempted()
                        await trio.sleep(min(delay, patient_until - now))
        except BaseException as error:
            self._move(SessionTrigger.CLOSE)
            refused = isinstance(error, CommandError | ConnectionLost | ClientAlreadyOpen)
            if self.connection.detach(self) and not refused:
                # The server may let the client in all the same.
                self._say_goodbye()
            raise
        self._backoff.reset()
        # If the link ended in the moment of the answer, the next one resumes the session.
        if self._machine.state is SessionState.OPENING:
            self._ready()
            if self._resumed:
                # An earlier run of the program has been here.
                self._catch_up.start()
        if self._keeper is not None:
            self.connection.start_soon(self._keeper.run, self._state)
            self._keeper.changed()

    async def _first_login(self) -> None:
        with trio.move_on_after(self.config.command_timeout) as scope:
            await self.connection.link.wait_up()
        if scope.cancelled_caught:
            raise ConnectionLost(1006, "not connected")
        self._attach()
        if self._machine.state is not SessionState.OPENING:
            self._move(SessionTrigger.OPEN)
        await self.connection.left(self.login.client_id)
        await self.authentication.log_in()

    def _attach(self) -> None:
        self.connection.attach(self, self.login.client_id)

    def _say_goodbye(self) -> None:
        self.connection.say_goodbye(self.login.close_command())

    def _opened_too_late(self, reply: GenericCommand) -> None:
        """The server let a client in that is gone, whose id only this reply tells."""
        if reply.op == OpType.OPENED and self.login.client_id is None:
            self.login.client_id = reply.peer_id
            self._say_goodbye()

    def _ready(self) -> None:
        self._move(SessionTrigger.READY)
        self._arm_timer()

    def _move(self, event: SessionTrigger) -> None:
        self._machine.handle(event)
        self.commands.online = self._machine.state is SessionState.ONLINE

    def _logged_in(self, returned: bool) -> None:
        """The server has let the client in; pushes may follow at once."""
        self.connection.link.healthy()
        self._logged_in_at = trio.current_time()
        self._resumed = returned and self.config.catch_up
        if self._resumed:
            self._catch_up.begin()
        elif not returned:
            self.delivery.begin(self.login.returned_at)
        self.connection.address(self, self.client_id)

    async def resume(self) -> None:
        """Log in again on a new link, send what waits, and fetch what was missed."""
        self._move(SessionTrigger.RESUME)
        while True:
            try:
                await self.authentication.log_in()
            except ConnectionLost as error:
                self.connection.link.drop(str(error))
                return
            except RealtimeError as error:
                if not self._may_return(error):
                    return
                await self._turn()
            else:
                break
        # The link may have ended in the moment of the answer, or the user have left.
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.closed:
            return
        self.hub.publish(Reconnected())
        await self.commands.transmit_deferred()
        self._ready()
        if self.config.catch_up:
            self._catch_up.start()

    def _may_return(self, error: RealtimeError) -> bool:
        """Whether a client that was not let in again tries once more on the same link.

        Only where others share the link: alone, it had better try another.
        """
        if self.closed:
            return False
        link = self.connection.link
        dead = isinstance(error, CommandTimeout) and link.silent_for(error.seconds)
        if not dead:
            self.hub.publish(ReconnectFailed(error=error))
        if isinstance(error, CommandError) and not _passes(error):
            self.end(error)
            return False
        if dead or not self.connection.shared:
            link.drop(str(error))
            return False
        return True

    async def _turn(self) -> None:
        """Wait until it is time to log in again, or the user says so."""
        backoff = self._backoff
        delay = backoff.next_delay()
        self.hub.publish(ReconnectScheduled(attempt=backoff.attempt, delay=delay))
        self._hurry = trio.Event()
        with trio.move_on_after(delay):
            await self._hurry.wait()
        attempt = backoff.attempt
        backoff.attempted()
        self.hub.publish(Reconnecting(attempt=attempt))

    def retry(self) -> None:
        """Do not wait for the next attempt to connect or to log in."""
        self.connection.link.retry()
        self._backoff.reset()
        self._hurry.set()

    def session_required(self) -> None:
        """The server has lost the session, as if the link of this client alone were broken."""
        if self.commands.online:
            self.link_lost(ConnectionLost(1006, "the server has no session for this client"))
            self.connection.link.start_soon(self._return)

    async def _return(self) -> None:
        """Log in again at once; but not all the time, if the server forgets all the time."""
        if self._backoff.attempt:
            await self._turn()
        else:
            self._backoff.attempted()
        if not self.closed:
            await self.resume()

    def link_lost(self, error: Exception) -> None:
        """The link broke. What comes on the next one waits until the gap is filled."""
        self._move(SessionTrigger.LOST)
        if trio.current_time() >= self._logged_in_at + STABLE:
            self._backoff.reset()
        self.commands.suspend(error)
        self.inbox.link_lost()
        if self.config.catch_up:
            self.delivery.lose_link()
            self._notices.link_lost()

    def end(self, error: RealtimeError) -> None:
        """Nothing more can happen: everybody who waits learns why, or the body is cancelled."""
        if self.error is not None:
            return
        self._move(SessionTrigger.END)
        self.commands.end(error)
        self.hub.end(error)
        self.ending.end(error, loops=self.hub.listening)
        self.connection.detach(self)

    def connection_closed(self) -> None:
        """The user left the block: loops end, whatever still waits fails."""
        self._move(SessionTrigger.CLOSE)
        self.commands.end(ClientClosed("the client has been closed"))
        self.hub.end(None)

    async def log_out(self) -> None:
        """Tell the server that this client leaves, if there is a link; bounded in time."""
        if self.commands.online:
            self._move(SessionTrigger.LEAVE)
            with trio.move_on_after(1.0, shield=True):
                try:
                    for command in self.inbox.reports(float("inf")):
                        await self.connection.transmit(command)
                    await self.commands.exchange(self.login.close_command())
                except RealtimeError as error:
                    logger.debug("logging out: %s", error)
        elif self._machine.state is SessionState.RESUMING:
            self._say_goodbye()
        self.connection_closed()
        self.connection.detach(self)

    # Pushes.

    def receive(self, command: GenericCommand) -> None:
        """Handle one push, without waiting."""
        self.login.saw(command)
        if command.server_ts:
            self.delivery.hear(command.server_ts, trio.current_time())
        if command.cmd == CommandType.DIRECT:
            direct = command.direct_message
            if direct is None or not direct.cid:
                logger.warning("dropped a message that names no conversation")
            else:
                self._receive_message(direct)
        elif command.cmd == CommandType.SESSION:
            self._receive_closed(command)
        else:
            for event in events_from_command(command, self.registry, self.client_id):
                if isinstance(event, UnreadUpdated):
                    self._catch_up.unread(event)
                if self._notices.note(event):
                    self.inbox.received(event)
                    self.inbox.deliver(event)

    def _receive_message(self, direct: DirectCommand) -> None:
        cid, offline = direct.cid or "", bool(direct.offline)
        self.delivery.hear(direct.timestamp or 0, trio.current_time())
        if direct.conv_type == ConversationKind.CHAT_ROOM and cid:
            self.inbox.rooms.add(cid)
        self._catch_up.spoke(cid, direct.conv_type, offline=offline)
        message = message_from_direct(direct, self.registry, self.client_id)
        if not (offline or message.transient):
            self._catch_up.heard(cid, message.timestamp_ms)
        if offline and direct.has_more and cid not in self._cut and not self._resumed:
            # Only the latest are pushed; nobody fetches the others.
            self._cut.add(cid)
            self.inbox.deliver(Gap(cid, missing_until=message.timestamp))
        own = message.sender == self.client_id
        self.inbox.deliver(MessageReceived(cid, message, own=own))
        if direct.conv_type is not None:
            self.delivery.of_kind(cid, direct.conv_type)

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

    def publish(self, event: Event) -> None:
        """Hand an event to the subscriptions."""
        self.inbox.publish(event)

    # What the session sends by itself.

    async def mark_read(self, cids: Sequence[str]) -> None:
        """Report that conversations were read, now or as soon as that is possible."""
        self.commands.check()
        self.unread.read(cids, now_ms())
        for command in self.due_commands(trio.current_time()):
            await self.connection.transmit(command)
        self._arm_timer()
        await trio.lowlevel.checkpoint()

    def _arm_timer(self) -> None:
        self.connection.arm_timer(self.due_at)

    @property
    def due_at(self) -> float:
        """When something is to be sent by itself; infinity if there is nothing."""
        if not self.commands.online:
            return float("inf")
        return min(self.inbox.due_at, self.authentication.renew_at)

    def due_commands(self, now: float) -> Iterable[GenericCommand]:
        """What is to be sent by itself now: acknowledgements and read marks.

        The token is renewed in the background when its time has come.
        """
        if not self.commands.online:
            return []
        if self.authentication.is_due(now):
            self.connection.link.start_soon(self.authentication.keep_token)
        return self.inbox.reports(now)


def _passes(error: RealtimeError) -> bool:
    """Whether the same login may succeed later."""
    if isinstance(error, CommandError):
        return consequences(error.code).on_return is Consequence.RECONNECT
    return not isinstance(error, ConnectFailed) or error.retry is not Retry.NEVER
