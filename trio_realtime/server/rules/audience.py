"""Who may speak in a conversation, and who hears it.

Protocol: docs/protocol/conversations.md §1, §7 and §8.
"""

from __future__ import annotations

from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.store.interface import ConversationRow, Kind, Listing, Tx

from .checks import refuse, refuse_blocked
from .types import Caller, Clients, Feature, Room


def audience_of(tx: Tx, caller: Caller, conversation: ConversationRow) -> Clients | Room | None:
    """Who gets what the caller sends here; None is the service itself.

    Refuses strangers (4401), the blocked (4548) and the silenced (4563, 4315).
    """
    audience: Clients | Room | None
    sender, cid = caller.client_id, conversation.id
    if conversation.kind is Kind.NORMAL or conversation.kind is Kind.TEMPORARY:
        members = tx.members(cid)
        # Blocking ends a membership, so that only strangers can be blocked.
        if sender not in members:
            refuse_blocked(tx, conversation, sender)
            refuse(ErrorCode.INVALID_MESSAGING_TARGET)
        audience = Clients(members)
    else:
        refuse_blocked(tx, conversation, sender)
        audience = Room(cid) if conversation.kind is Kind.ROOM else None
    if tx.which_listed(Listing.SILENCED, cid, [sender]):
        if tx.temporarily_silenced(cid, sender):
            refuse(ErrorCode.CONVERSATION_TEMPORARY_BLACKLISTED)
        refuse(ErrorCode.SILIENCED)
    return audience


def needs(kind: Kind) -> Feature:
    """What a session must have declared to get traffic of such a conversation."""
    return Feature.TEMPORARY_CONVERSATIONS if kind is Kind.TEMPORARY else Feature(0)
