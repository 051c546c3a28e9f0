"""Finding conversations, and their form as JSON. Protocol: docs/protocol/conversations.md §3."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from enum import IntFlag
from typing import Any

from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.store.conditions import EVERYTHING, parse_condition, parse_sort
from trio_realtime.server.store.interface import (
    ConversationRow,
    Kind,
    MessageRow,
    Query,
    QueryError,
    Tx,
)
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    GenericCommand,
    JsonObjectMessage,
    OpType,
)

from .checks import conv_of, refuse
from .json import BadJson, date_json, dump, iso, parse_object
from .start import RESERVED, seconds_left
from .types import Caller, Outcome

MAX_LIMIT = 1000
MAX_RESULT = 8 * 1024 * 1024
"""Characters of one answer; many large conversations are better asked for in pages."""


class Flag(IntFlag):
    """What a query wants more or less of."""

    COMPACT = 1
    LAST_MESSAGE = 2


def query(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``query``: conversations by any condition; without one, those of the caller."""
    message = conv_of(command)
    flag = Flag((message.flag or 0) & 3)
    try:
        found = tx.find(_query(message, caller))
    except (QueryError, BadJson) as exc:
        refuse(ErrorCode.CONVERSATION_QUERY_FAILED, str(exc), exc.limit)
    texts = []
    size = 0
    for row in found:
        texts.append(dump(conversation_json(tx, row, caller.client_id, flag)))
        size += len(texts[-1])
        if size > MAX_RESULT:
            refuse(ErrorCode.CONVERSATION_QUERY_FAILED, "too large; use a smaller limit")
    results = JsonObjectMessage(data=f"[{','.join(texts)}]")
    reply = GenericCommand(
        cmd=CommandType.CONV, op=OpType.RESULTS, conv_message=ConvCommand(results=results)
    )
    return Outcome(reply)


def conversation_json(
    tx: Tx, row: ConversationRow, viewer: str | None = None, flag: Flag | None = None
) -> dict[str, Any]:
    """One conversation as the viewer sees it. What the server knows overrides attributes."""
    flag = Flag(0) if flag is None else flag
    result: dict[str, Any] = {k: v for k, v in row.attributes.items() if k not in RESERVED}
    result |= {
        "objectId": row.id,
        "c": row.creator,
        "createdAt": iso(row.created_at),
        "updatedAt": iso(row.updated_at),
        "conv_type": int(row.kind),
    }
    if row.name is not None:
        result["name"] = row.name
    if row.last_message_at is not None and row.kind is not Kind.SERVICE:
        result["lm"] = date_json(row.last_message_at)
    match row.kind:
        case Kind.NORMAL if row.unique_id is not None:
            result |= {"unique": True, "uniqueId": row.unique_id}
        case Kind.ROOM:
            result["tr"] = True
        case Kind.SERVICE:
            result["sys"] = True
            if viewer is not None:
                result |= _subscription(tx, row, viewer, flag)
        case Kind.TEMPORARY:
            result |= {"temp": True, "ttl": seconds_left(row, tx.now)}
    if Flag.COMPACT not in flag and row.kind is not Kind.SERVICE:
        if row.kind is not Kind.ROOM:
            result["m"] = tx.members(row.id)
        result["mu"] = tx.muted_by(row.id)
    if Flag.LAST_MESSAGE in flag and _may_read(tx, row, viewer):
        last = tx.last_message(row.id)
        if last is not None:
            result |= _message_json(last)
    return result


def _subscription(tx: Tx, row: ConversationRow, viewer: str, flag: Flag) -> dict[str, Any]:
    joined_at = tx.joined_at(row.id, viewer)
    state: dict[str, Any] = {"joined": joined_at is not None}
    if joined_at is not None:
        state["joinedAt"] = joined_at
    if Flag.COMPACT not in flag:
        state["muted"] = viewer in tx.muted_by(row.id)
    return state


def _may_read(tx: Tx, row: ConversationRow, viewer: str | None) -> bool:
    # Anybody may find a conversation; what was said in it is for its members, as in history.
    match row.kind:
        case Kind.SERVICE:
            return False
        case Kind.ROOM:
            return True
        case _:
            return viewer is None or tx.is_member(row.id, viewer)


def _message_json(message: MessageRow) -> dict[str, Any]:
    binary = isinstance(message.body, bytes)
    result: dict[str, Any] = {
        "msg": base64.b64encode(message.body).decode()
        if isinstance(message.body, bytes)
        else message.body,
        "bin": binary,
        "msg_mid": message.id,
        "msg_from": message.sender,
        "msg_timestamp": message.timestamp,
        "mention_all": message.mention_all,
        "mention_pids": list(message.mentions),
    }
    if message.patched_at is not None:
        result["patch_timestamp"] = message.patched_at
    return result


def _query(message: ConvCommand, caller: Caller) -> Query:
    ids = list(dict.fromkeys(message.temp_conv_ids)) or None
    return Query(
        where=EVERYTHING if ids is not None else parse_condition(_where(message, caller)),
        sort=parse_sort(_sort(message.sort)),
        limit=_number(message.limit, 10 if ids is None else len(ids), "limit", MAX_LIMIT),
        skip=_number(message.skip, 0, "skip", 2**31 - 1),
        ids=ids,
    )


def _where(message: ConvCommand, caller: Caller) -> dict[str, Any]:
    text = message.where.data if message.where is not None else None
    return parse_object(text or "{}", caller.json_depth) or {"m": caller.client_id}


def _sort(text: str | None) -> Sequence[tuple[str, bool]]:
    keys = [key for part in (text or "").split(",") if (key := part.strip()).strip("-")]
    return [(key.removeprefix("-"), key.startswith("-")) for key in keys or ["-lm"]]


def _number(given: int | None, default: int, name: str, most: int) -> int:
    if given is None:
        return default
    if given < 0:
        raise BadJson(f"{name} is negative")
    return min(given, most)
