"""The first version of the API of messaging, which older backends still use.

Protocol: docs/protocol/rest.md §8.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import attrs

from trio_realtime.server.http import HttpError, Request, Response, Router, json_response
from trio_realtime.server.rules.operator import messages as rules
from trio_realtime.server.rules.operator.messages import Named
from trio_realtime.server.rules.operator.moderation import MAX_TTL, lift_silence, silence_for
from trio_realtime.server.rules.operator.result import conversation_of
from trio_realtime.server.rules.types import Room
from trio_realtime.server.store.interface import Kind

from .messages import Messages, message_of, sending_of
from .operator import BAD_PARAMETER, Operator, flag, integer, text
from .rest import authorized_app


@attrs.frozen
class VersionOne(Operator):
    """The endpoints; `routes` enters them into a router."""

    def routes(self, router: Router) -> None:
        """Register every endpoint."""
        router.add("POST", "/1.1/rtm/messages", self.send)
        router.add("PUT", "/1.1/rtm/messages/logs", self.edit)
        router.add("PUT", "/1.1/rtm/patch/message", self.patch)
        router.add("DELETE", "/1.1/rtm/messages/logs", self.delete)
        router.add("GET", "/1.1/rtm/transient_group/onlines", self.room_count)
        router.add("POST", "/1.1/rtm/conversation/blacklist", self.silence)
        router.add("DELETE", "/1.1/rtm/conversation/blacklist", self.lift_silence)

    async def send(self, request: Request) -> Response:
        """Send; unlike later this is transient, and of high priority, unless asked otherwise."""
        app, body = self.app(request), request.json()
        sending = sending_of(
            app,
            body,
            text(body, "from_peer"),
            address=request.address,
            transient=True,
            priority="high",
        )
        cid = text(body, "conv_id")
        return await Messages(self.gateway).send_approved(cid, sending)

    async def edit(self, request: Request) -> Response:
        """Replace a message by a row of the history."""
        app, row = self.app(request), request.json()
        cid, mid = text(row, "to"), text(row, "msg-id")
        body = _text_of(row)
        sender, timestamp = text(row, "from"), integer(row, "timestamp")
        named = Named(cid, mid, sender, timestamp)
        return await Messages(self.gateway).edit_approved(app, named, body, request.address)

    async def patch(self, request: Request) -> Response:
        """Replace a message, or with ``recall`` take it back; in the words of either version."""
        app, body = self.app(request), request.json()
        cid, mid = _either(body, "conv_id", "convid", "to"), _either(body, "msg-id", "mid", "msgid")
        sender = _either(body, "from_client", "from_peer", "from")
        named = Named(cid, mid, sender, integer(body, "timestamp"))
        said = None if flag(body, "recall") else message_of(body)
        return await Messages(self.gateway).edit_approved(app, named, said, request.address)

    async def delete(self, request: Request) -> Response:
        app, given = self.app(request), {**request.query, **request.json()}
        cid, mid = text(given, "convid"), text(given, "msgid")
        sender, timestamp = text(given, "from"), integer(given, "timestamp")
        named = Named(cid, mid, sender, timestamp)
        return json_response(await self.write(app, lambda tx: rules.delete(tx, named)))

    async def room_count(self, request: Request) -> Response:
        """How many are in a chat room now; the app key will do."""
        app, cid = authorized_app(self.gateway, request), text(request.query, "gid")
        await self.read(app, lambda tx: conversation_of(tx, cid, Kind.ROOM))
        present = await self.gateway.apps[app.id].bus.present(Room(cid))
        return json_response({"result": len(present)})

    async def silence(self, request: Request) -> Response:
        app, body = self.app(request), request.json()
        cid = text(body, "conv_id")
        about = text(body, "client_id"), integer(body, "ttl", MAX_TTL) or 0
        return json_response(await self.write(app, lambda tx: silence_for(tx, cid, about)))

    async def lift_silence(self, request: Request) -> Response:
        app, given = self.app(request), {**request.query, **request.json()}
        cid, who = text(given, "conv_id"), [text(given, "client_id")]
        return json_response(await self.write(app, lambda tx: lift_silence(tx, cid, who)))


def _either(body: Mapping[str, Any], *names: str) -> str:
    """The text of whichever of these names is given. Raises `HttpError` 400."""
    return text(body, next((name for name in names if name in body), names[0]))


def _text_of(row: Mapping[str, Any]) -> str:
    data = text(row, "data")
    if not flag(row, "bin"):
        return data
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        raise HttpError(400, BAD_PARAMETER, "an edit by this way is of text.") from None
