"""Subscriptions that the operator makes and ends.

Protocol: docs/protocol/rest.md §6.
"""

from __future__ import annotations

from trio_realtime.server.rules.checks import checked_ids
from trio_realtime.server.rules.members import add_clients, remove_clients
from trio_realtime.server.store.interface import Kind, Tx

from .result import Result, conversation_of


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
