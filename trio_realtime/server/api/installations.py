"""Installations of an app on devices, as storage and push SDKs save them.

With an upstream they are its own as long as it takes them: it may be what pushes. What it takes
is kept here too, by its ids, for the day when it is gone.

Protocol: docs/protocol/push.md §2.
"""

from __future__ import annotations

from typing import Any

import attrs

from trio_realtime.server.http import Request, Response, Router, json_response
from trio_realtime.server.rules import installations as rules
from trio_realtime.server.rules.json import iso
from trio_realtime.server.rules.operator.result import Result
from trio_realtime.server.store.conditions import parse_row_field
from trio_realtime.server.store.interface import InstallationRow, Tx

from .classes import ids_in
from .conversations import query_of, selected
from .operator import Operator
from .rest import authorized_app

PATH = "/1.1/installations"
PATHS = (PATH, "/1.1/classes/_Installation")


@attrs.frozen
class Installations(Operator):
    """The endpoints; `routes` enters them into a router."""

    def routes(self, router: Router) -> None:
        """Register every endpoint."""
        for path in PATHS:
            router.add("POST", path, self.register, shared=True)
            router.add("GET", path, self.find, shared=True)
            router.add("GET", f"{path}/{{id}}", self.show, shared=True)
            router.add("PUT", f"{path}/{{id}}", self.update, shared=True)
            router.add("DELETE", f"{path}/{{id}}", self.delete, shared=True)

    async def register(self, request: Request) -> Response:
        """Save what a device says of itself; a device that is known keeps its row."""
        app, given = authorized_app(self.gateway, request), request.json()
        most = self.gateway.config.limits.installations
        known_as = _id_of(request.theirs)
        saved: rules.Saved = await self.write(
            app, lambda tx: Result(rules.register(tx, given, most, known_as))
        )
        told = _told(request, saved.row, created=True)
        if not saved.new:
            return json_response(told)
        location = ("location", f"{PATH}/{saved.row.id}")
        return attrs.evolve(json_response(told, 201), headers=(location,))

    async def show(self, request: Request) -> Response:
        app, object_id = authorized_app(self.gateway, request), request.parameters["id"]
        row = await self.read(app, lambda tx: rules.existing(tx, object_id))
        return json_response(selected(rules.row_json(row), request.query.get("keys")))

    async def update(self, request: Request) -> Response:
        """Change columns; arrays take ``Add``, ``AddUnique`` and ``Remove``."""
        app, object_id = authorized_app(self.gateway, request), request.parameters["id"]
        given, most = request.json(), self.gateway.config.limits.installations
        row = await self.write(app, lambda tx: Result(rules.change(tx, object_id, given, most)))
        return json_response(_told(request, row, created=False))

    async def find(self, request: Request) -> Response:
        """Query; ``count=1`` counts besides, ``keys`` chooses columns."""
        app, query = self.app(request), query_of(request, field=parse_row_field)
        counts = request.query.get("count") in {"1", "true"}

        def rule(tx: Tx) -> dict[str, Any]:
            rows = map(rules.row_json, tx.find_installations(query))
            found = {"results": [selected(row, request.query.get("keys")) for row in rows]}
            return {**found, "count": tx.count_installations(query)} if counts else found

        return json_response(await self.read(app, rule, query=True))

    async def delete(self, request: Request) -> Response:
        """Remove a row, or several, their ids with commas between them: all or none."""
        app, object_ids = self.app(request), ids_in(request)

        def rule(tx: Tx) -> Result:
            for object_id in object_ids:
                rules.existing(tx, object_id)
                tx.delete_installation(object_id)
            return Result({})

        return json_response(await self.write(app, rule))


def _id_of(theirs: Any) -> str:
    """By which id the upstream knows a row; empty where it was not asked, or has not said."""
    object_id = theirs.get("objectId") if isinstance(theirs, dict) else None
    return object_id if isinstance(object_id, str) else ""


def _told(request: Request, row: InstallationRow, *, created: bool) -> dict[str, Any]:
    """What is answered to who saves: the whole row if it is asked for."""
    if request.query.get("fetchWhenSave") == "true":
        return rules.row_json(row)
    told = {"objectId": row.id, "updatedAt": iso(row.updated_at)}
    return {**told, "createdAt": iso(row.created_at)} if created else told
