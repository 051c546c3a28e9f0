"""Creating conversations. Protocol: docs/protocol/conversations.md §1, §2."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trio_realtime._values.errors import ErrorCode
from trio_realtime._values.protocol import CONVERSATION_KEYS, SERVICE_KEYS, TEMPORARY_KEYS
from trio_realtime.server.store.interface import ConversationRow, Kind, Tx
from trio_realtime.wire import CommandType, ConvCommand, GenericCommand, OpType

from .checks import (
    MAX_MEMBERS,
    MAX_TEMPORARY_MEMBERS,
    check_signature,
    checked_ids,
    conv_of,
    refuse,
)
from .json import MAX_DEPTH, BadJson, iso, json_text, parse_object
from .notifications import Notices
from .types import Caller, EnterRoom, Outcome, Push

DEFAULT_TTL = 86_400
MAX_TTL = 30 * 86_400
"""Seconds a temporary conversation lives."""

MAX_ATTRIBUTES = 5 * 1024
"""Bytes of the custom columns of one conversation, as JSON."""

RESERVED = CONVERSATION_KEYS | SERVICE_KEYS | TEMPORARY_KEYS
"""Keys of a conversation's JSON that belong to the server."""


def start(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``start``: create a conversation, or find the one with the same members."""
    message = conv_of(command)
    text = message.attr.data if message.attr is not None else None
    name, attributes = attributes_of(text, caller.json_depth)
    if message.transient:
        check_signature(tx, caller, message, None, "create")
        return _start_room(tx, caller, name, attributes)
    members = sorted(checked_ids([*message.m, caller.client_id]))
    if message.temp_conv:
        return _start_temporary(tx, caller, members, message.temp_conv_ttl, name, attributes)
    check_signature(tx, caller, message, None, "create")
    return _start_normal(tx, caller, members, bool(message.unique), name, attributes)


def create_service(
    tx: Tx, name: str | None, attributes: Mapping[str, Any] | None, creator: str
) -> ConversationRow:
    """Create a service conversation, which no client may do.

    Its name and attributes keep to the same rules as those from clients; refuses others (4301).
    """
    given = {**(attributes or {}), **({} if name is None else {"name": name})}
    try:
        text = json_text(given)
    except (ValueError, TypeError, RecursionError) as exc:
        refuse(ErrorCode.CONVERSATION_API_FAILED, f"the attributes are not JSON: {exc}")
    name, columns = attributes_of(text, MAX_DEPTH)
    return tx.create_conversation(kind=Kind.SERVICE, creator=creator, name=name, attributes=columns)


def unique_id(members: Iterable[str]) -> str:
    """The mark of a member set: MD5 of the sorted ids, one after the other."""
    return hashlib.md5("".join(sorted(members)).encode(), usedforsecurity=False).hexdigest()


def refresh_unique_id(tx: Tx, row: ConversationRow) -> None:
    """Let the mark of a unique conversation follow its members.

    Without its creator it is not found by its members again: they did not choose what he left
    behind.
    """
    if row.unique_id is not None:
        members = tx.members(row.id)
        mark = unique_id(members if row.creator in members else [row.id])
        tx.update_conversation(row.id, unique_id=mark)


def _start_room(tx: Tx, caller: Caller, name: str | None, attributes: dict[str, Any]) -> Outcome:
    row = tx.create_conversation(
        kind=Kind.ROOM, creator=caller.client_id, name=name, attributes=attributes
    )
    return Outcome(_started(row), presence=EnterRoom(row.id))


def _start_normal(
    tx: Tx,
    caller: Caller,
    members: list[str],
    unique: bool,
    name: str | None,
    attributes: dict[str, Any],
) -> Outcome:
    if len(members) > MAX_MEMBERS:
        refuse(ErrorCode.CONVERSATION_FULL)
    mark = unique_id(members) if unique else None
    if mark is not None:
        found = same_members(tx, mark, Kind.NORMAL, members)
        if found is not None:
            return Outcome(_started(found, unique_id=mark, existing=True))
    row = tx.create_conversation(
        kind=Kind.NORMAL,
        creator=caller.client_id,
        members=members,
        name=name,
        attributes=attributes,
        unique_id=mark,
    )
    return Outcome(_started(row, unique_id=mark), created_pushes(tx, row, members))


def _start_temporary(
    tx: Tx,
    caller: Caller,
    members: list[str],
    ttl: int | None,
    name: str | None,
    attributes: dict[str, Any],
) -> Outcome:
    if len(members) > MAX_TEMPORARY_MEMBERS:
        refuse(ErrorCode.CONVERSATION_FULL)
    mark = unique_id(members)
    found = same_members(tx, mark, Kind.TEMPORARY, members)
    row = found or tx.create_conversation(
        kind=Kind.TEMPORARY,
        creator=caller.client_id,
        members=members,
        name=name,
        attributes=attributes,
        unique_id=mark,
        expires_at=tx.now + 1000 * (min(ttl, MAX_TTL) if ttl and ttl > 0 else DEFAULT_TTL),
    )
    reply = _started(
        row,
        temp_conv=True,
        temp_conv_ttl=seconds_left(row, tx.now),
        existing=True if found else None,
    )
    return Outcome(reply, [] if found else created_pushes(tx, row, members))


def seconds_left(row: ConversationRow, now: int) -> int:
    """How long a temporary conversation still lives, rounded up."""
    assert row.expires_at is not None
    return -((now - row.expires_at) // 1000)


def same_members(tx: Tx, mark: str, kind: Kind, members: Sequence[str]) -> ConversationRow | None:
    """The conversation of this kind that is unique to these members, its creator among them.

    Ids are joined without a separator, so that other members can have the same mark: {"ab", "c"}
    and {"a", "bc"}. Nobody may end up in a stranger's conversation.
    """
    rows = tx.conversations_by_unique_id(mark, kind, members)
    present = tx.members_of([row.id for row in rows]) if rows else {}
    wanted = set(members)
    return next((row for row in rows if set(present.get(row.id, ())) == wanted), None)


def created_pushes(tx: Tx, row: ConversationRow, members: Sequence[str]) -> list[Push]:
    """The news of a new conversation for its members."""
    notices = Notices(tx, row, row.creator)
    notices.personal(OpType.JOINED, members)
    notices.shared(OpType.MEMBERS_JOINED, members, members)
    return notices.pushes


def _started(row: ConversationRow, **fields: Any) -> GenericCommand:
    return GenericCommand(
        cmd=CommandType.CONV,
        op=OpType.STARTED,
        conv_message=ConvCommand(cid=row.id, cdate=iso(row.created_at), **fields),
    )


def attributes_of(text: str | None, max_depth: int) -> tuple[str | None, dict[str, Any]]:
    """Name and custom columns; what the server sets itself is passed over."""
    try:
        given = parse_object(text or "{}", max_depth)
    except BadJson as exc:
        refuse(ErrorCode.CONVERSATION_API_FAILED, str(exc), exc.limit)
    name = given.pop("name", None)
    if name is not None and not isinstance(name, str):
        refuse(ErrorCode.CONVERSATION_API_FAILED, "the name is not a string")
    attributes = {key: value for key, value in given.items() if key not in RESERVED}
    if len(json_text(attributes).encode()) > MAX_ATTRIBUTES:
        refuse(ErrorCode.CONVERSATION_API_FAILED, f"more than {MAX_ATTRIBUTES} bytes")
    return name or None, attributes
