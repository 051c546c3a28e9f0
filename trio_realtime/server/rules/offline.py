"""Messages missed while offline, for clients of delivery mode 1: docs/protocol/messages.md §6."""

from __future__ import annotations

from trio_realtime.server.store.interface import ConversationRow, Kind, MessageRow, Tx
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
    for which there was no room; older messages are left to the history. ``temporary`` tells whether the session knows temporary conversations.
    """
    conversations: list[ConversationRow] = []
    for cid in tx.conversations_of(client_id):
        conversation = tx.conversation(cid)
        if conversation is not None and (temporary or conversation.kind is not Kind.TEMPORARY):
            conversations.append(conversation)
    conversations.sort(key=lambda row: row.last_message_at or row.updated_at, reverse=True)
    pushes: list[GenericCommand] = []
    served = size = 0
    for conversation in conversations:
        missed, more = _missed(tx, conversation, client_id)
        if not missed:
            continue
        pushes += [direct_command(message, offline=True, has_more=more) for message in missed]
        served += 1
        size += sum(len(message.body) for message in missed)
        if served == _CONVERSATIONS or size >= _BYTES:
            break
    return pushes


def _missed(tx: Tx, conversation: ConversationRow, client_id: str) -> tuple[list[MessageRow], bool]:
    """The newest messages others sent after what the client has received, and if there are more."""
    cid = conversation.id
    (marks,) = tx.marks(cid, [client_id])
    # A mark can lie before the client joined: one may read what is older.
    # What was sent in the very millisecond of joining counts as sent afterwards.
    since = max(marks.acked or 0, (tx.joined_at(cid, client_id) or 1) - 1)
    if conversation.last_message_at is not None and conversation.last_message_at <= since:
        return [], False
    recent = tx.history(cid, end=(since, None), limit=_KEPT + 1)
    others = [message for message in recent if message.sender != client_id]
    return others[-_PUSHED:], len(others) > _PUSHED or len(recent) > _KEPT
