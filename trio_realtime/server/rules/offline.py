"""Messages missed while offline, for clients of delivery mode 1: docs/protocol/messages.md §6."""

from __future__ import annotations

from trio_realtime.server.store.interface import Membership, MessageRow, Tx
from trio_realtime.wire import GenericCommand

from .bodies import direct_command

_CONVERSATIONS = 50
_KEPT = 100
"""How far back in a conversation missed messages are looked for."""
_PUSHED = 20
_BYTES = 256 * 1024
"""What one login is sent at most, so that no receiver is overrun by its own backlog."""


def offline_pushes(tx: Tx, client_id: str, *, temporary: bool = True) -> list[GenericCommand]:
    """What the client never acknowledged: the newest of each of the liveliest conversations.

    They are pushed again at every login until they are acknowledged, and so are conversations
    for which there was no room; older messages are left to the history.
    ``temporary`` tells whether the session knows temporary conversations.
    """
    pushes: list[GenericCommand] = []
    size = 0
    for membership in tx.awaiting(client_id, temporary=temporary, limit=_CONVERSATIONS):
        missed, more = _missed(tx, membership, client_id)
        if not missed:
            continue
        pushes += [direct_command(message, offline=True, has_more=more) for message in missed]
        size += sum(len(message.body) for message in missed)
        if size >= _BYTES:
            break
    return pushes


def _missed(tx: Tx, membership: Membership, client_id: str) -> tuple[list[MessageRow], bool]:
    """The newest messages others sent after what the client has received, and if there are more."""
    recent = tx.history(
        membership.conversation.id, end=(membership.received, None), limit=_KEPT + 1
    )
    others = [message for message in recent if message.sender != client_id]
    return others[-_PUSHED:], len(others) > _PUSHED or len(recent) > _KEPT
