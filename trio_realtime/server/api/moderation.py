"""Roles, silence and block lists. Protocol: docs/protocol/rest.md §7."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import attrs

from trio_realtime.server.http import Request, Response, Router, json_response
from trio_realtime.server.rules.member_info import member_infos_json
from trio_realtime.server.rules.operator import moderation as rules
from trio_realtime.server.rules.operator.result import Result, conversation_of
from trio_realtime.server.rules.types import App
from trio_realtime.server.store.interface import Listing, Tx

from .conversations import kinds_of
from .operator import KINDS, Operator, ids, integer, page, text
from .rest import number

T = TypeVar("T")

LIST_PAGE = 10
LARGEST_LIST_PAGE = 100
INFOS_PAGE = 100


@attrs.frozen
class Moderation(Operator):
    """The endpoints; `routes` enters them into a router."""

    def routes(self, router: Router) -> None:
        """Register every endpoint."""
        for path in KINDS:
            base = f"/1.2/rtm/{path}/{{id}}"
            router.add("POST", f"{base}/blacklists", self.block)
            router.add("DELETE", f"{base}/blacklists", self.unblock)
            router.add("GET", f"{base}/blacklists", self.blocked)
            if path == "service-conversations":
                continue
            router.add("POST", f"{base}/permanent-silenceds", self.silence)
            router.add("DELETE", f"{base}/permanent-silenceds", self.lift_silence)
            router.add("GET", f"{base}/permanent-silenceds", self.silenced)
            router.add("POST", f"{base}/temporary-silenceds", self.silence_for_a_while)
            router.add("DELETE", f"{base}/temporary-silenceds", self.lift_silence)
            router.add("POST", f"{base}/member-infos", self.set_role)
            router.add("GET", f"{base}/member-infos", self.roles)
            router.add("PUT", f"{base}/member-infos/{{info}}", self.change_role)
            router.add("DELETE", f"{base}/member-infos/{{info}}", self.end_role)
        router.add("POST", "/1.2/rtm/clients/{client}/blacklists", self.block_for_client)
        router.add("DELETE", "/1.2/rtm/clients/{client}/blacklists", self.unblock_for_client)
        router.add("GET", "/1.2/rtm/clients/{client}/blacklists", self.blocked_by_client)

    # Lists of a conversation.

    async def block(self, request: Request) -> Response:
        return await self._change(request, _who, rules.block)

    async def unblock(self, request: Request) -> Response:
        return await self._change(request, _who, rules.unblock)

    async def blocked(self, request: Request) -> Response:
        return await self._listed(request, Listing.BLOCKED)

    async def silence(self, request: Request) -> Response:
        return await self._change(request, _who, rules.silence)

    async def silence_for_a_while(self, request: Request) -> Response:
        return await self._change(request, _for_a_while, rules.silence_for)

    async def lift_silence(self, request: Request) -> Response:
        return await self._change(request, _who, rules.lift_silence)

    async def silenced(self, request: Request) -> Response:
        return await self._listed(request, Listing.SILENCED)

    # Roles.

    async def set_role(self, request: Request) -> Response:
        return await self._change(request, _role, rules.set_role)

    async def change_role(self, request: Request) -> Response:
        return await self._change(request, _changed_role, rules.change_role)

    async def end_role(self, request: Request) -> Response:
        return await self._change(request, _ended_role, rules.change_role)

    async def roles(self, request: Request) -> Response:
        app, cid, kinds = self.app(request), request.parameters["id"], kinds_of(request)
        limit = page(request, default=INFOS_PAGE, most=1000)
        skip = max(0, number(request, "skip", 0))

        def rule(tx: Tx) -> list[dict[str, Any]]:
            return member_infos_json(tx, conversation_of(tx, cid, *kinds).id, limit, skip)

        return json_response({"results": await self.read(app, rule)})

    # The list of a client.

    async def block_for_client(self, request: Request) -> Response:
        app, client = self._client(request)
        cid = text(request.json(), "conv_id")
        return json_response(
            await self.write(app, lambda tx: rules.block_for_client(tx, client, cid))
        )

    async def unblock_for_client(self, request: Request) -> Response:
        app, client = self._client(request)
        cid = text({**request.query, **request.json()}, "conv_id")
        return json_response(
            await self.write(app, lambda tx: rules.unblock_for_client(tx, client, cid))
        )

    async def blocked_by_client(self, request: Request) -> Response:
        app, client = self._client(request)
        limit = page(request, default=LIST_PAGE, most=LARGEST_LIST_PAGE)
        after = request.query.get("next") or None
        found = await self.read(app, lambda tx: rules.blocked_by_client(tx, client, limit, after))
        return json_response(found.answer)

    def _client(self, request: Request) -> tuple[App, str]:
        return self.app(request), request.parameters["client"]

    async def _change(
        self, request: Request, read: Callable[[Request], T], rule: Callable[..., Result]
    ) -> Response:
        """Carry out a rule of a conversation, with what the request says it is about."""
        app, cid, kinds = self.app(request), request.parameters["id"], kinds_of(request)
        about = read(request)
        return json_response(await self.write(app, lambda tx: rule(tx, cid, about, *kinds)))

    async def _listed(self, request: Request, listing: Listing) -> Response:
        app, cid, kinds = self.app(request), request.parameters["id"], kinds_of(request)
        limit = page(request, default=LIST_PAGE, most=LARGEST_LIST_PAGE)
        after = request.query.get("next") or None
        found = await self.read(
            app, lambda tx: rules.listed(tx, cid, listing, limit, after, *kinds)
        )
        return json_response(found.answer)


def _who(request: Request) -> Sequence[str]:
    # Clients name it in the query or in the body, which not every library sends with DELETE.
    given = {**request.query, **request.json()}
    return ids(given, "client_id" if "client_id" in given else "client_ids")


def _for_a_while(request: Request) -> tuple[str, int]:
    body = request.json()
    return text(body, "client_id"), integer(body, "ttl", rules.MAX_TTL) or 0


def _role(request: Request) -> tuple[str, object]:
    body = request.json()
    return text(body, "clientId"), body.get("role")


def _changed_role(request: Request) -> tuple[str, object]:
    return request.parameters["info"], request.json().get("role")


def _ended_role(request: Request) -> tuple[str, object]:
    return request.parameters["info"], "Member"
