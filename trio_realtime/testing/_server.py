"""The embedded server for tests, with the handles that make things go wrong."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import trio

from trio_realtime._io.exception_groups import background_nursery, single_error
from trio_realtime._values.times import now_ms
from trio_realtime.server import App, Hooks, Limits, Metrics, Server, ServerConfig, UserLookup
from trio_realtime.server import open_server as open_real_server
from trio_realtime.server.files.blobs import MemoryBlobs
from trio_realtime.server.store.interface import Store
from trio_realtime.server.store.sqlite.store import open_store

from ._pipe import MemoryStream, memory_streams

MEMORY_HOST = "server.test"


def default_app() -> App:
    """The app served when none is given."""
    return App("test-app", "test-key", "test-master-key")


@attrs.frozen
class ServerStatistics:
    """How a server does right now."""

    connections: int
    """WebSocket connections open."""
    sessions: int
    """Clients logged in, each session counted."""
    queue_bytes: int
    """Bytes that wait for slow receivers."""
    metrics: Metrics
    """All counters since the last start."""


class LocalServer:
    """A server running for a test, made by `open_server`."""

    def __init__(self, config: ServerConfig, nursery: trio.Nursery, store: Store | None) -> None:
        self._config = config
        self._nursery = nursery
        self._store = store
        self._blobs = None if store is None else MemoryBlobs(config.limits.file_memory_bytes)
        self._server: Server | None = None
        self._stop = trio.Event()
        self._stopped = trio.Event()

    @property
    def server(self) -> Server:
        """The server itself. Raises `RuntimeError` while it is stopped."""
        if self._server is None:
            raise RuntimeError("the server is stopped")
        return self._server

    @property
    def url(self) -> str:
        """What clients call ``server``."""
        if self._store is not None:
            return f"http://{MEMORY_HOST}"
        return f"http://{self._config.host}:{self._config.port}"

    @property
    def ws_url(self) -> str:
        """The URL of the WebSocket."""
        return self.url.replace("http", "ws", 1)

    @property
    def app(self) -> App:
        """The first app."""
        return self._config.apps[0]

    @property
    def app_id(self) -> str:
        """Id of the first app."""
        return self.app.id

    @property
    def app_key(self) -> str:
        """Key of the first app."""
        return self.app.key

    @property
    def master_key(self) -> str:
        """Master key of the first app."""
        return self.app.master_key

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:  # noqa: ARG002
        """Connect without a socket: fits `open_client`'s ``open_stream``.

        Every host and port leads here. Raises `ConnectionRefusedError` while the server is
        stopped.
        """
        return await self.connect()

    async def connect(self) -> MemoryStream:
        """A new in-memory connection to this server."""
        await trio.lowlevel.checkpoint()
        if self._server is None:
            raise ConnectionRefusedError("the server is stopped")
        ours, theirs = memory_streams()
        self._server.accept(theirs)
        return ours

    def drop_connections(self, client_id: str | None = None) -> int:
        """Break connections without a word, as a network does; returns how many.

        With ``client_id``, only those on which this client is logged in.
        """
        connections = [
            connection
            for connection in self.server.gateway.connections
            if client_id is None or client_id in connection.sessions
        ]
        for connection in connections:
            connection.abort()
        return len(connections)

    async def kick(self, client_id: str, reason: str | None = None) -> None:
        """Force a client of the first app off-line (4115)."""
        await self.server.kick(self.app_id, client_id, reason)

    def stats(self) -> ServerStatistics:
        """A snapshot."""
        gateway = self.server.gateway
        return ServerStatistics(
            len(gateway.connections),
            gateway.metrics.sessions,
            gateway.queue_bytes,
            attrs.evolve(
                gateway.metrics,
                refusals=gateway.metrics.refusals.copy(),
                closes=gateway.metrics.closes.copy(),
            ),
        )

    async def start(self) -> None:
        """Start again after `stop`, on the same port with the same data."""
        if self._server is None:
            await self._nursery.start(self._run)

    async def stop(self, *, drain: float | None = None) -> None:
        """Stop serving: at once, as in a crash, or after draining for so many seconds."""
        if self._server is None:
            return
        if drain is not None:
            await self._server.drain(drain)
        self._stop.set()
        await self._stopped.wait()

    async def restart(self, *, drain: float | None = None) -> None:
        """`stop`, then `start`."""
        await self.stop(drain=drain)
        await self.start()

    async def _run(self, *, task_status: trio.TaskStatus[None]) -> None:
        self._stop, self._stopped = trio.Event(), trio.Event()
        try:
            async with open_real_server(
                self._config, store=self._store, blobs=self._blobs, listen=self._store is None
            ) as server:
                self._config = attrs.evolve(self._config, port=server.port)
                self._server = server
                task_status.started()
                try:
                    await self._stop.wait()
                finally:
                    self._server = None
                    # Nobody is left who could deliver a will.
                    server.gateway.draining = True
                    for connection in list(server.gateway.connections):
                        connection.abort()
        finally:
            self._stopped.set()


@asynccontextmanager
async def open_server(
    *,
    apps: Sequence[App] | None = None,
    data: Path | None = None,
    memory: bool = False,
    limits: Limits | None = None,
    hooks: Hooks | None = None,
    user_lookup: UserLookup | None = None,
    refuse_repeated_nonces: bool = False,
) -> AsyncGenerator[LocalServer]:
    """Run the embedded server until the block ends.

    By default it listens on a free port of 127.0.0.1, and keeps its data in ``data`` or else
    in a private temporary directory. With ``memory`` it uses neither sockets nor threads nor
    files: connect with `LocalServer.open_stream`. Its time is then trio's, so that a test
    with an autojump clock passes hours in no time. ``hooks`` are asked and told by all apps.
    ``user_lookup`` knows the storage users, for logins with their session tokens. With
    ``refuse_repeated_nonces`` each login signature is accepted only once, as
    `ServerConfig.refuse_repeated_nonces` has it.
    """
    config = ServerConfig(
        apps=list(apps) if apps is not None else [default_app()],
        port=0,
        data=data,
        limits=limits or Limits(),
        user_lookup=user_lookup,
        refuse_repeated_nonces=refuse_repeated_nonces,
    )
    if hooks is not None:
        config = attrs.evolve(config, hooks={app.id: hooks for app in config.apps})
    async with AsyncExitStack() as stack:
        store: Store | None = None
        if memory:
            clock = _virtual_clock()
            config = attrs.evolve(config, clock=clock, host=MEMORY_HOST, data=None)
            opening = open_store(
                None, inline=True, clock=clock, regex_steps=config.limits.regex_steps
            )
            store = await stack.enter_async_context(opening)
        elif data is None:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="trio-realtime-"))
            config = attrs.evolve(config, data=Path(directory))
        nursery = await stack.enter_async_context(background_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        local = LocalServer(config, nursery, store)
        with single_error():
            await local.start()
        yield local


def _virtual_clock() -> Callable[[], int]:
    """Milliseconds that begin with the wall clock and pass as trio's time does."""
    start = now_ms() - int(trio.current_time() * 1000)
    return lambda: start + int(trio.current_time() * 1000)
