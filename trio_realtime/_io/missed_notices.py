"""Fetching the news about this client that it missed: docs/protocol/session.md §7.

They come from the REST API, beside everything else: a host that does not answer delays nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import trio

from trio_realtime._engine.login import LoginState
from trio_realtime._engine.mapping import events_from_notification
from trio_realtime._engine.notices import ToldNotices
from trio_realtime._values.errors import RealtimeError
from trio_realtime._values.events import ConversationEvent, Event, NotificationGap
from trio_realtime._values.registry import MessageRegistry
from trio_realtime._values.times import optional_datetime

from .rest import ClientRest

logger = logging.getLogger("trio_realtime")

AGAIN_AFTER = (1.0, 2.0, 4.0, 8.0)
"""Seconds after which the REST API is asked again that did not answer."""
FAILED = (RealtimeError, AttributeError, TypeError)
"""What a REST API raises that is down, or answers with something else."""


class MissedNotices:
    """Fetches and delivers the notices of one client.

    Args:
        login: since when.
        registry: how messages are parsed.
        rest: where they are.
        receive: is told of an event that has come.
        publish: delivers an event.
    """

    def __init__(
        self,
        *,
        login: LoginState,
        registry: MessageRegistry,
        rest: ClientRest,
        receive: Callable[[Event], None],
        publish: Callable[[Event], object],
    ) -> None:
        self._login = login
        self._registry = registry
        self._rest = rest
        self._receive = receive
        self._publish = publish
        self.told: ToldNotices = ToldNotices()
        self._unfetched_from: int | None = None
        """Server time after which notices still have to be fetched."""
        self._settled = trio.Event()
        self.replayed: Counter[str] = Counter()
        """How many were delivered for each conversation, and not yet reported."""

    def note(self, event: Event) -> bool:
        """Take note of a live event that a replay may repeat; False if it has been told."""
        return self.told.note(
            event, self._unfetched_from or self._login.notification_watermark or 0
        )

    def link_lost(self) -> None:
        """What is missed from now on is still to be fetched."""
        if self._rest.available and self._unfetched_from is None:
            self._unfetched_from = self._login.notification_watermark
        self._settled = trio.Event()

    @property
    def unfetched_from(self) -> int | None:
        """Server time after which notices still have to be fetched; None: there are none."""
        return self._unfetched_from

    async def settled(self, patience: float) -> None:
        """Wait until they are fetched, but no longer than this many seconds."""
        if self._unfetched_from is not None:
            with trio.move_on_after(patience):
                await self._settled.wait()

    async def fetch(self) -> None:
        """Deliver what was missed. If the API does not answer it is asked again for a while.

        What could not be had by then is fetched on the next link, and reported until then.
        """
        for delay in (*AGAIN_AFTER, None):
            try:
                await self._fetch()
            except FAILED as error:
                failure = error
            else:
                break
            if delay is not None:
                await trio.sleep(delay)
        else:
            logger.warning("missed notifications could not be fetched: %s", failure)
            self._publish(NotificationGap(optional_datetime(self._unfetched_from), failure))
        self._settled.set()

    async def _fetch(self) -> None:
        while (watermark := self._unfetched_from) is not None:
            answer = await self._rest.get(
                "/1.1/rtm/notifications",
                {"client_id": self._login.assigned_id, "start_ts": str(watermark)},
            )
            # Without a type the answer comes in two parts; asked for one, it is bare.
            answer = answer.get("permanent", answer)
            reached = self._replay(answer, watermark)
            more = answer.get("hasMore") and reached > watermark
            self._unfetched_from = reached if more else None

    def _replay(self, answer: Any, watermark: int) -> int:
        """Deliver one page; returns up to when it reaches."""
        for item in answer["notifications"]:
            at = item.get("serverTs")
            if not isinstance(at, int) or at <= watermark:
                continue
            for event in events_from_notification(item, self._registry, self._login.assigned_id):
                if self.note(event):
                    self._receive(event)
                    self._publish(event)
                    if isinstance(event, ConversationEvent):
                        self.replayed[event.conversation_id] += 1
            watermark = at
        known = self._login.notification_watermark or 0
        self._login.notification_watermark = max(known, watermark)
        return watermark
