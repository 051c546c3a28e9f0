"""Roles, silence and block lists from the operator's side.

Protocol: docs/protocol/rest.md §7 and §8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.rules.block import block_clients, unblock_clients
from trio_realtime.server.rules.checks import (
    MemberRole,
    Verdict,
    checked_ids,
    existing,
    listed_page,
    owner_of,
    refuse,
    vacancy,
)
from trio_realtime.server.rules.client_blocks import (
    block_conversation,
    blocked_page,
    unblock_conversation,
)
from trio_realtime.server.rules.json import iso
from trio_realtime.server.rules.members import remove_clients
from trio_realtime.server.rules.notifications import Notices
from trio_realtime.server.rules.types import Evict, Push
from trio_realtime.server.store.interface import (
    ConversationRow,
    Kind,
    Listing,
    MemberInfoRow,
    Tx,
)
from trio_realtime.wire import ConvMemberInfo, OpType

from .result import Result, conversation_of

MAX_TTL = 86_400
"""Seconds a silence for a while lasts at most."""

_INFOS_LOOKED_THROUGH = 1000


def set_role(tx: Tx, cid: str, given: tuple[str, Any], *kinds: Kind) -> Result:
    """Give a client a role in a conversation."""
    client_id, role = given
    row = conversation_of(tx, cid, *kinds)
    checked_ids([client_id])
    if role not in set(MemberRole):
        refuse(ErrorCode.UNKNOWN_CONVERSATION_ROLE)
    if role == MemberRole.OWNER or client_id == owner_of(tx, row):
        refuse(ErrorCode.CONVERSATION_OPERATION_UNAUTHORIZED, "the owner cannot be changed")
    if row.kind is Kind.NORMAL and not tx.is_member(cid, client_id):
        refuse(ErrorCode.CONVERSATION_MEMBERSHIP_REQUIRED)
    stored = tx.set_role(cid, client_id, str(role))
    info = ConvMemberInfo(pid=client_id, role=str(role), info_id=stored.id)
    notices = Notices(tx, row, "")
    notices.to_members(OpType.MEMBER_INFO_CHANGED, tx.members(cid), notices.message(info=info))
    return Result({"updatedAt": iso(tx.now), "objectId": stored.id}, notices.pushes)


def change_role(tx: Tx, cid: str, given: tuple[str, Any], *kinds: Kind) -> Result:
    """Change a role by the id of its row; where it ends a plain member is left."""
    info_id, role = given
    conversation_of(tx, cid, *kinds)
    return set_role(tx, cid, (_info(tx, cid, info_id).client_id, role), *kinds)


def _info(tx: Tx, cid: str, info_id: str) -> MemberInfoRow:
    skip = 0
    while infos := tx.member_infos(cid, limit=_INFOS_LOOKED_THROUGH, skip=skip):
        found = next((info for info in infos if info.id == info_id), None)
        if found is not None:
            return found
        skip += len(infos)
    return refuse(ErrorCode.CONVERSATION_MEMBERSHIP_REQUIRED, "no member has a role of this id")


def silence(tx: Tx, cid: str, client_ids: Sequence[str], *kinds: Kind) -> Result:
    """Forbid clients to send, for good."""
    return _silence(tx, conversation_of(tx, cid, *kinds), checked_ids(client_ids), None)


def silence_for(tx: Tx, cid: str, given: tuple[str, int], *kinds: Kind) -> Result:
    """Forbid a client to send for so many seconds."""
    client_id, seconds = given
    if not 0 < seconds <= MAX_TTL:
        refuse(ErrorCode.CONVERSATION_API_FAILED, f"ttl is 1 to {MAX_TTL} seconds")
    row = conversation_of(tx, cid, *kinds)
    return _silence(tx, row, checked_ids([client_id]), tx.now + seconds * 1000)


def _silence(tx: Tx, row: ConversationRow, ids: list[str], expires_at: int | None) -> Result:
    verdict = Verdict(ids)
    verdict.fail({owner_of(tx, row) or ""}, ErrorCode.CONVERSATION_OPERATION_UNAUTHORIZED)
    silenced = tx.which_listed(Listing.SILENCED, row.id, ids)
    new = [client_id for client_id in ids if client_id not in silenced]
    if expires_at is None:
        surplus = set(new[vacancy(tx, Listing.SILENCED, row) :])
        verdict.fail(surplus, ErrorCode.SILIENCED_MEMBER_LIST_FULL)
    verdict.require_all()
    tx.add_listed(Listing.SILENCED, row.id, ids, expires_at=expires_at)
    notices = Notices(tx, row, "")
    notices.personal(OpType.SHUTUPED, new)
    notices.shared(OpType.MEMBERS_SHUTUPED, tx.members(row.id), new)
    return Result({}, notices.pushes)


def lift_silence(tx: Tx, cid: str, client_ids: Sequence[str], *kinds: Kind) -> Result:
    """Let clients send again."""
    row = conversation_of(tx, cid, *kinds)
    ids = checked_ids(client_ids)
    silenced = tx.which_listed(Listing.SILENCED, cid, ids)
    freed = [client_id for client_id in ids if client_id in silenced]
    tx.remove_listed(Listing.SILENCED, cid, freed)
    notices = Notices(tx, row, "")
    notices.personal(OpType.UNSHUTUPED, freed)
    notices.shared(OpType.MEMBERS_UNSHUTUPED, tx.members(cid), freed)
    return Result({}, notices.pushes)


def block(tx: Tx, cid: str, client_ids: Sequence[str], *kinds: Kind) -> Result:
    """Put clients on the block list; they are no longer members."""
    row = conversation_of(tx, cid, *kinds)
    done = block_clients(tx, row, checked_ids(client_ids), by="")
    done.verdict.require_all()
    evict = Evict([cid], done.verdict.allowed) if row.kind is Kind.ROOM else None
    return Result({}, done.pushes, evict)


def unblock(tx: Tx, cid: str, client_ids: Sequence[str], *kinds: Kind) -> Result:
    """Take clients off the block list."""
    row = conversation_of(tx, cid, *kinds)
    return Result({}, unblock_clients(tx, row, checked_ids(client_ids), by="").pushes)


def listed(
    tx: Tx, cid: str, listing: Listing, limit: int, after: str | None, *kinds: Kind
) -> Result:
    """A page of a list."""
    row = conversation_of(tx, cid, *kinds)
    ids, cursor = listed_page(tx, listing, row, limit, after)
    return Result({"client_ids": ids, **({} if cursor is None else {"next": cursor})})


def block_for_client(tx: Tx, client_id: str, cid: str) -> Result:
    """Let a client block a conversation: it leaves, and cannot be brought back."""
    checked_ids([client_id])
    row = existing(tx, cid)
    pushes: Sequence[Push] = ()
    if row.kind is not Kind.ROOM:
        done = remove_clients(tx, row, [client_id], by=client_id)
        done.verdict.require_all()
        pushes = done.pushes
    block_conversation(tx, client_id, cid)
    return Result({}, pushes, Evict([cid], [client_id]) if row.kind is Kind.ROOM else None)


def unblock_for_client(tx: Tx, client_id: str, cid: str) -> Result:
    """Take a conversation off a client's list."""
    unblock_conversation(tx, client_id, existing(tx, cid).id)
    return Result({})


def blocked_by_client(tx: Tx, client_id: str, limit: int, after: str | None) -> Result:
    """A page of the conversations that a client blocks."""
    cids, cursor = blocked_page(tx, client_id, limit=limit, after=after)
    return Result({"conv_ids": cids, **({} if cursor is None else {"next": cursor})})
