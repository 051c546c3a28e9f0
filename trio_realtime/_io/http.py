"""HTTPS requests of the SDK: routers, and the REST calls a client makes for itself.

A thin layer over httpx2, which is imported on the first request only: a client with
explicit WebSocket URLs never needs it.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import trio

from trio_realtime._values.errors import CommandError, ConnectFailed, Retry
from trio_realtime.transport import StreamOpener

if TYPE_CHECKING:
    import httpx2

REQUEST_TIMEOUT = 20.0
"""Seconds for one whole request: docs/protocol/transport.md §1."""

REQUESTS_AT_ONCE = 10
"""More of them wait here, where waiting is cheap: many clients may share one connection."""


class Http:
    """The HTTP client of one connection."""

    def __init__(
        self, *, open_stream: StreamOpener | None = None, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self._open_stream = open_stream
        self._ssl_context = ssl_context
        self._client: httpx2.AsyncClient | None = None
        self._plain: httpx2.AsyncClient | None = None
        self._limiter = trio.CapacityLimiter(REQUESTS_AT_ONCE)

    @property
    def client(self) -> httpx2.AsyncClient:
        """The httpx2 client underneath, made on first use."""
        if self._client is None:
            self._client = self._make(self._ssl_context)
        return self._client

    def _client_for(self, url: str) -> httpx2.AsyncClient:
        """The client for requests to this URL.

        To load the certificates to trust takes 20 ms and a MiB, which a connection that
        never speaks TLS should not cost: the client for plain HTTP trusts nobody.
        """
        if self._client is not None or not url.startswith("http://"):
            return self.client
        if self._plain is None:
            self._plain = self._make(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        return self._plain

    def _make(self, ssl_context: ssl.SSLContext | None) -> httpx2.AsyncClient:
        import httpx2

        transport = None
        if self._open_stream is not None:
            from .http_streams import http_over

            transport = http_over(self._open_stream, ssl_context)
        return httpx2.AsyncClient(
            transport=transport,
            verify=ssl_context if ssl_context is not None else True,
            timeout=None,
        )

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
        import httpx2

        from .http_streams import Body

        try:
            client = self._client_for(url)
            request = client.build_request(method, url, params=params, headers=headers, json=body)
            request.stream = Body(request.content)
            async with self._limiter:
                with trio.fail_after(timeout):
                    response = await client.send(request)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ConnectFailed(
                f"{method} {url} failed: {reason_of(error)}",
                retry=Retry.NEVER if _is_refused(error) else Retry.LATER,
            ) from error
        except trio.TooSlowError:
            raise ConnectFailed(f"{method} {url} got no answer in {timeout:g} seconds") from None
        try:
            value = response.json()
        except (ValueError, RecursionError):
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
        for client in (self._client, self._plain):
            if client is not None:
                await client.aclose()


def _is_refused(error: BaseException) -> bool:
    """Whether the URL is none, or the two do not agree on TLS: no matter of a broken line."""
    import httpx2

    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return not isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError))
        if isinstance(cause, (httpx2.InvalidURL, httpx2.UnsupportedProtocol)):
            return True
    return False


def reason_of(error: BaseException) -> str:
    """What went wrong, as far below as it was known."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate of the server is not trusted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"the two do not agree on TLS ({cause}); or is it an http:// URL?"
    return next((said for cause in _causes(error) if (said := str(cause))), type(error).__name__)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


async def content_of(response: httpx2.Response, at_most: int) -> bytes | None:
    """The content of an answer that is being read, unpacked; None if it has more bytes."""
    content = bytearray()
    async with aclosing(response.aiter_bytes()) as parts:
        async for part in parts:
            content += part
            if len(content) > at_most:
                return None
    return bytes(content)
