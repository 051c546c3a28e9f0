"""News about this client itself that a push and a replay may both tell.

Protocol: docs/protocol/session.md §7.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from trio_realtime._values.events import Event
from trio_realtime._values.times import datetime_from_ms, ms_from_datetime

from .login import PERSONAL_NOTICES

PERSONAL = tuple(PERSONAL_NOTICES.values())
BY_NAME = {kind.__name__: kind for kind in PERSONAL}

Notice = tuple[str, str, int]
"""The name of an event's class, its conversation and time."""

REMEMBERED = 64
"""Notices that are remembered in any case."""
OVERLAP = 60_000
"""Milliseconds by which the clocks of push and replay may differ."""


class ToldNotices:
    """Which notices have been told, as far back as a replay may reach."""

    def __init__(self) -> None:
        self._told: dict[tuple[type[Event], str, datetime], None] = {}

    def note(self, event: Event, replayed_from: int) -> bool:
        """Take note of an event; False if it was told before.

        Args:
            event: anything; only news about this client are remembered.
            replayed_from: server time in milliseconds before which nothing will be repeated.
        """
        if not isinstance(event, PERSONAL) or event.at is None:
            return True
        notice = type(event), event.conversation_id, event.at
        if notice in self._told:
            return False
        self._told[notice] = None
        while len(self._told) > REMEMBERED:
            oldest = next(iter(self._told))
            if ms_from_datetime(oldest[2]) >= replayed_from - OVERLAP:
                break
            del self._told[oldest]
        return True

    def since(self, timestamp: int) -> list[Notice]:
        """What was told of the time after this one."""
        told = [_plain(notice) for notice in self._told]
        return [notice for notice in told if notice[2] > timestamp]

    def restore(self, notices: Iterable[Notice]) -> None:
        """An earlier run of the program has told these."""
        for kind, cid, at in notices:
            if kind in BY_NAME:
                self._told[BY_NAME[kind], cid, datetime_from_ms(at)] = None


def _plain(notice: tuple[type[Event], str, datetime]) -> Notice:
    kind, cid, at = notice
    return kind.__name__, cid, ms_from_datetime(at)
