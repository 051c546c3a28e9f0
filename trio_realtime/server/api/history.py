"""Reading history over HTTP: for the operator, and for clients who show who they are.

Protocol: docs/protocol/rest.md §4 and §8, docs/protocol/signatures.md §2.
"""

from __future__ import annotations

import attrs

from trio_realtime.server.gateway.gateway import Gateway
from trio_realtime.server.http import HttpError, Request, Response, Router, json_response
from trio_realtime.server.rules.checks import existing
from trio_realtime.server.rules.history import Range, feed_json, history_json, require_reader
from trio_realtime.server.rules.session import token_holder
from trio_realtime.server.rules.signatures import verify_history
from trio_realtime.server.rules.types import App, Refusal
from trio_realtime.server.store.interface import Bound, Tx

from .operator import Operator
from .rest import authorized_app, known, number, shows_master_key

DEFAULT_PAGE = 100
LARGEST_PAGE = 1000


@attrs.frozen
class History:
    """The endpoints; `routes` enters them into a router."""

    gateway: Gateway

    def routes(self, router: Router) -> None:
        """Register every endpoint."""
        for kind in ("conversations", "chatrooms", "service-conversations"):
            router.add("GET", f"/1.2/rtm/{kind}/{{id}}/messages", self.messages)
        service = "/1.2/rtm/service-conversations/{id}"
        router.add("GET", f"{service}/subscribers/{{client}}/messages", self.told_to)
        router.add("GET", "/1.2/rtm/messages", self.feed)
        router.add("GET", "/1.2/rtm/clients/{client}/messages", self.sent_by)
        router.add("GET", "/1.1/rtm/messages/history", self.messages_of_1_1)

    async def messages(self, request: Request) -> Response:
        """A page of a conversation's history: ``GET …/{id}/messages``."""
        viewer = request.query.get("client_id", "")
        return await self._page(request, request.parameters["id"], viewer, _range(request))

    async def told_to(self, request: Request) -> Response:
        """A page of what one client was told by a service."""
        Operator(self.gateway).app(request)
        viewer = request.parameters["client"]
        return await self._page(request, request.parameters["id"], viewer, _range(request))

    async def feed(self, request: Request) -> Response:
        """A page of all messages of the app: ``GET /1.2/rtm/messages``."""
        return await self._feed(request, None, _range(request))

    async def sent_by(self, request: Request) -> Response:
        """A page of what one client has sent: ``GET /1.2/rtm/clients/{client}/messages``."""
        return await self._feed(request, request.parameters["client"], _range(request))

    async def _feed(self, request: Request, sender: str | None, wanted: Range) -> Response:
        operator = Operator(self.gateway)
        app = operator.app(request)
        return await operator.read(
            app, lambda tx: json_response(feed_json(tx, wanted, sender)), query=True
        )

    async def messages_of_1_1(self, request: Request) -> Response:
        """The same as version 1.1 of the API asks for it."""
        wanted = Range(
            start=_bound(request, "max_ts", "msgid"),
            newer=_flag(request, "reversed"),
            limit=_limit(request),
        )
        cid, sender = request.query.get("convid", ""), request.query.get("from")
        if not cid:
            return await self._feed(request, sender, wanted)
        return await self._page(request, cid, request.query.get("peerid", ""), wanted)

    async def _page(self, request: Request, cid: str, viewer: str, wanted: Range) -> Response:
        app = authorized_app(self.gateway, request)
        is_operator = shows_master_key(self.gateway, app, request)
        try:
            if not is_operator:
                await self._require_reader(app, request, cid, viewer)

            def page(tx: Tx) -> Response:
                rows = history_json(
                    tx, existing(tx, cid), wanted, viewer or None, addresses=is_operator
                )
                # It may be large. Here it is encoded in the thread that has read it.
                return json_response(rows)

            return await self.gateway.store.read(app.id, page)
        except Refusal as refusal:
            status = 403 if refusal.limit is None else 429
            detail = refusal.detail or refusal.reason
            raise HttpError(status, refusal.code, detail, limit=refusal.limit) from refusal

    async def _require_reader(self, app: App, request: Request, cid: str, viewer: str) -> None:
        """Who reads with the app key alone shows that he is the client, who may read."""
        query = request.query
        signature, nonce = query.get("signature"), query.get("nonce")
        stamp = number(request, "signature_ts", 0) if signature is not None else None
        token = request.headers.get("x-lc-im-session-token")

        def check(tx: Tx) -> bool | None:
            signed = verify_history(app, viewer, cid, stamp, nonce, signature, tx.now)
            if app.enforce.history and not signed:
                raise Refusal(4312, "CONVERSATION_LOG_REJECTED", "the signature is not right")
            if not signed and (not viewer or token_holder(tx, token) != viewer):
                return None
            require_reader(tx, existing(tx, cid), viewer)
            return True

        known(await self.gateway.store.read(app.id, check))
        # Only now: nobody uses up what is another's.
        if refusal := self.gateway.apps[app.id].bus.over_rate(viewer, "history_per_minute"):
            raise refusal


def _range(request: Request) -> Range:
    return Range(
        start=_bound(request, "timestamp", "msgid"),
        start_included=_flag(request, "include_start"),
        end=_bound(request, "till_timestamp", "till_msgid"),
        end_included=_flag(request, "include_stop"),
        newer=_flag(request, "reversed"),
        limit=_limit(request),
    )


def _bound(request: Request, timestamp: str, mid: str) -> Bound | None:
    at = number(request, timestamp, 0)
    return (at, request.query.get(mid) or None) if at > 0 else None


def _flag(request: Request, name: str) -> bool:
    return request.query.get(name, "").lower() in {"true", "1"}


def _limit(request: Request) -> int:
    return max(0, min(number(request, "limit", DEFAULT_PAGE), LARGEST_PAGE))
