"""Reading what one conversation missed, page by page: what to ask, and what is a gap.

The message known last is asked for again, to see that the history reaches back to it. If it
is not there, the history is asked for anything as old: where there is nothing, the server no
longer has what came between. Protocol: docs/protocol/messages.md §7.
"""

from __future__ import annotations

from collections.abc import Sequence

from trio_realtime.wire import CommandType, GenericCommand, LogItem, LogsCommand, QueryDirection

from .delivery import Place

PAGE = 100


class Reading:
    """One conversation's missed messages. Ask `command`, `take` the answer, until it is None.

    Args:
        cid: which conversation.
        start: the message known last; without an id, the time from which on all is missed.
    """

    def __init__(self, cid: str, start: Place) -> None:
        self._cid = cid
        self._mark = start if start[1] else None
        self._time, self._mid = start[0], ""
        self._finished = False
        self._held: Sequence[LogItem] | None = None
        """The first page, while it is not certain that it reaches back far enough."""
        self.upto: Place | None = None
        """Up to here the history has been read."""
        self.cut = False
        """Whether the server no longer has what came first."""
        self.cut_until: int | None = None
        """The time of the first message that it still has."""

    @property
    def command(self) -> GenericCommand | None:
        """What to ask next; None: everything has been read."""
        if self._finished:
            return None
        logs = LogsCommand(cid=self._cid, t=self._time)
        if self._held is not None:
            assert self._mark is not None
            logs.mid, logs.l, logs.direction = self._mark[1], 1, QueryDirection.OLD
            logs.t_included = True
        else:
            logs.mid, logs.l, logs.direction = self._mid or None, PAGE, QueryDirection.NEW
            # Of the time itself everything: several messages may have been said in it.
            logs.t_included = None if self._mid else True
        return GenericCommand(cmd=CommandType.LOGS, logs_message=logs)

    def take(self, items: Sequence[LogItem]) -> Sequence[LogItem]:
        """An answer has come; returns the messages to deliver."""
        if self._held is not None:
            page, self._held = self._held, None
            if not items:
                self.cut = True
                self.cut_until = page[0].timestamp if page else None
            self._mark = None
            return self._read(page)
        if self._mark is not None and not any(item.msg_id == self._mark[1] for item in items):
            self._held = items
            return ()
        self._mark = None
        return self._read(items)

    def _read(self, items: Sequence[LogItem]) -> Sequence[LogItem]:
        if items:
            last = items[-1]
            self._time, self._mid = last.timestamp or self._time, last.msg_id or ""
            self.upto = self._time, self._mid
        self._finished = len(items) < PAGE
        return items
