"""Conversations, chat rooms and service conversations, and who belongs to them.

Protocol: docs/protocol/rest.md §3, §5, §6 and §7.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from trio_realtime.server.http import HttpError, Request, Response, Router, json_response
from trio_realtime.server.rules.json import MAX_DEPTH, BadJson, parse_object
from trio_realtime.server.rules.operator import conversations as rules
from trio_realtime.server.rules.operator.result import conversation_of
from trio_realtime.server.rules.types import Room
from trio_realtime.server.store.conditions import (
    And,
    Column,
    Compare,
    Condition,
    Field,
    Has,
    Or,
    parse_condition,
    parse_field,
    parse_sort,
)
from trio_realtime.server.store.interface import Kind, Query, QueryError, Tx

from .operator import KINDS, Operator, ids, page
from .rest import number

PAGE = 100
LARGEST_PAGE = 1000
ROOM_SHOWN = 50


@attrs.frozen
class Conversations(Operator):
    """The endpoints; `routes` enters them into a router."""

    def routes(self, router: Router) -> None:
        """Register every endpoint."""
        for path in KINDS:
            base = f"/1.2/rtm/{path}"
            router.add("POST", base, self.create)
            router.add("GET", base, self.find)
            router.add("GET", f"{base}/{{id}}", self.show)
            router.add("PUT", f"{base}/{{id}}", self.update)
            router.add("DELETE", f"{base}/{{id}}", self.delete)
        base = "/1.2/rtm/conversations/{id}"
        router.add("POST", f"{base}/members", self.add)
        router.add("DELETE", f"{base}/members", self.remove)
        router.add("GET", f"{base}/members", self.members)
        router.add("POST", f"{base}/mutes", self.mute)
        router.add("DELETE", f"{base}/mutes", self.unmute)
        router.add("GET", f"{base}/mutes", self.mutes)
        router.add("GET", "/1.2/rtm/chatrooms/{id}/members", self.room_members)
        router.add("GET", "/1.2/rtm/chatrooms/{id}/members/online-count", self.room_count)
        router.add("GET", "/1.2/rtm/all-conversations", self.find)

    async def create(self, request: Request) -> Response:
        app, body = self.app(request), request.json()
        kind = kinds_of(request)[0]
        return json_response(await self.write(app, lambda tx: rules.create(tx, kind, body)), 201)

    async def find(self, request: Request) -> Response:
        app = self.app(request)
        query = query_of(request, *kinds_of(request))
        rows = await self.read(app, lambda tx: rules.rows_json(tx, tx.find(query)), query=True)
        return json_response({"results": rows})

    async def show(self, request: Request) -> Response:
        app, cid, kinds = self.app(request), request.parameters["id"], kinds_of(request)

        def rule(tx: Tx) -> dict[str, Any]:
            return rules.row_json(tx, conversation_of(tx, cid, *kinds))

        return json_response(await self.read(app, rule))

    async def update(self, request: Request) -> Response:
        app, cid, kinds = self.app(request), request.parameters["id"], kinds_of(request)
        body = {key: value for key, value in request.json().items() if key not in {"m", "mu"}}
        return await self._written(app, lambda tx: rules.update(tx, cid, body, *kinds))

    async def delete(self, request: Request) -> Response:
        app, cid, kinds = self.app(request), request.parameters["id"], kinds_of(request)
        return await self._written(app, lambda tx: rules.delete(tx, cid, *kinds))

    async def add(self, request: Request) -> Response:
        app, cid, who = self._named(request)
        return await self._written(app, lambda tx: rules.add(tx, cid, who, Kind.NORMAL))

    async def remove(self, request: Request) -> Response:
        app, cid, who = self._named(request)
        return await self._written(app, lambda tx: rules.remove(tx, cid, who, Kind.NORMAL))

    async def mute(self, request: Request) -> Response:
        app, cid, who = self._named(request)
        return await self._written(
            app, lambda tx: rules.mute(tx, cid, who, Kind.NORMAL, muted=True)
        )

    async def unmute(self, request: Request) -> Response:
        app, cid, who = self._named(request)
        return await self._written(
            app, lambda tx: rules.mute(tx, cid, who, Kind.NORMAL, muted=False)
        )

    async def members(self, request: Request) -> Response:
        app, cid = self.app(request), request.parameters["id"]

        def rule(tx: Tx) -> Sequence[str]:
            return tx.members(conversation_of(tx, cid, *KINDS["conversations"]).id)

        return json_response({"result": await self.read(app, rule)})

    async def mutes(self, request: Request) -> Response:
        app, cid = self.app(request), request.parameters["id"]

        def rule(tx: Tx) -> Sequence[str]:
            return tx.muted_by(conversation_of(tx, cid, *KINDS["conversations"]).id)

        return json_response({"result": await self.read(app, rule)})

    async def room_members(self, request: Request) -> Response:
        """Some of those who are in a chat room now."""
        present = await self._present(request, page(request, default=ROOM_SHOWN, most=ROOM_SHOWN))
        return json_response({"result": present})

    async def room_count(self, request: Request) -> Response:
        return json_response({"result": len(await self._present(request, None))})

    async def _present(self, request: Request, limit: int | None) -> Sequence[str]:
        app, cid = self.app(request), request.parameters["id"]
        await self.read(app, lambda tx: conversation_of(tx, cid, Kind.ROOM))
        return await self.gateway.apps[app.id].bus.present(Room(cid), limit)

    def _named(self, request: Request) -> tuple[Any, str, Sequence[str]]:
        return self.app(request), request.parameters["id"], ids(request.json())

    async def _written(self, app: Any, rule: Any) -> Response:
        return json_response(await self.write(app, rule))


def kinds_of(request: Request) -> tuple[Kind, ...]:
    """The kinds of conversations that a path is about; none for all of them."""
    segment = request.path.split("/")[3]
    return KINDS.get(segment, ())


def query_of(request: Request, *kinds: Kind, field: Callable[[str], Field] = parse_field) -> Query:
    """The query in a request's parameters; ``field`` reads the names of columns.

    Raises `HttpError` 400.
    """
    try:
        given = parse_object(request.query.get("where") or "{}", MAX_DEPTH)
        condition = parse_condition(given, field)
        sort = parse_sort(_order(request.query.get("order", "")), field)
    except (BadJson, QueryError) as error:
        raise HttpError(400, 102, f"where or order cannot be understood: {error}.") from error
    only: tuple[Condition, ...] = tuple(
        Has(Column("conv_type"), Compare("=", int(kind))) for kind in kinds
    )
    return Query(
        where=And((Or(only), condition)) if only else condition,
        sort=sort,
        limit=page(request, default=PAGE, most=LARGEST_PAGE),
        skip=max(0, number(request, "skip", 0)),
    )


def _order(given: str) -> list[tuple[str, bool]]:
    keys = [key for part in given.split(",") if (key := part.strip()).strip("-")]
    return [(key.removeprefix("-"), key.startswith("-")) for key in keys or ["createdAt"]]


def selected(row: Mapping[str, Any], keys: str | None) -> dict[str, Any]:
    """The columns of a row that are asked for; its id and times always."""
    if not keys:
        return dict(row)
    wanted = {key.strip().partition(".")[0] for key in keys.split(",")}
    wanted |= {"objectId", "createdAt", "updatedAt"}
    return {key: value for key, value in row.items() if key in wanted}
