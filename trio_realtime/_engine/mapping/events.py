"""Pushes to events.

Protocol: docs/protocol/conversations.md §9, docs/protocol/messages.md §4, §5, §8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from trio_realtime._values.conversations import MemberInfo
from trio_realtime._values.errors import ErrorCode
from trio_realtime._values.events import (
    Blocked,
    ConversationUpdated,
    Event,
    Invited,
    Kicked,
    MemberInfoUpdated,
    MembersBlocked,
    MembersEvent,
    MembershipEvent,
    MembersJoined,
    MembersLeft,
    MembersMuted,
    MembersUnblocked,
    MembersUnmuted,
    MessageDelivered,
    MessageRead,
    MessageRecalled,
    MessageUpdated,
    Muted,
    PatchReason,
    Unblocked,
    Unmuted,
    UnreadUpdated,
)
from trio_realtime._values.json import EMPTY, decode_date, dump, freeze_dates, load_object
from trio_realtime._values.registry import MessageRegistry
from trio_realtime._values.times import optional_datetime
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    ConvMemberInfo,
    GenericCommand,
    JsonObjectMessage,
    OpType,
    PatchItem,
    RcpCommand,
)

from .conversations import conversation_kind, role_of
from .messages import message_from_patch_item, message_from_unread_tuple

TO_ME: Mapping[int, type[MembershipEvent]] = {
    OpType.JOINED: Invited,
    OpType.LEFT: Kicked,
    OpType.BLOCKED: Blocked,
    OpType.UNBLOCKED: Unblocked,
    OpType.SHUTUPED: Muted,
    OpType.UNSHUTUPED: Unmuted,
}
"""What is done to this client."""

TO_MEMBERS: Mapping[int, type[MembersEvent]] = {
    OpType.MEMBERS_JOINED: MembersJoined,
    OpType.MEMBERS_LEFT: MembersLeft,
    OpType.MEMBERS_BLOCKED: MembersBlocked,
    OpType.MEMBERS_UNBLOCKED: MembersUnblocked,
    OpType.MEMBERS_SHUTUPED: MembersMuted,
    OpType.MEMBERS_UNSHUTUPED: MembersUnmuted,
}
"""What is done to members."""


def events_from_command(
    command: GenericCommand, registry: MessageRegistry, client_id: str
) -> Iterable[Event]:
    """The events that a push stands for: none for pushes that are unknown or incomplete."""
    translate = _BY_COMMAND.get(command.cmd or 0)
    return () if translate is None else translate(command, registry, client_id)


def _conversation(
    command: GenericCommand, _registry: MessageRegistry, _client_id: str
) -> Iterable[Event]:
    conv = command.conv_message
    if conv is None or not conv.cid:
        return
    at = _time(conv, command)
    by = conv.init_by or ""
    op = command.op or 0
    if op in TO_ME:
        yield TO_ME[op](conv.cid, by, at=at)
    elif op in TO_MEMBERS:
        yield TO_MEMBERS[op](conv.cid, by, tuple(conv.m), at=at)
    elif op == OpType.UPDATED:
        attributes = _object(conv.attr)
        yield ConversationUpdated(
            conv.cid,
            by,
            EMPTY if attributes is None else attributes,
            _object(conv.attr_modified),
            at=at,
        )
    elif op == OpType.MEMBER_INFO_CHANGED and conv.info is not None and conv.info.pid:
        info = MemberInfo(conv.cid, conv.info.pid, role_of(conv.info.role))
        yield MemberInfoUpdated(conv.cid, by, info, at=at)


def _time(conv: ConvCommand, command: GenericCommand) -> datetime | None:
    return decode_date(conv.udate) or optional_datetime(command.server_ts or None)


def _object(text: JsonObjectMessage | None) -> Mapping[str, Any] | None:
    value = None if text is None else load_object(text.data or "")
    try:
        return None if value is None else freeze_dates(value)
    except (RecursionError, ValueError):
        return None


def _patches(command: GenericCommand, registry: MessageRegistry, client_id: str) -> Iterable[Event]:
    if command.op != OpType.MODIFY or command.patch_message is None:
        return
    for item in command.patch_message.patches:
        if item.cid and item.mid:
            message = message_from_patch_item(item, registry, client_id)
            change = MessageRecalled if item.recall else MessageUpdated
            reason = _reason(item)
            own = reason is None and message.sender == client_id
            yield change(item.cid, message, reason, own=own)


def _reason(item: PatchItem) -> PatchReason | None:
    if not item.patch_code:
        return None
    return PatchReason(ErrorCode.of(item.patch_code), item.patch_reason)


def _receipt(
    command: GenericCommand, _registry: MessageRegistry, _client_id: str
) -> Iterable[Event]:
    rcp = command.rcp_message
    if rcp is not None and rcp.cid and rcp.id:
        kind = MessageRead if rcp.read else MessageDelivered
        yield kind(rcp.cid, rcp.id, rcp.from_, at=optional_datetime(rcp.t or None))


def _unread(command: GenericCommand, registry: MessageRegistry, client_id: str) -> Iterable[Event]:
    notification = command.unread_message
    if notification is None:
        return
    at = optional_datetime(notification.notif_time or None)
    for unread in notification.convs:
        if unread.cid:
            yield UnreadUpdated(
                unread.cid,
                unread.unread or 0,
                bool(unread.mentioned),
                message_from_unread_tuple(unread, registry, client_id),
                conversation_kind(unread.conv_type),
                at=at,
            )


Translate = Callable[[GenericCommand, MessageRegistry, str], Iterable[Event]]

_BY_COMMAND: Mapping[int, Translate] = {
    CommandType.CONV: _conversation,
    CommandType.PATCH: _patches,
    CommandType.RCP: _receipt,
    CommandType.UNREAD: _unread,
}


def events_from_notification(
    item: Mapping[str, Any], registry: MessageRegistry, client_id: str
) -> Iterable[Event]:
    """The events of a notification replayed by the REST API. Protocol: docs/protocol/session.md §7.

    An item that is unknown or malformed stands for none.
    """
    command = command_from_notification(item)
    return () if command is None else events_from_command(command, registry, client_id)


def command_from_notification(item: Mapping[str, Any]) -> GenericCommand | None:
    """The push that a replayed notification repeats, or None if it repeats none."""
    server_ts = _integer(item.get("serverTs"))
    if item.get("cmd") == "rcp":
        return GenericCommand(
            cmd=CommandType.RCP,
            server_ts=server_ts,
            rcp_message=RcpCommand(
                id=_text(item.get("id")),
                cid=_text(item.get("cid")),
                t=_integer(item.get("t")),
                read=item.get("read") is True,
                from_=_text(item.get("from")),
            ),
        )
    op = OpType.__members__.get(str(item.get("op")).replace("-", "_").upper())
    if item.get("cmd") != "conv" or op is None:
        return None
    members, info = item.get("m"), item.get("info")
    return GenericCommand(
        cmd=CommandType.CONV,
        op=op,
        server_ts=server_ts,
        notification_type=_integer(item.get("notificationType")),
        conv_message=ConvCommand(
            cid=_text(item.get("cid")),
            init_by=_text(item.get("initBy")),
            udate=_text(item.get("udate")),
            m=[one for one in members if isinstance(one, str)] if isinstance(members, list) else [],
            info=ConvMemberInfo(pid=_text(info.get("pid")), role=_text(info.get("role")))
            if isinstance(info, Mapping)
            else None,
            attr=_json_object(item.get("attr")),
            attr_modified=_json_object(item.get("attrModified")),
        ),
    )


def _json_object(value: Any) -> JsonObjectMessage | None:
    if not isinstance(value, Mapping):
        return None
    try:
        return JsonObjectMessage(data=dump(value))
    except (ValueError, RecursionError):
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
