"""HTTP over streams of the caller's choice: httpx2 on top, any Trio stream below.

httpx2 has no argument for where its bytes travel, the pool of httpcore2 under it has one: this
is a transport of our own between the two, made of what both offer to everybody.
"""
# The signatures are httpcore2's. Its time-outs are never set: a request has one deadline.
# ruff: noqa: ARG002, ASYNC109

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import httpcore2
import httpx2
import trio

from trio_realtime.transport import StreamOpener


def http_over(
    open_stream: StreamOpener, ssl_context: ssl.SSLContext | None
) -> httpx2.AsyncBaseTransport:
    """An httpx2 transport whose bytes travel over the streams that ``open_stream`` opens."""
    return _PoolTransport(
        httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context,
            network_backend=_Backend(open_stream),
            # Whether the other end has closed an idle stream cannot be seen from here.
            max_keepalive_connections=0,
        )
    )


class _PoolTransport(httpx2.AsyncBaseTransport):
    """Requests of httpx2, made by a pool of httpcore2."""

    def __init__(self, pool: httpcore2.AsyncConnectionPool) -> None:
        self._pool = pool

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        with _errors_of_httpx():
            answer = await self._pool.handle_async_request(
                httpcore2.Request(
                    request.method,
                    httpcore2.URL(
                        scheme=url.raw_scheme,
                        host=url.raw_host,
                        port=url.port,
                        target=url.raw_path,
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx2.Response(
            answer.status,
            headers=answer.headers,
            stream=_Answer(answer),
            extensions=answer.extensions,
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


@contextmanager
def _errors_of_httpx() -> Generator[None]:
    """What httpcore2 raises, under the name it has in httpx2."""
    try:
        yield
    except (
        httpcore2.NetworkError,
        httpcore2.ProtocolError,
        httpcore2.TimeoutException,
        httpcore2.UnsupportedProtocol,
    ) as error:
        raise getattr(httpx2, type(error).__name__)(str(error)) from error


class _Answer(httpx2.AsyncByteStream):
    """The body of an answer, which may be left half-way."""

    def __init__(self, answer: httpcore2.Response) -> None:
        self._answer = answer
        self._parts = answer.aiter_stream()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        with _errors_of_httpx():
            return await anext(self._parts)

    async def aclose(self) -> None:
        await self._parts.aclose()
        await self._answer.aclose()


class Body(httpx2.AsyncByteStream):
    """A request body in one piece.

    The one of httpx2 is a generator, which a request that is cancelled leaves half-way.
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


class Parts(httpx2.AsyncByteStream):
    """A request body piece by piece, for the same reason no generator."""

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        self._parts = parts

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._parts


class _Stream(httpcore2.AsyncNetworkStream):
    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore2.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            await self._stream.send_all(buffer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore2.WriteError(str(error)) from error

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        return _Stream(trio.SSLStream(self._stream, ssl_context, server_hostname=server_hostname))

    def get_extra_info(self, info: str) -> Any:
        return None


class _Backend(httpcore2.AsyncNetworkBackend):
    def __init__(self, open_stream: StreamOpener) -> None:
        self._open_stream = open_stream

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            return _Stream(await self._open_stream(host, port))
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from error

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)
