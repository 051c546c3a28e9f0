"""Opening a transport."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

import trio

from ._errors import ConnectError
from ._open import open_bytes, open_tcp, parse_url

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from ._interface import Deliver, StreamOpener, Transport
    from ._link import Link

TransportName = Literal["auto", "trio-websocket", "websockets"]
"""What speaks WebSocket: a package, or the best that is installed."""

MAX_MESSAGE_SIZE = 16 * 1024 * 1024


def _link_opener(implementation: TransportName) -> Callable[..., Awaitable[Link]]:
    """The `open_link` to use. Raises ModuleNotFoundError if `websockets` is asked for and absent."""
    if implementation == "trio-websocket" or (
        implementation == "auto" and find_spec("websockets") is None
    ):
        from . import _trio_websocket

        return _trio_websocket.open_link
    from . import _websockets_core

    return _websockets_core.open_link


@asynccontextmanager
async def connect(
    url: str,
    *,
    subprotocol: str | None,
    ssl_context: ssl.SSLContext | None = None,
    implementation: TransportName = "auto",
    max_message_size: int = MAX_MESSAGE_SIZE,
    connect_timeout: float = 20.0,
    open_stream: StreamOpener | None = None,
    extra_headers: Sequence[tuple[str, str]] = (),
    deliver: Deliver | None = None,
) -> AsyncIterator[Transport]:
    """Open a WebSocket, and close it when the block is left.

    `subprotocol` is the one name offered; a server that does not repeat it is refused.
    `ssl_context` is used for wss URLs; the default one verifies the server.
    `implementation` "auto" takes the core of the package `websockets` if it is installed.
    `max_message_size`, in bytes, bounds an incoming message; a larger one closes with 1009.
    `connect_timeout`, in seconds, covers everything until the WebSocket is open.
    `open_stream` replaces TCP; TLS, if the URL asks for it, is still spoken on top.
    `extra_headers` go with the upgrade request.
    `deliver` is given the messages as they arrive, one turn of the scheduler earlier than
    `Transport.receive`, which then only waits for the end.

    Raises `ConnectError` if there is no connection in the end. Exceptions of the block, also
    `trio.Cancelled`, pass unchanged.

    Protocol: docs/protocol/transport.md §3.
    """
    endpoint = parse_url(url)
    error: BaseException | None = None
    async with trio.open_nursery() as nursery:
        # A nursery wraps what passes through it in a group. Nothing has to pass: the tasks of the
        # link keep their failures to themselves, and the error of the block goes around.
        try:
            link = None
            with trio.move_on_after(connect_timeout):
                stream = await open_bytes(endpoint, open_stream or open_tcp, ssl_context)
                try:
                    link = await _link_opener(implementation)(
                        nursery,
                        stream,
                        endpoint,
                        subprotocol=subprotocol,
                        max_message_size=max_message_size,
                        extra_headers=extra_headers,
                        deliver=deliver,
                    )
                except BaseException:
                    await trio.aclose_forcefully(stream)
                    raise
            if link is None:
                raise ConnectError(  # noqa: TRY301 - caught to go around the nursery
                    f"no connection within {connect_timeout:g} seconds"
                )
            try:
                if link.subprotocol != subprotocol:
                    raise ConnectError(  # noqa: TRY301 - likewise
                        f"the server does not speak the sub-protocol {subprotocol}",
                        permanent=True,
                    )
                yield link
            except BaseException as caught:  # noqa: BLE001 - raised again below
                error = caught
            # Bounded in time; a cancellation that comes meanwhile must not hide the error.
            with trio.CancelScope(shield=True):
                await link.aclose()
        except BaseException as caught:  # noqa: BLE001 - raised again below
            error = caught
    if error is not None:
        try:
            raise error
        finally:
            del error
