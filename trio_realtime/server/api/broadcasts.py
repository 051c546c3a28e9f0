"""What a service says to all clients of an app.

Protocol: docs/protocol/rest.md §6 and §8.
"""

from __future__ import annotations

from typing import Any

import attrs

from trio_realtime.server.http import Request, Response, Router, json_response
from trio_realtime.server.rules import broadcasts as rules
from trio_realtime.server.rules.history import message_json
from trio_realtime.server.rules.operator.result import Result
from trio_realtime.server.rules.types import App, Refusal
from trio_realtime.server.store.interface import Tx

from .messages import message_of, push_of
from .operator import Operator, flag, integer, page, refused, text
from .rest import number
from .services import Services

PATH = "/1.2/rtm/broadcasts"
OLD_PATH = "/1.1/rtm/broadcast"
PAGE = 100


@attrs.frozen
class Broadcasts(Operator):
    """The endpoints; `routes` enters them into a router."""

    def routes(self, router: Router) -> None:
        """Register every endpoint."""
        router.add("POST", PATH, self.send)
        router.add("GET", PATH, self.valid)
        router.add("DELETE", f"{PATH}/{{mid}}", self.withdraw)
        router.add("POST", OLD_PATH, self.send_1_1)
        router.add("GET", OLD_PATH, self.valid)
        router.add("DELETE", OLD_PATH, self.withdraw_1_1)

    async def send(self, request: Request) -> Response:
        """Say something to everybody, until ``valid_till`` also to who logs in later."""
        return await self._send(request, "from_client")

    async def send_1_1(self, request: Request) -> Response:
        return await self._send(request, "from_peer")

    async def _send(self, request: Request, name: str) -> Response:
        app, body = self.app(request), request.json()
        cid, sender = text(body, "conv_id"), text(body, name)
        message, push = message_of(body), push_of(body, "push") or push_of(body, "push_data")
        wanted = rules.Broadcast(integer(body, "valid_till"), flag(body, "transient"))
        try:
            sent = await Services(self.gateway).broadcast(
                app.id, cid, sender, message, push, request.address, wanted
            )
        except Refusal as refusal:
            raise refused(refusal) from refusal
        return json_response({"msg-id": sent.id, "timestamp": sent.timestamp})

    async def valid(self, request: Request) -> Response:
        """Those that are valid now, newest first."""
        app, cid = self.app(request), request.query.get("conv_id")
        limit = page(request, default=PAGE, most=rules.MOST)
        skip = max(0, number(request, "skip", 0))

        def rule(tx: Tx) -> list[dict[str, Any]]:
            found = [one for one in rules.valid(tx) if cid in {None, one[0].conversation_id}]
            shown = found[::-1][skip : skip + limit]
            return [{**message_json(message), "valid_till": until} for message, until in shown]

        return json_response(await self.read(app, rule))

    async def withdraw(self, request: Request) -> Response:
        """Take one back: who does not have it yet gets it no more."""
        return await self._withdraw(self.app(request), request.parameters["mid"])

    async def withdraw_1_1(self, request: Request) -> Response:
        app = self.app(request)
        return await self._withdraw(app, text({**request.query, **request.json()}, "mid"))

    async def _withdraw(self, app: App, mid: str) -> Response:
        def rule(tx: Tx) -> Result:
            rules.withdraw(tx, mid)
            return Result({})

        return json_response(await self.write(app, rule))
