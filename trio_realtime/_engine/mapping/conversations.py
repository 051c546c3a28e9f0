"""Conversations as query results describe them. Protocol: docs/protocol/conversations.md §3."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from trio_realtime._values.conversations import (
    KINDS,
    BaseConversation,
    ConversationKind,
    MemberInfo,
    Role,
)
from trio_realtime._values.errors import MalformedReply
from trio_realtime._values.json import decode_date
from trio_realtime._values.messages import BaseMessage
from trio_realtime._values.protocol import (
    CONVERSATION_KEYS,
    SERVICE_KEYS,
    TEMPORARY_KEYS,
    TEMPORARY_PREFIX,
)
from trio_realtime._values.registry import MessageRegistry
from trio_realtime._values.times import datetime_from_ms

from .messages import decoded, envelope

KIND_KEYS = {
    ConversationKind.SERVICE: SERVICE_KEYS,
    ConversationKind.TEMPORARY: TEMPORARY_KEYS,
}
"""Keys that describe only conversations of one kind."""


def conversation_from_json(
    data: Any, now: datetime, registry: MessageRegistry, client_id: str
) -> BaseConversation:
    """A conversation from one element of a query's results.

    Args:
        data: the element.
        now: the present; a temporary conversation's remaining time counts from here.
        registry: types of messages that the last message may have.
        client_id: who asks: whether *they* muted it, and whether the message mentions them.

    Raises:
        MalformedReply: there is no id, so it describes nothing; or it is nested too deeply.
    """
    cid = data.get("objectId") if isinstance(data, Mapping) else None
    if not isinstance(cid, str) or not cid:
        raise MalformedReply(f"a conversation without an id: {data!r}")
    kind = kind_of(data)
    own_keys = CONVERSATION_KEYS | {"name"} | KIND_KEYS.get(kind, frozenset())
    muted_members = _strings(data.get("mu"))
    values: dict[str, Any] = {
        "name": _string(data.get("name")),
        "members": _strings(data.get("m")),
        "creator": _string(data.get("c")),
        "created_at": decode_date(data.get("createdAt")),
        "updated_at": decode_date(data.get("updatedAt")),
        "last_message_at": decode_date(data.get("lm")),
        "last_message": _last_message(data, cid, registry, client_id),
        "muted": client_id in muted_members,
        "muted_members": muted_members,
        "attributes": {key: value for key, value in data.items() if key not in own_keys},
    }
    if kind is ConversationKind.NORMAL:
        values["unique"] = data.get("unique") is True
        values["unique_id"] = _string(data.get("uniqueId"))
    elif kind is ConversationKind.SERVICE:
        joined_at = _number(data.get("joinedAt"))
        values["muted"] = data.get("muted") is True
        values["joined"] = data["joined"] is True if "joined" in data else None
        values["joined_at"] = None if joined_at is None else datetime_from_ms(int(joined_at))
    elif kind is ConversationKind.TEMPORARY:
        ttl = _number(data.get("ttl"))
        values["expires_at"] = None if ttl is None else _later(now, ttl)
    try:
        return KINDS[kind](cid, **values)
    except (RecursionError, ValueError) as error:
        raise MalformedReply(f"the attributes of {cid} cannot be read: {error}") from error


def conversations_from_results(
    results: str, now: datetime, registry: MessageRegistry, client_id: str
) -> list[BaseConversation]:
    """The conversations in the text of a query's results.

    Raises:
        MalformedReply: the text is no JSON array of conversations.
    """
    try:
        elements = json.loads(results)
    except (ValueError, RecursionError) as error:
        raise MalformedReply(f"query results are no JSON: {error}") from error
    if not isinstance(elements, list):
        raise MalformedReply("query results are no JSON array")
    return [conversation_from_json(element, now, registry, client_id) for element in elements]


def kind_of(data: Mapping[str, Any]) -> ConversationKind:
    """The kind of conversation an element of query results describes."""
    if str(data.get("objectId")).startswith(TEMPORARY_PREFIX) or data.get("temp") is True:
        return ConversationKind.TEMPORARY
    if data.get("sys") is True:
        return ConversationKind.SERVICE
    if data.get("tr") is True:
        return ConversationKind.CHAT_ROOM
    return conversation_kind(data.get("conv_type")) or ConversationKind.NORMAL


def conversation_kind(number: Any) -> ConversationKind | None:
    """The kind with this number; None for none, and for numbers that are not known."""
    try:
        return ConversationKind(number)
    except ValueError:
        return None


def member_info_from_json(data: Any) -> MemberInfo:
    """A member's role from a row of the REST API. Protocol: docs/protocol/conversations.md §6.

    Raises:
        MalformedReply: conversation or member are missing.
    """
    if isinstance(data, Mapping):
        cid, client = data.get("cid"), data.get("clientId")
        if isinstance(cid, str) and isinstance(client, str):
            return MemberInfo(cid, client, role_of(data.get("role")))
    raise MalformedReply(f"a member without conversation or id: {data!r}")


def role_of(name: Any) -> Role:
    """The role with this name; a role that is not known has no more rights than a member."""
    try:
        return Role(name)
    except ValueError:
        return Role.MEMBER


def _last_message(
    data: Mapping[str, Any], cid: str, registry: MessageRegistry, client_id: str
) -> BaseMessage | None:
    body, mid = data.get("msg"), data.get("msg_mid")
    if not isinstance(body, str) or not isinstance(mid, str):
        return None
    timestamp, patched = _number(data.get("msg_timestamp")), _number(data.get("patch_timestamp"))
    fields = envelope(
        mid,
        cid,
        _string(data.get("msg_from")),
        int(timestamp or 0),
        int(patched or 0),
        _strings(data.get("mention_pids")),
        data.get("mention_all") is True,
        client_id,
    )
    return registry.parse(decoded(body, binary=data.get("bin") is True), fields)


def _later(now: datetime, seconds: float) -> datetime:
    try:
        return now + timedelta(seconds=seconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=now.tzinfo)


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _strings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        return ()
    return tuple(item for item in value if isinstance(item, str))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # NaN and the infinities are no times.
    return value if abs(value) < 1e18 else None
