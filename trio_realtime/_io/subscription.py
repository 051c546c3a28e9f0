"""Independent streams of events: `IMClient.events`.

The reader of the connection puts events into the buffer of every subscription and never
waits: a subscription that nobody reads fast enough fills its own buffer and ends, alone, with
`SlowConsumer`. This is what makes it safe to await any operation inside an event loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar, cast

import attrs
import outcome
import trio

from trio_realtime._values.checks import checked_count, checked_flag
from trio_realtime._values.errors import SlowConsumer
from trio_realtime._values.events import ConversationEvent, Event, MessageEvent
from trio_realtime._values.times import utc_now

E_co = TypeVar("E_co", bound=Event, covariant=True)

DEFAULT_BUFFER = 10_000
"""Events that wait for a subscription's loop before it ends with `SlowConsumer`."""


class Buffer:
    """What waits between the reader and the loops of one subscription and its clones."""

    __slots__ = (
        "conversation",
        "dropped",
        "ended",
        "error",
        "events",
        "filtered",
        "own",
        "readers",
        "relief",
        "room",
        "types",
        "waiting",
    )

    def __init__(
        self,
        types: tuple[type[Event], ...],
        conversation: str | None,
        room: int,
        *,
        own: bool = True,
    ) -> None:
        self.types: tuple[type[Event], ...] = types
        self.conversation: str | None = conversation
        self.own: bool = own
        self.filtered: bool = bool(types or conversation or not own)
        self.room: int = room
        self.relief: trio.Event | None = None
        """Set when there is room again for what can wait elsewhere."""
        self.events: deque[Event] = deque()
        self.readers: int = 0
        """Open subscriptions that take from here."""
        self.waiting: dict[object, trio.lowlevel.Task] = {}
        """Those whose task waits for an event, in the order in which they are served. There
        are none while events are left."""
        self.ended: bool = False
        self.error: Exception | None = None
        self.dropped: SlowConsumer | None = None

    def wants(self, event: Event) -> bool:
        """Whether an event passes the filter."""
        if self.types and not isinstance(event, self.types):
            return False
        if not self.own and isinstance(event, MessageEvent) and event.own:
            return False
        return self.conversation is None or (
            isinstance(event, ConversationEvent) and event.conversation_id == self.conversation
        )

    def put(self, event: Event) -> bool:
        """Hand the event over without waiting; False if it was not wanted or dropped."""
        if self.ended or (self.filtered and not self.wants(event)):
            return False
        if self.waiting:
            self._wake(next(iter(self.waiting)), event)
            return True
        if self.dropped is not None or len(self.events) >= self.room:
            self._drop()
            return False
        self.events.append(event)
        return True

    def take(self) -> Event:
        """The event that has waited longest."""
        event = self.events.popleft()
        if self.relief is not None and not self.crowded:
            self.relieve()
        return event

    @property
    def crowded(self) -> bool:
        """Whether so much waits that what need not come now had better wait elsewhere."""
        return len(self.events) > self.room // 2 and self.dropped is None and not self.ended

    def relieve(self) -> None:
        """Let what waits elsewhere look again."""
        if self.relief is not None:
            self.relief.set()
            self.relief = None

    def _drop(self) -> None:
        if self.dropped is None:
            self.dropped = SlowConsumer(dropped=0, since=utc_now())
            self.relieve()
        self.dropped.dropped += 1

    def end(self, error: Exception | None) -> None:
        """Nothing more will come."""
        if not self.ended:
            self.ended = True
            self.error = error
            self.relieve()
            for reader in list(self.waiting):
                self.wake(reader)

    def wake(self, reader: object) -> None:
        """Have a reader look again why it waits, if it does."""
        if reader in self.waiting:
            self._wake(reader, None)

    def _wake(self, reader: object, event: Event | None) -> None:
        trio.lowlevel.reschedule(self.waiting.pop(reader), outcome.Value(event))

    async def wait(self, reader: object) -> Event | None:
        """Wait to be given an event, or None."""
        self.waiting[reader] = trio.lowlevel.current_task()

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            del self.waiting[reader]
            return trio.lowlevel.Abort.SUCCEEDED

        return cast("Event | None", await trio.lowlevel.wait_task_rescheduled(abort))


class Hub:
    """All subscriptions of one client.

    What arrives before there is any is kept, each event for the first subscription that wants
    it, so that nothing is missed between the login and the first loops. If it becomes too much
    it is dropped, and the first subscription is told so.
    """

    def __init__(
        self,
        took_early: Callable[[Event], None],
        early_room: int = DEFAULT_BUFFER,
        *,
        on_error_seen: Callable[[], None] = lambda: None,
    ) -> None:
        self.took_early = took_early
        self._buffers: list[Buffer] = []
        self._early: deque[Event] = deque()
        self._early_room = early_room
        """Zero once nothing is kept any more."""
        self._early_since: datetime | None = None
        self._lost: SlowConsumer | None = None
        """What was dropped before there was a subscription."""
        self._ended = False
        self._error: Exception | None = None
        self.on_error_seen: Callable[[], None] = on_error_seen

    @property
    def listening(self) -> bool:
        """Whether there is a loop, or a subscription that a loop will take up."""
        return bool(self._buffers)

    def publish(self, event: Event) -> bool:
        """Hand an event to every subscription that wants it; whether one took it."""
        handed = False
        for buffer in self._buffers:
            handed |= buffer.put(event)
        if self._early_room:
            self._keep(event)
        elif self._lost is not None:
            self._lost.dropped += 1
        return handed

    def _keep(self, event: Event) -> None:
        if self._early_since is None:
            self._early_since = utc_now()
        self._early.append(event)
        if len(self._early) > self._early_room:
            # Nobody has asked for so long that perhaps nobody is going to.
            self._lost = SlowConsumer(dropped=len(self._early), since=self._early_since)
            self._early.clear()
            self._early_room = 0

    @property
    def crowded(self) -> bool:
        """Whether a subscription had better not be given more than it must."""
        return any(buffer.crowded for buffer in self._buffers)

    async def relieved(self) -> None:
        """Wait until no subscription is crowded."""
        while crowded := [buffer for buffer in self._buffers if buffer.crowded]:
            relief = crowded[0].relief
            if relief is None:
                relief = crowded[0].relief = trio.Event()
            await relief.wait()

    @property
    def unclaimed(self) -> list[Event]:
        """Early events that no subscription has wanted, though there have been some."""
        return [] if self._early_room else list(self._early)

    def wants(self, event: Event) -> bool:
        """Whether a subscription wants the event, or one may come that does."""
        return bool(self._early_room) or any(buffer.wants(event) for buffer in self._buffers)

    def subscribe(
        self,
        types: tuple[type[Event], ...],
        conversation: str | None,
        room: int,
        *,
        own: bool = True,
    ) -> Buffer:
        """A new buffer, with what it wants of the early events that no other has taken.

        Raises:
            TypeError: one of the types is no class of events, or an option of the wrong type.
            ValueError: there is no room for a single event.
        """
        _check_types(types)
        checked_flag(own, "own")
        if checked_count(room, "max_buffer") < 1:
            raise ValueError(f"max_buffer is at least 1, not {room!r}")
        buffer = Buffer(types, conversation, room, own=own)
        self._early_room = 0
        buffer.dropped, self._lost = self._lost, None
        early, self._early = self._early, deque()
        for event in early:
            if not buffer.wants(event):
                self._early.append(event)
            elif buffer.put(event):
                self.took_early(event)
        if self._ended:
            buffer.end(self._error)
        else:
            self._buffers.append(buffer)
        return buffer

    def discard(self, buffer: Buffer) -> None:
        """The subscription is over."""
        if buffer in self._buffers:
            self._buffers.remove(buffer)

    def end(self, error: Exception | None) -> None:
        """The client ended: loops finish what is buffered, then stop or raise."""
        self._ended = True
        self._error = error
        for buffer in self._buffers:
            buffer.end(error)


def _check_types(types: tuple[object, ...]) -> None:
    for one in types:
        if not (isinstance(one, type) and issubclass(one, Event)):
            raise TypeError(f"events() takes classes of events, such as Event, not {one!r}")


@attrs.define(eq=False, repr=False)
class Subscription(trio.abc.ReceiveChannel[E_co]):
    """A stream of events: iterate over it with ``async for``.

    It is a `trio.abc.ReceiveChannel` and goes wherever one is expected. It buffers from the
    moment it was made, so nothing is missed between making it and iterating. Leaving it
    (``with client.events() as events:``, or simply dropping it) ends it; when the client logs
    out the loop ends; when the client is ended by an error, the loop raises that error after
    the events that came before it.

    One task at a time may wait for its events. Where several are to share the work, each
    takes a `clone`.

    Raises:
        SlowConsumer: the loop fell behind by more than the buffer. The events buffered
            until then are delivered first; nothing else is affected.
        RealtimeError: the error that ended the client.
        trio.BusyResourceError: another task waits for an event of this very subscription.
    """

    _hub: Hub
    _buffer: Buffer
    _handled: Callable[[Event], None] | None = None
    """With acknowledgement on the next step: called with the event that was dealt with."""
    _last: Event | None = None
    _receiving: bool = False
    _closed: bool = False

    def __attrs_post_init__(self) -> None:
        self._buffer.readers += 1

    async def receive(self) -> E_co:
        """The next event. Of those that are buffered already, without letting others run.

        Raises:
            trio.EndOfChannel: the client has logged out, and nothing is left.
            trio.ClosedResourceError: the subscription was closed here.
        """
        if self._receiving:
            raise trio.BusyResourceError(
                "another task waits for an event of this subscription: give each its clone()"
            )
        if self._last is not None:
            self._deal_with_last()
        if self._buffer.events and not self._closed:
            # A loop that is behind catches up without going through the scheduler for
            # every event; it stops at once when cancelled.
            await trio.lowlevel.checkpoint_if_cancelled()
            event: Event = self._buffer.take()
        else:
            event = await self._wait()
        if self._handled is not None:
            self._last = event
        return cast("E_co", event)

    def receive_nowait(self) -> E_co:
        """The next event, if there is one at once; for the rest see `receive`.

        Raises:
            trio.WouldBlock: there is none yet.
        """
        if self._receiving:
            raise trio.WouldBlock
        self._deal_with_last()
        if not self._buffer.events or self._closed:
            self._check()
            raise trio.WouldBlock
        event = self._buffer.take()
        if self._handled is not None:
            self._last = event
        return cast("E_co", event)

    async def _wait(self) -> Event:
        self._receiving = True
        try:
            try:
                self._check()
            except BaseException:
                await trio.lowlevel.checkpoint()
                raise
            while True:
                event = await self._buffer.wait(self)
                if event is not None:
                    return event
                self._check()
        finally:
            self._receiving = False

    def _check(self) -> None:
        """Raise why nothing will come any more, now that no event is left."""
        buffer = self._buffer
        if self._closed:
            raise trio.ClosedResourceError("this subscription was closed")
        if buffer.dropped is not None:
            self._hub.discard(buffer)
            raise buffer.dropped
        if buffer.error is not None:
            self._hub.on_error_seen()
            raise buffer.error
        if buffer.ended:
            raise trio.EndOfChannel

    def _deal_with_last(self) -> None:
        if self._last is not None and self._handled is not None:
            self._handled(self._last)
            self._last = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E_co:
        try:
            return await self.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise StopAsyncIteration from None

    def clone(self) -> Self:
        """Another handle of the same stream, for another task: each event goes to one of them.

        The stream ends when all of them are closed, as with the channels of Trio.

        Raises:
            trio.ClosedResourceError: the subscription was closed.
        """
        if self._closed:
            raise trio.ClosedResourceError("this subscription was closed")
        return type(self)(self._hub, self._buffer, self._handled)

    def close(self) -> None:
        """Stop receiving; a loop over it ends. Events still buffered are left to its clones."""
        if self._closed:
            return
        self._closed = True
        buffer = self._buffer
        buffer.readers -= 1
        buffer.wake(self)
        if not buffer.readers:
            self._hub.discard(buffer)
            buffer.events.clear()
            buffer.end(None)

    async def aclose(self) -> None:
        """`close`, and a checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is None and not self._closed:
            self._deal_with_last()
        self.close()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(exc_type, exc, traceback)
        await self.aclose()

    def __del__(self) -> None:
        self.close()
