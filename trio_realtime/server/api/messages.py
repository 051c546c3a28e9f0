"""Messages the operator sends in anybody's name, edits, recalls and removes.

Protocol: docs/protocol/rest.md §4, §5 and §6.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs

from trio_realtime.server.hooks.types import IncomingMessage, MessageUpdate, Rewrite
from trio_realtime.server.http import HttpError, Request, Response, Router, json_response
from trio_realtime.server.rules.operator import messages as rules
from trio_realtime.server.rules.operator.messages import Named, Sending
from trio_realtime.server.rules.types import HIGH, LOW, NORMAL, App, Refusal
from trio_realtime.server.store.interface import Kind

from .conversations import kinds_of
from .operator import BAD_PARAMETER, KINDS, Operator, flag, ids, integer, refused, text

MAX_BODY = 5 * 1024
"""Bytes of one message: docs/protocol/rest.md §4."""

MENTIONS = 20
RECEIVERS = 20
"""Clients to whom a service speaks at once, each alone: docs/protocol/rest.md §6."""
PRIORITIES = {"high": HIGH, "normal": NORMAL, "low": LOW}


@attrs.frozen
class Messages(Operator):
    """The endpoints; `routes` enters them into a router."""

    def routes(self, router: Router) -> None:
        """Register every endpoint."""
        for path in KINDS:
            base = f"/1.2/rtm/{path}/{{id}}/messages"
            router.add("POST", base, self.send)
            if path != "service-conversations":
                router.add("DELETE", f"{base}/{{mid}}", self.delete)
            router.add("PUT", f"{base}/{{mid}}", self.edit)
            router.add("PUT", f"{base}/{{mid}}/recall", self.recall)

    async def send(self, request: Request) -> Response:
        app, body, kinds = self.app(request), request.json(), kinds_of(request)
        sending = sending_of(app, body, text(body, "from_client"), address=request.address)
        return await self.send_approved(request.parameters["id"], sending, *kinds)

    async def send_approved(self, cid: str, sending: Sending, *kinds: Kind) -> Response:
        """Send, if the application agrees. Raises `HttpError`."""
        app = sending.app
        hooks = self.gateway.apps[app.id].hooks
        if hooks is not None:
            asked = sending
            to = await self.read(app, lambda tx: rules.receivers_of(tx, cid, asked, *kinds))
            about = IncomingMessage(
                sender=sending.sender,
                conversation_id=cid,
                receivers=to.names,
                body=sending.body,
                timestamp=to.at,
                transient=sending.transient,
                address=sending.address,
            )
            changed = await approved(hooks.approve(about))
            allowed = to.names if changed.receivers is None else changed.receivers
            sending = attrs.evolve(
                sending, body=_text_of(changed, sending.body), allowed=frozenset(allowed)
            )
        return json_response(await self.write(app, lambda tx: rules.send(tx, cid, sending, *kinds)))

    async def edit(self, request: Request) -> Response:
        return await self._patch(request, message_of)

    async def recall(self, request: Request) -> Response:
        return await self._patch(request, lambda _: None)

    async def _patch(
        self, request: Request, new: Callable[[Mapping[str, Any]], str | None]
    ) -> Response:
        app, body, kinds = self.app(request), request.json(), kinds_of(request)
        cid, mid = request.parameters["id"], request.parameters["mid"]
        sender, timestamp, said = text(body, "from_client"), integer(body, "timestamp"), new(body)
        named = Named(cid, mid, sender, timestamp, receivers_in(body, "to_clients"))
        return await self.edit_approved(app, named, said, request.address, *kinds)

    async def edit_approved(
        self, app: App, named: Named, said: str | None, address: str, *kinds: Kind
    ) -> Response:
        """Edit, or with nothing said recall, if the application agrees. Raises `HttpError`."""
        hooks = self.gateway.apps[app.id].hooks
        if hooks is not None:
            to = await self.read(app, lambda tx: rules.told_of_edit(tx, named, *kinds))
            assert to.message is not None
            about = MessageUpdate(
                sender=to.message.sender,
                conversation_id=to.message.conversation_id,
                message_id=to.message.id,
                receivers=to.names,
                body=said or "",
                timestamp=to.message.timestamp,
                recall=said is None,
                service=to.message.kind is Kind.SERVICE,
                address=address,
            )
            changed = await approved(hooks.approve_update(about))
            said = None if said is None else _text_of(changed, said)
        return json_response(await self.write(app, lambda tx: rules.edit(tx, named, said, *kinds)))

    async def delete(self, request: Request) -> Response:
        app, kinds = self.app(request), kinds_of(request)
        cid, mid = request.parameters["id"], request.parameters["mid"]
        sender = text(request.query, "from_client")
        timestamp = integer(request.query, "timestamp")
        named = Named(cid, mid, sender, timestamp)
        return json_response(await self.write(app, lambda tx: rules.delete(tx, named, *kinds)))


async def approved(asking: Awaitable[Rewrite]) -> Rewrite:
    """What the application changes. Raises `HttpError` where it refuses."""
    try:
        return await asking
    except Refusal as refusal:
        raise refused(refusal) from refusal


def _text_of(changed: Rewrite, said: str) -> str:
    """The text after the application has changed it; over REST there are no bytes."""
    return changed.body if isinstance(changed.body, str) else said


def sending_of(
    app: App,
    body: Mapping[str, Any],
    sender: str,
    *,
    address: str,
    transient: bool = False,
    priority: str = "",
) -> Sending:
    """What a request wants to be sent; the defaults differ between versions of the API.

    Raises `HttpError` 400.
    """
    wanted = text(body, "priority", default=priority or "normal").lower()
    if wanted not in PRIORITIES:
        raise HttpError(400, BAD_PARAMETER, "priority is high, normal or low.")
    mentions = (
        ids(body, "mention_client_ids", most=MENTIONS) if body.get("mention_client_ids") else ()
    )
    return Sending(
        app=app,
        sender=sender,
        body=message_of(body),
        transient=flag(body, "transient", default=transient),
        no_sync=flag(body, "no_sync"),
        push_data=push_of(body, "push_data"),
        priority=PRIORITIES[wanted],
        mention_all=flag(body, "mention_all"),
        mentions=tuple(dict.fromkeys(mentions)),
        address=address,
        to=receivers_in(body, "to_clients") or receivers_in(body, "to_peers"),
    )


def receivers_in(body: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The clients to whom a service speaks alone; none where it is not said to whom.

    Raises `HttpError` 400.
    """
    given = ids(body, name, most=RECEIVERS) if body.get(name) else ()
    return tuple(dict.fromkeys(given))


def message_of(body: Mapping[str, Any]) -> str:
    """The message in a request: a text, or an object that is one. Raises `HttpError` 400."""
    message = push_of(body, "message")
    if message is None:
        raise HttpError(400, BAD_PARAMETER, "message is needed, and is a text.")
    if len(message.encode("utf-8", "replace")) > MAX_BODY:
        raise HttpError(400, 4109, f"message has more than {MAX_BODY} bytes.")
    return message


def push_of(body: Mapping[str, Any], name: str) -> str | None:
    """A text among the values, or an object that is made one. Raises `HttpError` 400."""
    value = body.get(name)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    raise HttpError(400, BAD_PARAMETER, f"{name} is a text or an object.")
