"""One socket and the clients on it.

The `LinkKeeper` dials, serves one link after another, and waits between them. While a link is
up it has tasks of its own, the heartbeat and one resumption for each client; when the link
ends, so do they. What arrives is handed to the clients by the task that reads the socket,
which never waits for anybody.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Protocol

import trio

from trio_realtime._engine.commands import PendingCommand, Serials, asks_for_login
from trio_realtime._engine.dialect import DIALECTS
from trio_realtime._engine.login import IM_SERVICE
from trio_realtime._engine.refusals import Consequence, consequences
from trio_realtime._values.errors import (
    ClientAlreadyOpen,
    CommandError,
    ConnectFailed,
    RealtimeError,
)
from trio_realtime._values.events import Event
from trio_realtime.transport import (
    ConnectError,
    Payload,
    Transport,
    TransportClosed,
    connect,
)
from trio_realtime.wire import CommandType, GenericCommand, WireError

from .exception_groups import background_nursery, single_error
from .http import Http
from .options import ConnectionOptions
from .reconnect import LinkKeeper, connect_failed
from .rest import AppRest
from .routing import Endpoints

logger = logging.getLogger("trio_realtime")

ECHO_INTERVAL = 180.0
"""Seconds between heartbeats: docs/protocol/transport.md §4."""
SILENCE_LIMIT = 380.0
"""Seconds without any inbound frame after which the link counts as dead."""


class AttachedClient(Protocol):
    """A client on a connection, as the connection sees it. Only `resume` may wait."""

    @property
    def begun(self) -> bool:
        """Whether it has been logged in, and is to be resumed on a new link."""

    @property
    def due_at(self) -> float:
        """When it wants to send something by itself; infinity if there is nothing."""

    def due_commands(self, now: float) -> Iterable[GenericCommand]:
        """What it wants to send by itself now."""

    def session_required(self) -> None:
        """The server has said that it has no session for it."""

    async def resume(self) -> None:
        """There is a new link: log in again. Runs in the background of that link."""

    def receive(self, command: GenericCommand) -> None:
        """A push for it has arrived."""

    def publish(self, event: Event) -> object:
        """Something has happened to the connection."""

    def link_lost(self, error: Exception) -> None:
        """The link broke; may be said twice of one link."""

    def end(self, error: RealtimeError) -> None:
        """No link can follow, for this reason."""

    def connection_closed(self) -> None:
        """The user has closed the connection."""


class ClientConnection:
    """The link to the server of one app, kept alive; shared by any number of clients."""

    def __init__(self, options: ConnectionOptions) -> None:
        self.options = options
        self.http: Http = Http(open_stream=options.open_stream, ssl_context=options.ssl_context)
        self._endpoints = Endpoints(
            self.http,
            app_id=options.app_id,
            server=options.server,
            rtm_servers=options.rtm_servers,
        )
        self.rest: AppRest = AppRest(
            self.http,
            self._endpoints,
            app_id=options.app_id,
            app_key=options.app_key,
            available=options.server is not None or not options.rtm_servers,
        )
        self.link: LinkKeeper = LinkKeeper(
            dial=self._dial,
            on_up=self._link_up,
            on_down=self._link_down,
            final_error=final_error,
            on_final=self._failed,
            publish=self._publish,
            first_patience=options.connect_retry,
        )
        self.serials: Serials = Serials()
        self._attached: dict[AttachedClient, str | None] = {}
        """Every client that is logged in or logging in, in order, with its id once it is known."""
        self._addressees: dict[str, AttachedClient] = {}
        """To whom pushes can be addressed, by client id."""
        self._leaving: dict[str, trio.Event] = {}
        """Ids for which a farewell is about to be sent: they do not log in before it."""
        self._dialect = DIALECTS[options.dialect]
        self._timer = trio.CancelScope()
        self.tasks: trio.Nursery | None = None
        self._due = float("inf")

    def start_soon(self, function: Callable[..., Awaitable[None]], *args: object) -> None:
        """Run something in the background of this connection, whatever becomes of its links."""
        assert self.tasks is not None, "the connection is not open"
        self.tasks.start_soon(function, *args)

    # The clients.

    def attach(self, client: AttachedClient, client_id: str | None) -> None:
        """A client begins to use this connection, with its id if that is known already.

        Raises:
            ClientAlreadyOpen: another client has this id here.
        """
        for other, other_id in self._attached.items():
            if other is not client and client_id is not None and other_id == client_id:
                raise ClientAlreadyOpen(
                    f"a client {client_id!r} is open on this connection already: "
                    "open the other on a connection of its own"
                )
        self._attached[client] = client_id

    @property
    def shared(self) -> bool:
        """Whether there are several clients on this connection."""
        return len(self._attached) > 1

    def say_goodbye(self, goodbye: GenericCommand) -> None:
        """Log a client out that nobody has any more, without waiting for anything."""
        client_id = goodbye.peer_id
        if client_id is None or not self.link.connected or client_id in self._leaving:
            return
        # Nobody cares for the answer.
        goodbye.i = self.serials.skip()
        self._leaving[client_id] = trio.Event()
        self.start_soon(self._leave, client_id, goodbye)

    async def _leave(self, client_id: str, goodbye: GenericCommand) -> None:
        try:
            await self.transmit(goodbye)
        finally:
            self._leaving.pop(client_id).set()

    async def left(self, client_id: str | None) -> None:
        """Wait until the farewell of an earlier client of this id has left."""
        while client_id is not None and client_id in self._leaving:
            await self._leaving[client_id].wait()

    def address(self, client: AttachedClient, client_id: str) -> None:
        """An attached client has logged in: pushes for this id are its own."""
        self._attached[client] = client_id
        self._addressees[client_id] = client

    def detach(self, client: AttachedClient) -> bool:
        """A client has nothing more to do with this connection; False if it had nothing before."""
        if client not in self._attached:
            return False
        client_id = self._attached.pop(client)
        if client_id is not None and self._addressees.get(client_id) is client:
            del self._addressees[client_id]
        return True

    # The link.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the link until cancelled, or until an error that is final.

        Raises:
            ConnectFailed: the very first attempt failed.
        """
        try:
            await self.link.run(task_status=task_status)
        finally:
            for client in list(self._attached):
                client.connection_closed()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await self.http.aclose()

    @asynccontextmanager
    async def _dial(self) -> AsyncIterator[Transport]:
        """Open the first endpoint that accepts."""
        options = self.options
        failure: ConnectFailed | None = None
        for url in await self._endpoints.urls():
            try:
                async with connect(
                    url,
                    subprotocol=self._dialect.subprotocol(options.offline_messages),
                    ssl_context=options.ssl_context,
                    implementation=options.transport,
                    connect_timeout=options.connect_timeout,
                    open_stream=options.open_stream,
                    deliver=self._received,
                ) as transport:
                    self._endpoints.connected(url)
                    yield transport
                    return
            except ConnectError as error:
                failure = connect_failed(error)
        assert failure is not None, "endpoints.urls() is never empty"
        self._endpoints.forget()
        raise failure

    def _link_up(self) -> None:
        self.link.limit_silence(SILENCE_LIMIT)
        self.link.start_soon(self._heartbeat)
        for client in self._attached:
            if client.begun:
                self.link.start_soon(client.resume)

    def _link_down(self, error: Exception) -> None:
        self.serials.link_lost()
        for client in list(self._attached):
            client.link_lost(error)

    def _failed(self, error: RealtimeError) -> None:
        for client in list(self._attached):
            client.end(error)

    def _publish(self, event: Event) -> None:
        for client in list(self._attached):
            client.publish(event)

    # While a link is up.

    async def transmit(self, command: GenericCommand) -> None:
        """Queue a command on the present link; without one it is lost with the last."""
        await self.link.send(self._dialect.encode(command))

    async def transmit_pending(self, pending: PendingCommand) -> None:
        """Transmit a command that waits for its reply, under a new serial id."""
        now = trio.current_time()
        command = self.serials.stamp(pending, now)
        self.arm_timer(now + pending.resend_after)
        await self.link.send(self._dialect.encode(command))

    def _received(self, payloads: list[Payload]) -> None:
        for payload in payloads:
            try:
                self._receive(payload)
            except Exception:
                # A bug of ours must not end the reader of everybody on this connection.
                logger.exception("failed to handle a frame")

    def _receive(self, payload: Payload) -> None:
        try:
            command = self._dialect.decode(payload)
        except WireError as error:
            logger.warning("dropped a frame that cannot be decoded: %s", error)
            return
        if command.i:
            self.serials.reply(command)
            return
        if command.service is not None and command.service != IM_SERVICE:
            return
        if command.cmd == CommandType.GOAWAY:
            self._endpoints.forget()
            self.link.drop("the server asked to reconnect elsewhere")
            return
        if command.cmd == CommandType.ERROR and command.error_message is not None:
            logger.warning(
                "the server reports error %s %s",
                command.error_message.code,
                command.error_message.reason,
            )
        if asks_for_login(command):
            self._session_required(command.peer_id)
            return
        if command.cmd == CommandType.ERROR:
            return
        client = self._addressee(command.peer_id)
        if client is not None:
            client.receive(command)

    def _session_required(self, client_id: str | None) -> None:
        """What has no serial id, such as an acknowledgement, was answered with "no session"."""
        for client, its_id in list(self._attached.items()):
            # Where the server does not say who is meant, it may be anybody.
            if client_id is None or its_id == client_id:
                client.session_required()

    def _addressee(self, client_id: str | None) -> AttachedClient | None:
        """Whose push this is: docs/protocol/session.md §8."""
        if client_id:
            return self._addressees.get(client_id)
        return next(iter(self._addressees.values()), None)

    async def _heartbeat(self) -> None:
        """Everything that is sent because time passes; one timer for all of it."""
        next_echo = trio.current_time() + ECHO_INTERVAL
        while True:
            commands_due = min((client.due_at for client in self._attached), default=float("inf"))
            self._due = min(next_echo, commands_due, self.serials.resend_at)
            with trio.CancelScope(deadline=self._due) as self._timer:
                await trio.sleep_forever()
            now = trio.current_time()
            if now >= next_echo:
                next_echo = now + ECHO_INTERVAL
                await self.transmit(GenericCommand(cmd=CommandType.ECHO, i=self.serials.skip()))
            for client in list(self._attached):
                for command in client.due_commands(now):
                    await self.transmit(command)
            for pending in self.serials.overdue(now):
                await self.transmit_pending(pending)

    def arm_timer(self, due: float) -> None:
        """Something is due at this time, perhaps sooner than the timer knows."""
        if due < self._due:
            self._due = self._timer.deadline = due


def final_error(closed: TransportClosed) -> CommandError | None:
    """The error that a close code means after which reconnecting cannot help."""
    if consequences(closed.code).on_close is Consequence.END:
        return CommandError.from_wire(closed.code, closed.reason)
    return None


@asynccontextmanager
async def run_connection(options: ConnectionOptions) -> AsyncIterator[ClientConnection]:
    """A connection with its background task, for the time of the block."""
    connection = ClientConnection(options)
    async with background_nursery() as nursery:
        connection.tasks = nursery
        try:
            with single_error():
                await nursery.start(connection.run)
            yield connection
        finally:
            nursery.cancel_scope.cancel()
