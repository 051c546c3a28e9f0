"""What a service says to its subscribers, and what they said to it.

Protocol: docs/protocol/conversations.md §1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trio_realtime._values.errors import ErrorCode
from trio_realtime._values.texts import is_unicode
from trio_realtime.server.store.interface import ConversationRow, Kind, MessageRow, NewMessage, Tx

from .bodies import direct_command, lctype_of
from .checks import checked_ids, refuse
from .direct import SERVICE_MESSAGES
from .types import Clients, Push


def service(tx: Tx, cid: str) -> ConversationRow:
    """The service conversation with this id. Refuses others (4303, 4313)."""
    conversation = tx.conversation(cid)
    if conversation is None:
        refuse(ErrorCode.CONVERSATION_NOT_FOUND)
    if conversation.kind is not Kind.SERVICE:
        refuse(ErrorCode.SYSTEM_CONVERSATION_REQUIRED)
    return conversation


def check_broadcast(tx: Tx, cid: str, sender: str, body: str | bytes) -> None:
    """Refuse what no client could have sent: a sender that is no client id (4301), a text that is no
    Unicode (4114); and what is no service (4303, 4313).
    """
    service(tx, cid)
    checked_ids([sender])
    if isinstance(body, str) and not is_unicode(body):
        refuse(ErrorCode.UNPARSEABLE_RAW_MESSAGE, "the text is not Unicode")


def broadcast(
    tx: Tx,
    cid: str,
    sender: str,
    body: str | bytes,
    push_data: str | None = None,
    address: str = "",
) -> tuple[MessageRow, list[Push]]:
    """Store a message of the service, for the history of all subscribers, and push it.

    Refuses as `check_broadcast` does.
    """
    check_broadcast(tx, cid, sender, body)
    message, _new = tx.append(
        cid,
        NewMessage(
            sender,
            body,
            push_data=push_data,
            lctype=lctype_of(body),
            address=address or None,
        ),
    )
    push = Push(
        Clients(tx.members(cid)),
        direct_command(message),
        conversation_id=cid,
        place=message.timestamp,
    )
    return message, [push]


def service_messages(
    tx: Tx, cid: str, after: str | None, limit: int
) -> list[tuple[str, Mapping[str, Any]]]:
    """What clients have sent to the service, as rows of ``_SysMessage``, with their keys."""
    service(tx, cid)
    return tx.documents(SERVICE_MESSAGES, prefix=f"{cid}/", after=after, limit=limit)
