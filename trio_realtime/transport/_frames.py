"""Whole messages of a WebSocket, past the protocol core of ``websockets``.

Nearly every frame is a message by itself: final, unfragmented, without extensions. Those are
split off and put together here, at a tenth of what the core takes for them. Everything else
(fragments, pings, closes, and whatever violates the protocol) goes to the core, one complete
frame at a time, so that it decides about all that there is to decide. RFC 6455 section 5.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from websockets.frames import Opcode
from websockets.protocol import Event, Protocol, State

try:
    from websockets.speedups import apply_mask
except ImportError:
    from websockets.utils import apply_mask

__all__ = ["FrameReader", "Masks", "Message", "masked_frame"]

TEXT = 0x80 | Opcode.TEXT
BINARY = 0x80 | Opcode.BINARY
OPCODES = frozenset(int(opcode) for opcode in Opcode)

Message = tuple[bytes, bool]
"""A complete message, and whether it is a text."""


class FrameReader:
    """Splits what arrives on a connection into messages and what the core made of the rest.

    Args:
        core: in the state that follows the opening handshake.
        masked: whether the peer masks its frames, as clients do.
        longest: bytes of the longest message that is read here; the core judges longer ones.
    """

    def __init__(self, core: Protocol, *, masked: bool, longest: int) -> None:
        self._core = core
        self._masked = masked
        self._longest = longest
        self._begun = bytearray()
        """The beginning of a frame."""
        self._enough = 0
        """Bytes of it without which there is nothing to be done."""
        self._fragmented = False
        """Whether the core is in the middle of a message."""
        self._over = False
        """Whether the core reads everything that still comes."""

    def feed(self, chunk: bytes | bytearray) -> Sequence[Message | Event]:
        """What has arrived with this chunk, in order; complete messages as `Message`."""
        if self._over:
            return self._ask(chunk)
        if self._begun:
            self._begun += chunk
            if len(self._begun) < self._enough:
                return ()
            data = bytes(self._begun)
            self._begun.clear()
        else:
            data = bytes(chunk)
        arrived: list[Message | Event] = []
        position, end = 0, len(data)
        while position < end:
            if end - position < 2:
                return self._wait(data, position, 2, arrived)
            head, size = data[position], data[position + 1]
            if (size >= 0x80) is not self._masked or head & 0x0F not in OPCODES:
                return self._leave(data[position:], arrived)
            size &= 0x7F
            start = position + (6 if self._masked else 2)
            if size >= 126:
                width = 2 if size == 126 else 8
                if end - position < 2 + width:
                    return self._wait(data, position, 2 + width, arrived)
                size = int.from_bytes(data[position + 2 : position + 2 + width], "big")
                start += width
            if size > self._longest:
                return self._leave(data[position:], arrived)
            if start + size > end:
                return self._wait(data, position, start + size - position, arrived)
            if (head == BINARY or head == TEXT) and not self._fragmented:  # noqa: PLR1714, SIM109
                payload = data[start : start + size]
                if self._masked:
                    payload = apply_mask(payload, data[start - 4 : start])
                arrived.append((payload, head == TEXT))
            else:
                arrived += self._ask(data[position : start + size])
                if self._core.state is not State.OPEN:
                    return self._leave(data[start + size :], arrived)
                if head & 0x0F < Opcode.CLOSE:
                    self._fragmented = head < 0x80
            position = start + size
        return arrived

    def _wait(
        self, data: bytes, position: int, enough: int, arrived: Sequence[Message | Event]
    ) -> Sequence[Message | Event]:
        self._begun += data[position:]
        self._enough = enough
        return arrived

    def _leave(self, rest: bytes, arrived: list[Message | Event]) -> Sequence[Message | Event]:
        """From here on the core reads."""
        self._over = True
        arrived += self._ask(rest)
        return arrived

    def _ask(self, data: bytes | bytearray) -> list[Event]:
        if not data:
            return []
        self._core.receive_data(data)
        return self._core.events_received()


class Masks:
    """Masking keys: from the system's random numbers, many at a time."""

    def __init__(self) -> None:
        self._pool = b""
        self._position = 0

    def next(self) -> bytes:
        """A new key."""
        if self._position == len(self._pool):
            self._pool = os.urandom(1024)
            self._position = 0
        self._position += 4
        return self._pool[self._position - 4 : self._position]


def masked_frame(payload: bytes, mask: bytes, *, text: bool) -> bytes:
    """The frame in which a client sends a message."""
    size = len(payload)
    head = TEXT if text else BINARY
    if size < 126:
        start = bytes((head, 0x80 | size))
    elif size < 0x10000:
        start = bytes((head, 0x80 | 126, size >> 8, size & 0xFF))
    else:
        start = bytes((head, 0x80 | 127)) + size.to_bytes(8, "big")
    return start + mask + apply_mask(payload, mask)
