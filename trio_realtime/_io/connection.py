"""One socket and the clients on it.

`Connection.run` is the only background task: it dials, serves one link after another, and
waits between them as the table in ``session/_machine.py`` says. While a link is up it has
two children of its own, the heartbeat and one resumption for each client; when the link
ends, so do they. The reader is `run` itself, and it never waits for anybody.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import trio

from trio_realtime._engine.commands import Serials, Waiting
from trio_realtime._engine.dialect import DIALECTS, Dialect, OfflineMessages
from trio_realtime._engine.login import IM_SERVICE
from trio_realtime._values.errors import CommandError, ConnectFailed, ConnectionLost, RealtimeError
from trio_realtime._values.events import Event
from trio_realtime.transport import (
    ConnectError,
    Payload,
    StreamOpener,
    Transport,
    TransportClosed,
    TransportName,
    connect,
)
from trio_realtime.wire import CommandType, GenericCommand, WireError

from .exception_groups import single_error
from .http import Http
from .reconnect import LinkKeeper
from .routing import Endpoints

if TYPE_CHECKING:
    from .session import Session

logger = logging.getLogger("trio_realtime")

ECHO_INTERVAL = 180.0
"""Seconds between heartbeats: docs/protocol/transport.md §4."""
SILENCE_LIMIT = 380.0
"""Seconds without any inbound frame after which the link counts as dead."""

FATAL_CLOSE_CODES = frozenset({4100, 4103, 4110})
"""Close codes after which reconnecting cannot help: docs/protocol/transport.md §8."""


@attrs.frozen(kw_only=True)
class ConnectionConfig:
    """How to reach the server of one app."""

    app_id: str
    app_key: str
    server: str | None = None
    rtm_servers: tuple[str, ...] = ()
    transport: TransportName = "auto"
    dialect: Dialect = DIALECTS["protobuf"]
    offline_messages: OfflineMessages = "unread"
    ssl_context: ssl.SSLContext | None = None
    open_stream: StreamOpener | None = None
    connect_timeout: float = 20.0


class Connection(LinkKeeper):
    """The link to the server of one app, kept alive; shared by any number of clients."""

    def __init__(self, config: ConnectionConfig) -> None:
        super().__init__()
        self.config = config
        self.http = Http(open_stream=config.open_stream, ssl_context=config.ssl_context)
        self.endpoints = Endpoints(
            self.http,
            app_id=config.app_id,
            server=config.server,
            rtm_servers=config.rtm_servers,
        )
        self.serials = Serials()
        self.attached: dict[Session, None] = {}
        """Every client that is logged in or logging in, in order."""
        self.sessions: dict[str, Session] = {}
        """Those to which pushes can be addressed."""
        self._encode = config.dialect.encode
        self._decode = config.dialect.decode
        self._timer = trio.CancelScope()
        self._due = float("inf")

    @property
    def has_api(self) -> bool:
        """Whether a REST API belongs to the server; explicit WebSocket URLs tell of none."""
        return self.config.server is not None or not self.config.rtm_servers

    @asynccontextmanager
    async def _dial(self) -> AsyncIterator[Transport]:
        """Open the first endpoint that accepts."""
        config = self.config
        failure: ConnectFailed | None = None
        for url in await self.endpoints.urls():
            try:
                async with connect(
                    url,
                    subprotocol=config.dialect.subprotocol(config.offline_messages),
                    ssl_context=config.ssl_context,
                    implementation=config.transport,
                    connect_timeout=config.connect_timeout,
                    open_stream=config.open_stream,
                    deliver=self._received,
                ) as transport:
                    self.endpoints.connected(url)
                    yield transport
                    return
            except ConnectError as error:
                failure = ConnectFailed(str(error), status=error.status)
                failure.__cause__ = error
        assert failure is not None, "endpoints.urls() is never empty"
        self.endpoints.forget()
        raise failure

    async def _serve(self, transport: Transport) -> None:
        """Read one link until it ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._heartbeat, transport)
            for session in self.attached:
                if session.login.begun:
                    nursery.start_soon(session.resume)
            self._nursery = nursery
            try:
                # Messages go to `_received` as they arrive; this waits for the end.
                await transport.receive()
            except TransportClosed as closed:
                self._closed_by_peer(closed)
            nursery.cancel_scope.cancel()

    def _closed_by_peer(self, closed: TransportClosed) -> None:
        if closed.code in FATAL_CLOSE_CODES:
            self._fail(CommandError.from_wire(closed.code, closed.reason))
        else:
            self._lost = ConnectionLost(closed.code, closed.reason)

    def _suspend(self, error: Exception) -> None:
        for session in list(self.attached):
            session.link_lost(error)

    def _failed(self, error: RealtimeError) -> None:
        for session in list(self.attached):
            session.end(error)

    async def _closed(self) -> None:
        for session in list(self.attached):
            session.connection_closed()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
            await self.http.aclose()

    # While a link is up.

    async def transmit(self, command: GenericCommand) -> None:
        """Queue a command on the present link; without one it is lost with the last."""
        if self._transport is not None:
            try:
                await self._transport.send(self._encode(command))
            except TransportClosed:
                # The reader is about to find out and tell everybody.
                return

    async def transmit_waiting(self, waiting: Waiting) -> None:
        """Transmit a command that waits for its reply, under a new serial id."""
        now = trio.current_time()
        command = self.serials.stamp(waiting, now)
        self.arm_timer(now + waiting.resend_after)
        await self.transmit(command)

    def start_soon(self, function: Callable[..., Awaitable[None]], *args: object) -> None:
        """Run something in the background of the present link; it ends with the link."""
        self._nursery.start_soon(function, *args)

    def _received(self, payloads: list[Payload]) -> None:
        for payload in payloads:
            try:
                self._receive(payload)
            except Exception:
                # A bug of ours must not end the reader of everybody on this connection.
                logger.exception("failed to handle a frame")

    def _receive(self, payload: Payload) -> None:
        try:
            command = self._decode(payload)
        except WireError as error:
            logger.warning("dropped a frame that cannot be decoded: %s", error)
            return
        if command.i:
            self.serials.reply(command)
            return
        if command.service is not None and command.service != IM_SERVICE:
            return
        if command.cmd == CommandType.GOAWAY:
            self.endpoints.forget()
            self.drop("the server asked to reconnect elsewhere")
            return
        if command.cmd == CommandType.ERROR:
            if command.error_message is not None:
                logger.warning(
                    "the server reports error %s %s",
                    command.error_message.code,
                    command.error_message.reason,
                )
            return
        session = self._addressee(command.peer_id)
        if session is not None:
            session.receive(command)

    def _addressee(self, peer_id: str | None) -> Session | None:
        """Whose push this is: docs/protocol/session.md §8."""
        if peer_id:
            return self.sessions.get(peer_id)
        return next(iter(self.sessions.values()), None)

    async def _heartbeat(self, transport: Transport) -> None:
        """Everything that happens because time passes; one timer for all of it."""
        next_echo = trio.current_time() + ECHO_INTERVAL
        while True:
            commands_due = min((session.due_at for session in self.attached), default=float("inf"))
            self._due = min(
                next_echo,
                transport.last_received + SILENCE_LIMIT,
                commands_due,
                self.serials.resend_at,
            )
            with trio.CancelScope(deadline=self._due) as self._timer:
                await trio.sleep_forever()
            now = trio.current_time()
            if now >= transport.last_received + SILENCE_LIMIT:
                self.drop(f"nothing heard for {SILENCE_LIMIT:g} seconds")
            if now >= next_echo:
                next_echo = now + ECHO_INTERVAL
                await self.transmit(GenericCommand(cmd=CommandType.ECHO, i=self.serials.skip()))
            for session in list(self.attached):
                for command in session.due_commands(now):
                    await self.transmit(command)
            for waiting in self.serials.overdue(now):
                await self.transmit_waiting(waiting)

    def arm_timer(self, due: float) -> None:
        """Something is due at this time, perhaps sooner than the timer knows."""
        if due < self._due:
            self._due = self._timer.deadline = due

    def _publish(self, event: Event) -> None:
        for session in list(self.attached):
            session.hub.publish(event)


@asynccontextmanager
async def run_connection(config: ConnectionConfig) -> AsyncIterator[Connection]:
    """A connection with its background task, for the time of the block."""
    connection = Connection(config)
    with single_error():
        async with trio.open_nursery() as nursery:
            await nursery.start(connection.run)
            try:
                yield connection
            finally:
                nursery.cancel_scope.cancel()
