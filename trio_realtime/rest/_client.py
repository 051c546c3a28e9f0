"""A backend's client: all requests of an app's operator."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import attrs
import trio

from trio_realtime._values.registry import MessageRegistry
from trio_realtime._values.typed_messages import TypedMessage
from trio_realtime._version import __version__
from trio_realtime.transport import StreamOpener

from ._clients import ClientRequests
from ._conversations import ConversationRequests
from ._messages import MessageRequests
from ._moderation import ModerationRequests
from ._requests import Requests


@attrs.frozen
class RequestCount:
    """How much a client has asked so far."""

    made: int
    """Requests sent, repeated ones counted each time."""
    retried: int
    """Of these the repeated ones."""


class RestClient(ConversationRequests, MessageRequests, ModerationRequests, ClientRequests):
    """The REST API of one app, with its master key: made by `open_rest`.

    Any number of tasks may use it at once; they share its pace. Cancelling a request leaves
    nothing behind here; whether the server carries it out is not known then.
    """

    def statistics_of_requests(self) -> RequestCount:
        """How much was asked so far."""
        return RequestCount(self._requests.made, self._requests.retried)


@asynccontextmanager
async def open_rest(
    *,
    app_id: str,
    master_key: str,
    server: str,
    requests_per_minute: float | None = None,
    timeout: float = 60.0,  # noqa: ASYNC109 - of each request, not of the block
    patience: float = 120.0,
    message_types: Iterable[type[TypedMessage]] = (),
    open_stream: StreamOpener | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncGenerator[RestClient]:
    """Use the REST API of an app as its operator, until the block ends.

    Args:
        app_id: id of the app.
        master_key: its master key. It is sent with each request and shown nowhere.
        server: where the API is, for instance ``https://im.example.com``.
        requests_per_minute: what to ask at most; None: as much as one likes.
        timeout: seconds for one request, its answer included.
        patience: seconds for which a request that has no answer, or is refused for the moment
            (429, 5xx), is repeated, with growing delays. Requests that are not the same when
            carried out twice are repeated only where they certainly were not carried out.
        message_types: types of messages of the application.
        open_stream: where bytes travel, instead of TCP.
        ssl_context: for TLS, instead of the default.

    Raises:
        ValueError: an argument is none that can be meant.

    Protocol: docs/protocol/rest.md §1.
    """
    _check(app_id, master_key, server)
    requests = Requests(
        server,
        {
            "X-LC-Id": app_id,
            "X-LC-Key": f"{master_key},master",
            "User-Agent": f"trio-realtime/{__version__}",
        },
        requests_per_minute=requests_per_minute,
        timeout=timeout,
        patience=patience,
        open_stream=open_stream,
        ssl_context=ssl_context,
    )
    try:
        yield RestClient(requests, MessageRegistry(message_types))
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(2):
            await requests.aclose()


def _check(app_id: str, master_key: str, server: str) -> None:
    for name, value in (("app_id", app_id), ("master_key", master_key)):
        if not (value and value.isascii() and value.isprintable()):
            # Its value is not repeated: it may be a key.
            raise ValueError(f"{name} is needed, and consists of printable ASCII characters")
    try:
        parts = urlsplit(server)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"server is a URL such as https://im.example.com, not {server!r}")
