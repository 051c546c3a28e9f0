"""The faster implementation: the sans-I/O core of `websockets` on a Trio stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from ._errors import ConnectError
from ._frames import FrameReader, Masks, masked_frame
from ._link import CONTROL_LIMIT, READ_SIZE, STREAM_ERRORS, Link

if TYPE_CHECKING:
    from collections.abc import Sequence

    from websockets.protocol import Event

    from ._frames import Message
    from ._interface import Deliver, Payload
    from ._open import Endpoint


END_OF_HEAD = b"\r\n\r\n"


class WebsocketsLink(Link):
    """A link whose handshakes, control frames and faults are the business of `ClientProtocol`."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        protocol: ClientProtocol,
        deliver: Deliver | None,
        longest: int,
    ) -> None:
        super().__init__(stream, deliver)
        self._protocol = protocol
        self._reader = FrameReader(protocol, masked=False, longest=longest)
        self._masks = Masks()
        self._frames: list[bytes] = []
        """Messages that are ready to be written."""
        self._fragments: bytearray | None = None
        self._fragments_are_text = False
        self._unwritten_control = 0
        self._control_written = trio.lowlevel.ParkingLot()

    async def run(self) -> None:
        """Read and write until `aclose`."""
        self._scope.shield = True
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                nursery.start_soon(self._read)

    async def handshake(self, extra_headers: Sequence[tuple[str, str]]) -> None:
        """Ask for the upgrade and check the answer. Raises `ConnectError`."""
        protocol = self._protocol
        request = protocol.connect()
        for name, value in extra_headers:
            request.headers[name] = value
        protocol.send_request(request)
        head, frames = bytearray(), b""
        try:
            await self._stream.send_all(b"".join(protocol.data_to_send()))
            while protocol.state is State.CONNECTING and protocol.handshake_exc is None:
                chunk = await self._stream.receive_some(READ_SIZE)
                self._check_greeting(chunk)
                if not chunk:
                    protocol.receive_eof()
                    continue
                self.last_received = trio.current_time()
                head += chunk
                # The first frames may have come in the same packet as the answer.
                end = head.find(END_OF_HEAD)
                if end >= 0:
                    frames = bytes(head[end + len(END_OF_HEAD) :])
                protocol.receive_data(chunk[: len(chunk) - len(frames)])
        except STREAM_ERRORS as error:
            raise ConnectError("the connection broke during the handshake") from error
        if protocol.handshake_exc is not None:
            raise ConnectError(
                f"the server's handshake is invalid: {protocol.handshake_exc}"
            ) from protocol.handshake_exc
        self.subprotocol = protocol.subprotocol
        protocol.events_received()
        self._accept(self._reader.feed(frames), 0)

    def _encode(self, payloads: list[Payload]) -> None:
        if self._protocol.state is not State.OPEN:
            return
        for payload in payloads:
            text = isinstance(payload, str)
            data = payload.encode() if isinstance(payload, str) else payload
            self._frames.append(masked_frame(data, self._masks.next(), text=text))

    def _encode_close(self, code: int, reason: str) -> None:
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)

    def _drain(self) -> tuple[bytes, bool]:
        self._unwritten_control = 0
        self._control_written.unpark_all()
        # A close of the core is the last word.
        frames, self._frames = self._frames, []
        frames += self._protocol.data_to_send()
        return b"".join(frames), self._protocol.state is not State.OPEN

    async def _read(self) -> None:
        protocol = self._protocol
        try:
            while protocol.close_rcvd is None and protocol.state is not State.CLOSED:
                await self._inbox.room()
                if self._written.is_set():
                    self._drain()  # into nowhere: no pong follows a close frame
                while self._unwritten_control > CONTROL_LIMIT:
                    await self._control_written.park()
                chunk = await self._stream.receive_some(READ_SIZE)
                if chunk:
                    self.last_received = trio.current_time()
                    self._eager = True
                    self._accept(self._reader.feed(chunk), len(chunk))
                else:
                    protocol.receive_eof()
                    self._accept(protocol.events_received(), 0)
        except STREAM_ERRORS:
            pass
        self._lost()

    def _accept(self, events: Sequence[Message | Event], size: int) -> None:
        """Hand up the messages of one read, and notice whether they were the last."""
        payloads: list[Payload] = []
        try:
            for frame in events:
                if isinstance(frame, tuple):
                    payload, text = frame
                    payloads.append(payload.decode() if text else payload)
                    continue
                assert isinstance(frame, Frame), "the handshake is over"
                opcode = frame.opcode
                if opcode is Opcode.BINARY and frame.fin:
                    payloads.append(bytes(frame.data))
                elif opcode is Opcode.TEXT and frame.fin:
                    payloads.append(str(frame.data, "utf-8"))
                elif opcode is Opcode.PING:
                    self._unwritten_control += len(frame.data) + 6
                    self._outbox.ring()
                elif opcode < Opcode.CLOSE:
                    self._assemble(frame.data, opcode, payloads, fin=frame.fin)
        except UnicodeDecodeError:
            self._inbox.put(payloads, size)
            self._protocol.fail(1007, "invalid UTF-8")
            self._ended(1007, "invalid UTF-8")
            return
        self._inbox.put(payloads, size)
        if self._protocol.state is not State.OPEN:
            self._ended(*self._cause())

    def _assemble(
        self,
        data: bytes | bytearray | memoryview,
        opcode: Opcode,
        payloads: list[Payload],
        *,
        fin: bool,
    ) -> None:
        """Join fragments; the protocol core has checked their order and their total size."""
        if opcode is not Opcode.CONT or self._fragments is None:
            self._fragments = bytearray()
            self._fragments_are_text = opcode is Opcode.TEXT
        self._fragments += data
        if fin:
            whole = bytes(self._fragments)
            self._fragments = None
            payloads.append(whole.decode() if self._fragments_are_text else whole)

    def _cause(self) -> tuple[int, str]:
        """Why the protocol is no longer open."""
        protocol = self._protocol
        close = protocol.close_sent if protocol.parser_exc is not None else protocol.close_rcvd
        return (int(close.code), close.reason) if close is not None else (1006, "")


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
    """Do the opening handshake on `stream` and start the link in `nursery`."""
    protocol = ClientProtocol(
        WebSocketURI(endpoint.secure, endpoint.host, endpoint.port, endpoint.path, endpoint.query),
        subprotocols=None if subprotocol is None else [Subprotocol(subprotocol)],
        max_size=max_message_size,
    )
    link = WebsocketsLink(stream, protocol, deliver, max_message_size)
    await link.handshake(extra_headers)
    nursery.start_soon(link.run)
    return link
