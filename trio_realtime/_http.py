"""HTTPS requests of the SDK: routers, and the REST calls a client makes for itself.

A thin layer over httpx, which is imported on the first request only: a client with
explicit WebSocket URLs never needs it.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import trio

from ._errors import CommandError, ConnectFailed
from .transport import StreamOpener

if TYPE_CHECKING:
    import httpcore
    import httpx

REQUEST_TIMEOUT = 20.0
"""Seconds for one whole request: transport.md §1."""


class Http:
    """The HTTP client of one connection."""

    def __init__(
        self, *, open_stream: StreamOpener | None = None, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self._open_stream = open_stream
        self._ssl_context = ssl_context
        self._client: httpx.AsyncClient | None = None

    @property
    def client(self) -> httpx.AsyncClient:
        """The httpx client underneath, made on first use."""
        if self._client is None:
            import httpx

            transport = None
            if self._open_stream is not None:
                transport = _over(self._open_stream, self._ssl_context)
            self._client = httpx.AsyncClient(
                transport=transport,
                verify=self._ssl_context if self._ssl_context is not None else True,
                timeout=None,  # noqa: S113 - every request has one deadline, see below
            )
        return self._client

    async def json(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        timeout: float = REQUEST_TIMEOUT,  # noqa: ASYNC109 - part of what the caller configures
    ) -> Any:
        """Make a request and return the decoded JSON of a successful answer.

        Raises:
            ConnectFailed: no answer, or an answer that is not JSON.
            CommandError: the server refused with a code of its own.
        """
        import httpx

        try:
            with trio.fail_after(timeout):
                response = await self.client.request(
                    method, url, params=params, headers=headers, json=body
                )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ConnectFailed(
                f"{method} {url} failed: {error or type(error).__name__}"
            ) from error
        except trio.TooSlowError:
            raise ConnectFailed(f"{method} {url} got no answer in {timeout:g} seconds") from None
        try:
            value = response.json()
        except ValueError:
            raise ConnectFailed(
                f"{method} {url} answered {response.status_code} with something that is not JSON",
                status=response.status_code,
            ) from None
        if response.is_success:
            return value
        if isinstance(value, dict) and isinstance(value.get("code"), int):
            raise CommandError.from_wire(value["code"], str(value.get("error") or ""))
        raise ConnectFailed(
            f"{method} {url} answered {response.status_code}", status=response.status_code
        )

    async def aclose(self) -> None:
        """Close idle connections."""
        if self._client is not None:
            await self._client.aclose()


def _over(
    open_stream: StreamOpener, ssl_context: ssl.SSLContext | None
) -> httpx.AsyncBaseTransport:
    """An httpx transport whose bytes travel over the given streams."""
    import httpcore
    import httpx

    class Stream(httpcore.AsyncNetworkStream):
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
            return Stream(trio.SSLStream(self._stream, ssl_context, server_hostname))

        def get_extra_info(self, info: str) -> Any:
            return None

    class Backend(httpcore.AsyncNetworkBackend):
        async def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,
            local_address: str | None = None,
            socket_options: Iterable[Any] | None = None,
        ) -> httpcore.AsyncNetworkStream:
            try:
                return Stream(await open_stream(host, port))
            except OSError as error:
                raise httpcore.ConnectError(str(error)) from error

        async def sleep(self, seconds: float) -> None:
            await trio.sleep(seconds)

    transport = httpx.AsyncHTTPTransport(verify=ssl_context or True)
    # httpx offers no argument for this; its pool does.
    transport._pool = httpcore.AsyncConnectionPool(  # noqa: SLF001
        ssl_context=ssl_context, network_backend=Backend()
    )
    return transport
