"""Requests and responses of HTTP, and the table that routes them.

Protocol: docs/protocol/rest.md §1.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import unquote

import attrs
import trio

from .health import OUT_OF_DESCRIPTORS
from .metrics import Metrics, log
from .rules.json import BadJson, parse_object
from .rules.types import Refusal
from .store.interface import StoreUnavailable
from .troubles import TroubleLog

LARGEST_SHARED = 16 * 1024 * 1024
"""Bytes of an answer of the upstream that is kept here too."""

JSON_DEPTH = 128
"""How deep a body may nest; what it holds has limits of its own."""

Field = tuple[bytes, bytes]
"""A header, its name in lower case."""


@attrs.frozen
class Request:
    """One request, its body complete unless the route streams."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case; of repeated headers the last."""
    body: bytes = b""
    secure: bool = False
    """Whether it came over TLS."""
    address: str = ""
    parameters: Mapping[str, str] = attrs.field(factory=dict)
    """What the placeholders of the route stand for."""
    source: Callable[[], Awaitable[bytes]] | None = None
    """For routes that stream: where the body comes from."""
    target: str = ""
    """Path and query as they came."""
    fields: tuple[Field, ...] = ()
    """All headers, the repeated ones each time, in their order."""
    theirs: Any = None
    """For routes that are shared with the upstream: the JSON with which it has agreed."""

    async def receive(self) -> bytes:
        """For routes that stream: the next part of the body, empty at its end.

        Raises `HttpError` when the client stops sending.
        """
        return b"" if self.source is None else await self.source()

    def json(self) -> dict[str, Any]:
        """The body as an object. Raises `HttpError` 400."""
        try:
            return parse_object(self.body.decode("utf-8-sig") or "{}", JSON_DEPTH)
        except UnicodeDecodeError:
            raise HttpError(400, 107, "The body is not UTF-8.") from None
        except BadJson as error:
            raise HttpError(400, 107, f"The body is {error}.") from None


class Content(Protocol):
    """A body too large to be held in memory."""

    @property
    def size(self) -> int | None:
        """Bytes altogether, None where nobody knows, or the headers say it already."""

    async def read(self) -> bytes:
        """The next part, empty at the end. `trio.BrokenResourceError` breaks the response off."""

    async def aclose(self) -> None:
        """Let go of what was opened; called once."""


@attrs.frozen
class Response:
    """What is sent back."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    content: Content | None = None
    """Takes the place of ``body``; whoever sends the response closes it."""
    fields: tuple[Field, ...] | None = None
    """All headers there are to send, where they are another server's."""


async def content_of(response: Response, at_most: int) -> bytes | None:
    """The whole body of a response, which is closed; None if it has more bytes or breaks off."""
    content = response.content
    if content is None:
        return response.body
    received = bytearray()
    try:
        while part := await content.read():
            received += part
            if len(received) > at_most:
                return None
    except trio.BrokenResourceError:
        return None
    finally:
        await content.aclose()
    return bytes(received)


def again(request: Request, body: bytes) -> Request:
    """The request as one that streams, with what was read of its body put back in front."""
    waiting = [body] if body else []

    async def source() -> bytes:
        return waiting.pop() if waiting else await request.receive()

    return attrs.evolve(request, source=source)


class HttpError(Exception):
    """Becomes ``{"code", "error"}`` with this status.

    ``limit`` names which of the `Limits` was reached, if one was.
    """

    def __init__(self, status: int, code: int, error: str, *, limit: str | None = None) -> None:
        super().__init__(status, code, error)
        self.status = status
        self.code = code
        self.error = error
        self.limit = limit


class Elsewhere(HttpError):
    """What is asked for is not here; where there is an upstream, it may be there."""


def json_response(value: Any, status: int = 200) -> Response:
    """A JSON body."""
    return Response(status, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def error_response(status: int, code: int, error: str) -> Response:
    """An error as every SDK reads it."""
    return json_response({"code": code, "error": error}, status)


Endpoint = Callable[[Request], Awaitable[Response]]
Attempt = Callable[[Request], Awaitable[Response | None]]


@attrs.frozen
class Route:
    """One line of the table."""

    method: str
    pattern: tuple[str, ...]
    endpoint: Endpoint
    streams: bool
    shared: bool = False

    @property
    def path(self) -> str:
        """As it was entered, with its placeholders."""
        return "/".join(self.pattern)


class Router:
    """Finds the endpoint of a request by method and path; ``{name}`` matches one segment."""

    def __init__(
        self,
        metrics: Metrics,
        troubles: TroubleLog,
        from_operator: Callable[[Request], bool] = lambda _: False,
    ) -> None:
        self.from_operator = from_operator
        """Whether a request, its body not read yet, shows the master key."""
        self._metrics = metrics
        self._troubles = troubles
        self._routes: list[Route] = []
        self._otherwise: Attempt | None = None
        self._upstream: Endpoint | None = None

    @property
    def routes(self) -> tuple[Route, ...]:
        """The whole table."""
        return tuple(self._routes)

    def otherwise(self, attempt: Attempt) -> None:
        """Have what is asked for (GET) at paths of no route answered by this, if it can."""
        self._otherwise = attempt

    def pass_on(self, upstream: Endpoint) -> None:
        """Have everything else at paths of no route answered by this; it streams."""
        self._upstream = upstream

    @property
    def upstream(self) -> Endpoint | None:
        """Who answers at paths of no route, if anybody."""
        return self._upstream

    def has(self, path: str) -> bool:
        """Whether there is a route at this path, whatever its method."""
        segments = path.split("/")
        return any(_match(route.pattern, segments) is not None for route in self._routes)

    def passes_on(self, path: str) -> bool:
        """Whether requests at this path may be answered by another server."""
        return self._upstream is not None and path != "*" and not self.has(path)

    def add(
        self,
        method: str,
        path: str,
        endpoint: Endpoint,
        *,
        streams: bool = False,
        shared: bool = False,
    ) -> None:
        """Have an endpoint answer this method and path.

        With ``streams`` it reads the body itself, part by part, and limits its size. With
        ``shared`` an upstream is asked first: where it agrees its answer counts, and the endpoint
        keeps what `Request.theirs` says; where it does not, the endpoint answers alone.
        """
        pattern = tuple(path.split("/"))
        self._routes.append(Route(method, pattern, endpoint, streams, shared))

    def streams(self, method: str, path: str) -> bool:
        """Whether the endpoint of this method and path reads the body itself."""
        segments = path.split("/")
        return any(
            route.streams and route.method == method and _match(route.pattern, segments) is not None
            for route in self._routes
        )

    def reached(self, limit: str) -> None:
        """Count that this one of the `Limits` was reached."""
        self._metrics.limits[limit] += 1

    async def answer(self, request: Request) -> Response:
        """The response to a request; whatever goes wrong becomes one as well."""
        self._metrics.http_requests_total += 1
        try:
            return await self._route(request)
        except HttpError as error:
            if error.limit is not None:
                self.reached(error.limit)
            return error_response(error.status, error.code, error.error)
        except Refusal as refusal:
            if refusal.limit is not None:
                self.reached(refusal.limit)
            text = refusal.reason + (f": {refusal.detail}" if refusal.detail else "")
            return error_response(400, refusal.code, text)
        except Exception as error:  # noqa: BLE001 - a defect costs one request
            return self._failed(request, error)

    def _failed(self, request: Request, error: Exception) -> Response:
        if isinstance(error, StoreUnavailable):
            self._metrics.store_failures_total += 1
            self._troubles.note("the database failed", error.__cause__ or error)
            if request.method in {"GET", "HEAD"}:
                return error_response(503, 503, "The server cannot read its data now.")
            return error_response(507, 507, "The server cannot store anything now.")
        if isinstance(error, OSError) and error.errno in OUT_OF_DESCRIPTORS:
            self._troubles.note("a file could not be opened", error)
            return error_response(503, 503, "The server has too much open now.")
        self._metrics.internal_errors_total += 1
        # Not the path, which may hold the token of an upload.
        log.error("%s failed", self._name_of(request), exc_info=error)
        return error_response(500, 1, "Internal server error.")

    def _name_of(self, request: Request) -> str:
        """The route of a request, by method and pattern: nothing that a stranger may choose."""
        method = "GET" if request.method == "HEAD" else request.method
        segments = request.path.split("/")
        for route in self._routes:
            if route.method == method and _match(route.pattern, segments) is not None:
                return f"{method} {'/'.join(route.pattern)}"
        return "a request"

    async def _route(self, request: Request) -> Response:
        if request.method == "OPTIONS" and not self.passes_on(request.path):
            return Response(204)
        segments = request.path.split("/")
        found = False
        method = "GET" if request.method == "HEAD" else request.method
        for route in self._routes:
            parameters = _match(route.pattern, segments)
            if parameters is None:
                continue
            found = True
            if route.method == method:
                asked = attrs.evolve(request, parameters=parameters)
                if route.shared and self._upstream is not None:
                    return await _shared(route.endpoint, self._upstream, asked)
                try:
                    return await route.endpoint(asked)
                except Elsewhere:
                    if self._upstream is None:
                        raise
                    return await self._upstream(again(asked, asked.body))
        if found:
            raise HttpError(405, 1, "Method not allowed.")
        if self._otherwise is not None and method == "GET":
            response = await self._otherwise(request)
            if response is not None:
                return response
        if self._upstream is not None:
            return await self._upstream(request)
        raise HttpError(404, 1, "Not found.")


async def _shared(ours: Endpoint, upstream: Endpoint, request: Request) -> Response:
    """The upstream's answer, kept here too; ours alone where the upstream does not agree."""
    # What is to be understood here is not to be compressed.
    fields = tuple(field for field in request.fields if field[0] != b"accept-encoding")
    try:
        response = await upstream(attrs.evolve(again(request, request.body), fields=fields))
        told = await content_of(response, LARGEST_SHARED)
        value = json.loads(told or b"") if response.status < 300 else None
    except (HttpError, ValueError, RecursionError):
        value = None
    if value is None:
        return await ours(request)
    with suppress(HttpError, Refusal):
        await ours(attrs.evolve(request, theirs=value))
    return Response(response.status, told or b"", fields=response.fields)


def _match(pattern: tuple[str, ...], segments: list[str]) -> dict[str, str] | None:
    if len(pattern) != len(segments):
        return None
    parameters = {}
    for expected, segment in zip(pattern, segments, strict=True):
        if expected.startswith("{"):
            if not segment:
                return None
            parameters[expected[1:-1]] = unquote(segment)
        elif expected != segment:
            return None
    return parameters
