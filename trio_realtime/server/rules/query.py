"""Finding conversations, and their form as JSON. Protocol: docs/protocol/conversations.md §3."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from enum import IntFlag
from typing import Any

import attrs

from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.store.conditions import EVERYTHING, parse_condition, parse_sort
from trio_realtime.server.store.interface import (
    ConversationRow,
    Kind,
    Listing,
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

from .checks import MAX_MEMBERS, conv_of, refuse
from .json import BadJson, date_json, iso, parse_object, stored_json_text
from .start import RESERVED, seconds_left
from .types import Caller, Outcome

MAX_LIMIT = 1000
MAX_RESULT = 2 * 1024 * 1024
"""Characters of one answer, as far as it has more conversations than `COMPLETE_PAGE`."""
COMPLETE_PAGE = 100
"""So many conversations are always answered. Of more than fit none are: a page that is shorter
than asked for tells SDKs that there is no more."""
_DESCRIBED_AT_ONCE = 50
"""So that little is looked up in vain where an answer gets too large."""


_FOR_EVERYBODY = [int(Kind.ROOM), int(Kind.SERVICE)]


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
    if caller.app.members_only and message.temp_conv_ids:
        own = tx.joined(caller.client_id, [row.id for row in found])
        found = [row for row in found if row.id in own]
    texts: list[str] = []
    size = 0
    for start in range(0, len(found), _DESCRIBED_AT_ONCE):
        rows = found[start : start + _DESCRIBED_AT_ONCE]
        facts = Facts.about(tx, rows, caller.client_id, flag)
        texts += (stored_json_text(facts.json(row)) for row in rows)
        size += sum(map(len, texts[start:]))
        if size > MAX_RESULT and len(texts) > COMPLETE_PAGE:
            refuse(ErrorCode.CONVERSATION_QUERY_FAILED, "too large; use a smaller limit")
    results = JsonObjectMessage(data=f"[{','.join(texts)}]")
    reply = GenericCommand(
        cmd=CommandType.CONV, op=OpType.RESULTS, conv_message=ConvCommand(results=results)
    )
    return Outcome(reply)


@attrs.frozen
class Facts:
    """What several conversations are described with, asked for at once."""

    now: int
    viewer: str | None
    full: bool
    members: Mapping[str, Sequence[str]]
    muted: Mapping[str, Sequence[str]]
    """Those who want no push notifications, in chat rooms some of them."""
    muting: Collection[str]
    """Chat rooms and services from which the viewer wants none."""
    joined: Mapping[str, int]
    """The service conversations the viewer is subscribed to, and since when."""
    last_messages: Mapping[str, MessageRow]
    """As far as the viewer may read them."""

    @classmethod
    def about(
        cls, tx: Tx, rows: Sequence[ConversationRow], viewer: str | None, flag: Flag | None = None
    ) -> Facts:
        """Ask the store for what the flag wants, one question for each sort of fact."""
        flag = Flag(0) if flag is None else flag

        def ids(*kinds: Kind) -> list[str]:
            return [row.id for row in rows if row.kind in kinds]

        closed, rooms, services = (
            ids(Kind.NORMAL, Kind.TEMPORARY),
            ids(Kind.ROOM),
            ids(Kind.SERVICE),
        )
        lists, open_ = [*closed, *rooms], [*rooms, *services]
        full = Flag.COMPACT not in flag
        readable = lists if Flag.LAST_MESSAGE in flag else []
        if readable and viewer is not None:
            blocked = tx.listed_in(Listing.BLOCKED, viewer, readable)
            readable = [cid for cid in readable if cid not in blocked]
        return cls(
            now=tx.now,
            viewer=viewer,
            full=full,
            members=tx.members_of(closed) if full and closed else {},
            muted=tx.muted_in(lists, limit=MAX_MEMBERS) if full and lists else {},
            muting=tx.muting(viewer, open_) if full and open_ and viewer is not None else (),
            joined=tx.joined(viewer, services) if services and viewer is not None else {},
            last_messages=tx.last_messages(readable) if readable else {},
        )

    def json(self, row: ConversationRow) -> dict[str, Any]:
        """One conversation as the viewer sees it. What the server knows overrides attributes."""
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
                if self.viewer is not None:
                    result |= self._subscription(row.id)
            case Kind.TEMPORARY:
                result |= {"temp": True, "ttl": seconds_left(row, self.now)}
        if self.full and row.kind is not Kind.SERVICE:
            if row.kind is not Kind.ROOM:
                result["m"] = self.members.get(row.id, [])
            muted = self.muted.get(row.id, [])
            own = row.id in self.muting and self.viewer not in muted
            result["mu"] = [*muted, self.viewer] if own else muted
        last = self.last_messages.get(row.id)
        return result if last is None else result | _message_json(last)

    def _subscription(self, cid: str) -> dict[str, Any]:
        joined_at = self.joined.get(cid)
        state: dict[str, Any] = {"joined": joined_at is not None}
        if joined_at is not None:
            state["joinedAt"] = joined_at
        if self.full:
            state["muted"] = cid in self.muting
        return state


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
    own = {"m": caller.client_id}
    where = parse_object(text or "{}", caller.json_depth) or own
    if not caller.app.members_only or where == own:
        return where
    return {"$and": [where, {"$or": [own, {"conv_type": {"$in": _FOR_EVERYBODY}}]}]}


def _sort(text: str | None) -> Sequence[tuple[str, bool]]:
    keys = [key for part in (text or "").split(",") if (key := part.strip()).strip("-")]
    return [(key.removeprefix("-"), key.startswith("-")) for key in keys or ["-lm"]]


def _number(given: int | None, default: int, name: str, most: int) -> int:
    if given is None:
        return default
    if given < 0:
        raise BadJson(f"{name} is negative")
    return min(given, most)
