"""Service conversations from the operator's side, in Python.

Clients subscribe to them and write to them; only the operator makes them and speaks in
their name. Protocol: docs/protocol/conversations.md §1, docs/protocol/rest.md §6.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import attrs
import outcome

from trio_realtime.server.bus.answer import Answer
from trio_realtime.server.gateway.commands import tell_hooks
from trio_realtime.server.gateway.gateway import Gateway
from trio_realtime.server.hooks.runner import HookRunner
from trio_realtime.server.hooks.types import IncomingMessage, Rewrite
from trio_realtime.server.rules import broadcasts
from trio_realtime.server.rules import service as rules
from trio_realtime.server.rules.broadcasts import Broadcast
from trio_realtime.server.rules.start import create_service
from trio_realtime.server.rules.types import Caller, Clients, Outcome, Push
from trio_realtime.server.store.interface import MessageRow, Tx
from trio_realtime.wire import CommandType, DirectCommand, GenericCommand


@attrs.frozen
class ServiceMessage:
    """A message that a service has sent."""

    id: str
    """Its id."""
    timestamp: int
    """Its time, milliseconds since the epoch."""


class Services:
    """The service conversations of all apps of a server."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def create(
        self, app_id: str, name: str | None, attributes: Mapping[str, Any] | None
    ) -> str:
        """Make a service conversation; returns its id. Raises `Refusal`."""
        row = await self._gateway.store.write(
            app_id, lambda tx: create_service(tx, name, attributes, "")
        )
        return row.id

    async def broadcast(
        self,
        app_id: str,
        cid: str,
        sender: str,
        body: str | bytes,
        push_data: str | None,
        address: str = "",
        to_all: Broadcast | None = None,
    ) -> ServiceMessage:
        """Say something to all subscribers, or to all clients of the app.

        The application has to agree. Raises `Refusal`.
        """
        app = self._gateway.apps[app_id]
        caller = Caller(app.app, sender, address=address)
        receivers: Collection[str] | None = None
        if app.hooks is not None:
            changed = await self._approved(app.hooks, caller, cid, body)
            body = body if changed.body is None else changed.body
            receivers = None if changed.receivers is None else frozenset(changed.receivers)
        sent: Answer[ServiceMessage] = Answer()

        def rule(tx: Tx) -> tuple[int, MessageRow, list[Push]]:
            if to_all is not None:
                said = broadcasts.send(tx, cid, sender, body, push_data, address, to_all)
                return tx.now, *said
            message, pushes = rules.broadcast(tx, cid, sender, body, push_data, address)
            return tx.now, message, [_narrowed(push, receivers) for push in pushes]

        def done(result: outcome.Outcome[tuple[int, MessageRow, list[Push]]]) -> None:
            if isinstance(result, outcome.Error):
                sent.settle(result)
                return
            at, message, pushes = result.unwrap()
            app.bus.deliver(pushes, actor=None, at=at)
            if app.hooks is not None:
                asked = DirectCommand(cid=cid, push_data=push_data)
                command = GenericCommand(cmd=CommandType.DIRECT, direct_message=asked)
                tell_hooks(app.hooks, app.bus, caller, command, Outcome(pushes=pushes))
            sent.settle(outcome.Value(ServiceMessage(message.id, message.timestamp)))

        self._gateway.store.submit(app_id, rule, done)
        return await sent

    async def _approved(
        self, hooks: HookRunner, caller: Caller, cid: str, body: str | bytes
    ) -> Rewrite:
        """What the application says of a broadcast. Nothing is asked about one that is refused."""

        def about(tx: Tx) -> IncomingMessage:
            rules.check_broadcast(tx, cid, caller.client_id, body)
            return IncomingMessage(
                sender=caller.client_id,
                conversation_id=cid,
                receivers=[],
                body=body,
                timestamp=tx.now,
                service=True,
                address=caller.address,
            )

        return await hooks.approve(await self._gateway.store.read(caller.app.id, about))

    async def messages(
        self, app_id: str, cid: str, after: str | None, limit: int
    ) -> list[tuple[str, Mapping[str, Any]]]:
        """What clients have written to a service. Raises `Refusal`."""
        return await self._gateway.store.read(
            app_id, lambda tx: rules.service_messages(tx, cid, after, limit)
        )


def _narrowed(push: Push, receivers: Collection[str] | None) -> Push:
    if receivers is None or not isinstance(push.to, Clients):
        return push
    return attrs.evolve(push, to=Clients([name for name in push.to.ids if name in receivers]))
