"""Filling the gap that a broken link leaves.

When the link breaks, every conversation with traffic is *held*: what arrives for it on the
next link waits. After the session has resumed, its history is read from the last message
delivered up to the present, those messages are delivered, then what was held. Ids make
the overlap harmless. A conversation that first spoke while the client was away is found
through the unread notification that follows the login.
"""

from __future__ import annotations

import logging
from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING, Any

import trio

from ._errors import ConnectionLost, RealtimeError
from ._events import (
    Blocked,
    Event,
    Gap,
    Invited,
    Kicked,
    MessageReceived,
    Muted,
    Unblocked,
    Unmuted,
    UnreadUpdated,
)
from ._mapping import events_from_notification, message_from_log_item
from ._times import optional_datetime, utc_now
from .wire import CommandType, GenericCommand, LogsCommand, QueryDirection

if TYPE_CHECKING:
    from ._session import Session

logger = logging.getLogger("trio_realtime")

PERSONAL = (Invited, Kicked, Blocked, Unblocked, Muted, Unmuted)
"""News about this client itself, which the server keeps for replay."""
REMEMBERED = 64
"""Notices of the latest moments, in which the clocks of push and replay may differ."""

PAGE = 100
AT_ONCE = 4
"""Conversations caught up side by side."""


class CatchUp:
    """Reads what one client missed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._limiter = trio.CapacityLimiter(AT_ONCE)
        self._told: deque[tuple[type[Event], str, datetime | None]] = deque(maxlen=REMEMBERED)
        """Personal notices that have arrived: the replay may hold them too."""

    def start(self) -> None:
        """Catch up every held conversation in the background of the present link."""
        for cid, track in self._session.delivery.tracks.items():
            if track.held is not None:
                self._session.connection.start_soon(self._conversation, cid)

    def note(self, event: Event) -> bool:
        """Take note of an event that a replay may repeat; False if it is known already."""
        if not isinstance(event, PERSONAL):
            return True
        notice = (type(event), event.conversation_id, event.at)
        if notice in self._told:
            return False
        self._told.append(notice)
        return True

    async def notifications(self) -> None:
        """Deliver the membership notifications that were missed: session.md §7.

        They come from the REST API; without one, or if it fails, they stay missed.
        """
        session = self._session
        login = session.login
        watermark = login.notification_watermark
        try:
            while watermark is not None and session.connection.has_api:
                answer = await session.rest.get(
                    "/1.1/rtm/notifications",
                    {"client_id": session.client_id, "start_ts": str(watermark)},
                )
                # Without a type the answer comes in two parts; asked for one, it is bare.
                answer = answer.get("permanent", answer)
                before, watermark = watermark, self._replay(answer, watermark)
                if not answer.get("hasMore") or watermark <= before:
                    return
        except (RealtimeError, AttributeError, TypeError) as error:
            logger.warning("missed notifications could not be fetched: %s", error)

    def _replay(self, answer: Any, watermark: int) -> int:
        """Deliver one page; returns up to when it reaches."""
        session = self._session
        for item in answer["notifications"]:
            at = item.get("serverTs")
            if not isinstance(at, int) or at <= watermark:
                continue
            for event in events_from_notification(item, session.registry, session.client_id):
                if self.note(event):
                    session.publish(event)
            watermark = at
        login = session.login
        login.notification_watermark = max(login.notification_watermark or 0, watermark)
        return watermark

    def unread(self, event: UnreadUpdated) -> None:
        """After a resumption: an unread notification may name a conversation never seen yet."""
        if event.count:
            self.unseen(event.conversation_id)

    def unseen(self, cid: str) -> None:
        """A conversation spoke while the client was away; catch it up if it is new."""
        delivery = self._session.delivery
        if cid not in delivery.tracks:
            delivery.hold([cid])
            self._session.connection.start_soon(self._conversation, cid)

    async def _conversation(self, cid: str) -> None:
        async with self._limiter:
            try:
                filled = await self._fill(cid)
            except ConnectionLost:
                # Stays held; the next resumption begins where this one stopped.
                return
            except RealtimeError as error:
                logger.info("cannot catch up conversation %s: %s", cid, error)
                mark = self._session.delivery.tracks[cid].mark
                since = mark[0] if mark else self._session.login.opened_at
                self._release(cid)
                self._session.publish(
                    Gap(
                        cid,
                        missing_from=optional_datetime(since),
                        missing_until=utc_now(),
                        error=error,
                    )
                )
                return
        self._release(cid)
        if filled:
            self._session.publish(Gap(cid, filled=filled))

    def _release(self, cid: str) -> None:
        for event in self._session.delivery.release(cid):
            self._session.publish(event)

    async def _fill(self, cid: str) -> int:
        """Deliver the history since the last message known; how many messages that were."""
        session = self._session
        track = session.delivery.tracks[cid]
        start: tuple[int, str | None] = track.mark or (session.login.opened_at or 0, None)
        filled = 0
        while True:
            logs = LogsCommand(
                cid=cid,
                t=start[0],
                mid=start[1],
                l=PAGE,
                direction=QueryDirection.NEW,
            )
            reply = await session.request(
                GenericCommand(cmd=CommandType.LOGS, logs_message=logs), retry=False
            )
            items = reply.logs_message.logs if reply.logs_message is not None else []
            if any(item.from_ == session.client_id for item in items):
                # History may show what this client is sending before the answer does.
                await session.sends_settled(cid)
            for item in items:
                message = message_from_log_item(item, cid, session.registry, session.client_id)
                filled += session.publish(MessageReceived(cid, message))
            if len(items) < PAGE:
                return filled
            last = items[-1]
            start = (last.timestamp or start[0], last.msg_id)
