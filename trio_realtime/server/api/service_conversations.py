"""Subscribers of service conversations, and what services say to them.

Protocol: docs/protocol/rest.md §6.
"""

from __future__ import annotations

import attrs

from trio_realtime.server.http import Request, Response, Router, json_response
from trio_realtime.server.rules.operator.messages import Named, delete
from trio_realtime.server.rules.operator.result import conversation_of
from trio_realtime.server.rules.operator.services import subscribe, unsubscribe
from trio_realtime.server.rules.types import Refusal
from trio_realtime.server.store.interface import Kind, Tx

from .clients import subscription_json
from .messages import message_of, push_of
from .operator import Operator, integer, page, refused, text
from .services import Services

BASE = "/1.2/rtm/service-conversations/{id}"
SUBSCRIBERS_PAGE = 50


@attrs.frozen
class ServiceConversations(Operator):
    """The endpoints; `routes` enters them into a router."""

    def routes(self, router: Router) -> None:
        """Register every endpoint."""
        router.add("POST", f"{BASE}/subscribers", self.subscribe)
        router.add("DELETE", f"{BASE}/subscribers/{{client}}", self.unsubscribe)
        router.add("GET", f"{BASE}/subscribers", self.subscribers)
        router.add("GET", f"{BASE}/subscribers/count", self.count)
        router.add("DELETE", f"{BASE}/subscribers/{{client}}/messages/{{mid}}", self.delete)
        router.add("POST", f"{BASE}/broadcasts", self.broadcast)
        router.add("POST", "/1.1/rtm/broadcast/subscriber", self.broadcast_1_1)
        router.add("POST", "/1.1/rtm/conversation/subscription", self.subscribe_1_1)
        router.add("DELETE", "/1.1/rtm/conversation/subscription", self.unsubscribe_1_1)

    async def subscribe(self, request: Request) -> Response:
        app = self.app(request)
        cid, client = request.parameters["id"], text(request.json(), "client_id")
        return json_response(await self.write(app, lambda tx: subscribe(tx, cid, client)))

    async def unsubscribe(self, request: Request) -> Response:
        app = self.app(request)
        cid, client = request.parameters["id"], request.parameters["client"]
        return json_response(await self.write(app, lambda tx: unsubscribe(tx, cid, client)))

    async def subscribe_1_1(self, request: Request) -> Response:
        app, body = self.app(request), request.json()
        cid, client = text(body, "conv_id"), text(body, "client_id")
        return json_response(await self.write(app, lambda tx: subscribe(tx, cid, client)))

    async def unsubscribe_1_1(self, request: Request) -> Response:
        app, given = self.app(request), {**request.query, **request.json()}
        cid, client = text(given, "conv_id"), text(given, "client_id")
        return json_response(await self.write(app, lambda tx: unsubscribe(tx, cid, client)))

    async def subscribers(self, request: Request) -> Response:
        app, cid = self.app(request), request.parameters["id"]
        limit = page(request, default=SUBSCRIBERS_PAGE, most=SUBSCRIBERS_PAGE)
        after = request.query.get("client_id") or None

        def rule(tx: Tx) -> list[tuple[str, int]]:
            return tx.subscribers(
                conversation_of(tx, cid, Kind.SERVICE).id, after=after, limit=limit
            )

        found = await self.read(app, rule)
        return json_response([subscription_json(cid, client, at) for client, at in found])

    async def count(self, request: Request) -> Response:
        app, cid = self.app(request), request.parameters["id"]

        def rule(tx: Tx) -> int:
            return tx.member_count(conversation_of(tx, cid, Kind.SERVICE).id)

        return json_response({"count": await self.read(app, rule)})

    async def delete(self, request: Request) -> Response:
        """Remove what the service has said to one client alone."""
        app, given = self.app(request), request.parameters
        sender, timestamp = text(request.query, "from_client"), integer(request.query, "timestamp")
        named = Named(given["id"], given["mid"], sender, timestamp, (given["client"],))
        return json_response(await self.write(app, lambda tx: delete(tx, named, Kind.SERVICE)))

    async def broadcast(self, request: Request) -> Response:
        return await self._broadcast(request, request.parameters["id"], "from_client")

    async def broadcast_1_1(self, request: Request) -> Response:
        return await self._broadcast(request, None, "from_peer")

    async def _broadcast(self, request: Request, cid: str | None, name: str) -> Response:
        app, body = self.app(request), request.json()
        service, sender = cid or text(body, "conv_id"), text(body, name)
        message, push = message_of(body), push_of(body, "push")
        services = Services(self.gateway)
        try:
            sent = await services.broadcast(app.id, service, sender, message, push, request.address)
        except Refusal as refusal:
            raise refused(refusal) from refusal
        told = {"msg-id": sent.id, "timestamp": sent.timestamp}
        # Some SDKs read it inside of an object.
        return json_response({**told, "result": told})
