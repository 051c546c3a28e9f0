"""HTTP over streams of the caller's choice: httpx on top, any Trio stream below."""
# The signatures are httpcore's. Its time-outs are never set: a request has one deadline.
# ruff: noqa: ARG002, ASYNC109

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Self

import httpcore
import httpx
import trio

from trio_realtime.transport import StreamOpener


def http_over(
    open_stream: StreamOpener, ssl_context: ssl.SSLContext | None
) -> httpx.AsyncBaseTransport:
    """An httpx transport whose bytes travel over the streams that ``open_stream`` opens."""
    transport = httpx.AsyncHTTPTransport(verify=ssl_context or True)
    # httpx offers no argument for this; its pool does.
    transport._pool = httpcore.AsyncConnectionPool(  # noqa: SLF001
        ssl_context=ssl_context,
        network_backend=_Backend(open_stream),
        # Whether the other end has closed an idle stream cannot be seen from here.
        max_keepalive_connections=0,
    )
    return transport


class Body(httpx.AsyncByteStream):
    """A request body in one piece.

    The one of httpx is a generator, which a request that is cancelled leaves half-way.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._rest: Iterator[bytes] = iter(())

    def __aiter__(self) -> Self:
        self._rest = iter((self._content,))
        return self

    async def __anext__(self) -> bytes:
        for part in self._rest:
            return part
        raise StopAsyncIteration


class Parts(httpx.AsyncByteStream):
    """A request body piece by piece, for the same reason no generator."""

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        self._parts = parts

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._parts


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            await self._stream.send_all(buffer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(trio.SSLStream(self._stream, ssl_context, server_hostname=server_hostname))

    def get_extra_info(self, info: str) -> Any:
        return None


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self, open_stream: StreamOpener) -> None:
        self._open_stream = open_stream

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            return _Stream(await self._open_stream(host, port))
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)
