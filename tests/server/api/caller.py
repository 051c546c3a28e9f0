"""Requests to a server as a test says them, without a connection."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlsplit

import attrs

from trio_realtime.server.http import Request


@attrs.frozen
class Answer:
    """What came back."""

    status: int
    value: object
    headers: dict


@attrs.frozen
class Caller:
    """Asks with the master key unless it is told otherwise."""

    server: object
    address: str = "192.0.2.1"

    async def __call__(self, method, target, value=None, *, master=True, headers=None):
        server = self.server
        key = f"{server.master_key},master" if master else server.app_key
        parts = urlsplit(target)
        body = b"" if value is None else json.dumps(value).encode()

        async def source():
            nonlocal body
            part, body = body, b""
            return part

        request = Request(
            method,
            parts.path,
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            {"x-lc-id": server.app_id, "x-lc-key": key, **(headers or {})},
            body,
            target=target,
            address=self.address,
            source=source,
        )
        response = await server.server.answer(request)
        assert response.status != 500, (method, target, value)
        return Answer(response.status, json.loads(response.body), dict(response.headers))
