"""What both implementations share: one task that writes, one that reads, and how they end.

Life of a link::

    run()      starts the reader and the writer, shielded from the cancellation of whoever uses
               the link: half a frame on the wire would spoil everything behind it
    send()     puts into the outbox, the writer takes everything out and writes it in one piece
    receive()  takes from the inbox what the reader has put there
    aclose()   asks the writer to say goodbye as the last thing it does (`_written`), waits until
               the reader has heard the answer or the end of the stream (`_heard`), and stops both

The first message sent after something was heard is written at once, past the writer task,
if the socket takes it: a dialogue then costs no extra turn of the scheduler. All others wait
for the writer, and leave together.

A close frame is the last thing either side says, so the writer is done when it has written one,
whether it was our goodbye, the answer to the peer's, or a complaint about a violated protocol.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import trio

from ._direct import DirectWriter
from ._errors import ConnectError
from ._inbox import Inbox
from ._outbox import Outbox

if TYPE_CHECKING:
    from ._interface import Deliver, Payload

CLOSE_TIMEOUT = 2.0
"""Seconds for the whole closing handshake."""
READ_SIZE = 64 * 1024
"""Bytes asked of the stream at a time."""
CONTROL_LIMIT = 64 * 1024
"""Bytes of pongs that may wait for a peer which sends pings but does not read."""
DIRECT_LIMIT = 8 * 1024
"""Bytes of a message that may be written at once; larger ones count in the outgoing buffer."""
UNSENDABLE_CODES = frozenset({1004, 1005, 1006, 1015})
"""Reserved by RFC 6455 section 7.4.1."""
STATUS_LINE = re.compile(rb"HTTP/\d\.\d (\d{3})[ \r\n]")
STREAM_ERRORS = (trio.BrokenResourceError, trio.ClosedResourceError)


class Link(ABC):
    """A `Transport` over a stream on which the opening handshake is done or about to be."""

    subprotocol: str | None = None

    def __init__(self, stream: trio.abc.Stream, deliver: Deliver | None) -> None:
        self.last_received = trio.current_time()
        self._stream = stream
        self._outbox = Outbox()
        self._inbox = Inbox(deliver)
        self._scope = trio.CancelScope()
        self._goodbye: tuple[int, str] | None = None
        self._written = trio.Event()
        self._heard = trio.Event()
        self._gone = trio.Event()
        self._greeting = b""
        self._direct = DirectWriter(stream)
        self._eager = False
        """Whether the next message may be written at once."""
        self._writing = False
        self._rest = b""
        """What a direct write left over."""

    async def send(self, payload: Payload) -> None:
        """Queue one message, or write it at once; see `Transport.send`."""
        if self._eager and not self._writing and self._outbox.idle and len(payload) <= DIRECT_LIMIT:
            self._eager = False
            self._encode([payload])
            data, last = self._drain()
            self._rest = self._direct.write(data)
            if self._rest or last:
                self._writing = True
                self._outbox.ring()
        elif not self._outbox.offer(payload):
            await self._outbox.wait_turn(payload)

    async def receive(self) -> list[Payload]:
        """Everything that has arrived; see `Transport.receive`."""
        return await self._inbox.take()

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close, in bounded time; see `Transport.aclose`."""
        if not 1000 <= code < 5000 or code in UNSENDABLE_CODES:
            raise ValueError(f"close code {code} may not be sent")
        if self._goodbye is None:
            # 123 bytes fit into a close frame; a character cut in half is dropped.
            reason = reason.encode()[:123].decode(errors="ignore")
            self._goodbye = code, reason
            self._ended(code, reason)
            with trio.CancelScope(shield=True):
                with trio.move_on_after(CLOSE_TIMEOUT):
                    await self._written.wait()
                    await self._heard.wait()
                self._scope.cancel()
                await trio.aclose_forcefully(self._stream)
            self._direct.close()
            self._gone.set()
        await self._gone.wait()

    def ring(self) -> None:
        """Something besides the outbox waits to be written."""
        self._outbox.ring()

    def abandon(self) -> None:
        """Stop the tasks of a link that nobody has seen yet."""
        self._scope.cancel()

    @abstractmethod
    def _encode(self, payloads: list[Payload]) -> None:
        """Turn payloads into frames, or drop them if a close frame has been said already."""

    @abstractmethod
    def _encode_close(self, code: int, reason: str) -> None:
        """Add a close frame, unless there is one already."""

    @abstractmethod
    def _drain(self) -> tuple[bytes, bool]:
        """The frames that are ready to be written, and whether nothing may follow them."""

    def _check_greeting(self, chunk: bytes | bytearray) -> None:
        """Raise `ConnectError` as soon as the first line says that there will be no upgrade.

        The body of a refusal may be long in coming, and tells nothing that a program could use.
        """
        if len(self._greeting) < 16:
            self._greeting += chunk[:16]
            match = STATUS_LINE.match(self._greeting)
            if match is not None and match[1] != b"101":
                status = int(match[1])
                raise ConnectError(f"the server declined with HTTP status {status}", status=status)

    async def _write(self) -> None:
        """Empty the outbox into the stream, one write for everything that is there."""
        try:
            last = False
            while not last:
                self._writing = False
                payloads = await self._outbox.take()
                self._writing = True
                self._encode(payloads)
                if self._goodbye is not None:
                    self._encode_close(*self._goodbye)
                data, last = self._drain()
                if self._rest:
                    data, self._rest = self._rest + data, b""
                if data:
                    await self._stream.send_all(data)
        except STREAM_ERRORS:
            self._outbox.end(1006, "")
            self._written.set()
            # What the peer said before it went away may still be readable, but a stream that broke
            # in one direction need not end in the other.
            await trio.sleep(CLOSE_TIMEOUT)
            self._lost()
        self._written.set()

    def _ended(self, code: int, reason: str) -> None:
        """Both directions are over, for this reason; what has arrived may still be received."""
        self._outbox.end(code, reason)
        self._inbox.end(code, reason)
        self._outbox.ring()

    def _lost(self) -> None:
        """There is nothing more to be heard."""
        self._ended(1006, "")
        self._heard.set()
