"""Roles of members. Protocol: docs/protocol/conversations.md §6."""

from __future__ import annotations

from typing import Any

from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.store.interface import Kind, Tx
from trio_realtime.wire import CommandType, ConvCommand, ConvMemberInfo, GenericCommand, OpType

from .checks import (
    MemberRole,
    checked_ids,
    conv_of,
    existing,
    owner_of,
    refuse,
    require_authority,
    require_kind,
)
from .json import iso
from .notifications import Notices
from .types import Caller, Outcome


def member_info_update(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``member_info_update``: owner and managers make members managers, and back."""
    message = conv_of(command)
    row = existing(tx, message.cid)
    require_kind(row, Kind.NORMAL, Kind.ROOM)
    require_authority(tx, caller, row)
    info = ConvMemberInfo() if message.info is None else message.info
    target = message.target_client_id or info.pid
    if not target or (row.kind is Kind.NORMAL and not tx.is_member(row.id, target)):
        refuse(ErrorCode.CONVERSATION_MEMBERSHIP_REQUIRED)
    checked_ids([target])
    if info.role not in set(MemberRole):
        refuse(ErrorCode.UNKNOWN_CONVERSATION_ROLE)
    role = MemberRole(info.role)
    if target == owner_of(tx, row) and role is not MemberRole.OWNER:
        refuse(ErrorCode.CONVERSATION_NEED_OWNER)
    if role is MemberRole.OWNER:
        refuse(ErrorCode.CONVERSATION_OPERATION_UNAUTHORIZED, "the owner cannot be changed")
    stored = tx.set_role(row.id, target, role.value)

    def facts() -> ConvMemberInfo:
        return ConvMemberInfo(pid=target, role=role.value, info_id=stored.id)

    notices = Notices(tx, row, caller.client_id)
    members = tx.members(row.id)
    notices.to_members(OpType.MEMBER_INFO_CHANGED, members, notices.message(info=facts()))
    reply = GenericCommand(
        cmd=CommandType.CONV,
        op=OpType.MEMBER_INFO_UPDATED,
        conv_message=ConvCommand(cid=row.id, info=facts(), udate=iso(tx.now)),
    )
    return Outcome(reply, notices.pushes)


def member_infos_json(tx: Tx, cid: str, limit: int = 100, skip: int = 0) -> list[dict[str, Any]]:
    """The rows of ``_ConversationMemberInfo``: members whose role was ever changed."""
    return [
        {
            "objectId": row.id,
            "cid": row.conversation_id,
            "clientId": row.client_id,
            "role": row.role,
        }
        for row in tx.member_infos(cid, limit=max(0, min(limit, 1000)), skip=max(0, skip))
    ]
