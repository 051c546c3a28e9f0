"""Reading the history of a conversation: docs/protocol/messages.md §7."""

from __future__ import annotations

from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.store.interface import Bound, Kind, Tx
from trio_realtime.wire import (
    CommandType,
    GenericCommand,
    LogsCommand,
    QueryDirection,
)

from .bodies import log_item
from .checks import existing, refuse
from .types import Caller, Outcome

_DEFAULT_PAGE = 20
_LARGEST_PAGE = 1000


def logs(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``logs``: a page of history, counted from its start point, in ascending order."""
    query = command.logs_message or LogsCommand()
    conversation = existing(tx, query.cid)
    cid, kind = conversation.id, conversation.kind
    if kind is not Kind.ROOM and not tx.is_member(cid, caller.client_id):
        refuse(ErrorCode.CONVERSATION_LOG_REJECTED)
    messages = tx.history(
        cid,
        start=_bound(query.t, query.mid),
        start_included=bool(query.t_included),
        end=_bound(query.tt, query.tmid),
        end_included=bool(query.tt_included),
        newer=query.direction == QueryDirection.NEW,
        limit=_page_size(query),
        # 0 is reserved for "no type", which no message declares.
        lctype=query.lctype or None,
    )
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
