"""What all connections of a server share, and what is done to all of them."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import trio

from trio_realtime.wire import CommandType, GenericCommand

from ._bus import Bus
from ._config import ServerConfig
from ._connection import Connection
from ._hook_runner import HookRunner
from ._log import Metrics
from ._outbound import Flusher, Spawn
from ._rule import App
from ._sessions import end_session
from ._signatures import NonceMemory
from ._store import Store
from ._websocket import WebSocket
from .rules._session import note_kick

GOING_AWAY = 1001


@attrs.define(eq=False)
class Gateway:
    """What all connections of a server share."""

    config: ServerConfig
    store: Store
    metrics: Metrics
    spawn: Spawn
    apps: Mapping[str, App]
    buses: Mapping[str, Bus]
    hooks: Mapping[str, HookRunner] = attrs.field(factory=dict)
    """By app id, for apps that have hooks."""
    flusher: Flusher = attrs.field(factory=Flusher)
    nonces: NonceMemory | None = None
    connections: set[Connection] = attrs.field(factory=set)
    draining: bool = False
    _left: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    async def serve(self, stream: trio.abc.Stream, head: bytes, address: str) -> None:
        """Serve one upgrade request until the connection is over."""
        websocket = WebSocket(self.config.limits.frame_bytes)
        if not websocket.handshake(head) or websocket.dialect is None:
            await stream.send_all(b"".join(websocket.data_to_send()))
            return
        connection = Connection(self, stream, websocket, websocket.dialect, address)
        self.connections.add(connection)
        self.metrics.connections += 1
        self.metrics.connections_total += 1
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)
            self._left.unpark_all()
            self.metrics.connections -= 1

    async def kick(self, app_id: str, client_id: str, reason: str | None = None) -> None:
        """Force every session of a client off-line, and void its login signatures (4115)."""
        await self.store.write(app_id, lambda tx: note_kick(tx, client_id))
        for session in self.buses[app_id].sessions_of(client_id):
            end_session(session, 4115, reason or "KICKED_BY_APP")

    def go_away(self) -> None:
        """Ask every client to reconnect elsewhere: transport.md §6."""
        self.draining = True
        for connection in list(self.connections):
            connection.push_alone(GenericCommand(cmd=CommandType.GOAWAY), None, None)

    def close_all(self, code: int, reason: str) -> None:
        """Begin to close every connection."""
        for connection in list(self.connections):
            connection.close(code, reason)

    async def wait_deserted(self) -> None:
        """Wait until no connection is left."""
        while self.connections:
            await self._left.park()

    @property
    def queue_bytes(self) -> int:
        """Bytes waiting for all receivers together."""
        return sum(connection.outbox.size for connection in self.connections)
