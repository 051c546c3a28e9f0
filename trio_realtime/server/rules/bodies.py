"""Bodies of messages, and messages as the commands that carry them.

Protocol: docs/protocol/messages.md §1.3, §3, §5, §7 and §8.
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from trio_realtime._values.json import load_object
from trio_realtime.server.store.interface import MessageRow, PatchRow, UnreadRow
from trio_realtime.wire import (
    CommandType,
    DirectCommand,
    GenericCommand,
    LogItem,
    OpType,
    PatchCommand,
    PatchItem,
    RcpCommand,
    UnreadTuple,
)

RECALLED = -127
"""``_lctype`` of what is left of a recalled message."""

RECALLED_BODY = '{"_lctype":-127}'


class _Typed(msgspec.Struct):
    lctype: Any = msgspec.field(name="_lctype", default=None)


_typed = msgspec.json.Decoder(_Typed).decode
_INT32 = range(-(2**31), 2**31)


def lctype_of(body: str | bytes) -> int | None:
    """The type a body declares, None for plain text, bytes and types no command can ask for."""
    # Most bodies that are not typed are told by a look; an escape may hide the key.
    if isinstance(body, bytes) or not ("_lctype" in body or "\\u" in body):
        return None
    try:
        lctype = _typed(body).lctype
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        # What is no JSON to everybody may be some to Python.
        fields = load_object(body)
        lctype = None if fields is None else fields.get("_lctype")
    # An exact type, since Python counts True and 1.0 as 1.
    return lctype if type(lctype) is int and lctype in _INT32 else None


def body_of(text: str | None, binary: bytes | None) -> str | bytes | None:
    """The one body of a message or an edit; None unless there is exactly one."""
    if text is None:
        return binary
    return text if binary is None else None


def body_size(body: str | bytes) -> int:
    """Bytes of a body on the wire."""
    return len(body) if isinstance(body, bytes) or body.isascii() else len(body.encode())


def body_json(body: str | bytes) -> tuple[str, bool]:
    """A body as text, and whether this text is base64 of a binary one."""
    if isinstance(body, bytes):
        return base64.b64encode(body).decode(), True
    return body, False


def direct_command(
    message: MessageRow, *, transient: bool = False, offline: bool = False, has_more: bool = False
) -> GenericCommand:
    """A message as its receivers get it: docs/protocol/messages.md §1.3."""
    text, binary = _halves(message.body)
    return GenericCommand(
        cmd=CommandType.DIRECT,
        direct_message=DirectCommand(
            msg=text,
            from_peer_id=message.sender,
            timestamp=message.timestamp,
            offline=offline or None,
            has_more=has_more or None,
            cid=message.conversation_id,
            id=message.id,
            transient=transient or None,
            patch_timestamp=message.patched_at,
            binary_msg=binary,
            mention_pids=list(message.mentions),
            mention_all=message.mention_all or None,
            conv_type=int(message.kind),
        ),
    )


def log_item(message: MessageRow, *, marked: bool) -> LogItem:
    """A message in a page of history; ``marked`` shows when the other member got and read it."""
    data, binary = body_json(message.body)
    return LogItem(
        from_=message.sender,
        data=data,
        timestamp=message.timestamp,
        msg_id=message.id,
        ack_at=message.ack_at if marked else None,
        read_at=message.read_at if marked else None,
        patch_timestamp=message.patched_at,
        mention_all=message.mention_all or None,
        mention_pids=list(message.mentions),
        bin=binary or None,
        conv_type=int(message.kind),
    )


def unread_tuple(row: UnreadRow) -> UnreadTuple:
    """An unread counter, with the newest message, which says up to where it counts."""
    conversation = row.conversation
    newest = row.newest
    if newest is None:
        return UnreadTuple(
            cid=conversation.told_as,
            unread=row.count,
            mentioned=row.mentioned,
            conv_type=int(conversation.kind),
        )
    text, binary = _halves(newest.body)
    return UnreadTuple(
        cid=conversation.told_as,
        unread=row.count,
        mid=newest.id,
        timestamp=newest.timestamp,
        from_=newest.sender,
        data=text,
        patch_timestamp=newest.patched_at,
        mentioned=row.mentioned,
        binary_msg=binary,
        conv_type=int(conversation.kind),
    )


def patch_command(patches: list[PatchRow]) -> GenericCommand:
    """Edits and recalls, oldest first, as they are pushed."""
    return GenericCommand(
        cmd=CommandType.PATCH,
        op=OpType.MODIFY,
        patch_message=PatchCommand(
            patches=[_patch_item(patch) for patch in patches],
            last_patch_time=patches[-1].patched_at,
        ),
    )


def _patch_item(patch: PatchRow) -> PatchItem:
    message = patch.message
    text, binary = _halves(message.body)
    return PatchItem(
        cid=message.conversation_id,
        mid=message.id,
        timestamp=message.timestamp,
        recall=message.recalled,
        data=text,
        patch_timestamp=patch.patched_at,
        from_=message.sender,
        binary_msg=binary,
        mention_all=message.mention_all or None,
        mention_pids=list(message.mentions),
        patch_code=patch.code,
        patch_reason=patch.reason,
    )


def receipt(message: MessageRow, reader: str, now: int, *, read: bool) -> GenericCommand:
    """The news for a sender that a message was received, or read: docs/protocol/messages.md §4."""
    return GenericCommand(
        cmd=CommandType.RCP,
        rcp_message=RcpCommand(
            id=message.id,
            cid=message.conversation_id,
            t=now,
            read=read or None,
            from_=reader,
        ),
    )


def _halves(body: str | bytes) -> tuple[str | None, bytes | None]:
    """A body as the pair of fields of which one is absent."""
    return (None, body) if isinstance(body, bytes) else (body, None)
