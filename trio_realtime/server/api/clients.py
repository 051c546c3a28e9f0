"""What the operator asks about clients, and does to them. Protocol: docs/protocol/rest.md §7."""

from __future__ import annotations

from typing import Any

import attrs

from trio_realtime.server.http import HttpError, Request, Response, Router, json_response
from trio_realtime.server.rules.checks import existing
from trio_realtime.server.rules.types import App, Refusal
from trio_realtime.server.rules.types import Clients as Audience
from trio_realtime.server.store.interface import Tx

from .operator import BAD_PARAMETER, Operator, ids, page, refused, text
from .rest import authorized_app, number

ASKED_AT_ONCE = 20
UNREAD_CONVERSATIONS = 1000
LONGEST_REASON = 20
DAY = 86_400_000
SUBSCRIPTIONS_PAGE = 50


@attrs.frozen
class Clients(Operator):
    """The endpoints; `routes` enters them into a router."""

    def routes(self, router: Router) -> None:
        """Register every endpoint."""
        base = "/1.2/rtm/clients"
        router.add("POST", f"{base}/check-online", self.check_online)
        router.add("GET", f"{base}/{{client}}/unread-count", self.unread_count)
        router.add("POST", f"{base}/{{client}}/kick", self.kick)
        router.add("GET", f"{base}/{{client}}/service-conversations", self.subscriptions)
        router.add("GET", "/1.2/rtm/stats", self.stats)
        router.add("POST", "/1.1/rtm/online", self.check_online_1_1)
        router.add("POST", "/1.1/rtm/client/kick", self.kick_1_1)
        router.add("GET", "/1.1/rtm/messages/unread/{client}", self.unread_count)
        router.add("GET", "/1.1/rtm/messages/unread/{client}/{conversation}", self.unread_count)

    async def check_online(self, request: Request) -> Response:
        return await self._online(request, "client_ids")

    async def check_online_1_1(self, request: Request) -> Response:
        return await self._online(request, "peers")

    async def _online(self, request: Request, name: str) -> Response:
        app = self.app(request)
        asked = ids(request.json(), name, most=ASKED_AT_ONCE)
        present = await self.gateway.apps[app.id].bus.present(Audience(asked))
        return json_response({"results": present})

    async def unread_count(self, request: Request) -> Response:
        """How many messages a client has not read, at most 100 of each conversation."""
        app = authorized_app(self.gateway, request)
        client = request.parameters["client"]
        cid = request.parameters.get("conversation") or request.query.get("conv_id")

        def rule(tx: Tx) -> int:
            if cid:
                existing(tx, cid)
                logs = [cid, *tx.lines(client, [cid]).values()]
                return sum(row.count for row in tx.unread_in(client, logs))
            return sum(row.count for row in tx.unread_of(client, limit=UNREAD_CONVERSATIONS))

        # Of very many conversations it takes as long as a query may.
        return json_response({"count": await self.read(app, rule, query=True)})

    async def kick(self, request: Request) -> Response:
        return await self._kick(request, self.app(request), request.parameters["client"])

    async def kick_1_1(self, request: Request) -> Response:
        app = self.app(request)
        return await self._kick(request, app, text(request.json(), "client_id"))

    async def _kick(self, request: Request, app: App, client: str) -> Response:
        reason = request.json().get("reason")
        if reason is not None and not isinstance(reason, str):
            raise HttpError(400, BAD_PARAMETER, "reason is a text.")
        try:
            await self.gateway.kick(app.id, client, reason and reason[:LONGEST_REASON])
        except Refusal as refusal:
            raise refused(refusal) from refusal
        return json_response({})

    async def subscriptions(self, request: Request) -> Response:
        """The service conversations of a client: ``direction`` new means later ones."""
        app, client = self.app(request), request.parameters["client"]
        limit = page(request, default=SUBSCRIPTIONS_PAGE, most=SUBSCRIPTIONS_PAGE)
        older = request.query.get("direction", "new").lower() == "old"
        start = (number(request, "timestamp", 0), request.query.get("conv_id", ""))
        found = await self.read(app, lambda tx: tx.subscriptions(client))
        if older:
            kept = [(cid, at) for cid, at in reversed(found) if start[0] <= 0 or (at, cid) < start]
        else:
            kept = [(cid, at) for cid, at in found if (at, cid) > start]
        return json_response([subscription_json(cid, client, at) for cid, at in kept[:limit]])

    async def stats(self, request: Request) -> Response:
        app = self.app(request)
        context = self.gateway.apps[app.id]
        life = self.gateway.config.limits.token_ttl * 1000

        def today(tx: Tx) -> int:
            # Each login leaves a token that lives for so long.
            return tx.clients_seen(tx.now // DAY * DAY + life)

        seen = await self.read(app, today)
        online = await context.bus.population()
        return json_response(
            {"result": {"online_user_count": online, "user_count_today": max(seen, online)}}
        )


def subscription_json(cid: str, client_id: str, joined_at: int) -> dict[str, Any]:
    """One subscription of a service conversation."""
    return {"timestamp": joined_at, "subscriber": client_id, "conv_id": cid}
