"""Several requests in one, as storage SDKs save their rows.

With an upstream a batch may be about rows of both servers: what is not ours is asked of it, in a
batch of its own, and the answers are put together again.

Protocol: docs/protocol/push.md §2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import attrs
import trio

from trio_realtime.server.gateway.gateway import Gateway
from trio_realtime.server.http import (
    JSON_DEPTH,
    HttpError,
    Request,
    Response,
    Router,
    again,
    content_of,
    json_response,
)
from trio_realtime.server.pace import give_way
from trio_realtime.server.rules.json import BadJson, parse_object

from .operator import BAD_PARAMETER
from .rest import from_operator

MOST = 200
"""Requests in one batch."""

LARGEST_ANSWER = 4 * 1024 * 1024
"""Bytes of answers after which no more is asked, and of what the upstream answers to its part."""

VERSIONS = ("/1.1/", "/1.2/")
"""What is about data of an app, and not about the server, and needs a key."""

FRAMING = frozenset({b"content-length", b"transfer-encoding", b"content-encoding"})
KEY = "__internalId"
"""Names, in its body, the row that a request is about, for who saves several."""


@attrs.frozen
class Batch:
    """The endpoints; `routes` enters them into a router."""

    gateway: Gateway
    router: Router

    def routes(self, router: Router) -> None:
        """Register every endpoint."""
        # They read the body themselves, because it may turn out to be the upstream's.
        router.add("POST", "/1.1/batch", self.run, streams=True)
        router.add("POST", "/1.1/batch/save", self.save, streams=True)

    async def run(self, request: Request) -> Response:
        """Carry out requests one after another; answers ``success`` or ``error`` for each."""
        read = await self._read(request)
        if isinstance(read, Response):
            return read
        ours = self._ours(read)
        answers: list[Any] = [None] * len(read)
        size = 0
        for at, one in enumerate(read):
            if ours[at]:
                answer = await self._answer(request, one, size)
                size += answer.size
                answers[at] = {"success" if answer.good else "error": answer.value}
        theirs = [one for at, one in enumerate(read) if not ours[at]]
        if theirs:
            told = await self._ask_upstream(request, theirs)
            # One error stands for all of them.
            each = told.value if told.good else [{"error": told.value}] * len(theirs)
            if not isinstance(each, list) or len(each) != len(theirs):
                raise _not_understood()
            missing = iter(each)
            answers = [next(missing) if one is None else one for one in answers]
        return json_response(answers)

    async def save(self, request: Request) -> Response:
        """Save rows; answers what each has become, by the name its body gives it.

        The first that fails is the answer to all; those before it are saved.
        """
        read = await self._read(request)
        if isinstance(read, Response):
            return read
        ours = self._ours(read)
        saved: dict[str, Any] = {}
        size = 0
        for one, is_ours in zip(read, ours, strict=True):
            if is_ours:
                answer = await self._answer(request, one, size)
                size += answer.size
                if not answer.good:
                    return json_response(answer.value, answer.status)
                saved[one.key] = answer.value
        if not all(ours):
            theirs = [one for one, is_ours in zip(read, ours, strict=True) if not is_ours]
            told = await self._ask_upstream(request, theirs)
            if not told.good:
                return json_response(told.value, told.status)
            if not isinstance(told.value, dict):
                raise _not_understood()
            saved = {**told.value, **saved}
        return json_response(saved)

    async def _read(self, request: Request) -> list[One] | Response:
        """The requests; or the answer of the upstream where all of it is the upstream's."""
        limits, upstream = self.gateway.config.limits, self.router.upstream
        limit = "body_bytes" if from_operator(self.gateway, request) else "stranger_body_bytes"
        body = bytearray()
        while len(body) <= getattr(limits, limit) and (part := await request.receive()):
            body += part
        if len(body) > getattr(limits, limit):
            if upstream is None:
                raise HttpError(413, 413, "The body is too large.", limit=limit)
            return await upstream(again(request, bytes(body)))
        try:
            read = _requests(bytes(body))
        except BadJson as error:
            if upstream is not None:
                return await upstream(again(request, bytes(body)))
            raise HttpError(400, 107, f"The body is {error}.") from None
        if upstream is not None and read and not any(self.router.has(one.path) for one in read):
            return await upstream(again(request, bytes(body)))
        if len(read) > MOST:
            raise HttpError(400, BAD_PARAMETER, f"A batch has at most {MOST} requests.")
        return read

    def _ours(self, read: Sequence[One]) -> list[bool]:
        """Which of them are answered here: without an upstream all."""
        return [self.router.upstream is None or self.router.has(one.path) for one in read]

    async def _answer(self, request: Request, one: One, size: int) -> Answer:
        """The answer to one of them, after so many bytes of answers to others."""
        # Many in one are as many.
        if from_operator(self.gateway, request):
            await trio.lowlevel.checkpoint()
        else:
            await give_way()
        if not self.router.has(one.path):
            return Answer(404, {"code": 1, "error": "Not found."})
        if not one.path.startswith(VERSIONS) or self.router.streams(one.method, one.path):
            return Answer(400, {"code": 1, "error": "This is no request for a batch."})
        if size > LARGEST_ANSWER:
            return Answer(413, {"code": 413, "error": "The answers are too large for a batch."})
        response = await self.router.answer(one.within(request))
        body = await content_of(response, LARGEST_ANSWER) or b"{}"
        return Answer(response.status, json.loads(body), len(body))

    async def _ask_upstream(self, request: Request, theirs: Sequence[One]) -> Answer:
        upstream = self.router.upstream
        assert upstream is not None
        body = json.dumps({"requests": [one.given for one in theirs]}).encode()
        fields = [
            (name, value)
            for name, value in request.fields
            if name not in FRAMING and name != b"accept-encoding"
        ]
        fields.append((b"content-length", str(len(body)).encode()))
        response = await upstream(attrs.evolve(again(request, body), fields=tuple(fields)))
        received = await content_of(response, LARGEST_ANSWER)
        try:
            return Answer(response.status, json.loads(received or b""))
        except (ValueError, RecursionError):
            raise _not_understood() from None


@attrs.frozen
class Answer:
    """What came of a request."""

    status: int
    value: Any
    size: int = 0
    """Bytes, of an answer of ours."""

    @property
    def good(self) -> bool:
        return self.status < 300


@attrs.frozen
class One:
    """One request of a batch."""

    method: str
    path: str
    target: str
    query: Mapping[str, str]
    body: bytes
    key: str
    given: Mapping[str, Any]
    """As it came."""

    def within(self, batch: Request) -> Request:
        """As a request of its own, with the keys that the batch shows."""
        return attrs.evolve(
            batch,
            method=self.method,
            path=self.path,
            query=self.query,
            body=self.body,
            source=None,
            target=self.target,
            parameters={},
            fields=(
                *(field for field in batch.fields if field[0] not in FRAMING),
                (b"content-length", str(len(self.body)).encode()),
            ),
        )


def _requests(body: bytes) -> list[One]:
    """What a batch asks for. Raises `BadJson`."""
    try:
        given = parse_object(body.decode("utf-8-sig") or "{}", JSON_DEPTH)
    except UnicodeDecodeError:
        raise BadJson("not UTF-8") from None
    requests = given.get("requests")
    if not isinstance(requests, list) or not all(isinstance(one, dict) for one in requests):
        raise BadJson("no batch: requests is an array of objects")
    return [_one(one) for one in requests]


def _one(given: Mapping[str, Any]) -> One:
    method, target = given.get("method", "GET"), given.get("path")
    body, more = given.get("body"), given.get("params")
    if not isinstance(method, str) or not isinstance(target, str) or not target.startswith("/"):
        raise BadJson("no batch: a request has a method and a path")
    if not isinstance(body, dict | None) or not isinstance(more, dict | None):
        raise BadJson("no batch: body and params are objects")
    path, _, query = target.partition("#")[0].partition("?")
    said = {name: _text(value) for name, value in (more or {}).items()}
    body = body or {}
    return One(
        method.upper(),
        path,
        target,
        {**dict(parse_qsl(query, keep_blank_values=True)), **said},
        json.dumps(body).encode(),
        str(body.get(KEY, "")),
        given,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _not_understood() -> HttpError:
    return HttpError(502, 1, "The upstream answered what is no answer to a batch.")
