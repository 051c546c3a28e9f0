"""Silencing members ("shutup"). Protocol: docs/protocol/conversations.md §7."""

from __future__ import annotations

from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.store.interface import ConversationRow, Kind, Listing, Tx
from trio_realtime.wire import CommandType, ConvCommand, GenericCommand, OpType

from .checks import (
    Verdict,
    checked_ids,
    conv_of,
    existing,
    listed_page,
    owner_of,
    refuse,
    require_authority,
    require_kind,
    require_member,
    vacancy,
)
from .json import iso
from .notifications import Notices
from .types import Caller, Outcome


def add_shutup(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``add_shutup``: forbid members to send."""
    message = conv_of(command)
    row = _moderated(tx, caller, message.cid)
    ids = checked_ids(message.m)
    verdict = Verdict(ids)
    verdict.fail({owner_of(tx, row) or ""}, ErrorCode.CONVERSATION_OPERATION_UNAUTHORIZED)
    if row.kind is Kind.NORMAL:
        present = set(tx.members(row.id))
        verdict.fail(set(ids) - present, ErrorCode.CONVERSATION_MEMBERSHIP_REQUIRED)
    silenced = tx.which_listed(Listing.SILENCED, row.id, verdict.allowed)
    new = [client_id for client_id in verdict.allowed if client_id not in silenced]
    surplus = set(new[vacancy(tx, Listing.SILENCED, row) :])
    verdict.fail(surplus, ErrorCode.SILIENCED_MEMBER_LIST_FULL)
    new = [client_id for client_id in new if client_id not in surplus]
    # Also those silenced for a while: from now on they are for good.
    tx.add_listed(Listing.SILENCED, row.id, verdict.allowed)
    notices = Notices(tx, row, caller.client_id)
    notices.personal(OpType.SHUTUPED, new)
    notices.shared(OpType.MEMBERS_SHUTUPED, tx.members(row.id), new)
    return Outcome(_reply(tx, caller, OpType.SHUTUP_ADDED, row, verdict), notices.pushes)


def remove_shutup(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``remove_shutup``: let them send again."""
    message = conv_of(command)
    row = _moderated(tx, caller, message.cid)
    verdict = Verdict(checked_ids(message.m))
    silenced = tx.which_listed(Listing.SILENCED, row.id, verdict.allowed)
    if caller.client_id in silenced:
        refuse(ErrorCode.CONVERSATION_OPERATION_UNAUTHORIZED, "nobody lifts their own silence")
    freed = [client_id for client_id in verdict.allowed if client_id in silenced]
    tx.remove_listed(Listing.SILENCED, row.id, freed)
    notices = Notices(tx, row, caller.client_id)
    notices.personal(OpType.UNSHUTUPED, freed)
    notices.shared(OpType.MEMBERS_UNSHUTUPED, tx.members(row.id), freed)
    return Outcome(_reply(tx, caller, OpType.SHUTUP_REMOVED, row, verdict), notices.pushes)


def query_shutup(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``query_shutup``: a page of the list."""
    message = conv_of(command)
    row = _visible(tx, caller, message.cid)
    ids, cursor = listed_page(tx, Listing.SILENCED, row, message.limit, message.next)
    answer = ConvCommand(cid=row.id, m=ids, next=cursor)
    return Outcome(_answer(OpType.SHUTUP_RESULT, answer))


def check_shutup(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``check_shutup``: which of these members may not send."""
    message = conv_of(command)
    row = _visible(tx, caller, message.cid)
    ids = checked_ids(message.m)
    silenced = tx.which_listed(Listing.SILENCED, row.id, ids)
    answer = ConvCommand(cid=row.id, m=[i for i in ids if i in silenced])
    return Outcome(_answer(OpType.CHECK_RESULT, answer))


def _moderated(tx: Tx, caller: Caller, cid: str | None) -> ConversationRow:
    row = existing(tx, cid)
    require_kind(row, Kind.NORMAL, Kind.ROOM)
    require_authority(tx, caller, row)
    return row


def _visible(tx: Tx, caller: Caller, cid: str | None) -> ConversationRow:
    row = existing(tx, cid)
    require_kind(row, Kind.NORMAL, Kind.ROOM)
    require_member(tx, caller, row)
    return row


def _reply(
    tx: Tx, caller: Caller, op: OpType, row: ConversationRow, verdict: Verdict
) -> GenericCommand:
    return _answer(
        op,
        ConvCommand(
            cid=row.id,
            allowed_pids=verdict.allowed,
            failed_pids=verdict.failed_pids(caller),
            udate=iso(tx.now),
        ),
    )


def _answer(op: OpType, message: ConvCommand) -> GenericCommand:
    return GenericCommand(cmd=CommandType.CONV, op=op, conv_message=message)
