"""Filling the gap that a broken link leaves.

When the link breaks, every conversation with traffic is *deferred*: what arrives for it on the
next link waits. After the session has resumed, the server is asked which conversations have
something new. The others go on at once. Of those that have, the history is read from the last
message delivered up to the present, those messages are delivered, then what was deferred. Ids
make the overlap harmless.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime

import attrs
import trio

from trio_realtime._engine.changes import (
    Last,
    MembersQuery,
    about_ids,
    about_temporary,
    changed,
    last_messages,
)
from trio_realtime._engine.delivery import NOWHERE, SLACK, Delivery, Place
from trio_realtime._engine.login import LoginState
from trio_realtime._engine.mapping import message_from_log_item
from trio_realtime._engine.reading import Reading
from trio_realtime._values.conversations import ConversationKind
from trio_realtime._values.errors import (
    CommandError,
    CommandTimeout,
    ConnectionLost,
    RealtimeError,
    Retry,
    SessionRequired,
)
from trio_realtime._values.events import (
    Event,
    Gap,
    MessageRecalled,
    MessageReceived,
    MessageUpdated,
    UnreadUpdated,
)
from trio_realtime._values.protocol import TEMPORARY_PREFIX
from trio_realtime._values.registry import MessageRegistry
from trio_realtime._values.times import optional_datetime
from trio_realtime.wire import GenericCommand, LogItem

from .command_channel import CommandChannel
from .missed_notices import MissedNotices
from .paced_questions import PacedQuestions
from .reconnect import LinkKeeper
from .subscription import DEFAULT_BUFFER, Hub

logger = logging.getLogger("trio_realtime")

AT_ONCE = 4
"""Conversations caught up side by side."""
SETTLED = 10.0
"""Seconds after a login in which its unread counters may come."""
PATIENCE = 5.0
"""Seconds to wait for the news that says since when this client is a member."""
NOT_SHOWN_YET = (0.5, 1.0, 2.0, 4.0)
"""Seconds after which a history is read again that does not have the last message yet."""


class CatchUp:
    """Reads what one client missed.

    Args:
        login: since when, and up to when.
        delivery: what has been delivered, and what is deferred.
        registry: how messages are parsed.
        commands: knows what this client is just sending.
        questions: the way to the server.
        notices: the news about this client that are fetched at the same time.
        link: the link in whose background this happens.
        hub: the subscriptions that may need time.
        publish: delivers an event; False for a message that was delivered before.
        missing: is told from when until when something is missing for good, before what came
            after is delivered.
    """

    def __init__(
        self,
        *,
        login: LoginState,
        delivery: Delivery[Event],
        registry: MessageRegistry,
        commands: CommandChannel,
        questions: PacedQuestions,
        notices: MissedNotices,
        link: LinkKeeper,
        hub: Hub,
        publish: Callable[[Event], bool],
        missing: Callable[[str, int, int | None], None],
    ) -> None:
        self._login = login
        self._delivery = delivery
        self._registry = registry
        self._commands = commands
        self._questions = questions
        self._notices = notices
        self._link = link
        self._hub = hub
        self._publish = publish
        self._missing = missing
        self._limiter = trio.CapacityLimiter(AT_ONCE)
        self._returned = False
        """Whether something may have been missed before this link."""
        self._asking = False
        """Whether it is being found out what has changed."""
        self._blind = False
        """Whether that could not be found out."""
        self._settled = False
        """Whether that is done, and counters that come with the login have come."""
        self._since = 0
        """Server time since which something may have been missed before this login."""
        self._reading: dict[str, None] = {}
        """Conversations whose history is, or is about to be, read."""
        self._named: dict[str, Place] = {}
        """The last messages that the server has named since this login."""
        self._more: set[str] = set()
        """Conversations of which it has said that this client missed messages before it."""
        self._live: dict[str, int] = {}
        """Server times of the first messages that were pushed since, while others waited."""
        self._cuts: dict[str, list[tuple[int, int | None]]] = {}
        """Since and until when something is missing, of each conversation, and is still to be told."""
        self._own: list[MessageReceived] = []
        """What may be messages that this client is just sending."""
        self._started = False
        """Whether questions can be asked since the present login."""
        self._scopes: set[trio.CancelScope] = set()
        """What is being asked. A session may be opened again on the same link."""

    @property
    def returned(self) -> bool:
        """Whether the client has been logged in before, and something may have been missed."""
        return self._returned

    def begin(self) -> None:
        """The client is back: what is pushed from now on may have something missing before it."""
        self._returned = self._asking = True
        self._settled = False
        self._since = self._delivery.complete_until
        self._blind = False
        self._reading.clear()
        self._named.clear()
        self._more.clear()
        self._live.clear()
        self._started = False
        for scope in self._scopes:
            scope.cancel()
        self._scopes.clear()

    def start(self) -> None:
        """Catch up in the background of the present link."""
        self._started = True
        self._start(self._fetch_notices)
        self._start(self._everything)
        for cid in self._reading:
            self._start(self._conversation, cid)
        for event in self._own:
            self._start(self._settle_own, event)

    def _start(self, function: Callable[..., Awaitable[None]], *args: object) -> None:
        scope = trio.CancelScope()
        self._scopes.add(scope)
        self._link.start_soon(self._run, scope, function, *args)

    async def _run(
        self, scope: trio.CancelScope, function: Callable[..., Awaitable[None]], *args: object
    ) -> None:
        with scope:
            await function(*args)
        self._scopes.discard(scope)

    # What the session hears meanwhile.

    def unread(self, event: UnreadUpdated) -> None:
        """A counter may name a message that was said while the client was away."""
        cid, last = event.conversation_id, event.last_message
        if not self._returned or not event.count:
            return
        track = self._delivery.tracks.get(cid)
        if last is None:
            if track is None:
                self._read(cid)
            return
        self._name(cid, (last.timestamp_ms, last.id))
        if self._settled and last.timestamp_ms > self._login.returned_at:
            # It was pushed on this link. Sooner it may have come before the login all the
            # same: a busy conversation is ahead of the clock.
            return
        if track is None:
            missed = last.timestamp_ms >= self._since
        else:
            kind = ConversationKind.NORMAL if event.kind is None else event.kind
            missed = changed(track, Last(cid, kind, last.timestamp_ms, last.id))
        if missed:
            self._read(cid)

    def shows(self, cid: str, kind: int | None, place: Place) -> None:
        """There are missed messages before this one, which is pushed: the history has them."""
        if kind != ConversationKind.SERVICE:
            self._more.add(cid)
        self._name(cid, place)

    def _name(self, cid: str, place: Place) -> None:
        self._named[cid] = max(self._named.get(cid, NOWHERE), place)

    def heard(self, cid: str, timestamp: int) -> None:
        """A message is pushed that was said just now, and will be in the history."""
        if timestamp >= self._login.returned_at and self._delivery.deferred(cid) is not None:
            self._live.setdefault(cid, timestamp)

    def spoke(self, cid: str, kind: int | None, *, offline: bool) -> None:
        """A message is pushed; there may be older ones of a conversation not known so far."""
        if not self._returned or cid in self._delivery.tracks or kind == ConversationKind.CHAT_ROOM:
            return
        unlisted = kind == ConversationKind.SERVICE or cid.startswith(TEMPORARY_PREFIX)
        if offline or unlisted or self._blind:
            self._read(cid)
        elif self._asking:
            self._delivery.defer([cid])

    # What has changed.

    async def _everything(self) -> None:
        try:
            await self._find_changed()
        except ConnectionLost:
            return
        except RealtimeError as error:
            if self._is_dead(error):
                return
            logger.info("cannot ask which conversations have changed: %s", error)
            self._blind = True
            for cid in self._unsettled():
                self._read(cid)
        self._asking = False
        await trio.sleep(SETTLED)
        self._settled = True
        self._finish()

    async def _find_changed(self) -> None:
        delivery = self._delivery
        since = delivery.complete_until
        members = MembersQuery(self._login.assigned_id, since)
        while not members.finished:
            page = await self._last_messages(members.command())
            members.take(page)
            for last in page:
                if last.cid in delivery.tracks and delivery.tracks[last.cid].left:
                    # It is a member again.
                    delivery.joined(last.cid, since)
            self._sort_out(page)
        while self._unsettled():
            await self._ask_about_known(since)

    async def _ask_about_known(self, since: int) -> None:
        """What no list of memberships shows, or shows only if it has changed."""
        tracks = self._delivery.tracks
        for some, command in about_temporary(self._unsettled()):
            self._sort_out(await self._last_messages(command))
            self._read_all(some)
        unknown = [cid for cid in self._unsettled() if tracks[cid].kind is None]
        for some, command in about_ids(unknown, None):
            self._sort_out(await self._last_messages(command))
            self._read_all(some)
        # Service conversations do not say when they spoke last.
        service = ConversationKind.SERVICE
        self._read_all([cid for cid in self._unsettled() if tracks[cid].kind == service])
        # What the first login was to bring may have been said long before it.
        at_least = since if self._delivery.begun else None
        for some, command in about_ids(self._unsettled(), at_least):
            self._sort_out(await self._last_messages(command))
            for cid in set(some).intersection(self._unsettled()):
                self._release(cid)

    def _sort_out(self, page: Iterable[Last]) -> None:
        for last in page:
            cid = last.cid
            track = self._delivery.tracks.get(cid)
            if last.timestamp is not None:
                self._name(cid, (last.timestamp, last.mid or ""))
            if cid in self._reading:
                continue
            if changed(track, last):
                self._read(cid)
            elif track is not None and track.deferred is not None:
                self._release(cid)

    def _unsettled(self) -> list[str]:
        """Deferred conversations of which it is not known whether they missed something."""
        return [cid for cid in self._delivery.waiting if cid not in self._reading]

    def _read_all(self, cids: Iterable[str]) -> None:
        """Of these the server said nothing: their histories may."""
        unsettled = set(self._unsettled())
        for cid in cids:
            if cid in unsettled:
                self._read(cid)

    async def _last_messages(self, command: GenericCommand) -> list[Last]:
        return last_messages(await self._questions.ask(command))

    # The history of one conversation.

    def _read(self, cid: str) -> None:
        """Catch up one conversation."""
        if cid in self._reading:
            return
        self._reading[cid] = None
        self._delivery.defer([cid])
        self._delivery.begin_at(cid, self._since)
        if self._started:
            self._start(self._conversation, cid)

    async def _conversation(self, cid: str) -> None:
        async with self._limiter:
            gap = Gap(cid)
            try:
                if not self._delivery.start(cid)[1]:
                    await self._notices.settled(PATIENCE)
                gap = await self._fill(cid)
            except ConnectionLost:
                # Stays deferred; the next resumption begins where this one stopped.
                return
            except RealtimeError as error:
                if self._is_dead(error):
                    return
                gap = self._failed(cid, error)
        self._reading.pop(cid, None)
        self._release(cid, gap)
        self._finish()

    def _is_dead(self, error: Exception) -> bool:
        """Whether not the server refuses but the link, or the session on it, is dead.

        After the next login it may succeed.
        """
        if isinstance(error, SessionRequired):
            return True
        if isinstance(error, CommandTimeout) and self._link.silent_for(error.seconds):
            self._link.drop(str(error))
            return True
        return False

    def _failed(self, cid: str, error: RealtimeError) -> Gap:
        logger.info("cannot catch up conversation %s: %s", cid, error)
        since, _ = self._cuts.pop(cid, [self._delivery.start(cid)])[0]
        self._missing(cid, since, None)
        if isinstance(error, CommandError) and error.retry is Retry.NEVER:
            # No longer a member, or no longer there: said once.
            self._delivery.left(cid)
        return Gap(
            cid,
            missing_from=optional_datetime(since),
            missing_until=self._missed_until(cid),
            error=error,
        )

    def _release(self, cid: str, gap: Gap | None = None) -> None:
        """Deliver what waited, and tell what became of the conversation."""
        edited = 0
        for event in self._delivery.deferred(cid) or ():
            if isinstance(event, MessageUpdated | MessageRecalled):
                edited += (event.message.updated_at_ms or 0) <= self._login.returned_at
            self._publish(event)
        self._delivery.release(cid)
        self._report(attrs.evolve(gap or Gap(cid), edited=edited))

    def _finish(self) -> None:
        # Who could not ask what has changed asks on the next link, from the same time on.
        done = self._settled and not self._blind
        if done and not self._reading and not self._delivery.waiting:
            self._delivery.caught_up(self._login.returned_at)

    def _missed_until(self, cid: str) -> datetime | None:
        """Server time up to which something of a conversation may have been missed.

        A busy conversation is ahead of the clock: only its own messages say where it was at the
        login. The first that is pushed comes after all that was missed, and what the server
        named then is the last of it. Where neither is known, it was ahead by `SLACK` at most.
        """
        returned = self._login.returned_at
        until = self._live.get(cid)
        if until is None:
            named = self._named.get(cid)
            until = returned + SLACK if named is None else max(returned, named[0])
        return optional_datetime(until)

    def _report(self, gap: Gap) -> None:
        """Tell what became of a conversation, if there is anything to tell."""
        gap = attrs.evolve(gap, notices=self._notices.replayed.pop(gap.conversation_id, 0))
        if gap != Gap(gap.conversation_id):
            self._publish(gap)

    async def _fetch_notices(self) -> None:
        await self._notices.fetch()
        for cid in list(self._notices.replayed):
            if self._delivery.deferred(cid) is None:
                self._report(Gap(cid))

    async def _fill(self, cid: str) -> Gap:
        """Deliver the history since the last message known.

        A history may not show yet what was said last: it is read again after a while.
        """
        filled = 0
        for delay in (*NOT_SHOWN_YET, None):
            start = self._delivery.start(cid)
            reading = Reading(cid, start)
            filled += await self._deliver(cid, reading, start)
            shown = self._is_shown(cid, reading)
            if shown or delay is None:
                break
            await trio.sleep(delay)
        # Who was only named a message may have become a member after it was said.
        shown = shown or not (self._delivery.tracks[cid].heard or cid in self._more)
        # What is said to be missing here is not missing again on the next link.
        if reading.cut and reading.upto is None:
            reached = max(self._named.get(cid, NOWHERE), (self._login.returned_at, ""))
            self._cut(cid, start[0], None, reached[0])
            self._delivery.given_up(cid, reached)
        elif not shown:
            reached, named = self._delivery.start(cid), self._named[cid]
            self._cut(cid, reached[0], named[0], named[0])
            if reached[1]:
                self._delivery.known_upto(cid, *named)
            else:
                self._delivery.given_up(cid, (named[0] + 1, ""))
        gaps = [
            Gap(
                cid,
                missing_from=optional_datetime(since),
                missing_until=optional_datetime(until) or self._missed_until(cid),
            )
            for since, until in self._cuts.pop(cid, [])
        ]
        for gap in gaps[:-1]:
            self._publish(gap)
        return attrs.evolve(gaps[-1] if gaps else Gap(cid), filled=filled)

    def _cut(self, cid: str, since: int, until: int | None, reached: int) -> None:
        """Of a history something is missing, up to ``reached`` if ``until`` is not known.

        It is told when the rest is read, which may take another link.
        """
        cuts = self._cuts.setdefault(cid, [])
        if all(since != one[0] for one in cuts):
            self._missing(cid, since, reached)
            cuts.append((since, until))

    def _is_shown(self, cid: str, reading: Reading) -> bool:
        """Whether the history has what the server has named as the last message, if it must.

        It need not where it was said before this client became a member, or is a broadcast.
        Where it has nothing at all, what was said a moment ago may still come.
        """
        track, (timestamp, mid) = self._delivery.tracks[cid], self._named.get(cid, NOWHERE)
        if reading.cut and reading.upto is None:
            latest = max(timestamp, self._delivery.start(cid)[0])
            return latest < self._login.returned_at - SLACK
        if not mid or mid in track.seen or track.kind == ConversationKind.SERVICE:
            return True
        reached = reading.upto or self._delivery.start(cid)
        if reached[1]:
            return (timestamp, mid) <= reached
        # What was said in the millisecond from which on all is missed is missed.
        return timestamp < reached[0]

    async def _deliver(self, cid: str, reading: Reading, start: Place) -> int:
        """Deliver what a history shows from a place on; returns how many messages these were."""
        filled = 0
        while (command := reading.command) is not None:
            reply = await self._questions.ask_history(command)
            items = list(reply.logs_message.logs) if reply.logs_message is not None else []
            page = reading.take(items)
            if reading.cut_until is not None:
                self._cut(cid, start[0], reading.cut_until, reading.cut_until)
            sending = {item.msg_id for item in page if self._is_sending(cid, item)}
            for event in self._in_order(cid, page):
                # What is fetched can wait for the user, unlike what is pushed.
                if self._hub.crowded and len(self._delivery.deferred(cid) or ()) < DEFAULT_BUFFER:
                    await self._hub.relieved()
                if event.message.id in sending:
                    # The answer may be under way that says that it is this client's own.
                    self._own.append(event)
                    self._start(self._settle_own, event)
                else:
                    filled += self._publish(event)
            if reading.upto is not None:
                self._delivery.known_upto(cid, *reading.upto)
        return filled

    def _in_order(self, cid: str, page: Sequence[LogItem]) -> list[MessageReceived]:
        """The messages of a page, and those that wait though they belong between them.

        These the history does not have: the server has given them up, or never kept them.
        """
        me = self._login.assigned_id
        messages = [message_from_log_item(item, cid, self._registry, me) for item in page]
        events = [MessageReceived(cid, one, own=one.sender == me) for one in messages]
        if events:
            last = messages[-1].timestamp_ms
            events += [
                event
                for event in self._delivery.deferred(cid) or ()
                if type(event) is MessageReceived
                and event.message.timestamp_ms < last
                and not event.message.transient
            ]
            events.sort(key=lambda event: (event.message.timestamp_ms, event.message.id))
        return events

    def _is_sending(self, cid: str, item: LogItem) -> bool:
        own = item.from_ == self._login.assigned_id
        return own and self._commands.is_sending(cid, item.data or "")

    async def _settle_own(self, event: MessageReceived) -> None:
        """Deliver what somebody has sent as this client elsewhere, once that is certain."""
        await self._commands.sends_settled(event.conversation_id)
        self._own.remove(event)
        self._publish(event)
