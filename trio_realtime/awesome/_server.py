"""The embedded server of awesome-im. Protocol: docs/protocol/awesome-im.md §1, §5."""

from __future__ import annotations

import logging
import math
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
import trio
import trio_websocket

from trio_realtime._io.exception_groups import background_nursery, single_error
from trio_realtime._values.times import now_ms

from ._codec import MAX_FRAME, Envelope, FrameError, decode_message, encode_envelope
from ._messages import (
    PING,
    SERVER,
    BaseMessage,
    ConversationType,
    CustomMessage,
    MessageDirection,
)

logger = logging.getLogger("trio_realtime.awesome")

UNSENT_BYTES = 4 * MAX_FRAME
"""Bytes that may wait for one receiver before its connection is closed."""
USERS_OF_A_CONNECTION = 100
"""User ids a connection may have spoken under; the oldest are forgotten first."""
CLOSE_NOTICE = 4
"""Code by which the sample server tells that another connection has closed."""
UNSUPPORTED_DATA = 1003
"""Close code for what is no message."""

Handler = Callable[[BaseMessage], Awaitable[BaseMessage | None]]
"""Asked about every message to the server; what it returns is said to the sender as well."""


@attrs.define(eq=False)
class _Peer:
    """One connection, and under which user ids it has spoken."""

    socket: trio_websocket.WebSocketConnection
    unsent: trio.MemorySendChannel[bytes]
    scope: trio.CancelScope
    """Its end."""
    users: dict[str, None] = attrs.field(factory=dict)
    waiting: int = 0
    """Bytes that wait for it."""

    def speaks_as(self, user: str) -> None:
        """It has spoken under this id just now."""
        self.users.pop(user, None)
        self.users[user] = None
        if len(self.users) > USERS_OF_A_CONNECTION:
            del self.users[next(iter(self.users))]

    def put(self, payload: bytes) -> None:
        self.waiting += len(payload)
        if self.waiting > UNSENT_BYTES:
            # It does not keep up; the connection ends, nobody else waits.
            self.scope.cancel()
        else:
            self.unsent.send_nowait(payload)


class Server:
    """A running server. Made by `open_server`."""

    def __init__(self, handler: Handler | None, *, broadcast: bool, tls: bool) -> None:
        self._handler = handler
        self._broadcast = broadcast
        self._scheme = "wss" if tls else "ws"
        self._peers: dict[_Peer, None] = {}
        self.host = ""
        """The address it listens on."""
        self.port = 0
        """The port it listens on."""

    @property
    def url(self) -> str:
        """Where clients connect."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self._scheme}://{host}:{self.port}"

    @property
    def users(self) -> frozenset[str]:
        """The user ids under which somebody has spoken and is still connected."""
        return frozenset(user for peer in self._peers for user in peer.users)

    def push(self, message: BaseMessage) -> int:
        """Say something to the connections of the user ``message.to``; returns to how many.

        Raises:
            FrameError: MessagePack cannot express the message, or it is too large.

        Protocol: docs/protocol/awesome-im.md §3.
        """
        message = attrs.evolve(message, sender=message.sender or SERVER, message_id=None)
        return self._to_user(message.to, self._stamped(message, MessageDirection.RECEIVE))

    def drop_connections(self) -> None:
        """Break every connection without a word, as a network does. For tests."""
        for peer in list(self._peers):
            peer.scope.cancel()

    async def serve(self, request: trio_websocket.WebSocketRequest) -> None:
        """Serve one connection to its end."""
        try:
            await self._serve(request)
        except Exception:  # a defect costs one connection
            logger.exception("a connection failed")

    async def _serve(self, request: trio_websocket.WebSocketRequest) -> None:
        try:
            socket = await request.accept()
        except (trio_websocket.HandshakeError, trio_websocket.ConnectionClosed):
            return
        send, receive = trio.open_memory_channel[bytes](math.inf)
        with trio.CancelScope() as scope:
            peer = _Peer(socket, send, scope)
            self._peers[peer] = None
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write, peer, receive)
                    await self._read(peer)
                    nursery.cancel_scope.cancel()
            except* trio_websocket.ConnectionClosed:
                pass
            finally:
                del self._peers[peer]
                self._tell_closed()

    async def _read(self, peer: _Peer) -> None:
        while True:
            payload = await peer.socket.get_message()
            try:
                if isinstance(payload, str):
                    raise FrameError("a text frame")  # noqa: TRY301 - of one kind with the rest
                message = decode_message(payload)
                if message.sender:
                    peer.speaks_as(message.sender)
                # With an id and a time it may have become too large to be returned.
                await self._handle(peer, message)
            except FrameError as error:
                await peer.socket.aclose(UNSUPPORTED_DATA, _reason(error))
                return

    async def _handle(self, peer: _Peer, message: BaseMessage) -> None:
        stamped = self._stamped(message, MessageDirection.SEND)
        ping = isinstance(message, CustomMessage) and message.type == PING
        if self._broadcast and not ping:
            for other in list(self._peers):
                self._put(other, stamped)
            return
        self._put(peer, stamped)
        if ping:
            return
        if message.conversation_type is ConversationType.PRIVATE:
            told = attrs.evolve(stamped, direction=MessageDirection.RECEIVE, message_id=None)
            self._to_user(message.to, told, except_peer=peer)
        elif self._handler is not None:
            try:
                answer = await self._handler(message)
                if answer is not None:
                    answer = attrs.evolve(
                        answer, sender=answer.sender or SERVER, to=message.sender, message_id=None
                    )
                    self._put(peer, self._stamped(answer, MessageDirection.RECEIVE))
            except Exception:
                logger.exception("the handler failed, or its answer cannot be sent")

    def _stamped(self, message: BaseMessage, direction: MessageDirection) -> BaseMessage:
        text = secrets.token_hex(8).upper()
        return attrs.evolve(
            message,
            message_uid="-".join(text[at : at + 4] for at in range(0, 16, 4)),
            sent_time_ms=now_ms(),
            direction=direction,
        )

    def _to_user(self, user: str, message: BaseMessage, *, except_peer: _Peer | None = None) -> int:
        told = [peer for peer in self._peers if user in peer.users and peer is not except_peer]
        for peer in told:
            self._put(peer, message)
        return len(told)

    @staticmethod
    def _put(peer: _Peer, message: BaseMessage) -> None:
        peer.put(encode_envelope(Envelope(0, message, "success!")))

    def _tell_closed(self) -> None:
        if self._broadcast:
            payload = encode_envelope(Envelope(CLOSE_NOTICE, reason="close"))
            for peer in list(self._peers):
                peer.put(payload)

    @staticmethod
    async def _write(peer: _Peer, receive: trio.MemoryReceiveChannel[bytes]) -> None:
        async for payload in receive:
            await peer.socket.send_message(payload)
            peer.waiting -= len(payload)


def _reason(error: FrameError) -> str:
    """As much of the text as a close frame has room for."""
    return str(error).encode()[:120].decode(errors="ignore")


@asynccontextmanager
async def open_server(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    handler: Handler | None = None,
    broadcast: bool = False,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[Server]:
    """Run a server of awesome-im until the block ends.

    Every message is returned to its sender with the server's id and time, as the protocol
    demands. A message to the server is shown to ``handler``; a private one goes to the
    connections of the user it names. The server knows a connection's user by the ``from`` of
    what it sends; clients of this package send a heartbeat at once.

    Args:
        host: address to listen on.
        port: port to listen on; 0 chooses a free one.
        handler: asked about every message to the server; what it returns goes to the sender.
        broadcast: behave like the sample server of the original: pass every message on to
            everybody, and tell everybody when a connection closes.
        ssl_context: serve ``wss://`` with this context.

    Raises:
        OSError: the address cannot be used.

    Protocol: docs/protocol/awesome-im.md §1, §5.
    """
    server = Server(handler, broadcast=broadcast, tls=ssl_context is not None)
    async with background_nursery() as nursery:
        try:
            with single_error():
                listening = await nursery.start(_listen, server, host, port, ssl_context)
            server.host, server.port = host, listening
            yield server
        finally:
            nursery.cancel_scope.cancel()


async def _listen(
    server: Server,
    host: str,
    port: int,
    ssl_context: ssl.SSLContext | None,
    *,
    task_status: trio.TaskStatus[int],
) -> None:
    async with trio.open_nursery() as nursery:
        running = await nursery.start(
            lambda task_status: trio_websocket.serve_websocket(
                server.serve,
                host,
                port,
                ssl_context,
                max_message_size=MAX_FRAME,
                task_status=task_status,
            )
        )
        task_status.started(running.port)
