"""The seam between a session and its socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import trio

Payload = bytes | str
"""One WebSocket message: a binary frame, or a text frame in the base64 and JSON dialects.

Protocol: docs/protocol/transport.md §3.
"""


class Transport(Protocol):
    """An open WebSocket. `connect` makes them; only these members may be relied upon."""

    subprotocol: str | None
    """The sub-protocol both sides agreed on."""
    last_received: float
    """`trio.current_time()` when the peer was last heard, pongs included.

    Protocol: docs/protocol/transport.md §4.
    """

    async def send(self, payload: Payload) -> None:
        """Queue one message; it leaves with whatever else is queued at that moment.

        Returns at once, without a checkpoint, while the outgoing buffer has room. Otherwise waits
        its turn; if cancelled then, this message is not sent and no other is affected.

        Raises `TransportClosed` if the connection has ended. A message that was queued when the
        connection breaks is lost silently: the acknowledgement of the layer above tells.
        """

    async def receive(self) -> list[Payload]:
        """Wait for messages; return all that are there, at least one, in order.

        Atomic with respect to cancellation. Raises `TransportClosed` once every message that
        arrived before the close has been handed out.
        """

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Send what is queued, close with `code`, and wait up to 2 seconds for the peer's answer.

        Idempotent. Finishes even if cancelled, within the same 2 seconds. Raises ValueError for a
        code that may not be sent (RFC 6455 section 7.4).
        """


Deliver = Callable[[list[Payload]], None]
"""Takes messages the moment they arrive, in the task that read them; must not block or raise."""


class StreamOpener(Protocol):
    """Where the bytes come from: TCP unless an application or a test says otherwise."""

    async def __call__(self, host: str, port: int) -> trio.abc.Stream:
        """Open a stream to `host` and `port`. OSError means that it cannot be done."""
