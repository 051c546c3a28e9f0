"""Messages as they arrive in deliveries, histories, edits and unread counts."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from trio_realtime._values.messages import BaseMessage, MessageStatus
from trio_realtime._values.registry import MessageRegistry
from trio_realtime.wire import DirectCommand, LogItem, PatchItem, UnreadTuple


def envelope(
    mid: str | None,
    cid: str,
    sender: str | None,
    timestamp: int | None,
    patched: int | None = None,
    mention_pids: Sequence[str] = (),
    mention_all: bool | None = None,
    client_id: str | None = None,
) -> dict[str, Any]:
    """The fields of `BaseMessage` that a command says something about."""
    fields: dict[str, Any] = {
        "id": mid or "",
        "conversation_id": cid,
        "sender": sender or "",
        "timestamp_ms": timestamp or 0,
        "status": MessageStatus.SENT,
    }
    if patched:
        fields["updated_at_ms"] = patched
    if mention_pids or mention_all:
        fields["mentions"] = tuple(mention_pids)
        fields["mention_all"] = bool(mention_all)
        fields["mentioned"] = sender != client_id and (
            bool(mention_all) or client_id in mention_pids
        )
    return fields


def message_from_direct(
    direct: DirectCommand, registry: MessageRegistry, client_id: str
) -> BaseMessage:
    """A message just delivered to this client. Protocol: docs/protocol/messages.md §1.3."""
    fields = envelope(
        direct.id,
        direct.cid or "",
        direct.from_peer_id,
        direct.timestamp,
        direct.patch_timestamp,
        direct.mention_pids,
        direct.mention_all,
        client_id,
    )
    if direct.transient:
        fields["transient"] = True
    binary = direct.binary_msg
    return registry.parse((direct.msg or "") if binary is None else binary, fields)


def message_from_log_item(
    item: LogItem, cid: str, registry: MessageRegistry, client_id: str
) -> BaseMessage:
    """A message of a conversation's history. Protocol: docs/protocol/messages.md §7."""
    fields = envelope(
        item.msg_id,
        cid,
        item.from_,
        item.timestamp,
        item.patch_timestamp,
        item.mention_pids,
        item.mention_all,
        client_id,
    )
    if item.ack_at or item.read_at:
        fields["status"] = MessageStatus.DELIVERED
        fields["delivered_at_ms"] = item.ack_at or None
        fields["read_at_ms"] = item.read_at or None
    return registry.parse(decoded(item.data or "", binary=bool(item.bin)), fields)


def message_from_patch_item(
    item: PatchItem, registry: MessageRegistry, client_id: str
) -> BaseMessage:
    """A message after an edit or recall. Protocol: docs/protocol/messages.md §8."""
    fields = envelope(
        item.mid,
        item.cid or "",
        item.from_,
        item.timestamp,
        item.patch_timestamp,
        item.mention_pids,
        item.mention_all,
        client_id,
    )
    binary = item.binary_msg
    body: str | bytes = (item.data or "") if binary is None else binary
    if item.recall and not body:
        body = '{"_lctype":-127}'
    return registry.parse(body, fields)


def message_from_unread_tuple(
    unread: UnreadTuple, registry: MessageRegistry, client_id: str
) -> BaseMessage | None:
    """The newest message of a conversation with unread ones, if it is given.

    Protocol: docs/protocol/messages.md §5.
    """
    body = unread.data if unread.binary_msg is None else unread.binary_msg
    if not unread.mid or body is None:
        return None
    fields = envelope(
        unread.mid,
        unread.cid or "",
        unread.from_,
        unread.timestamp,
        unread.patch_timestamp,
        client_id=client_id,
    )
    return registry.parse(body, fields)


def decoded(data: str, *, binary: bool) -> str | bytes:
    """A body from JSON or history, where bytes are written in base64.

    What is no base64 stays the text it is.
    """
    if not binary:
        return data
    try:
        return base64.b64decode(data)
    except (binascii.Error, ValueError):
        return data
