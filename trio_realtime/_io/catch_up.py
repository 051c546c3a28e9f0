"""Filling the gap that a broken link leaves.

When the link breaks, every conversation with traffic is *deferred*: what arrives for it on the
next link waits. After the session has resumed, its history is read from the last message
delivered up to the present, those messages are delivered, then what was deferred. Ids make
the overlap harmless. A conversation that first spoke while the client was away is found
through the unread notification that follows the login.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs
import trio

from trio_realtime._engine.delivery import Delivery
from trio_realtime._engine.login import PERSONAL_NOTICES, LoginState
from trio_realtime._engine.mapping import events_from_notification, message_from_log_item
from trio_realtime._values.errors import CommandTimeout, ConnectionLost, RealtimeError
from trio_realtime._values.events import (
    ConversationEvent,
    Event,
    Gap,
    MessageRecalled,
    MessageReceived,
    MessageUpdated,
    NotificationGap,
    UnreadUpdated,
)
from trio_realtime._values.registry import MessageRegistry
from trio_realtime._values.times import optional_datetime
from trio_realtime.wire import CommandType, GenericCommand, LogItem, LogsCommand, QueryDirection

from .command_channel import CommandChannel
from .reconnect import LinkKeeper
from .rest import ClientRest

logger = logging.getLogger("trio_realtime")

PERSONAL = tuple(PERSONAL_NOTICES.values())
REMEMBERED = 64
"""Notices of the latest moments, in which the clocks of push and replay may differ."""

PATIENCE = 1.0
"""Seconds that messages wait for the notifications, which should come before them."""
AGAIN_AFTER = (1.0, 2.0, 4.0, 8.0)
"""Seconds after which the REST API is asked again that did not answer."""
FAILED = (RealtimeError, AttributeError, TypeError)
"""What a REST API raises that is down, or answers with something else."""

PAGE = 100
AT_ONCE = 4
"""Conversations caught up side by side."""


class CatchUp:
    """Reads what one client missed.

    Args:
        login: since when, and up to when.
        delivery: what has been delivered, and what is deferred.
        registry: how messages are parsed.
        commands: the way to the server.
        rest: its REST API.
        link: the link in whose background this happens.
        publish: delivers an event; False for a message that was delivered before.
    """

    def __init__(
        self,
        *,
        login: LoginState,
        delivery: Delivery[Event],
        registry: MessageRegistry,
        commands: CommandChannel,
        rest: ClientRest,
        link: LinkKeeper,
        publish: Callable[[Event], bool],
    ) -> None:
        self._login = login
        self._delivery = delivery
        self._registry = registry
        self._commands = commands
        self._rest = rest
        self._link = link
        self._publish = publish
        self._limiter = trio.CapacityLimiter(AT_ONCE)
        self._noted: deque[tuple[type[Event], str, datetime | None]] = deque(maxlen=REMEMBERED)
        """Personal notices that have arrived: the replay may hold them too."""
        self._unfetched_from: int | None = None
        """Server time after which notifications still have to be fetched."""
        self._replayed: Counter[str] = Counter()
        """How many notices were replayed for each conversation."""

    def start(self) -> None:
        """Catch up every deferred conversation in the background of the present link."""
        for cid, track in self._delivery.tracks.items():
            if track.deferred is not None:
                self._link.start_soon(self._conversation, cid)

    def _report_replayed(self) -> None:
        """Tell what was replayed for conversations that have nothing else to catch up."""
        for cid in list(self._replayed):
            if self._delivery.deferred(cid) is None:
                self._report(Gap(cid))

    def note(self, event: Event) -> bool:
        """Take note of an event that a replay may repeat; False if it is known already."""
        if not isinstance(event, PERSONAL):
            return True
        notice = (type(event), event.conversation_id, event.at)
        if notice in self._noted:
            return False
        self._noted.append(notice)
        return True

    async def notifications(self) -> None:
        """Deliver the membership notifications that were missed: docs/protocol/session.md §7.

        They come from the REST API; without one they stay missed. If it does not answer it
        is asked again in the background of the present link, and after that on the next.
        Messages do not wait for an API that is silent.
        """
        answered = trio.Event()
        self._link.start_soon(self._replay_missed, answered)
        with trio.move_on_after(PATIENCE):
            await answered.wait()

    async def _replay_missed(self, answered: trio.Event) -> None:
        error: Exception = ConnectionLost()
        for delay in (0, *AGAIN_AFTER):
            await trio.sleep(delay)
            try:
                await self._fetch_notifications()
            except FAILED as failure:
                error = failure
            else:
                self._report_replayed()
                return
            finally:
                answered.set()
        logger.warning("missed notifications could not be fetched: %s", error)
        since = optional_datetime(self._unfetched_from)
        self._publish(NotificationGap(since, error))

    async def _fetch_notifications(self) -> None:
        watermark = self._unfetched_from or self._login.notification_watermark
        while watermark is not None and self._rest.available:
            # Live notifications move the watermark of the login in the meantime.
            self._unfetched_from = watermark
            answer = await self._rest.get(
                "/1.1/rtm/notifications",
                {"client_id": self._login.assigned_id, "start_ts": str(watermark)},
            )
            # Without a type the answer comes in two parts; asked for one, it is bare.
            answer = answer.get("permanent", answer)
            before, watermark = watermark, self._replay(answer, watermark)
            if not answer.get("hasMore") or watermark <= before:
                break
        self._unfetched_from = None

    def _replay(self, answer: Any, watermark: int) -> int:
        """Deliver one page; returns up to when it reaches."""
        for item in answer["notifications"]:
            at = item.get("serverTs")
            if not isinstance(at, int) or at <= watermark:
                continue
            for event in events_from_notification(item, self._registry, self._login.assigned_id):
                if self.note(event):
                    self._publish(event)
                    if isinstance(event, ConversationEvent):
                        self._replayed[event.conversation_id] += 1
            watermark = at
        known = self._login.notification_watermark or 0
        self._login.notification_watermark = max(known, watermark)
        return watermark

    def unread(self, event: UnreadUpdated) -> None:
        """After a resumption: an unread notification may name a conversation never seen yet."""
        if event.count:
            self.unseen(event.conversation_id)

    def unseen(self, cid: str) -> None:
        """A conversation spoke while the client was away; catch it up if it is new."""
        if cid not in self._delivery.tracks:
            self._delivery.defer([cid])
            self._link.start_soon(self._conversation, cid)

    async def _conversation(self, cid: str) -> None:
        async with self._limiter:
            try:
                gap = await self._fill(cid)
            except ConnectionLost:
                # Stays deferred; the next resumption begins where this one stopped.
                return
            except RealtimeError as error:
                if isinstance(error, CommandTimeout) and self._link.silent_for(error.seconds):
                    # Not the server refuses, the link is dead: on the next one it may succeed.
                    self._link.drop(str(error))
                    return
                logger.info("cannot catch up conversation %s: %s", cid, error)
                mark = self._delivery.tracks[cid].mark
                since = mark[0] if mark else self._login.opened_at
                gap = Gap(
                    cid,
                    missing_from=optional_datetime(since),
                    missing_until=self._live_since(cid),
                    error=error,
                )
        edited = 0
        for event in self._delivery.deferred(cid) or ():
            if isinstance(event, MessageUpdated | MessageRecalled):
                edited += (event.message.updated_at_ms or 0) <= self._login.returned_at
            self._publish(event)
        self._delivery.release(cid)
        self._report(attrs.evolve(gap, edited=edited))

    def _live_since(self, cid: str) -> datetime | None:
        """Server time from which on nothing of a conversation was missed: the latest login.

        A busy conversation is ahead of the clock; then it is the first message heard since.
        """
        returned = optional_datetime(self._login.returned_at)
        for event in self._delivery.deferred(cid) or ():
            # What was heard before the latest login proves nothing.
            if isinstance(event, MessageReceived) and (returned is None or event.at >= returned):
                return event.at
        return returned

    def _report(self, gap: Gap) -> None:
        """Tell what became of a conversation, if there is anything to tell."""
        gap = attrs.evolve(gap, notices=self._replayed.pop(gap.conversation_id, 0))
        if gap != Gap(gap.conversation_id):
            self._publish(gap)

    async def _fill(self, cid: str) -> Gap:
        """Deliver the history since the last message known."""
        mark = self._delivery.tracks[cid].mark
        start: tuple[int, str | None] = mark or (self._login.opened_at or 0, None)
        gap = Gap(cid)
        first = True
        while True:
            # The message known is asked for again, to see that the history reaches back to it.
            # Without one, something may have been said in the very millisecond of the login.
            items = await self._history(
                LogsCommand(
                    cid=cid,
                    t=start[0],
                    mid=start[1],
                    l=PAGE,
                    direction=QueryDirection.NEW,
                    t_included=first or None,
                )
            )
            full = len(items) == PAGE
            if first and mark is not None:
                if items and items[0].msg_id == mark[1]:
                    del items[0]
                elif await self._is_cut(cid, mark):
                    until = optional_datetime(items[0].timestamp) if items else None
                    gap = Gap(
                        cid,
                        missing_from=optional_datetime(mark[0]),
                        missing_until=until or self._live_since(cid),
                    )
            first = False
            if any(item.from_ == self._login.assigned_id for item in items):
                # History may show what this client is sending before the answer does.
                await self._commands.sends_settled(cid)
            filled = gap.filled
            for item in items:
                me = self._login.assigned_id
                message = message_from_log_item(item, cid, self._registry, me)
                filled += self._publish(MessageReceived(cid, message, own=message.sender == me))
            gap = attrs.evolve(gap, filled=filled)
            if items:
                last = items[-1]
                start = (last.timestamp or start[0], last.msg_id)
                self._delivery.known_upto(cid, start[0], last.msg_id or "")
            if not full:
                return gap

    async def _is_cut(self, cid: str, mark: tuple[int, str]) -> bool:
        """Whether the server no longer has anything as old as what is known."""
        older = LogsCommand(
            cid=cid, t=mark[0], mid=mark[1], l=1, direction=QueryDirection.OLD, t_included=True
        )
        return not await self._history(older)

    async def _history(self, logs: LogsCommand) -> list[LogItem]:
        command = GenericCommand(cmd=CommandType.LOGS, logs_message=logs)
        reply = await self._commands.request(command, repeat="never", internal=True)
        return list(reply.logs_message.logs) if reply.logs_message is not None else []
