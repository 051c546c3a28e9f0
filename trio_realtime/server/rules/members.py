"""Joining, inviting, leaving, removing. Protocol: docs/protocol/conversations.md §5.1.

`add_clients` and `remove_clients` change the members of a conversation and say what to tell whom; who
may ask for that is decided by the rules `add` and `remove` above them.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.store.interface import ConversationRow, Kind, Listing, Tx
from trio_realtime.wire import CommandType, ConvCommand, GenericCommand, OpType

from .checks import (
    MAX_MEMBERS,
    MemberRole,
    Verdict,
    check_signature,
    checked_ids,
    conv_of,
    existing,
    owner_of,
    refuse,
    require_kind,
    require_member,
)
from .client_blocks import blockers
from .json import iso
from .notifications import Notices
from .start import refresh_unique_id
from .types import Caller, EnterRoom, LeaveRoom, Outcome, Push


@attrs.frozen
class Change:
    """What became of a request to change the members."""

    verdict: Verdict
    pushes: Sequence[Push] = ()
    at: int = 0
    """When the conversation last changed, in milliseconds."""


def add(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``add``: join, invite, enter a chat room, subscribe to a service."""
    message = conv_of(command)
    row = existing(tx, message.cid)
    if row.kind is Kind.TEMPORARY:
        refuse(ErrorCode.CONVERSATION_READ_ONLY)
    ids = checked_ids(message.m)
    check_signature(tx, caller, message, row.id, "invite")
    if ids != [caller.client_id]:
        require_kind(row, Kind.NORMAL)
        require_member(tx, caller, row)
    change = add_clients(tx, row, ids, by=caller.client_id)
    reply = _reply(OpType.ADDED, row, change, caller)
    if row.kind is not Kind.ROOM or not change.verdict.allowed:
        return Outcome(reply, change.pushes)
    return Outcome(reply, presence=EnterRoom(row.id))


def remove(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``remove``: quit, kick, leave a chat room, unsubscribe from a service."""
    message = conv_of(command)
    row = existing(tx, message.cid)
    if row.kind is Kind.TEMPORARY:
        refuse(ErrorCode.CONVERSATION_READ_ONLY)
    ids = checked_ids(message.m)
    if ids != [caller.client_id]:
        check_signature(tx, caller, message, row.id, "kick")
        require_kind(row, Kind.NORMAL)
        if require_member(tx, caller, row) is MemberRole.MEMBER:
            refuse(ErrorCode.CONVERSATION_OPERATION_UNAUTHORIZED)
    change = remove_clients(tx, row, ids, by=caller.client_id)
    reply = _reply(OpType.REMOVED, row, change, caller)
    if row.kind is not Kind.ROOM:
        return Outcome(reply, change.pushes)
    return Outcome(reply, presence=LeaveRoom(row.id))


def add_clients(tx: Tx, row: ConversationRow, ids: Sequence[str], *, by: str) -> Change:
    """Make these clients members, as far as they may be. Chat rooms keep none."""
    members = tx.members(row.id) if row.kind is Kind.NORMAL else []
    present = set(members)
    if row.kind is Kind.SERVICE:  # which may have very many subscribers
        present = {client_id for client_id in ids if tx.is_member(row.id, client_id)}
    new = [client_id for client_id in ids if client_id not in present]
    verdict = Verdict(list(ids))
    verdict.fail(tx.which_listed(Listing.BLOCKED, row.id, new), ErrorCode.BLOCKED_BY_CONV)
    verdict.fail(
        blockers(tx, row.id, new),
        ErrorCode.BLOCKED_BY_CONV,
        "the client has blocked this conversation",
    )
    new = [client_id for client_id in verdict.allowed if client_id not in present]
    if row.kind is Kind.NORMAL:
        vacant = max(0, MAX_MEMBERS - len(members))
        verdict.fail(set(new[vacant:]), ErrorCode.CONVERSATION_FULL)
        new = new[:vacant]
    if row.kind is Kind.ROOM or not new:
        return Change(verdict, at=row.updated_at)
    tx.add_members(row.id, new)
    refresh_unique_id(tx, row)
    notices = Notices(tx, row, by)
    notices.personal(OpType.JOINED, new)
    if row.kind is Kind.NORMAL:
        notices.shared(OpType.MEMBERS_JOINED, [*members, *new], new)
    return Change(verdict, notices.pushes, tx.now)


def remove_clients(tx: Tx, row: ConversationRow, ids: Sequence[str], *, by: str) -> Change:
    """End the membership of these clients. The owner stays where roles are in use."""
    verdict = Verdict(list(ids))
    owner = owner_of(tx, row)
    if owner is not None and tx.member_infos(row.id, limit=1):
        # Where no role was ever given, creators come and go like everybody else.
        verdict.fail({owner}, ErrorCode.CONVERSATION_NEED_OWNER)
    removed = end_membership(tx, row, verdict.allowed)
    if not removed:
        return Change(verdict, at=row.updated_at)
    notices = Notices(tx, row, by)
    notices.personal(OpType.LEFT, removed)
    if row.kind is Kind.NORMAL:
        notices.shared(OpType.MEMBERS_LEFT, tx.members(row.id), removed)
    return Change(verdict, notices.pushes, tx.now)


def end_membership(tx: Tx, row: ConversationRow, ids: Sequence[str]) -> list[str]:
    """Remove those who are members, with what they had as such; returns them."""
    removed = tx.remove_members(row.id, ids)
    if removed:
        refresh_unique_id(tx, row)
    return removed


def _reply(op: OpType, row: ConversationRow, change: Change, caller: Caller) -> GenericCommand:
    return GenericCommand(
        cmd=CommandType.CONV,
        op=op,
        conv_message=ConvCommand(
            cid=row.id,
            allowed_pids=change.verdict.allowed,
            failed_pids=change.verdict.failed_pids(caller),
            udate=iso(change.at),
        ),
    )
