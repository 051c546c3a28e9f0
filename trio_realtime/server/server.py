"""The server as a whole: a store, a gateway, a port."""

from __future__ import annotations

import errno
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trio

from trio_realtime._io.exception_groups import background_nursery, single_error

from .accepting import accept
from .api.batch import Batch
from .api.broadcasts import Broadcasts
from .api.classes import Classes
from .api.clients import Clients
from .api.conversations import Conversations
from .api.files import Files
from .api.history import History
from .api.imported_files import ImportedFiles
from .api.imports import Imports
from .api.installations import Installations
from .api.messages import Messages
from .api.moderation import Moderation
from .api.openapi import OpenApi
from .api.rest import SdkEndpoints, from_operator
from .api.service_conversations import ServiceConversations
from .api.services import ServiceMessage, Services
from .api.version_1_1 import VersionOne
from .bus.local import LocalBus
from .bus.nonces import NonceMemory
from .bus.order import ConnectionOrder
from .config import ServerConfig
from .files.blobs import Blobs, DiskBlobs, MemoryBlobs
from .gateway.context import AppContext, ServerContext
from .gateway.gateway import GOING_AWAY, Gateway
from .gateway.send_buffer import Flusher
from .health import Health, no_descriptors
from .hooks.answers import AnswerBounds
from .hooks.runner import HookRunner
from .http import Request, Response, Router
from .listener import Listener
from .metrics import Metrics, log
from .rules.types import App
from .store.interface import Store
from .store.sqlite.store import open_store
from .troubles import TroubleLog
from .upstream import Upstream, UpstreamUrl, leads_to

DATABASE = "realtime.sqlite3"
FILES = "files"

OPERATOR_ENDPOINTS = (
    Conversations,
    Messages,
    Moderation,
    Clients,
    ServiceConversations,
    Broadcasts,
    Classes,
    Installations,
    VersionOne,
    Imports,
)
"""What the operator does; some of it others may, too."""


class ServerStartError(Exception):
    """The server cannot start: the address or the data directory is not usable.

    ``str()`` is one sentence for the operator.
    """


class Server:
    """A running server, made by `open_server`."""

    def __init__(self, config: ServerConfig, gateway: Gateway, listener: Listener) -> None:
        self.config = config
        self.gateway = gateway
        self.port: int = config.port
        """The port listened on."""
        self._listener = listener
        self._nursery: trio.Nursery | None = None
        self._accepting = trio.CancelScope()

    @property
    def url(self) -> str:
        """Where clients find the server: what the SDKs call ``server``."""
        if self.config.public_url is not None:
            return self.config.public_url.rstrip("/")
        scheme = "https" if self.config.tls is not None else "http"
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        return f"{scheme}://{host}:{self.port}"

    @property
    def ws_url(self) -> str:
        """The URL of the WebSocket itself."""
        return self.url.replace("http", "ws", 1)

    @property
    def apps(self) -> Mapping[str, App]:
        """The apps served, by id."""
        return {app.id: app for app in self.config.apps}

    @property
    def metrics(self) -> Metrics:
        """What was counted so far."""
        return self.gateway.metrics

    async def kick(self, app_id: str, client_id: str, reason: str | None = None) -> None:
        """Force every session of a client off-line (4115).

        Raises `Refusal` for a reason that is not Unicode.

        Protocol: docs/protocol/session.md §5.
        """
        await self.gateway.kick(app_id, client_id, reason)

    async def create_service_conversation(
        self,
        app_id: str,
        *,
        name: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> str:
        """Make a service conversation, which no client can; returns its id.

        Raises `Refusal` for a name or attributes that no client could give a conversation (4301).

        Protocol: docs/protocol/conversations.md §1.
        """
        return await Services(self.gateway).create(app_id, name, attributes)

    async def broadcast(
        self,
        app_id: str,
        conversation_id: str,
        body: str | bytes,
        *,
        sender: str,
        push_data: str | None = None,
    ) -> ServiceMessage:
        """Say something to all subscribers of a service conversation.

        ``body`` is the body of a message as `TextMessage.payload` gives it. The application is asked
        and told as about a client's message: `Hooks.message_received` may change it.

        Raises:
            Refusal: there is no such service conversation (4303, 4313), or the application has
                refused the message (4402).

        Protocol: docs/protocol/rest.md §6.
        """
        return await Services(self.gateway).broadcast(
            app_id, conversation_id, sender, body, push_data
        )

    async def service_messages(
        self, app_id: str, conversation_id: str, *, after: str | None = None, limit: int = 100
    ) -> list[tuple[str, Mapping[str, Any]]]:
        """What clients have written to a service: rows of ``_SysMessage`` with their keys.

        ``after`` is the key of the last row of the page before.

        Raises:
            Refusal: there is no such service conversation (4303, 4313).

        Protocol: docs/protocol/rest.md §6.
        """
        return await Services(self.gateway).messages(app_id, conversation_id, after, limit)

    async def answer(self, request: Request) -> Response:
        """Answer an HTTP request without a connection."""
        return await self._listener.router.answer(request)

    def accept(self, stream: trio.abc.Stream) -> None:
        """Serve a stream as if it had been accepted on the port."""
        assert self._nursery is not None
        self._nursery.start_soon(self._listener.serve, stream)

    def use_tls(self, context: ssl.SSLContext) -> None:
        """Serve every connection from now on with this context, for a renewed certificate.

        Raises:
            ValueError: the server was started without TLS.
        """
        if self.config.tls is None:
            raise ValueError("this server was started without TLS")
        self._listener.tls = context

    async def drain(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - the deadline is what this is about
        """Stop accepting, ask clients to reconnect elsewhere, and wait for them to leave.

        HTTP requests that are being answered are waited for as well. After ``timeout`` seconds the connections that are left are closed (1001).
        Protocol: docs/protocol/transport.md §6.
        """
        self._accepting.cancel()
        gateway = self.gateway
        gateway.go_away()
        with trio.move_on_after(timeout):
            await gateway.wait_deserted()
        gateway.close_all(GOING_AWAY, "GOING_AWAY")
        with trio.move_on_after(self.config.limits.close_timeout):
            await gateway.wait_deserted()

    async def _listen(self, nursery: trio.Nursery) -> None:
        config = self.config
        try:
            listeners = await trio.open_tcp_listeners(config.port, host=config.host)
        except OSError as error:
            raise ServerStartError(_cannot_listen(config, error)) from error
        except UnicodeError as error:
            raise ServerStartError(f"{config.host!r} cannot be the name of a host.") from error
        bound = [listener.socket.getsockname() for listener in listeners]
        self.port = bound[0][1]
        if config.upstream is not None and (
            _same_origin(config.upstream, config.public_url)
            or await leads_to(UpstreamUrl.parse(config.upstream), [one[:2] for one in bound])
        ):
            for listener in listeners:
                await listener.aclose()
            raise ServerStartError("The upstream is this server itself.")

        async def turn_away(stream: trio.abc.Stream) -> None:
            await self._listener.turn_away(stream, no_descriptors(errno.EMFILE))

        async def serve(listener: trio.SocketListener) -> None:
            with self._accepting:
                await accept(
                    listener,
                    self._listener.serve,
                    turn_away,
                    nursery=nursery,
                    troubles=self.gateway.server.troubles,
                )

        for listener in listeners:
            nursery.start_soon(serve, listener)


@asynccontextmanager
async def open_server(
    config: ServerConfig,
    *,
    store: Store | None = None,
    blobs: Blobs | None = None,
    listen: bool = True,
) -> AsyncGenerator[Server]:
    """Run a server until the block ends; connections still open are then closed.

    With ``store`` and ``blobs`` the server uses what is already open, and ``config.data``
    does not count. With ``listen=False`` it opens no port, and serves what is passed to
    `Server.accept`.

    Raises:
        ServerStartError: the address or the data directory cannot be used.
    """
    async with AsyncExitStack() as stack:
        if store is None:
            path = _database(config.data)
            limits = config.limits
            opening = open_store(
                path,
                clock=config.clock,
                query_seconds=limits.query_seconds,
                regex_steps=limits.regex_steps,
            )
            store = await stack.enter_async_context(opening)
        if blobs is None:
            blobs = _blobs(config)
        nursery = await stack.enter_async_context(background_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        with single_error():
            upstream = _upstream(config)
            server = await _assemble(config, store, blobs, nursery)
            if upstream is not None:
                passing = Upstream(
                    upstream,
                    limits=config.limits,
                    troubles=server.gateway.server.troubles,
                    public_url=config.public_url,
                )
                stack.push_async_callback(passing.aclose)
                server._listener.router.pass_on(passing.pass_on)  # noqa: SLF001 - likewise
            server._nursery = nursery  # noqa: SLF001 - the two are one
            nursery.start_soon(server.gateway.server.flusher.run)
            nursery.start_soon(server.gateway.server.troubles.run)
            if listen:
                await server._listen(nursery)  # noqa: SLF001 - likewise
        try:
            yield server
        finally:
            with trio.CancelScope(shield=True):
                await server.drain(0)


async def _assemble(
    config: ServerConfig, store: Store, blobs: Blobs, nursery: trio.Nursery
) -> Server:
    metrics, troubles = Metrics(), TroubleLog(log)
    hooks = {
        app_id: HookRunner(
            functions,
            store,
            timeout=config.hook_timeout,
            on_failure=config.on_hook_failure,
            bounds=AnswerBounds(size=config.limits.frame_bytes, depth=config.limits.json_depth),
        )
        for app_id, functions in config.hooks.items()
    }
    for runner in hooks.values():
        nursery.start_soon(runner.run)
    apps = {
        app.id: AppContext(
            app=app,
            config=config,
            store=store,
            bus=LocalBus(
                config.limits,
                metrics,
                nonces=NonceMemory() if config.refuse_repeated_nonces else None,
            ),
            metrics=metrics,
            spawn=nursery.start_soon,
            hooks=hooks.get(app.id),
        )
        for app in config.apps
    }
    server = ServerContext(
        config=config,
        metrics=metrics,
        spawn=nursery.start_soon,
        flusher=Flusher(),
        order=ConnectionOrder(config.clock),
        troubles=troubles,
        apps=apps,
    )
    gateway = Gateway(server, store)
    router = Router(metrics, troubles, partial(from_operator, gateway))
    SdkEndpoints(gateway, Health(store)).routes(router)
    files = Files(gateway, blobs)
    files.routes(router)
    History(gateway).routes(router)
    for endpoints in OPERATOR_ENDPOINTS:
        endpoints(gateway).routes(router)
    ImportedFiles(gateway, files).routes(router)
    Batch(gateway, router).routes(router)
    OpenApi(router).routes(router)
    await files.recover()
    return Server(config, gateway, Listener(gateway, router, config.tls))


def _database(data: Path | None) -> Path | None:
    if data is None:
        return None
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ServerStartError(
            f"The data directory {data} cannot be used: {error.strerror or error}."
        ) from error
    return data / DATABASE


def _blobs(config: ServerConfig) -> Blobs:
    if config.data is None:
        return MemoryBlobs(config.limits.file_memory_bytes)
    directory = config.data / FILES
    try:
        return DiskBlobs(directory)
    except OSError as error:
        raise ServerStartError(
            f"The directory {directory} cannot be used: {error.strerror or error}."
        ) from error


def _upstream(config: ServerConfig) -> UpstreamUrl | None:
    if config.upstream is None:
        return None
    try:
        return UpstreamUrl.parse(config.upstream)
    except ValueError as error:
        raise ServerStartError(
            "The upstream takes the form http[s]://host[:port], without a path."
        ) from error


def _same_origin(url: str, public: str | None) -> bool:
    if public is None:
        return False
    try:
        ours = urlsplit(public)
        port = ours.port or (443 if ours.scheme == "https" else 80)
    except ValueError:
        return False
    theirs = UpstreamUrl.parse(url)
    return (ours.hostname, port) == (theirs.host, theirs.port)


def _cannot_listen(config: ServerConfig, error: OSError) -> str:
    where = f"{config.host}:{config.port}"
    if error.errno == errno.EADDRINUSE:
        return f"Port {config.port} of {config.host} is already in use."
    return f"Cannot listen on {where}: {error.strerror or error}."
