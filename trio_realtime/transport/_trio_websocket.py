"""The implementation that is always there: trio-websocket.

A `WebSocketConnection` writes each frame by itself, hands up each message by itself, and breaks if
one of its senders is cancelled while it waits for the lock. So it is given a stream of ours, the
`Tap`: what the connection writes is collected until the writer of the link takes it, and a
connection that asks for more bytes is known to have parsed all it was given before. Of
trio-websocket only public names are used.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream
from wsproto.frame_protocol import FrameProtocol

from ._errors import ConnectError
from ._link import CONTROL_LIMIT, READ_SIZE, STREAM_ERRORS, Link

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._interface import Deliver, Payload
    from ._open import Endpoint

logger = logging.getLogger(__name__)

QUEUE_SIZE = 64
"""Messages between trio-websocket's reader and ours, which lags behind by no more than a few."""
CLOSE_HEADER = b"\x88"
COMPLAINTS = frozenset({1002, 1007, 1009})
"""Codes with which the connection reports what it cannot accept from the peer."""


class Tap(trio.abc.Stream):
    """What the `WebSocketConnection` of a link takes for its stream."""

    def __init__(self, link: TrioWebsocketLink) -> None:
        self._link = link

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._link.collect(bytes(data))
        self._link.ring()

    async def wait_send_all_might_not_block(self) -> None:
        pass

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        del max_bytes
        return await self._link.read()

    async def aclose(self) -> None:
        self._link.let_go()


class TrioWebsocketLink(Link):
    """A link whose frames are made and parsed by a `WebSocketConnection`."""

    refusal: ConnectError | None = None

    def __init__(self, stream: trio.abc.Stream, deliver: Deliver | None) -> None:
        super().__init__(stream, deliver)
        self.opened = trio.Event()
        self._opening = trio.CancelScope()
        self._connection: WebSocketConnection | None = None
        self._framing = FrameProtocol(client=True, extensions=[])
        self._batch: list[Payload] = []
        self._batch_size = 0
        self._parsing = False
        self._frames: list[bytes] = []
        self._frames_size = 0
        self._frames_taken = trio.lowlevel.ParkingLot()
        self._last_frame_said = False

    async def run(
        self,
        endpoint: Endpoint,
        subprotocol: str | None,
        max_message_size: int,
        extra_headers: Sequence[tuple[str, str]],
    ) -> None:
        """Open the connection, then read and write until `aclose`; or set `refusal` and return."""

        async def handshake(nursery: trio.Nursery) -> WebSocketConnection:
            return await wrap_client_stream(
                nursery,
                Tap(self),  # type: ignore[arg-type] # any stream will do
                endpoint.host_header,
                endpoint.resource,
                subprotocols=None if subprotocol is None else [subprotocol],
                extra_headers=[
                    (k.encode("latin-1"), v.encode("latin-1")) for k, v in extra_headers
                ],
                message_queue_size=QUEUE_SIZE,
                max_message_size=max_message_size,
                receive_buffer_size=READ_SIZE,
            )

        with self._scope:
            async with trio.open_nursery() as writing:
                writing.start_soon(self._write)
                failure: BaseExceptionGroup[Exception] | None = None
                try:
                    async with trio.open_nursery() as reading:
                        with self._opening:
                            self._connection = await handshake(reading)
                        if self._connection is not None:
                            self.subprotocol = self._connection.subprotocol
                            self._scope.shield = True
                            self.opened.set()
                            await self._pump(self._connection)
                        if self._connection is None or self._connection.closed is not None:
                            reading.cancel_scope.cancel()
                        # Otherwise the reader is about to leave with the error it failed of.
                except* Exception as group:  # noqa: BLE001 - the peer's bytes are in foreign hands
                    failure = group
                if self._connection is None:
                    self.refusal = self.refusal or ConnectError("the server's handshake is invalid")
                    self.refusal.__cause__ = failure
                    writing.cancel_scope.cancel()
                    self.opened.set()
                    return
                if failure is not None and self._connection.closed is None:
                    logger.warning("trio-websocket failed", exc_info=failure)
                await self._finish(self._connection)

    # What the connection asks of its stream.

    def collect(self, frame: bytes) -> None:
        """Keep a frame until `_drain`; drop it if a close frame went before."""
        if self._last_frame_said:
            return
        self._last_frame_said = frame.startswith(CLOSE_HEADER)
        self._frames.append(frame)
        self._frames_size += len(frame)

    async def read(self) -> bytes | bytearray:
        """Hand up what has been parsed, and read on when there is room for more."""
        self._parsing = False
        self._deliver()
        await self._inbox.room()
        while self._frames_size > CONTROL_LIMIT:
            await self._frames_taken.park()
        try:
            chunk = await self._stream.receive_some(READ_SIZE)
            if self._connection is None:
                self._check_greeting(chunk)
        except ConnectError as error:
            self.refusal = error
            chunk = b""
        except STREAM_ERRORS:
            chunk = b""
        if chunk:
            self.last_received = trio.current_time()
            self._batch_size += len(chunk)
            self._eager = True
            self._parsing = True
        else:
            self.let_go()
        return chunk

    def let_go(self) -> None:
        """The connection is done with the stream; `wrap_client_stream` would not notice."""
        self._opening.cancel()

    # From the connection to the inbox.

    async def _pump(self, connection: WebSocketConnection) -> None:
        try:
            while True:
                message = await connection.get_message()
                self._batch.append(message)
                if not self._parsing:
                    self._deliver()
        except ConnectionClosed:
            self._deliver()

    def _deliver(self) -> None:
        self._inbox.put(self._batch, self._batch_size)
        self._batch = []
        self._batch_size = 0

    async def _finish(self, connection: WebSocketConnection) -> None:
        """The connection is closed: tell both sides why."""
        closed = connection.closed
        code, reason = (1006, "") if closed is None else (int(closed.code), closed.reason or "")
        if code in COMPLAINTS:
            self._encode_close(code, reason)
            self._ended(code, reason)
            # Closing a socket that has unread data would reset it, and our complaint with it.
            with suppress(*STREAM_ERRORS):
                while await self._stream.receive_some(READ_SIZE):
                    pass
        self._last_frame_said = True
        self._ended(code, reason)
        self._lost()

    # From the outbox to the writer.

    def _encode(self, payloads: list[Payload]) -> None:
        # Made by the same wsproto that the connection uses, but without its lock, which costs
        # a turn of the scheduler for each message.
        for payload in payloads:
            self.collect(bytes(self._framing.send_data(payload)))

    def _encode_close(self, code: int, reason: str) -> None:
        if not self._last_frame_said:
            self.collect(bytes(self._framing.close(code, reason)))

    def _drain(self) -> tuple[bytes, bool]:
        frames, self._frames = self._frames, []
        self._frames_size = 0
        self._frames_taken.unpark_all()
        return b"".join(frames), self._last_frame_said


async def open_link(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    endpoint: Endpoint,
    *,
    subprotocol: str | None,
    max_message_size: int,
    extra_headers: Sequence[tuple[str, str]],
    deliver: Deliver | None,
) -> Link:
    """Start a link in `nursery` and wait for its opening handshake."""
    link = TrioWebsocketLink(stream, deliver)
    nursery.start_soon(link.run, endpoint, subprotocol, max_message_size, extra_headers)
    try:
        await link.opened.wait()
    except trio.Cancelled:
        # `nursery.start` would wait for a task that may just have shielded itself.
        link.abandon()
        raise
    if link.refusal is not None:
        raise link.refusal
    return link
