"""Reading the history of a conversation: docs/protocol/messages.md §7."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import attrs

from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.store.interface import Bound, ConversationRow, Kind, MessageRow, Tx
from trio_realtime.wire import (
    CommandType,
    GenericCommand,
    LogsCommand,
    QueryDirection,
)

from .bodies import body_json, body_size, log_item
from .checks import existing, is_blocked, refuse
from .types import Caller, Outcome

_DEFAULT_PAGE = 20
_LARGEST_PAGE = 1000
_PAGE_BYTES = 512 * 1024
"""Bodies in one page, as far as it has more messages than `_COMPLETE_PAGE`."""
_COMPLETE_PAGE = 100
"""Pages of at most this size are complete: a shorter one tells SDKs that there is no more."""


@attrs.frozen
class Range:
    """Which messages are wanted: a page counted from ``start``."""

    start: Bound | None = None
    start_included: bool = False
    end: Bound | None = None
    end_included: bool = False
    newer: bool = False
    """From the start point towards the present."""
    limit: int = _DEFAULT_PAGE
    lctype: int | None = None


def logs(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``logs``: a page of history, counted from its start point, in ascending order."""
    query = command.logs_message or LogsCommand()
    conversation = existing(tx, query.cid)
    require_reader(tx, conversation, caller.client_id)
    wanted = Range(
        start=_bound(query.t, query.mid),
        start_included=bool(query.t_included),
        end=_bound(query.tt, query.tmid),
        end_included=bool(query.tt_included),
        newer=query.direction == QueryDirection.NEW,
        limit=_page_size(query),
        # 0 is reserved for "no type", which no message declares.
        lctype=query.lctype or None,
    )
    messages, marked = _page(tx, conversation, wanted, caller.client_id)
    items = [log_item(message, marked=marked) for message in messages]
    reply = LogsCommand(cid=conversation.id, logs=items)
    return Outcome(GenericCommand(cmd=CommandType.LOGS, logs_message=reply))


def history_json(
    tx: Tx,
    conversation: ConversationRow,
    wanted: Range,
    viewer: str | None = None,
    *,
    addresses: bool = False,
) -> list[dict[str, Any]]:
    """A page in the form of the REST API: newest first, or with ``newer`` oldest first.

    Of a service, ``viewer`` tells whose view it is; without one it is what all subscribers hear.
    ``addresses`` shows from where messages were sent.

    Protocol: docs/protocol/rest.md §4.
    """
    messages, marked = _page(tx, conversation, wanted, viewer)
    return [
        message_json(message, marked=marked, addresses=addresses)
        for message in (messages if wanted.newer else reversed(messages))
    ]


def feed_json(tx: Tx, wanted: Range, sender: str | None) -> list[dict[str, Any]]:
    """A page of all messages, or of those of one sender, in the same form and order."""
    messages = tx.feed(
        start=wanted.start,
        start_included=wanted.start_included,
        end=wanted.end,
        end_included=wanted.end_included,
        newer=wanted.newer,
        limit=wanted.limit,
        sender=sender,
    )
    if not wanted.newer:
        messages.reverse()
    fitting = _fitting(messages, newer=wanted.newer)
    cids = dict.fromkeys(message.conversation_id for message in fitting if message.ack_at)
    pairs = {cid for cid, members in tx.members_of(list(cids)).items() if len(members) == 2}
    return [
        message_json(message, marked=message.conversation_id in pairs, addresses=True)
        for message in (fitting if wanted.newer else reversed(fitting))
    ]


def message_json(
    message: MessageRow, *, marked: bool = False, addresses: bool = True
) -> dict[str, Any]:
    """One message in the form of the REST API; ``marked`` shows when the other member got it."""
    data, binary = body_json(message.body)
    row = {
        "msg-id": message.id,
        "timestamp": message.timestamp,
        "conv-id": _key(message),
        "to": message.conversation_id,
        "from": message.sender,
        "data": data,
        "bin": binary,
        "is-conv": True,
        "is-room": message.kind is Kind.ROOM,
    }
    if marked and message.ack_at is not None:
        row["ack-at"] = message.ack_at
    if addresses and message.address:
        row["from-ip"] = message.address
    if message.receiver is not None:
        row["to-client"] = message.receiver
    return row


def _key(message: MessageRow) -> str:
    """What tells the logs of conversations apart: docs/protocol/messages.md §2."""
    if message.receiver is None:
        return f"{message.conversation_id}00000000"
    name = f"{message.conversation_id}:{message.receiver}"
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()


def require_reader(tx: Tx, row: ConversationRow, client_id: str) -> None:
    """4312 for who may not read what was said: strangers, in a chat room the blocked."""
    if row.kind is Kind.ROOM:
        allowed = not is_blocked(tx, row, client_id)
    else:
        allowed = tx.is_member(row.id, client_id) or (
            row.kind is Kind.SERVICE and bool(tx.lines(client_id, [row.id]))
        )
    if not allowed:
        refuse(ErrorCode.CONVERSATION_LOG_REJECTED)


def _page(
    tx: Tx, conversation: ConversationRow, wanted: Range, viewer: str | None
) -> tuple[list[MessageRow], bool]:
    """The messages, and whether it means anything when they were received and read."""
    cid = conversation.id
    bounds = attrs.asdict(wanted, recurse=False)
    if conversation.kind is Kind.SERVICE and viewer is not None:
        messages = _view(tx, cid, bounds, viewer)
    else:
        messages = tx.history(cid, **bounds)
    messages = _fitting(messages, newer=wanted.newer)
    # In larger conversations these times would be of anybody.
    marked = (
        any(message.ack_at or message.read_at for message in messages)
        and conversation.kind in {Kind.NORMAL, Kind.TEMPORARY}
        and tx.member_count(cid) == 2
    )
    return messages, marked


def _view(tx: Tx, cid: str, bounds: Mapping[str, Any], viewer: str) -> list[MessageRow]:
    """What a client was told by a service: as one of all subscribers, and alone."""
    logs = [*tx.lines(viewer, [cid]).values(), *([cid] if tx.is_member(cid, viewer) else [])]
    pages = [message for log in logs for message in tx.history(log, **bounds)]
    pages.sort(key=lambda message: (message.timestamp, message.id))
    limit = bounds["limit"]
    return pages[:limit] if bounds["newer"] else pages[max(0, len(pages) - limit) :]


def _fitting(messages: list[MessageRow], *, newer: bool) -> list[MessageRow]:
    """Those nearest to the start point that make up one page."""
    size = 0
    for number, message in enumerate(messages if newer else reversed(messages)):
        size += body_size(message.body)
        if size > _PAGE_BYTES and number >= _COMPLETE_PAGE:
            return messages[:number] if newer else messages[-number:]
    return messages


def _bound(timestamp: int | None, mid: str | None) -> Bound | None:
    # Some clients write a zero where they mean nothing: from now, or to the beginning.
    return (timestamp, mid or None) if timestamp and timestamp > 0 else None


def _page_size(query: LogsCommand) -> int:
    given = query.limit if query.l is None else query.l
    if given is None:
        return _DEFAULT_PAGE
    if given < 0:
        refuse(ErrorCode.CONVERSATION_LOG_FAILED, "the limit is negative")
    return min(given, _LARGEST_PAGE)
