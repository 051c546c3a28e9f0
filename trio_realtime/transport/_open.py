"""From a URL to a stream of bytes."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import attrs
import trio

from ._errors import ConnectError

if TYPE_CHECKING:
    from ._interface import StreamOpener

DELIMITERS = ":/?#[]@!$&'()*+,;=%"
"""What stays as it is when a URL with foreign characters is quoted."""


@attrs.frozen
class Endpoint:
    """Where a WebSocket URL points."""

    secure: bool
    host: str
    """Without the brackets of an IPv6 address."""
    port: int
    path: str
    query: str

    @property
    def resource(self) -> str:
        """What goes into the request line."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def host_header(self) -> str:
        """What goes into the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def parse_url(url: str) -> Endpoint:
    """Take a ws or wss URL apart. Raises `ConnectError` if it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
        if not host.isascii():
            host = host.encode("idna").decode()
    except ValueError as error:
        raise ConnectError(f"{url!r} is not a URL: {error}", permanent=True) from error
    if parts.scheme not in {"ws", "wss"}:
        raise ConnectError(f"{url!r} is not a ws:// or wss:// URL", permanent=True)
    if not host or parts.username is not None or parts.fragment:
        raise ConnectError(
            f"{url!r} needs a host, and neither a user nor a fragment", permanent=True
        )
    secure = parts.scheme == "wss"
    return Endpoint(
        secure=secure,
        host=host,
        port=port if port is not None else (443 if secure else 80),
        path=quote(parts.path, safe=DELIMITERS) or "/",
        query=quote(parts.query, safe=DELIMITERS),
    )


async def open_tcp(host: str, port: int) -> trio.abc.Stream:
    """The `StreamOpener` that is used unless another is given."""
    return await trio.open_tcp_stream(host, port)


async def open_bytes(
    endpoint: Endpoint, open_stream: StreamOpener, ssl_context: ssl.SSLContext | None
) -> trio.abc.Stream:
    """Open the stream to `endpoint`, encrypted if it is secure. Raises `ConnectError`."""
    try:
        stream = await open_stream(endpoint.host, endpoint.port)
    except (OSError, *_STREAM_ERRORS) as error:
        raise ConnectError(f"cannot connect to {endpoint.host_header}: {_why(error)}") from error
    if not endpoint.secure:
        return stream
    secure = trio.SSLStream(
        stream,
        ssl_context or ssl.create_default_context(),
        server_hostname=endpoint.host,
        https_compatible=True,
    )
    try:
        await secure.do_handshake()
    except BaseException as error:
        await trio.aclose_forcefully(secure)
        if isinstance(error, (OSError, *_STREAM_ERRORS)):
            raise ConnectError(
                f"no TLS with {endpoint.host_header}: {_why(error)}",
                permanent=_is_about_tls(error),
            ) from error
        raise
    return secure


_STREAM_ERRORS = (trio.BrokenResourceError, trio.ClosedResourceError)


def _is_about_tls(error: BaseException | None) -> bool:
    """Whether the two do not agree, or one does not trust the other; not just a broken line."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return not isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError))
        error = error.__cause__
    return False


def _why(error: BaseException) -> str:
    """The most telling text of an error and its causes."""
    while error.__cause__ is not None and not isinstance(error.__cause__, BaseExceptionGroup):
        error = error.__cause__
    return str(error) or type(error).__name__
