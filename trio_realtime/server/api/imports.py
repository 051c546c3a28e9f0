"""Importing rows of another server, while this one runs: with the master key, in batches.

``POST /trio-realtime/import/{kind}`` takes lines of JSON and answers what became of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import msgspec

from trio_realtime.server.http import HttpError, Request, Response, Router, json_response
from trio_realtime.server.rules.operator.imports import KINDS, MESSAGES, Imported, Undo, import_rows
from trio_realtime.server.rules.operator.message_rows import row_from
from trio_realtime.server.rules.operator.result import Result
from trio_realtime.server.store.interface import Tx

from .operator import BAD_PARAMETER, Operator

LARGEST_BATCH = 16 * 1024 * 1024
MOST_ROWS = 5000


@attrs.frozen
class Imports(Operator):
    """The endpoint; `routes` enters it into a router."""

    def routes(self, router: Router) -> None:
        """Register the endpoint."""
        router.add("POST", "/trio-realtime/import/{kind}", self.take, streams=True)

    async def take(self, request: Request) -> Response:
        """Take rows; with ``dry_run=true`` only say what would become of them."""
        app, kind = self.app(request), request.parameters["kind"]
        if kind not in KINDS:
            raise HttpError(404, BAD_PARAMETER, f"Of {', '.join(sorted(KINDS))} none is {kind}.")
        rows = _rows(await _body(request), row_from if kind == MESSAGES else msgspec.json.decode)
        dry_run = request.query.get("dry_run") == "true"

        def rule(tx: Tx) -> Result:
            return Result(import_rows(tx, kind, rows, dry_run=dry_run))

        try:
            result: Imported = await self.write(app, rule)
        except Undo as undone:
            result = undone.result
        return json_response(result.to_json())


async def _body(request: Request) -> bytes:
    body = bytearray()
    while part := await request.receive():
        body += part
        if len(body) > LARGEST_BATCH:
            raise HttpError(413, 413, f"A batch has at most {LARGEST_BATCH >> 20} MiB.")
    return bytes(body)


def _rows(body: bytes, read: Callable[[bytes], Any]) -> list[Any]:
    lines = body.split(b"\n")
    if not lines[-1]:
        lines.pop()
    if len(lines) > MOST_ROWS:
        raise HttpError(400, BAD_PARAMETER, f"A batch has at most {MOST_ROWS} rows.")
    return [_row(line, read) for line in lines]


def _row(line: bytes, read: Callable[[bytes], Any]) -> Any:
    try:
        return read(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        # It takes halves of surrogate pairs, and rows that are not as they should be.
        return json.loads(line)
    except (ValueError, RecursionError):
        # Refused by itself, as what is no object.
        return None
