"""Independent streams of events: `IMClient.events`.

The reader of the connection puts events into every subscription and never waits: a
subscription that nobody reads fast enough fills its own buffer and ends, alone, with
`SlowConsumer`. This is what makes it safe to await any operation inside an event loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar, cast

import attrs
import trio

from trio_realtime._values.errors import SlowConsumer
from trio_realtime._values.events import ConversationEvent, Event
from trio_realtime._values.times import utc_now

E_co = TypeVar("E_co", bound=Event, covariant=True)

DEFAULT_BUFFER = 10_000
"""Events that wait for a subscription's loop before it ends with `SlowConsumer`."""


class _Queue:
    """The buffer between the reader and one loop."""

    __slots__ = ("conversation", "dropped", "ended", "error", "events", "room", "task", "types")

    def __init__(self, types: tuple[type[Event], ...], conversation: str | None, room: int) -> None:
        self.types = types
        self.conversation = conversation
        self.room = room
        self.events: deque[Event] = deque()
        self.task: trio.lowlevel.Task | None = None
        self.ended = False
        self.error: Exception | None = None
        self.dropped: SlowConsumer | None = None

    def wants(self, event: Event) -> bool:
        if self.types and not isinstance(event, self.types):
            return False
        return self.conversation is None or (
            isinstance(event, ConversationEvent) and event.conversation_id == self.conversation
        )

    def put(self, event: Event) -> bool:
        """Hand the event over without waiting; False if it was not wanted or dropped."""
        if self.ended or ((self.types or self.conversation) and not self.wants(event)):
            return False
        if self.dropped is not None or len(self.events) >= self.room:
            self._drop()
            return False
        self.events.append(event)
        self.wake()
        return True

    def _drop(self) -> None:
        if self.dropped is None:
            self.dropped = SlowConsumer(dropped=0, since=utc_now())
        self.dropped.dropped += 1

    def end(self, error: Exception | None) -> None:
        if not self.ended:
            self.ended = True
            self.error = error
            self.wake()

    def wake(self) -> None:
        if self.task is not None:
            trio.lowlevel.reschedule(self.task)
            self.task = None


class Hub:
    """All subscriptions of one client.

    What arrives before the first subscription is kept for it, so that nothing is missed
    between the login and the first ``events()``.
    """

    def __init__(
        self, took_early: Callable[[Event], None], early_room: int = DEFAULT_BUFFER
    ) -> None:
        self.took_early = took_early
        self._queues: list[_Queue] = []
        self._early: _Queue | None = _Queue((), None, early_room)
        self._ended = False
        self._error: Exception | None = None
        self.error_seen = False
        """Whether a loop was told why the client ended."""

    @property
    def listening(self) -> bool:
        """Whether there is a loop, or a subscription that a loop will take up."""
        return bool(self._queues)

    def publish(self, event: Event) -> bool:
        """Hand an event to every subscription that wants it; whether one took it."""
        handed = False
        for queue in self._queues:
            handed |= queue.put(event)
        if self._early is not None:
            self._early.put(event)
            if self._early.dropped is not None:
                # Nobody has asked for so long that nobody is going to.
                self._early = None
        return handed

    def subscribe(
        self, types: tuple[type[Event], ...], conversation: str | None, room: int
    ) -> _Queue:
        """A new queue; the first one takes over the early events."""
        queue = _Queue(types, conversation, room)
        if self._early is not None:
            for event in self._early.events:
                if queue.put(event):
                    self.took_early(event)
            self._early = None
        if self._ended:
            queue.end(self._error)
        else:
            self._queues.append(queue)
        return queue

    def discard(self, queue: _Queue) -> None:
        """The subscription is over."""
        if queue in self._queues:
            self._queues.remove(queue)

    def end(self, error: Exception | None) -> None:
        """The client ended: loops finish what is buffered, then stop or raise."""
        self._ended = True
        self._error = error
        for queue in self._queues:
            queue.end(error)


@attrs.define(eq=False, repr=False)
class Subscription(Generic[E_co]):
    """A stream of events: iterate over it with ``async for``.

    It buffers from the moment it was made, so nothing is missed between making it and
    iterating. Leaving it (``with client.events() as events:``, or simply dropping it)
    ends it; when the client logs out the loop ends; when the client is ended by an error,
    the loop raises that error after the events that came before it.

    Raises:
        SlowConsumer: the loop fell behind by more than the buffer. The events buffered
            until then are delivered first; nothing else is affected.
        RealtimeError: the error that ended the client.
    """

    _hub: Hub
    _queue: _Queue
    _handled: Callable[[Event], None] | None = None
    """With acknowledgement on the next step: called with the event that was dealt with."""
    _last: Event | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E_co:
        queue = self._queue
        if self._last is not None and self._handled is not None:
            self._handled(self._last)
            self._last = None
        if not queue.events:
            if queue.dropped is not None:
                await trio.lowlevel.checkpoint()
                self.close()
                raise queue.dropped
            if not queue.ended:
                await self._wait()
            else:
                await trio.lowlevel.checkpoint()
            if not queue.events:
                self.close()
                if queue.error is not None:
                    self._hub.error_seen = True
                    raise queue.error
                raise StopAsyncIteration
        else:
            # A loop that is behind catches up without going through the scheduler for
            # every event; it stops at once when cancelled.
            await trio.lowlevel.checkpoint_if_cancelled()
        event = queue.events.popleft()
        if self._handled is not None:
            self._last = event
        return cast("E_co", event)

    async def _wait(self) -> None:
        queue = self._queue
        if queue.task is not None:
            raise trio.BusyResourceError("another task is already iterating over these events")
        queue.task = trio.lowlevel.current_task()

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            queue.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def close(self) -> None:
        """Stop receiving. Events that are still buffered are forgotten."""
        self._hub.discard(self._queue)
        self._queue.end(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self._hub.discard(self._queue)
