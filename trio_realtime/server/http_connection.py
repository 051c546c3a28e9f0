"""HTTP on one stream, by h11: requests in, responses out.

Protocol: docs/protocol/rest.md §1.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from http import HTTPStatus
from http.client import responses
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs
import h11
import trio

from trio_realtime._io.exception_groups import single_error

from .http import Content, Field, HttpError, Request, Response, Router, error_response
from .limits import Limits
from .pace import Pace, give_way

CORS = (
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "GET, POST, PUT, DELETE, OPTIONS"),
    (
        "access-control-allow-headers",
        (
            "Content-Type, X-LC-Id, X-LC-Key, X-LC-Sign, X-LC-Session, X-LC-IM-Session-Token, "
            "X-LC-Prod, X-LC-UA, X-LC-Hook-Key, X-Requested-With, Authorization, "
            "Cache-Control, Range, If-Range, If-Match, If-None-Match"
        ),
    ),
    (
        "access-control-expose-headers",
        "Location, ETag, Accept-Ranges, Content-Length, Content-Range, Content-Disposition",
    ),
    ("access-control-max-age", "86400"),
)

READ_SIZE = 64 * 1024

HEADERS = 100
"""In one head; browsers and SDKs send some twenty. Reading thousands would hold everybody up."""

SMALL_PART = 256
SMALL_PARTS_PER_SECOND = 50.0
"""Of a body: parts of less than `SMALL_PART` bytes cost us far more than who sends them. Ten
seconds' worth may come at once, beyond that the body is read as slowly."""
PARTS_AT_ONCE = 16
"""Small parts after which others have a turn."""

REFUSALS_PER_SECOND = 20.0
"""Requests of strangers that may be refused on one connection; ten seconds' worth may come at once,
beyond that it is read as slowly."""
REFUSED = frozenset({400, 401, 403, 405})

BODILESS = frozenset({204, 304})
"""Answers that say nothing about a body, not even that it is empty."""


class HttpConnection:
    """Serves the requests of one stream, one after another."""

    def __init__(
        self,
        router: Router,
        stream: trio.abc.Stream,
        head: bytes,
        *,
        limits: Limits,
        address: str,
        secure: bool,
        answering: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._router = router
        self._answering = answering
        self._stream = stream
        self._limits = limits
        self._address = address
        self._secure = secure
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
        self._h11.receive_data(head)
        self._pace = Pace(SMALL_PARTS_PER_SECOND)
        self._refusals = Pace(REFUSALS_PER_SECOND)
        self._small_parts = 0
        self._body_over = trio.Event()

    async def run(self) -> None:
        """Serve until either side has had enough."""
        try:
            while await self._serve_one():
                self._h11.start_next_cycle()
            await self._linger()
        except h11.RemoteProtocolError as error:
            await self._reject(error.error_status_hint)
            await self._linger()
        except trio.TooSlowError:
            await self._reject(408)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def _serve_one(self) -> bool:
        """Answer one request; whether another may follow."""
        event = None
        with trio.move_on_after(self._limits.keep_alive):
            event = await self._next_event()
        if not isinstance(event, h11.Request):
            return False
        request = _request(event, self._address, secure=self._secure)
        stranger = not self._router.from_operator(request)
        if stranger:
            await give_way()
        passed_on = self._router.passes_on(request.path)
        self._body_over = trio.Event()
        listening: AbstractAsyncContextManager[None] = (
            self._while_they_listen() if passed_on else nullcontext()
        )
        with self._answering():
            async with listening:
                response = await self._answer(request, streams=passed_on)
                await self._send(response, head=event.method == b"HEAD")
        if stranger and response.status in REFUSED:
            await trio.sleep(self._refusals.take(1, trio.current_time()))
        return bool(self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE)

    @asynccontextmanager
    async def _while_they_listen(self) -> AsyncIterator[None]:
        """Cancel the block when the client hangs up."""
        with single_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._notice_hang_up, nursery.cancel_scope)
                yield
                nursery.cancel_scope.cancel()

    async def _notice_hang_up(self, scope: trio.CancelScope) -> None:
        await self._body_over.wait()
        ahead = 0
        while ahead < READ_SIZE:  # of the requests that may follow
            try:
                data = await self._stream.receive_some(READ_SIZE)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                scope.cancel()
                return
            ahead += len(data)
            self._h11.receive_data(bytes(data))

    async def _answer(self, request: Request, *, streams: bool) -> Response:
        if streams or self._router.streams(request.method, request.path):
            with self._bounded("transfer_timeout"):
                return await self._router.answer(attrs.evolve(request, source=self._receive))
        with self._bounded("body_timeout"):
            at_most, limit = self._largest_body(request)
            body = await self._body(at_most, limit)
            return await self._router.answer(attrs.evolve(request, body=body))

    def _largest_body(self, request: Request) -> tuple[int, str]:
        """What a body may have, and which of the limits says so."""
        limits = self._limits
        if limits.stranger_body_bytes < limits.body_bytes and not self._router.from_operator(
            request
        ):
            return limits.stranger_body_bytes, "stranger_body_bytes"
        return limits.body_bytes, "body_bytes"

    @contextmanager
    def _bounded(self, limit: str) -> Iterator[None]:
        """Raise `trio.TooSlowError` after as many seconds as this one of the limits allows."""
        with trio.move_on_after(getattr(self._limits, limit)) as scope:
            yield
        if scope.cancelled_caught:
            self._router.reached(limit)
            raise trio.TooSlowError

    async def _next_event(self) -> Any:
        while True:
            if self._h11.their_state is h11.IDLE:
                self._check_head()
            event = self._h11.next_event()
            if event is not h11.NEED_DATA:
                if isinstance(event, h11.Data) and len(event.data) < SMALL_PART:
                    await self._keep_pace()
                return event
            if self._h11.they_are_waiting_for_100_continue:
                await self._write(h11.InformationalResponse(status_code=100, headers=[]))
            self._h11.receive_data(bytes(await self._stream.receive_some(READ_SIZE)))

    def _check_head(self) -> None:
        """Refuse a head with very many headers before any of them is read."""
        waiting, _ = self._h11.trailing_data
        if waiting.partition(b"\r\n\r\n")[0].count(b"\n") > HEADERS:
            raise h11.RemoteProtocolError("too many headers", 431)

    async def _keep_pace(self) -> None:
        """Count one small part of a body; read on when it is paid for."""
        self._small_parts += 1
        if self._small_parts % PARTS_AT_ONCE == 0:
            wait = self._pace.take(PARTS_AT_ONCE, trio.current_time())
            await trio.sleep(wait)

    async def _body(self, at_most: int, limit: str) -> bytes:
        body = bytearray()
        while not isinstance(part := await self._next_event(), h11.EndOfMessage):
            if not isinstance(part, h11.Data):
                raise h11.RemoteProtocolError("the request broke off", 400)
            body += part.data
            if len(body) > at_most:
                self._router.reached(limit)
                raise h11.RemoteProtocolError("the body is too large", 413)
        return bytes(body)

    async def _receive(self) -> bytes:
        """The next part of a body for an endpoint that streams."""
        try:
            with trio.fail_after(self._limits.body_timeout):
                while self._h11.their_state is h11.SEND_BODY:
                    event = await self._next_event()
                    if isinstance(event, h11.Data) and event.data:
                        return bytes(event.data)
            self._body_over.set()
        except trio.TooSlowError:
            raise HttpError(408, 408, "Request Timeout.", limit="body_timeout") from None
        except (h11.RemoteProtocolError, trio.BrokenResourceError):
            raise HttpError(400, 400, "The request broke off.") from None
        return b""

    async def _send(self, response: Response, *, head: bool = False) -> None:
        content = response.content
        headers = _headers(response)
        if self._h11.their_state is not h11.DONE:
            headers.append((b"connection", b"close"))
        try:
            reason = responses.get(response.status, "")
            data = self._h11.send(
                h11.Response(status_code=response.status, headers=headers, reason=reason)
            )
            assert data is not None
            if content is not None and not head:
                await self._send_content(data, content)
                return
            if response.body and not head:
                data += self._h11.send(h11.Data(data=response.body)) or b""
            data += self._h11.send(h11.EndOfMessage()) or b""
            with self._bounded("body_timeout"):
                await self._stream.send_all(data)
        finally:
            if content is not None:
                await content.aclose()

    async def _send_content(self, data: bytes, content: Content) -> None:
        """Send a head and the body that belongs to it."""
        with self._bounded("transfer_timeout"):
            while part := await content.read():
                data += self._h11.send(h11.Data(data=part)) or b""
                with self._bounded("body_timeout"):
                    await self._stream.send_all(data)
                data = b""
            data += self._h11.send(h11.EndOfMessage()) or b""
            await self._stream.send_all(data)

    async def _linger(self) -> None:
        """Let a client that is still sending finish.

        To close with unread data resets the connection, and the client loses our answer.
        """
        if self._h11.their_state is not h11.SEND_BODY:
            return
        gone = (trio.BrokenResourceError, trio.ClosedResourceError)
        with trio.move_on_after(self._limits.close_timeout), suppress(*gone):
            if isinstance(self._stream, trio.abc.HalfCloseableStream):
                await self._stream.send_eof()
            while await self._stream.receive_some(READ_SIZE):
                pass

    async def _write(self, event: h11.InformationalResponse) -> None:
        data = self._h11.send(event)
        if data:
            await self._stream.send_all(data)

    async def _reject(self, status: int) -> None:
        if self._h11.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        error = error_response(status, 1, HTTPStatus(status).phrase + ".")
        gone = (h11.LocalProtocolError, trio.BrokenResourceError, trio.ClosedResourceError)
        with trio.move_on_after(self._limits.close_timeout), suppress(*gone):
            await self._send(error)


def _headers(response: Response) -> list[Field]:
    """All headers to send."""
    if response.fields is not None:
        return list(response.fields)
    content = response.content
    size = len(response.body) if content is None else content.size
    headers = [*CORS, *response.headers]
    if response.status not in BODILESS and size is not None:
        headers.append(("content-length", str(size)))
    if response.body or content is not None:
        headers.append(("content-type", response.content_type))
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers]


def _request(event: h11.Request, address: str, *, secure: bool) -> Request:
    """A request without its body. Raises `h11.RemoteProtocolError`."""
    fields = tuple((bytes(name), bytes(value)) for name, value in event.headers)
    if {b"content-length", b"transfer-encoding"} <= {name for name, _ in fields}:
        # Where it ends is a matter of opinion, on which attacks are built.
        raise h11.RemoteProtocolError("a body with two lengths", 400)
    path, query = _target(event.target.decode("ascii", "replace"))
    return Request(
        event.method.decode("ascii", "replace").upper(),
        path,
        dict(parse_qsl(query, keep_blank_values=True)),
        {name.decode("ascii", "replace"): value.decode("latin-1") for name, value in fields},
        secure=secure,
        address=address,
        target=path + (f"?{query}" if query else ""),
        fields=fields,
    )


def _target(target: str) -> tuple[str, str]:
    """Path and query of a request's target, which may be a whole URL."""
    if target.startswith("/"):
        path, _, query = target.partition("#")[0].partition("?")
        return path, query
    try:
        url = urlsplit(target)
    except ValueError:
        raise h11.RemoteProtocolError("a target that is no URL", 400) from None
    return url.path or "/", url.query
