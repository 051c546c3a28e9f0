"""What all connections of a server share, and what is done to all of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import attrs
import outcome
import trio

from trio_realtime._values.errors import ErrorCode
from trio_realtime._values.texts import is_unicode
from trio_realtime.server.bus.answer import Answer
from trio_realtime.server.config import ServerConfig
from trio_realtime.server.metrics import Metrics
from trio_realtime.server.rules.checks import refuse
from trio_realtime.server.rules.session import note_kick
from trio_realtime.server.rules.types import Caller, Will
from trio_realtime.server.store.interface import Store
from trio_realtime.wire import CommandType, GenericCommand

from .commands import handle
from .connection import GatewayConnection
from .context import AppContext, ServerContext
from .websocket import WebSocket
from .wills import send_will

log: logging.Logger = logging.getLogger("trio_realtime.server")

GOING_AWAY = 1001


@attrs.define(eq=False)
class Gateway:
    """All connections of a server."""

    server: ServerContext
    store: Store
    connections: set[GatewayConnection] = attrs.field(factory=set)
    draining: bool = False
    requests: int = 0
    """HTTP requests being answered."""
    _left: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    def __attrs_post_init__(self) -> None:
        for app in self.server.apps.values():
            app.bus.start(self.carry_out)

    @property
    def apps(self) -> Mapping[str, AppContext]:
        """The apps served, by id."""
        return self.server.apps

    @property
    def config(self) -> ServerConfig:
        return self.server.config

    @property
    def metrics(self) -> Metrics:
        return self.server.metrics

    async def serve(self, stream: trio.abc.Stream, head: bytes, address: str) -> None:
        """Serve one upgrade request until the connection is over."""
        websocket = WebSocket(self.config.limits.frame_bytes)
        if not websocket.handshake(head) or websocket.dialect is None:
            await stream.send_all(b"".join(websocket.data_to_send()))
            return
        connection = GatewayConnection(
            self.server, handle, stream, websocket, websocket.dialect, address
        )
        websocket.forget_handshake()
        self.connections.add(connection)
        self.metrics.connections += 1
        self.metrics.connections_total += 1
        try:
            await connection.run()
        finally:
            connection.dissolve()
            self.connections.discard(connection)
            self._left.unpark_all()
            self.metrics.connections -= 1

    async def kick(self, app_id: str, client_id: str, reason: str | None = None) -> None:
        """Force every session of a client off-line, and void its signatures and tokens (4115).

        Cancelled, it is done all the same. Refuses a reason that no client could be told (4301).
        """
        if reason is not None and not is_unicode(reason):
            refuse(ErrorCode.CONVERSATION_API_FAILED, "the reason is not Unicode")
        bus = self.apps[app_id].bus
        kicked: Answer[None] = Answer()

        def committed(result: outcome.Outcome[int]) -> None:
            # Here, since who waits for it may be cancelled.
            if isinstance(result, outcome.Error):
                kicked.settle(result)
            else:
                bus.kick(client_id, 4115, reason or "KICKED_BY_APP").then(kicked.settle)

        self.store.submit(app_id, lambda tx: note_kick(tx, client_id), committed)
        await kicked

    def carry_out(self, caller: Caller, will: Will) -> None:
        """Send the will of a client that was lost.

        A server that drains has asked its clients to go: they are not lost.
        """
        if not self.draining:
            send_will(self.server, self.apps[caller.app.id], caller, will)

    def go_away(self) -> None:
        """Ask every client to reconnect elsewhere: docs/protocol/transport.md §6."""
        self.draining = True
        for connection in list(self.connections):
            connection.push_alone(GenericCommand(cmd=CommandType.GOAWAY), None, None)

    def close_all(self, code: int, reason: str) -> None:
        """Begin to close every connection."""
        for connection in list(self.connections):
            connection.close(code, reason)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """The time in which an HTTP request is answered; a drain waits for its end."""
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1
            self._left.unpark_all()

    async def wait_deserted(self) -> None:
        """Wait until no connection is left, and no request is being answered."""
        while self.connections or self.requests:
            await self._left.park()

    @property
    def queue_bytes(self) -> int:
        """Bytes waiting for all receivers together."""
        return sum(connection.buffer.size for connection in self.connections)
