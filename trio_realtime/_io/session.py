"""One logged-in client on a connection: its commands, its pushes, its return after a break."""

from __future__ import annotations

import itertools
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from trio_realtime._engine.budget import Budget
from trio_realtime._engine.commands import Repeat
from trio_realtime._engine.conversation_cache import ConversationCache
from trio_realtime._engine.delivery import SETTLED, Delivery
from trio_realtime._engine.login import LoginState
from trio_realtime._engine.message_hooks import HookedRegistry
from trio_realtime._engine.saved_state import SavedState, check_times, restore, save
from trio_realtime._engine.session_state import FINAL, SessionMachine, SessionState, SessionTrigger
from trio_realtime._engine.unread import UnreadCounters
from trio_realtime._values.errors import (
    ClientAlreadyOpen,
    ClientClosed,
    CommandError,
    ConnectionLost,
    RealtimeError,
)
from trio_realtime._values.events import (
    Event,
    Reconnected,
)
from trio_realtime._values.times import now_ms
from trio_realtime.wire import GenericCommand, OpType

from .authentication import Authentication
from .catch_up import CatchUp
from .command_channel import CommandChannel
from .connection import ClientConnection
from .ending import Ending
from .http import Http
from .inbox import Inbox
from .logins import Logins
from .missed_notices import MissedNotices
from .options import ClientOptions
from .paced_questions import PacedQuestions
from .pushes import Pushes
from .rest import ClientRest
from .state import StateKeeper
from .subscription import Hub

logger = logging.getLogger("trio_realtime")


class ClientSession:
    """A client id logged in on a connection.

    The reader calls `receive` for every push and never waits; tasks call `request`.
    """

    def __init__(self, connection: ClientConnection, options: ClientOptions) -> None:
        self.connection = connection
        self.options = options
        tag = None if options.tag == "default" else options.tag
        login = LoginState(connection.options.app_id, options.client_id, tag)
        self.login: LoginState = login
        self._token_prefix = secrets.token_hex(12)
        self._tokens = itertools.count(1)
        self._machine = SessionMachine()
        self.ending: Ending = Ending()
        self.inbox: Inbox = Inbox(
            login,
            message_types=options.message_types,
            plugins=options.plugins,
            ack_on_delivery=options.ack == "delivery",
            on_due=self._arm_timer,
            on_error_seen=self.ending.seen,
        )
        self.hub: Hub = self.inbox.hub
        self.registry: HookedRegistry = self.inbox.registry
        self.delivery: Delivery[Event] = self.inbox.delivery
        self.unread: UnreadCounters = self.inbox.unread
        self.conversations: ConversationCache = self.inbox.conversations
        self._keeper: StateKeeper | None = None
        self._restored: SavedState | None = None
        self.commands: CommandChannel = CommandChannel(
            login,
            serials=connection.serials,
            transmit=connection.transmit_pending,
            on_session_required=self.session_required,
            on_error_seen=self.ending.seen,
            timeout=options.command_timeout,
        )
        self.authentication: Authentication = Authentication(
            login,
            options.credentials,
            self.commands,
            sign_user=connection.rest.sign,
            on_login=self._logged_in,
            on_due=self._arm_timer,
            on_identity=self._attach,
            on_late=self._opened_too_late,
        )
        self._logins = Logins(
            self.authentication,
            connection,
            publish=self.hub.publish,
            closed=lambda: self.closed,
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
            questions=PacedQuestions(self.commands, Budget(options.history_quota)),
            notices=self._notices,
            link=connection.link,
            hub=self.hub,
            publish=self.inbox.publish,
            missing=self.inbox.missing,
        )
        self._pushes = Pushes(login, self.inbox, self._catch_up, self._notices, on_closed=self.end)

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
                self._restored = saved
                restore(saved, self.login, self.delivery, self.inbox.positions, self._notices.told)
                self._notices.link_lost()
            self._keeper = keeper
            self.inbox.on_progress = keeper.changed
            yield
        finally:
            for event in self.hub.unclaimed:
                self.inbox.positions.deal_with(event)
            await keeper.close()

    def _state(self) -> SavedState:
        return save(
            self.login,
            self.delivery,
            self.inbox.positions,
            self._notices.told,
            self._notices.unfetched_from,
            trio.current_time(),
        )

    async def open(self) -> None:
        """Log in for the first time. Raises what the server or the link says."""
        try:
            await self._logins.first(self._begin_login)
            if self._restored is not None:
                check_times(self._restored, self.login.returned_at)
        except BaseException as error:
            self._move(SessionTrigger.CLOSE)
            refused = isinstance(error, CommandError | ConnectionLost | ClientAlreadyOpen)
            if self.connection.detach(self) and not refused:
                # The server may let the client in all the same.
                self._say_goodbye()
            raise
        # If the link ended in the moment of the answer, the next one resumes the session.
        if self._machine.state is SessionState.OPENING:
            self._ready()
            if self._catch_up.returned:
                # An earlier run of the program has been here.
                self._catch_up.start()

    async def keep_state(self) -> None:
        """Leave a state to the next run, from the very beginning. Raises `StateError`."""
        if self._keeper is not None:
            await self._keeper.begin(self._state)
            self.connection.start_soon(self._keeper.run)
            if not self.delivery.begun:
                self.connection.start_soon(self._note_begun, self._keeper)

    async def _note_begun(self, keeper: StateKeeper) -> None:
        """All that the first login brings has come by then: the next run need not fear for it."""
        await trio.sleep(SETTLED)
        keeper.changed()

    async def _begin_login(self) -> None:
        """Wait for a link, and take it for the first login."""
        with trio.move_on_after(self.options.command_timeout) as scope:
            await self.connection.link.wait_up()
        if scope.cancelled_caught:
            raise ConnectionLost(1006, "not connected")
        self._attach()
        if self._machine.state is not SessionState.OPENING:
            self._move(SessionTrigger.OPEN)
        await self.connection.left(self.login.client_id)

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
        self._logins.succeeded()
        if not returned:
            self.delivery.begin(self.login.returned_at, trio.current_time())
        elif self.options.catch_up:
            self._catch_up.begin()
        self.connection.address(self, self.client_id)

    async def resume(self) -> None:
        """Log in again on a new link, send what waits, and fetch what was missed."""
        self._move(SessionTrigger.RESUME)
        try:
            if not await self._logins.again():
                return
        except CommandError as error:
            self.end(error)
            return
        self.hub.publish(Reconnected())
        await self.commands.transmit_deferred()
        self._ready()
        if self.options.catch_up:
            self._catch_up.start()

    def retry(self) -> None:
        """Do not wait for the next attempt to connect or to log in."""
        self._logins.hurry()

    def session_required(self) -> None:
        """The server has lost the session, as if the link of this client alone were broken."""
        if self.commands.online:
            self.link_lost(ConnectionLost(1006, "the server has no session for this client"))
            self.connection.link.start_soon(self._return)

    async def _return(self) -> None:
        if await self._logins.next_turn():
            await self.resume()

    def link_lost(self, error: Exception) -> None:
        """The link broke. What comes on the next one waits until the gap is filled."""
        self._move(SessionTrigger.LOST)
        self._logins.link_lost()
        self.commands.suspend(error)
        self.inbox.link_lost()
        if self.options.catch_up:
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

    # What the connection brings.

    def receive(self, command: GenericCommand) -> None:
        """Handle one push, without waiting."""
        self._pushes.receive(command)

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
