"""The server's half of RFC 6455, on the sans-I/O core of ``websockets``.

The core sees only handshakes, control frames, fragments and faults. Messages in one frame are
split off before it, and the frames of a server are put together by the dialects themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from urllib.parse import parse_qs

from websockets.datastructures import Headers
from websockets.exceptions import NegotiationError
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Event, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from trio_realtime.server.dialects import DIALECTS, NAMELESS, ServerDialect
from trio_realtime.transport._frames import FrameReader, Message

_log = logging.getLogger("trio_realtime.server.websocket")

FRAME_TOO_LONG = 4109
_MESSAGE_TOO_BIG = 1009
_BEGINNINGS = frozenset({Opcode.TEXT, Opcode.BINARY})
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class WebSocket(ServerProtocol):
    """One connection's protocol state: bytes in, messages and bytes out."""

    def __init__(self, frame_bytes: int) -> None:
        super().__init__(logger=_log)
        # It would log whole heads, with the tokens and keys that are in them.
        self.debug: bool = False
        self.dialect: ServerDialect | None = None
        self.request: Request | None = None
        self._frame_bytes = frame_bytes
        self.idle_frames: int = 0
        """Pings, pongs, closes and parts of messages received: what is no message yet."""
        self.behind_head: bytes = b""
        """What came together with the request's head, for `feed`."""
        self._reader: FrameReader | None = None
        self._arrived: list[Message | Event] = []
        self._text = False
        self._parts: list[bytes] = []

    def handshake(self, head: bytes) -> bool:
        """Take a request's head, and keep whatever follows it; whether the connection is open.

        Either way there is a response to send.
        """
        end = head.find(b"\r\n\r\n") + 4
        self.receive_data(head[:end])
        request = next(iter(self.events_received()), None)
        if not isinstance(request, Request):
            self.writes: list[bytes] = [_BAD_REQUEST]
            return False
        self.request = request
        self.send_response(self.accept(request))
        if self.state is not State.OPEN or self.dialect is None:
            return False
        self.max_message_size: int = self.dialect.message_bytes(self._frame_bytes)
        self.behind_head = head[end:]
        return True

    def feed(self, data: bytes | bytearray) -> bool:
        """Take what has arrived behind the handshake; whether it made up any frame."""
        if self._reader is None:
            self._reader = FrameReader(self, masked=True, longest=self.max_message_size)
        frames = self.idle_frames
        arrived = self._reader.feed(data)
        self._arrived += arrived
        return bool(arrived) or self.idle_frames != frames

    def forget_handshake(self) -> None:
        """Nobody is going to ask about the request any more, which may have had long headers."""
        self.request = None

    def dissolve(self) -> None:
        """The connection is over: let go of what would keep this alive in a circle."""
        self._reader = None
        self.parser_exc: Exception | None = None
        self.parser.close()
        del self.parser

    def process_subprotocol(self, headers: Headers) -> Subprotocol | None:
        assert self.request is not None
        query = self.request.path.partition("?")[2]
        self._named_in_url = parse_qs(query).get("subprotocol", [])
        return super().process_subprotocol(headers)

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        """The first one offered that is spoken here; the URL's counts if none is offered."""
        if not subprotocols and not self._named_in_url:
            self.dialect = NAMELESS
            return None
        for name in subprotocols or self._named_in_url:
            if name in DIALECTS:
                self.dialect = DIALECTS[name]
                # A client that did not offer it in its head would not accept it there.
                return Subprotocol(name) if subprotocols else None
        raise NegotiationError("no such sub-protocol; expected one of " + ", ".join(DIALECTS))

    def recv_frame(self, frame: Frame) -> None:
        """Count what is no message; the core answers it, or puts it together."""
        if frame.opcode not in _BEGINNINGS:
            self.idle_frames += 1
        super().recv_frame(frame)

    def fail(self, code: int, reason: str = "") -> None:
        """Close at a violation, with the protocol's own code for messages that are too long."""
        if code == _MESSAGE_TOO_BIG:
            code, reason = FRAME_TOO_LONG, "FRAME_TOO_LONG"
        super().fail(code, reason)

    def messages(self) -> Iterator[tuple[bytes, bool]]:
        """Complete messages received, with True for text ones."""
        arrived, self._arrived = self._arrived, []
        for frame in arrived:
            if isinstance(frame, tuple):
                yield frame
                continue
            assert isinstance(frame, Frame)
            opcode = frame.opcode
            if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
                text = opcode is Opcode.TEXT
                if frame.fin:
                    yield bytes(frame.data), text
                else:
                    self._text, self._parts = text, [bytes(frame.data)]
            elif opcode is Opcode.CONT:
                if frame.data:
                    self._parts.append(bytes(frame.data))
                if frame.fin:
                    whole, self._parts = b"".join(self._parts), []
                    yield whole, self._text
