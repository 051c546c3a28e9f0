"""Reading the history of a conversation: docs/protocol/messages.md §7."""

from __future__ import annotations

from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.store.interface import Bound, ConversationRow, Kind, MessageRow, Tx
from trio_realtime.wire import (
    CommandType,
    GenericCommand,
    LogsCommand,
    QueryDirection,
)

from .bodies import body_size, log_item
from .checks import existing, is_blocked, refuse
from .types import Caller, Outcome

_DEFAULT_PAGE = 20
_LARGEST_PAGE = 1000
_PAGE_BYTES = 512 * 1024
"""Bodies in one page, as far as it has more messages than `_COMPLETE_PAGE`."""
_COMPLETE_PAGE = 100
"""Pages of at most this size are complete: a shorter one tells SDKs that there is no more."""


def logs(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``logs``: a page of history, counted from its start point, in ascending order."""
    query = command.logs_message or LogsCommand()
    conversation = existing(tx, query.cid)
    cid, kind = conversation.id, conversation.kind
    require_reader(tx, conversation, caller.client_id)
    newer = query.direction == QueryDirection.NEW
    messages = tx.history(
        cid,
        start=_bound(query.t, query.mid),
        start_included=bool(query.t_included),
        end=_bound(query.tt, query.tmid),
        end_included=bool(query.tt_included),
        newer=newer,
        limit=_page_size(query),
        # 0 is reserved for "no type", which no message declares.
        lctype=query.lctype or None,
    )
    messages = _fitting(messages, newer=newer)
    # In larger conversations these times would be of anybody.
    marked = (
        any(message.ack_at or message.read_at for message in messages)
        and kind in {Kind.NORMAL, Kind.TEMPORARY}
        and tx.member_count(cid) == 2
    )
    return Outcome(
        GenericCommand(
            cmd=CommandType.LOGS,
            logs_message=LogsCommand(
                cid=cid, logs=[log_item(message, marked=marked) for message in messages]
            ),
        )
    )


def require_reader(tx: Tx, row: ConversationRow, client_id: str) -> None:
    """4312 for who may not read what was said: strangers, in a chat room the blocked."""
    if row.kind is Kind.ROOM:
        allowed = not is_blocked(tx, row, client_id)
    else:
        allowed = tx.is_member(row.id, client_id)
    if not allowed:
        refuse(ErrorCode.CONVERSATION_LOG_REJECTED)


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
