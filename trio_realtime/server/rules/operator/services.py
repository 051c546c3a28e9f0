"""Subscriptions that the operator makes, and what it says to all subscribers.

Protocol: docs/protocol/rest.md §6.
"""

from __future__ import annotations

from trio_realtime.server.rules import service
from trio_realtime.server.rules.checks import checked_ids
from trio_realtime.server.rules.members import add_clients, remove_clients
from trio_realtime.server.rules.types import App, Caller, Outcome
from trio_realtime.server.store.interface import Kind, Tx
from trio_realtime.wire import CommandType, DirectCommand, GenericCommand

from .result import Result, Told, conversation_of


def subscribe(tx: Tx, cid: str, client_id: str) -> Result:
    """Let a client subscribe; again, nothing happens."""
    row = conversation_of(tx, cid, Kind.SERVICE)
    done = add_clients(tx, row, checked_ids([client_id]), by=client_id)
    done.verdict.require_all()
    return Result({}, done.pushes)


def unsubscribe(tx: Tx, cid: str, client_id: str) -> Result:
    """End a subscription."""
    row = conversation_of(tx, cid, Kind.SERVICE)
    return Result({}, remove_clients(tx, row, checked_ids([client_id]), by=client_id).pushes)


def broadcast(tx: Tx, app: App, cid: str, sender: str, body: str, push_data: str | None) -> Result:
    """Say something to all subscribers."""
    message, pushes = service.broadcast(tx, cid, sender, body, push_data)
    command = GenericCommand(
        cmd=CommandType.DIRECT,
        direct_message=DirectCommand(cid=cid, msg=body, push_data=push_data),
    )
    told = Told(Caller(app, sender), command, Outcome(pushes=pushes))
    return Result({"msg-id": message.id, "timestamp": message.timestamp}, pushes, told=told)
