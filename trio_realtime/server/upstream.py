"""Another server behind this one, which answers at the paths that are none of ours.

A request is read from one connection and written anew on another, part by part: what passes is
what HTTP means, never its bytes as they came, so that the two ends cannot disagree about where a
request ends. Nobody's cookies are kept, no redirection is followed.

Protocol: docs/protocol/rest.md §1.
"""

from __future__ import annotations

import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Collection, Sequence
from urllib.parse import urlsplit, urlunsplit

import attrs
import httpcore2
import trio

from .http import Field, HttpError, Request, Response
from .limits import Limits
from .troubles import TroubleLog

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers about one connection, which say nothing about the next."""

OURS_TO_SAY = frozenset({b"host", b"expect", b"x-forwarded-proto"})
"""Headers of a request that are not passed on, or not as they came."""

WHERE = frozenset({b"location", b"content-location"})
"""Headers of an answer that say where something is."""

DEFAULT_PORTS = {"http": 80, "https": 443}

REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})
NOT_PASSED_ON = frozenset({"CONNECT", "TRACE"})

CONNECT_TIMEOUT = 10.0
"""Seconds to reach the upstream, TLS handshake included."""

IDLE_CONNECTIONS = 20
IDLE_SECONDS = 3.0
"""How long a connection waits for its next request: less than servers wait for it."""

RESOLVE_TIMEOUT = 5.0


class UpstreamError(Exception):
    """The upstream did not do its part; says how in words of ours."""


@attrs.frozen
class UpstreamUrl:
    """Where the upstream is."""

    tls: bool
    host: str
    port: int
    netloc: str
    """As ``Host`` names it."""

    @classmethod
    def parse(cls, url: str) -> UpstreamUrl:
        """Raises `ValueError` unless it is ``http[s]://host[:port]``.

        The text is not repeated: there may be a password in it.
        """
        parts = urlsplit(url)
        good = (
            parts.scheme in {"http", "https"}
            and parts.hostname
            and parts.port != 0
            and "@" not in parts.netloc
            and parts.path in {"", "/"}
            and not (parts.query or parts.fragment)
            and url.isascii()
            and url.isprintable()
            and " " not in url
        )
        if not good:
            raise ValueError("an upstream is http[s]://host[:port], without a path")
        tls = parts.scheme == "https"
        assert parts.hostname is not None
        return cls(tls, parts.hostname, parts.port or (443 if tls else 80), parts.netloc)


async def leads_to(url: UpstreamUrl, bound: Sequence[tuple[str, int]]) -> bool:
    """Whether an upstream is one of these addresses, on which we listen ourselves."""
    addresses = {address for address, port in bound if port == url.port}
    if not addresses:
        return False
    found: Collection[str] = ()
    with trio.move_on_after(RESOLVE_TIMEOUT):
        try:
            infos = await trio.socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return False  # it may come to be there later
        found = {str(info[4][0]) for info in infos}
    everywhere = bool(addresses & {"0.0.0.0", "::"})  # noqa: S104 - asked, not bound
    return bool(addresses & set(found)) or (everywhere and any(map(_is_of_this_machine, found)))


def _is_of_this_machine(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as trial:
        try:
            trial.bind((address, 0))  # only what is our own can be bound
        except OSError:
            return False
        return True


class Upstream:
    """Passes requests on, so many at once, and never in a circle."""

    def __init__(
        self, url: UpstreamUrl, *, limits: Limits, troubles: TroubleLog, public_url: str | None
    ) -> None:
        self._url = url
        self._limits = limits
        self._troubles = troubles
        self._public_url = public_url and public_url.rstrip("/")
        self._secure = (public_url or "").startswith("https:")
        """Whether clients reach us by TLS even where that ends at a proxy."""
        self._mark = f"trio-realtime-{secrets.token_hex(8)}".encode()
        self._under_way = 0
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl.create_default_context() if url.tls else None,
            max_connections=None,  # requests are counted instead, and never wait for one
            max_keepalive_connections=IDLE_CONNECTIONS,
            keepalive_expiry=IDLE_SECONDS,
        )

    async def aclose(self) -> None:
        """Close what is idle."""
        await self._pool.aclose()

    async def pass_on(self, request: Request) -> Response:
        """The upstream's answer. Raises `HttpError`: 502 and 504 for what it fails to do."""
        if request.method in NOT_PASSED_ON or not request.target.startswith("/"):
            raise HttpError(405, 1, "Method not allowed.")
        fields = self._fields(request)
        if self._under_way >= self._limits.upstream_requests:
            raise HttpError(503, 1, "Too many requests at once.", limit="upstream_requests")
        self._under_way += 1
        try:
            answer = await self._ask(request, fields)
        except BaseException:
            self._under_way -= 1
            raise
        return Response(
            answer.status,
            fields=tuple(self._as_ours(request, field) for field in _passing(answer.headers)),
            content=_Answer(self, answer),
        )

    def over(self) -> None:
        """An answer was passed on, or given up."""
        self._under_way -= 1

    def failed(self, error: Exception) -> HttpError:
        """Tell the operator, in words that repeat nothing of a request."""
        slow = isinstance(error, httpcore2.TimeoutException)
        if slow:
            how = "it took too long"
        elif isinstance(error, httpcore2.ConnectError):
            how = "it cannot be reached"
        elif isinstance(error, httpcore2.NetworkError):
            how = "the connection broke"
        else:
            how = "it broke off, or does not speak HTTP"
        self._troubles.note("the upstream failed", UpstreamError(how))
        if slow:
            return HttpError(504, 124, "The upstream took too long.", limit="upstream_timeout")
        return HttpError(502, 1, "The upstream did not answer.")

    async def _ask(self, request: Request, fields: list[tuple[bytes, bytes]]) -> httpcore2.Response:
        has_body = any(name in {b"content-length", b"transfer-encoding"} for name, _ in fields)
        if not has_body:
            await request.receive()  # its end
        # A connection that was idle may be closed by the upstream just as we write to it.
        tries = 2 if not has_body and request.method in REPEATABLE else 1
        while True:
            tries -= 1
            try:
                return await self._pool.handle_async_request(
                    httpcore2.Request(
                        request.method,
                        httpcore2.URL(
                            scheme=b"https" if self._url.tls else b"http",
                            host=self._url.host.encode(),
                            port=self._url.port,
                            target=request.target.encode(),
                        ),
                        headers=fields,
                        content=_body(request) if has_body else None,
                        extensions={"timeout": self._timeouts()},
                    )
                )
            except (httpcore2.ReadError, httpcore2.WriteError, httpcore2.ProtocolError) as error:
                if not tries:
                    raise self.failed(error) from None
            except (httpcore2.NetworkError, httpcore2.TimeoutException) as error:
                raise self.failed(error) from None

    def _as_ours(self, request: Request, field: Field) -> Field:
        """A header of an answer: where it names the upstream's own address, it names ours."""
        name, value = field
        host = request.headers.get("host", "")
        if name not in WHERE or not (self._public_url or host):
            return field
        try:
            parts = urlsplit(value.decode("ascii"))
            port = parts.port or DEFAULT_PORTS.get(parts.scheme)
        except ValueError:
            return field
        scheme = "https" if self._url.tls else "http"
        if (parts.scheme, parts.hostname, port) != (scheme, self._url.host, self._url.port):
            return field
        ours = self._public_url or f"{'https' if request.secure else 'http'}://{host}"
        return name, (ours + urlunsplit(("", "", *parts[2:]))).encode("latin-1")

    def _timeouts(self) -> dict[str, float]:
        seconds = self._limits.upstream_timeout
        return {"connect": min(CONNECT_TIMEOUT, seconds), "read": seconds, "write": seconds}

    def _fields(self, request: Request) -> list[tuple[bytes, bytes]]:
        """The headers of the request as the upstream gets them. Raises `HttpError`."""
        if any(n == b"upgrade" and b"websocket" in v.lower() for n, v in request.fields):
            raise HttpError(400, 1, "A WebSocket is opened by a request of its own connection.")
        via = [value for name, value in request.fields if name == b"via"]
        if any(self._mark in value for value in via):
            error = UpstreamError("it leads back to this server")
            self._troubles.note("the upstream failed", error)
            raise HttpError(508, 1, "The upstream leads back to this server.")
        forwarded = [value for name, value in request.fields if name == b"x-forwarded-for"]
        again = {b"via", b"x-forwarded-for"}
        fields = [(b"host", self._url.netloc.encode())]
        fields += [
            (name, value)
            for name, value in _passing(request.fields)
            if name not in OURS_TO_SAY and name not in again
        ]
        if any(name == b"transfer-encoding" for name, _ in request.fields):
            fields.append((b"transfer-encoding", b"chunked"))
        if request.address or forwarded:
            known = [*forwarded, *([request.address.encode()] if request.address else [])]
            fields.append((b"x-forwarded-for", b", ".join(known)))
        secure = request.secure or self._secure
        fields.append((b"x-forwarded-proto", b"https" if secure else b"http"))
        fields.append((b"via", b", ".join([*via, b"1.1 " + self._mark])))
        return fields


def _passing(fields: Sequence[Field]) -> list[Field]:
    """The headers that are about the message and not about its connection."""
    named = {
        option.strip().lower()
        for name, value in fields
        if name.lower() == b"connection"
        for option in value.split(b",")
    }
    # What frames the message, and for whom it is, is not for a connection's end to remove.
    named -= {b"content-length", b"host"}
    dropped = HOP_BY_HOP | named
    return [(name.lower(), value) for name, value in fields if name.lower() not in dropped]


async def _body(request: Request) -> AsyncIterator[bytes]:
    while part := await request.receive():
        yield part


class _Answer:
    """The body of an answer, read as it is sent."""

    size = None

    def __init__(self, upstream: Upstream, answer: httpcore2.Response) -> None:
        self._upstream = upstream
        self._answer = answer
        self._parts = answer.aiter_stream()

    async def read(self) -> bytes:
        """The next part. Raises `trio.BrokenResourceError` where the upstream breaks off."""
        try:
            async for part in self._parts:
                if part:
                    return part
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException) as e:
            self._upstream.failed(e)
            # The head is gone: a connection that ends too early says that there was more.
            raise trio.BrokenResourceError("the upstream broke off") from None
        return b""

    async def aclose(self) -> None:
        self._upstream.over()
        try:
            await self._parts.aclose()
        finally:
            await self._answer.aclose()
