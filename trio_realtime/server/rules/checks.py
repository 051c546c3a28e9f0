"""What many rules ask before they act: the payload, the conversation, ids, rights.

Every function either answers or raises the `Refusal` the protocol documents.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import NoReturn

import attrs

from trio_realtime._values.errors import ErrorCode
from trio_realtime._values.protocol import MAX_CLIENT_ID
from trio_realtime._values.texts import is_unicode
from trio_realtime.server.store.interface import ConversationRow, Kind, Listing, Tx
from trio_realtime.wire import ConvCommand, ErrorCommand, GenericCommand

from . import signatures as _signatures
from .types import Caller, Feature, Refusal

MAX_MEMBERS = 500
MAX_TEMPORARY_MEMBERS = 10
MAX_LISTED = 500
MAX_LISTED_OPEN = 10_000
"""Block and silence lists of chat rooms and service conversations."""


_CURSOR = "c"


class MemberRole(StrEnum):
    """What a member may do: docs/protocol/conversations.md §6."""

    OWNER = "Owner"
    MANAGER = "Manager"
    MEMBER = "Member"


def refuse(code: ErrorCode, detail: str | None = None, limit: str | None = None) -> NoReturn:
    """Answer with this code; its reason is its name."""
    raise Refusal(int(code), code.name, detail, limit=limit)


def conv_of(command: GenericCommand) -> ConvCommand:
    """The payload of a conversation command; an absent one has no fields set."""
    message = command.conv_message
    return ConvCommand() if message is None else message


def existing(tx: Tx, cid: str | None) -> ConversationRow:
    """The conversation of this id, or 4303."""
    row = tx.conversation(cid) if cid else None
    if row is None:
        refuse(ErrorCode.CONVERSATION_NOT_FOUND)
    return row


def require_kind(row: ConversationRow, *kinds: Kind) -> None:
    """4314 for what these kinds of conversations do not have."""
    if row.kind not in kinds:
        refuse(ErrorCode.NORMAL_CONVERSATION_REQUIRED)


def checked_ids(given: Iterable[str]) -> list[str]:
    """The ids of a request, each once, or 4301 if there is none or one cannot be an id."""
    ids = list(dict.fromkeys(given))
    if not ids:
        refuse(ErrorCode.CONVERSATION_API_FAILED, "no client id is given")
    for client_id in ids:
        if not client_id or len(client_id) > MAX_CLIENT_ID or not is_unicode(client_id):
            refuse(
                ErrorCode.CONVERSATION_API_FAILED,
                f"a client id has 1 to {MAX_CLIENT_ID} characters",
            )
    return ids


def page_size(limit: int | None, *, default: int = 10, most: int = 100) -> int:
    """The size of a page of ids; nonsense counts as nothing said."""
    return default if limit is None or limit < 1 else min(limit, most)


def listed_page(
    tx: Tx, listing: Listing, row: ConversationRow, limit: int | None, after: str | None
) -> tuple[list[str], str | None]:
    """A page of a list, and where the next one begins.

    Cursors of our own begin with a letter: a number is how many entries to pass over, as old
    SDKs send it, and is continued with a number.
    """
    size = page_size(limit)
    if not after:
        ids, cursor = tx.listed(listing, row.id, limit=size)
    elif after.isascii() and after.isdecimal() and len(after) < 10:
        skip = int(after)
        ids, more = tx.listed(listing, row.id, limit=size, skip=skip)
        return ids, str(skip + len(ids)) if more else None
    elif after.startswith(_CURSOR):
        cursor = after.removeprefix(_CURSOR)
        ids, cursor = tx.listed(listing, row.id, limit=size, after=cursor or "-")
    else:
        return [], None
    return ids, None if cursor is None else _CURSOR + cursor


# Rights.


def owner_of(tx: Tx, row: ConversationRow) -> str | None:
    """The owner: the creator, who gives that up for good by leaving.

    Nobody is stored as a member of a chat room or for a creator of a service, so that those
    keep their owner.
    """
    if row.kind in {Kind.ROOM, Kind.SERVICE}:
        return row.creator
    # Who came back joined later than the conversation was made.
    stayed = tx.joined_at(row.id, row.creator) == row.created_at
    return row.creator if stayed else None


def member_role(tx: Tx, row: ConversationRow, client_id: str) -> MemberRole | None:
    """The role of a client, None for who is not a member.

    Nobody is stored as a member of a chat room, so that there only owner and managers have a
    role. Where the owner has left and no manager is there, the one who has been a member for
    longest, and may speak, acts as manager: somebody has to be able to lift what the owner
    imposed. Nobody comes to it by joining later, however many are silenced, and whether or not
    anybody is left who was there from the beginning.
    """
    if row.kind is not Kind.ROOM and not tx.is_member(row.id, client_id):
        return None
    owner = owner_of(tx, row)
    if client_id == owner:
        return MemberRole.OWNER
    stored = tx.role(row.id, client_id)
    if stored == MemberRole.MANAGER:
        return MemberRole.MANAGER
    if row.kind is Kind.ROOM:
        return None
    if owner is None and row.kind is Kind.NORMAL and _heir(tx, row) == client_id:
        return MemberRole.MANAGER
    return MemberRole.MEMBER


def _heir(tx: Tx, row: ConversationRow) -> str | None:
    """Who acts as manager of a conversation with members, and without owner, if anybody does."""
    if any(info.role == MemberRole.MANAGER for info in tx.member_infos(row.id)):
        return None
    members = tx.members(row.id)  # in the order of joining
    first, since = members[0], tx.joined_at(row.id, members[0])
    silenced = tx.which_listed(Listing.SILENCED, row.id, members)
    heir = next((member for member in members if member not in silenced), None)
    if heir is not None and tx.joined_at(row.id, heir) == since:
        return heir
    # All who have been there longest are silenced. Of founders the first one acts, who cannot
    # lift the own silence, but that of others, who then lift it, and can make managers. Others
    # were let in and silenced by somebody who had the right to do so: it stays as it was left.
    return first if since == row.created_at else None


def caller_role(tx: Tx, caller: Caller, row: ConversationRow) -> MemberRole | None:
    """As `member_role`; whoever is in a chat room right now is its member.

    Who is blocked from a room has no role in it, whatever it was before.
    """
    if row.kind is Kind.ROOM and is_blocked(tx, row, caller.client_id):
        return None
    role = member_role(tx, row, caller.client_id)
    if role is None and row.kind is Kind.ROOM and caller.room == row.id:
        return MemberRole.MEMBER
    return role


def is_blocked(tx: Tx, row: ConversationRow, client_id: str) -> bool:
    """Whether the conversation has blocked the client."""
    return bool(tx.which_listed(Listing.BLOCKED, row.id, [client_id]))


def refuse_blocked(tx: Tx, row: ConversationRow, client_id: str) -> None:
    """4548 for a client that the conversation has blocked."""
    if is_blocked(tx, row, client_id):
        refuse(ErrorCode.BLOCKED_BY_CONV)


def require_member(
    tx: Tx,
    caller: Caller,
    row: ConversationRow,
    code: ErrorCode = ErrorCode.CONVERSATION_MEMBERSHIP_REQUIRED,
) -> MemberRole:
    """The caller's role, or 4317."""
    role = caller_role(tx, caller, row)
    if role is None:
        refuse(code)
    return role


def require_authority(tx: Tx, caller: Caller, row: ConversationRow) -> MemberRole:
    """Owner or manager, or 4317 for strangers and 4320 for members."""
    role = require_member(tx, caller, row)
    if role is MemberRole.MEMBER:
        refuse(ErrorCode.CONVERSATION_OPERATION_UNAUTHORIZED)
    return role


def check_signature(
    tx: Tx,
    caller: Caller,
    message: ConvCommand,
    cid: str | None,
    action: _signatures.ConversationAction,
) -> None:
    """4302 where the app asks for signatures and this one is not right."""
    if caller.app.enforce.conversations and not _signatures.verify_conversation(
        caller.app,
        caller.client_id,
        cid,
        message.m,
        action,
        message.t,
        message.n,
        message.s,
        tx.now,
    ):
        refuse(ErrorCode.CONVERSATION_SIGNATURE_FAILED)


# Partial success.


@attrs.define
class Verdict:
    """Which ids of a request succeeded, and why the others did not."""

    allowed: list[str]
    failures: dict[tuple[ErrorCode, str | None], list[str]] = attrs.field(factory=dict)

    def fail(self, ids: Collection[str], code: ErrorCode, detail: str | None = None) -> None:
        """Move ids from the allowed ones to the failed ones."""
        failed = [client_id for client_id in self.allowed if client_id in ids]
        if failed:
            self.failures.setdefault((code, detail), []).extend(failed)
            self.allowed = [client_id for client_id in self.allowed if client_id not in ids]

    def require_all(self) -> None:
        """Refuse the request as a whole if anything failed."""
        if self.failures:
            code, detail = next(iter(self.failures))
            refuse(code, detail)

    def failed_pids(self, caller: Caller) -> list[ErrorCommand]:
        """The failures for the reply; clients that do not know them get an error for all."""
        if Feature.PARTIAL_FAILURES not in caller.features:
            self.require_all()
        return [
            ErrorCommand(code=int(code), reason=code.name, detail=detail, pids=ids)
            for (code, detail), ids in self.failures.items()
        ]


def vacancy(tx: Tx, listing: Listing, row: ConversationRow) -> int:
    """How many more ids a block or silence list takes."""
    most = MAX_LISTED if row.kind is Kind.NORMAL else MAX_LISTED_OPEN
    return max(0, most - tx.listed_count(listing, row.id))
