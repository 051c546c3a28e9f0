"""The classes of the storage service that messaging owns, as storage SDKs ask for them.

Protocol: docs/protocol/rest.md §2 and §8, docs/protocol/exports.md §4.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from trio_realtime._values.json import decode_date
from trio_realtime._values.times import ms_from_datetime
from trio_realtime.server.http import HttpError, Request, Response, Router, json_response
from trio_realtime.server.rules.direct import SERVICE_MESSAGES
from trio_realtime.server.rules.json import MAX_DEPTH, BadJson, iso, parse_object
from trio_realtime.server.rules.member_info import member_infos_json
from trio_realtime.server.rules.operator import conversations as rules
from trio_realtime.server.rules.operator.result import Result, conversation_of
from trio_realtime.server.rules.session import token_holder
from trio_realtime.server.store.interface import Kind, Tx

from .conversations import PAGE, query_of, selected
from .operator import Operator, page
from .rest import authorized_app, known, number, shows_master_key

NOT_FOUND = 101
BAD_QUERY = 102
DELETED_AT_ONCE = 200
LARGEST_PAGE = 1000
EPOCH_TEXT = "1970-01-01T00:00:00.000Z"
CONVERSATION = "/1.1/classes/_Conversation"


@attrs.frozen
class Classes(Operator):
    """The endpoints; `routes` enters them into a router."""

    def routes(self, router: Router) -> None:
        """Register every endpoint."""
        router.add("GET", CONVERSATION, self.find)
        router.add("POST", CONVERSATION, self.create)
        router.add("GET", f"{CONVERSATION}/{{id}}", self.show)
        router.add("PUT", f"{CONVERSATION}/{{id}}", self.update)
        router.add("DELETE", f"{CONVERSATION}/{{id}}", self.delete)
        router.add("GET", "/1.1/classes/_ConversationMemberInfo", self.member_infos)
        router.add("GET", f"/1.1/classes/{SERVICE_MESSAGES}", self.service_messages)

    async def find(self, request: Request) -> Response:
        """Query; ``count=1`` counts besides, ``keys`` chooses columns, ``include`` has no use."""
        app, query = self.app(request), query_of(request)
        counts = request.query.get("count") in {"1", "true"}

        def rule(tx: Tx) -> dict[str, Any]:
            rows = rules.rows_json(tx, tx.find(query))
            found = {"results": [selected(row, request.query.get("keys")) for row in rows]}
            return {**found, "count": tx.count(query)} if counts else found

        return json_response(await self.read(app, rule, query=True))

    async def create(self, request: Request) -> Response:
        app, body = self.app(request), request.json()
        kind = Kind.NORMAL
        if body.get("sys") is True:
            kind = Kind.SERVICE
        elif body.get("tr") is True:
            kind = Kind.ROOM
        row = await self.write(app, lambda tx: rules.create(tx, kind, body))
        location = ("location", f"{CONVERSATION}/{row['objectId']}")
        return attrs.evolve(json_response(row, 201), headers=(location,))

    async def show(self, request: Request) -> Response:
        app, cid = self.app(request), request.parameters["id"]

        def rule(tx: Tx) -> dict[str, Any] | None:
            row = tx.conversation(cid)
            return None if row is None else rules.row_json(tx, row)

        found = await self.read(app, rule)
        if found is None:
            raise HttpError(404, NOT_FOUND, "Could not find object.")
        return json_response(selected(found, request.query.get("keys")))

    async def update(self, request: Request) -> Response:
        app, cid, body = self.app(request), request.parameters["id"], request.json()
        return json_response(await self.write(app, lambda tx: rules.update(tx, cid, body)))

    async def delete(self, request: Request) -> Response:
        """Remove a row, or several, their ids with commas between them: all or none."""
        app, cids = self.app(request), ids_in(request)

        def rule(tx: Tx) -> Result:
            for cid in cids:
                rules.delete(tx, cid)
            return Result({})

        return json_response(await self.write(app, rule))

    async def member_infos(self, request: Request) -> Response:
        """The roles stored: for the operator all of them, for a member those of a conversation."""
        app = authorized_app(self.gateway, request)
        wanted = _wanted(request, "cid")
        cid, after = wanted.conversation, wanted.after
        limit = page(request, default=PAGE, most=LARGEST_PAGE)
        skip = max(0, number(request, "skip", 0))
        if shows_master_key(self.gateway, app, request):
            rows = await self.read(app, lambda tx: _all_infos(tx, cid, after, limit, skip))
            return json_response({"results": rows})
        if cid is None:
            raise HttpError(400, BAD_QUERY, 'where must name a conversation: {"cid": "…"}.')
        token = request.headers.get("x-lc-im-session-token")

        def rule(tx: Tx) -> list[dict[str, Any]] | None:
            client_id = token_holder(tx, token)
            if client_id is None:
                return None
            if not tx.is_member(cid, client_id):
                return []
            return member_infos_json(tx, cid, limit, skip)

        return json_response({"results": known(await self.read(app, rule))})

    async def service_messages(self, request: Request) -> Response:
        """What clients have written to services, by conversation and id."""
        app = self.app(request)
        wanted = _wanted(request, "conv")
        limit = page(request, default=PAGE, most=LARGEST_PAGE)
        found = await self.read(app, lambda tx: _service_messages(tx, wanted, limit), query=True)
        return json_response({"results": found})


def ids_in(request: Request) -> list[str]:
    """The ids that a path names. Raises `HttpError` 400."""
    ids = list(dict.fromkeys(request.parameters["id"].split(",")))
    if len(ids) > DELETED_AT_ONCE:
        raise HttpError(400, BAD_QUERY, f"At most {DELETED_AT_ONCE} rows are deleted at once.")
    return ids


def _all_infos(tx: Tx, cid: str | None, after: str, limit: int, skip: int) -> list[dict[str, Any]]:
    if cid is not None:
        return member_infos_json(tx, conversation_of(tx, cid).id, limit, skip)
    return [
        {
            "objectId": row.id,
            "cid": row.conversation_id,
            "clientId": row.client_id,
            "role": row.role,
        }
        for row in tx.all_member_infos(after=after, limit=limit)
    ]


def _service_message_json(key: str, row: Mapping[str, Any]) -> dict[str, Any]:
    cid, _, mid = key.rpartition("/")
    times = {
        name: row[name]["iso"] if isinstance(row.get(name), Mapping) else iso(row["timestamp"])
        for name in ("createdAt", "updatedAt")
    }
    return {**row, **times, "objectId": f"{cid}.{mid}"}


def _service_messages(tx: Tx, wanted: Wanted, limit: int) -> list[dict[str, Any]]:
    prefix = f"{wanted.conversation}/" if wanted.conversation else ""
    after = "/".join(wanted.after.rpartition(".")[::2]) if wanted.after else None
    found: list[dict[str, Any]] = []
    while len(found) < limit:
        rows = tx.documents(SERVICE_MESSAGES, prefix=prefix, after=after, limit=LARGEST_PAGE)
        if not rows:
            break
        after = rows[-1][0]
        found += [
            _service_message_json(key, row)
            for key, row in rows
            if row["timestamp"] >= wanted.created_since
        ]
    return found[:limit]


@attrs.frozen
class Wanted:
    """What a ``where`` asks of a class that knows but few conditions."""

    conversation: str | None
    after: str
    """Rows with ids behind this one."""
    created_since: int
    """Rows of this time in milliseconds, or later."""


def _wanted(request: Request, column: str) -> Wanted:
    """Which conversation a ``where`` names, after which id the rows begin, and since when.

    That is all that is asked of these classes. Raises `HttpError` 400 for anything else.
    """
    try:
        where = parse_object(request.query.get("where", "{}"), MAX_DEPTH)
    except BadJson as error:
        raise HttpError(400, BAD_QUERY, f"where is {error}.") from error
    value = where.pop(column, None)
    ids, times = where.pop("objectId", {}), where.pop("createdAt", {})
    if isinstance(value, dict):
        value = value.get("objectId", value)
    after = ids.pop("$gt", "") if isinstance(ids, dict) else None
    since = decode_date(times.pop("$gte", EPOCH_TEXT)) if isinstance(times, dict) else None
    wrong = where or ids or times or since is None
    if wrong or not isinstance(after, str) or not isinstance(value, str | None):
        raise HttpError(
            400,
            BAD_QUERY,
            f"where knows {column}, objectId with $gt, and createdAt with $gte, for this class.",
        )
    assert since is not None
    return Wanted(value, after, ms_from_datetime(since))
