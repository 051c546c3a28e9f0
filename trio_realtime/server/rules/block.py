"""Block lists, in both directions. Protocol: docs/protocol/conversations.md §8.

A conversation blocks clients: they are removed, and cannot come back. A client blocks
conversations: it leaves them, and cannot be brought back.
"""

from __future__ import annotations

from collections.abc import Sequence

from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.store.interface import ConversationRow, Kind, Listing, Tx
from trio_realtime.wire import BlacklistCommand, CommandType, GenericCommand, OpType

from . import signatures as _signatures
from .checks import (
    Verdict,
    checked_ids,
    existing,
    listed_page,
    owner_of,
    page_size,
    refuse,
    require_authority,
    require_kind,
    require_member,
    vacancy,
)
from .client_blocks import (
    block_conversation,
    blocked_among,
    blocked_page,
    unblock_conversation,
)
from .members import Change, end_membership, remove_clients
from .notifications import Notices
from .types import Caller, Evict, Outcome, Push

_LISTABLE = (Kind.NORMAL, Kind.ROOM, Kind.SERVICE)


def block(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``block``: put clients (or conversations) on the list."""
    message = _list_of(command)
    if _own_list(caller, message):
        return _block_conversations(tx, caller, message)
    row = _moderated(tx, caller, message)
    ids = checked_ids(message.to_pids)
    _check_signature(tx, caller, message, row.id, "conversation-block-clients")
    change = block_clients(tx, row, ids, by=caller.client_id)
    evict = Evict([row.id], change.verdict.allowed) if row.kind is Kind.ROOM else None
    reply = _changed(caller, OpType.BLOCKED, row, change.verdict)
    return Outcome(reply, change.pushes, evict)


def unblock(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``unblock``: take them off it."""
    message = _list_of(command)
    if _own_list(caller, message):
        return _unblock_conversations(tx, caller, message)
    row = _moderated(tx, caller, message)
    ids = checked_ids(message.to_pids)
    _check_signature(tx, caller, message, row.id, "conversation-unblock-clients")
    change = unblock_clients(tx, row, ids, by=caller.client_id)
    return Outcome(_changed(caller, OpType.UNBLOCKED, row, change.verdict), change.pushes)


def query_blocked(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``query``: a page of the list."""
    message = _list_of(command)
    if _own_list(caller, message):
        cids, cursor = blocked_page(
            tx, caller.client_id, limit=page_size(message.limit), after=message.next or None
        )
        answer = BlacklistCommand(src_pid=caller.client_id, blocked_cids=cids, next=cursor)
    else:
        row = _visible(tx, caller, message)
        ids, cursor = listed_page(tx, Listing.BLOCKED, row, message.limit, message.next)
        answer = BlacklistCommand(src_cid=row.id, blocked_pids=ids, next=cursor)
    return _answer(OpType.QUERY_RESULT, answer)


def check_block(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``check_block``: which of these are on the list."""
    message = _list_of(command)
    if _own_list(caller, message):
        cids = blocked_among(tx, caller.client_id, message.to_cids)
        answer = BlacklistCommand(src_pid=caller.client_id, blocked_cids=cids)
    else:
        row = _visible(tx, caller, message)
        ids = checked_ids(message.to_pids)
        blocked = tx.which_listed(Listing.BLOCKED, row.id, ids)
        answer = BlacklistCommand(src_cid=row.id, blocked_pids=[i for i in ids if i in blocked])
    return _answer(OpType.CHECK_RESULT, answer)


# A conversation blocks clients.


def block_clients(tx: Tx, row: ConversationRow, ids: Sequence[str], *, by: str) -> Change:
    """Block clients and end their membership; the owner cannot be blocked."""
    verdict = Verdict(list(ids))
    verdict.fail({owner_of(tx, row) or ""}, ErrorCode.CONVERSATION_NEED_OWNER)
    known = tx.which_listed(Listing.BLOCKED, row.id, verdict.allowed)
    new = [client_id for client_id in verdict.allowed if client_id not in known]
    surplus = set(new[vacancy(tx, Listing.BLOCKED, row) :])
    verdict.fail(surplus, ErrorCode.BLACKLIST_FULL)
    new = [client_id for client_id in new if client_id not in surplus]
    tx.add_listed(Listing.BLOCKED, row.id, verdict.allowed)
    removed = [] if row.kind is Kind.ROOM else end_membership(tx, row, verdict.allowed)
    notices = Notices(tx, row, by)
    notices.personal(OpType.BLOCKED, new)
    notices.personal(OpType.LEFT, removed)
    if row.kind is not Kind.SERVICE:
        remaining = tx.members(row.id)
        notices.shared(OpType.MEMBERS_BLOCKED, remaining, new)
        notices.shared(OpType.MEMBERS_LEFT, remaining, removed)
    return Change(verdict, notices.pushes, tx.now)


def unblock_clients(tx: Tx, row: ConversationRow, ids: Sequence[str], *, by: str) -> Change:
    """Take clients off the list; they do not become members again."""
    listed = tx.which_listed(Listing.BLOCKED, row.id, ids)
    freed = [client_id for client_id in ids if client_id in listed]
    tx.remove_listed(Listing.BLOCKED, row.id, freed)
    notices = Notices(tx, row, by)
    notices.personal(OpType.UNBLOCKED, freed)
    if row.kind is not Kind.SERVICE:
        notices.shared(OpType.MEMBERS_UNBLOCKED, tx.members(row.id), freed)
    return Change(Verdict(list(ids)), notices.pushes, tx.now)


# A client blocks conversations.


def _block_conversations(tx: Tx, caller: Caller, message: BlacklistCommand) -> Outcome:
    rows = _targets(tx, message)
    notices: list[Push] = []
    rooms: list[str] = []
    for row in rows:
        _check_signature(tx, caller, message, row.id, "client-block-conversations")
        if row.kind is Kind.ROOM:
            rooms.append(row.id)
        else:
            change = remove_clients(tx, row, [caller.client_id], by=caller.client_id)
            change.verdict.require_all()
            notices += change.pushes
        block_conversation(tx, caller.client_id, row.id)
    reply = _own_changed(OpType.BLOCKED, caller, rows)
    return Outcome(reply, notices, Evict(rooms, [caller.client_id]) if rooms else None)


def _unblock_conversations(tx: Tx, caller: Caller, message: BlacklistCommand) -> Outcome:
    rows = _targets(tx, message)
    for row in rows:
        _check_signature(tx, caller, message, row.id, "client-unblock-conversations")
        unblock_conversation(tx, caller.client_id, row.id)
    return Outcome(_own_changed(OpType.UNBLOCKED, caller, rows))


def _targets(tx: Tx, message: BlacklistCommand) -> list[ConversationRow]:
    if not message.to_cids:
        refuse(ErrorCode.CONVERSATION_NOT_FOUND)
    cids = list(dict.fromkeys(message.to_cids))
    found = tx.conversations(cids)
    if len(found) < len(cids):
        refuse(ErrorCode.CONVERSATION_NOT_FOUND)
    rows = [found[cid] for cid in cids]
    for row in rows:
        require_kind(row, *_LISTABLE)
    return rows


# The payload, and who may use it.


def _list_of(command: GenericCommand) -> BlacklistCommand:
    message = command.blacklist_message
    return BlacklistCommand() if message is None else message


def _own_list(caller: Caller, message: BlacklistCommand) -> bool:
    """Whether the command is about the caller's own list. Nobody has access to another's."""
    if message.src_cid or not message.src_pid:
        return False
    if message.src_pid != caller.client_id:
        refuse(ErrorCode.CONVERSATION_OPERATION_UNAUTHORIZED)
    return True


def _moderated(tx: Tx, caller: Caller, message: BlacklistCommand) -> ConversationRow:
    row = existing(tx, message.src_cid)
    require_kind(row, *_LISTABLE)
    require_authority(tx, caller, row)
    return row


def _visible(tx: Tx, caller: Caller, message: BlacklistCommand) -> ConversationRow:
    row = existing(tx, message.src_cid)
    require_kind(row, *_LISTABLE)
    require_member(tx, caller, row)
    return row


def _check_signature(
    tx: Tx,
    caller: Caller,
    message: BlacklistCommand,
    cid: str,
    action: _signatures.BlockAction,
) -> None:
    if caller.app.enforce.block_list and not _signatures.verify_block_list(
        caller.app,
        caller.client_id,
        cid,
        message.to_pids,
        action,
        message.t,
        message.n,
        message.s,
        tx.now,
    ):
        refuse(ErrorCode.BLACKLIST_SIGNATURE_FAILED)


def _changed(caller: Caller, op: OpType, row: ConversationRow, verdict: Verdict) -> GenericCommand:
    message = BlacklistCommand(
        src_cid=row.id,
        allowed_pids=verdict.allowed,
        failed_pids=verdict.failed_pids(caller),
    )
    return _command(op, message)


def _own_changed(op: OpType, caller: Caller, rows: Sequence[ConversationRow]) -> GenericCommand:
    message = BlacklistCommand(src_pid=caller.client_id, blocked_cids=[row.id for row in rows])
    return _command(op, message)


def _answer(op: OpType, message: BlacklistCommand) -> Outcome:
    return Outcome(_command(op, message))


def _command(op: OpType, message: BlacklistCommand) -> GenericCommand:
    return GenericCommand(cmd=CommandType.BLACKLIST, op=op, blacklist_message=message)
