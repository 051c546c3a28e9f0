"""Keeping a link: one socket after another, as the table of the connection says.

What is spoken on the link is the business of whoever made the keeper, and is given to it as
a few functions. Protocol: docs/protocol/transport.md §7.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress

import trio

from trio_realtime._engine.backoff import Backoff
from trio_realtime._engine.link_state import LinkMachine, LinkState, LinkTrigger
from trio_realtime._values.errors import (
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    RealtimeError,
    Retry,
)
from trio_realtime._values.events import (
    Disconnected,
    Event,
    Offline,
    Online,
    Reconnecting,
    ReconnectScheduled,
)
from trio_realtime._values.times import checked_seconds
from trio_realtime.transport import ConnectError, Payload, Transport, TransportClosed

logger = logging.getLogger("trio_realtime")


CONNECT_TIMEOUT = 20.0
"""Seconds that one attempt to connect may take."""


def patience(connect_retry: bool | float) -> float:
    """Seconds in which the very first attempt is repeated: True is for as long as it takes.

    Raises:
        TypeError, ValueError: it is no time to wait.
    """
    if isinstance(connect_retry, bool):
        return float("inf") if connect_retry else 0.0
    return checked_seconds(connect_retry, "connect_retry")


def never_final(_closed: TransportClosed) -> None:
    """No close code is final: whatever ends a link, another one follows."""


def connect_failed(error: ConnectError) -> ConnectFailed:
    """What the user is told of an attempt to dial."""
    retry = Retry.NEVER if error.permanent else None
    failure = ConnectFailed(str(error), status=error.status, retry=retry)
    failure.__cause__ = error
    return failure


class LinkKeeper:
    """Dials, serves one link after another, and waits between them.

    Args:
        dial: opens a link; its entrance raises `ConnectFailed`.
        on_up: a link is up: starts what runs on it, with `start_soon`.
        on_down: the link is down; may be called twice for one link.
        on_final: an error has ended the connection for good.
        final_error: the error that a close of the peer means, if no link can follow it.
        publish: tells whoever listens what happens to the connection.
        backoff: when to try again.
        first_patience: seconds in which the very first attempt is repeated, if that can help.
    """

    def __init__(
        self,
        *,
        dial: Callable[[], AbstractAsyncContextManager[Transport]],
        on_up: Callable[[], None],
        on_down: Callable[[Exception], None],
        publish: Callable[[Event], None],
        final_error: Callable[[TransportClosed], RealtimeError | None] = never_final,
        on_final: Callable[[RealtimeError], None] = lambda _error: None,
        backoff: Backoff | None = None,
        first_patience: float = 0.0,
    ) -> None:
        self._dial = dial
        self._on_up = on_up
        self._on_down = on_down
        self._on_final = on_final
        self._final_error = final_error
        self._publish = publish
        self._first_patience = first_patience
        self._machine = LinkMachine(backoff or Backoff())
        self._transport: Transport | None = None
        self._tasks: trio.Nursery | None = None
        """What runs on the present link."""
        self._scope: trio.CancelScope | None = None
        """The present link, or the attempt to open one."""
        self._lost: Exception | None = None
        """Why the present link ended."""
        self._silence_limit = float("inf")
        self._silence = trio.CancelScope()
        """Cancelled when the present link may have been silent for too long."""
        self._wakeup = trio.Event()
        """Set when the wait for the next attempt is to be reconsidered."""
        self._up = trio.Event()
        self.error: Exception | None = None
        """What ended the connection for good."""

    @property
    def state(self) -> LinkState:
        """Where the connection stands."""
        return self._machine.state

    @property
    def connected(self) -> bool:
        """Whether there is a link at this moment."""
        return self._transport is not None

    # Wishes of the user: allowed in any state.

    def pause(self) -> None:
        """Disconnect and stay so until `resume`, for instance while a device sleeps."""
        was_connected = self._machine.state is LinkState.CONNECTED
        if self._machine.handle(LinkTrigger.PAUSE):
            if was_connected:
                self._went_down(ConnectionLost(1000, "paused"))
            self._publish(Offline())
            self._interrupt()

    def resume(self) -> None:
        """Connect again after `pause`, at once."""
        if self._machine.handle(LinkTrigger.RESUME):
            self._publish(Online())
            self._interrupt()

    def retry(self) -> None:
        """Do not wait for the next attempt; the schedule starts over."""
        if self._machine.state is LinkState.DISCONNECTED:
            self._machine.backoff.skip_next()
            self._interrupt()

    def _interrupt(self) -> None:
        if self._scope is not None:
            self._scope.cancel()
        self._wakeup.set()

    # The present link.

    async def send(self, payload: Payload) -> None:
        """Queue a payload on the present link; without one it is lost with the last."""
        if self._transport is not None:
            try:
                await self._transport.send(payload)
            except TransportClosed:
                # The reader is about to find out and tell everybody.
                return

    def start_soon(self, function: Callable[..., Awaitable[None]], *args: object) -> None:
        """Run something in the background of the present link; it ends with the link."""
        assert self._tasks is not None, "no link"
        # A link that is just ending takes nothing up any more, and would end it at once.
        with suppress(RuntimeError):
            self._tasks.start_soon(function, *args)

    def healthy(self) -> None:
        """The link is good for something: the schedule starts over."""
        self._machine.backoff.reset()

    def drop(self, reason: str) -> None:
        """Give up the present link; the ordinary reconnection follows."""
        if self._machine.state is LinkState.CONNECTED and self._scope is not None:
            self._lost = ConnectionLost(1006, reason)
            self._scope.cancel()

    def limit_silence(self, seconds: float) -> None:
        """Give up the present link if nothing at all is heard on it for this long."""
        transport = self._transport
        assert transport is not None, "no link"
        self._silence_limit = seconds
        self._silence.deadline = transport.last_received + seconds

    def silent_for(self, seconds: float) -> bool:
        """Whether nothing at all has been heard on the present link for this long."""
        transport = self._transport
        # As a deadline is computed: a difference may be smaller by a rounding.
        return transport is not None and trio.current_time() >= transport.last_received + seconds

    async def wait_up(self) -> None:
        """Wait for a link. Raises what ended the connection for good."""
        await self._up.wait()
        if self.error is not None:
            raise self.error

    # The background task.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the connection until cancelled, or until an error that is final.

        Raises:
            ConnectFailed: the very first attempt failed.
        """
        started = False
        patient_until = trio.current_time() + self._first_patience
        try:
            while True:
                try:
                    with trio.CancelScope() as self._scope:
                        async with self._dial() as transport:
                            # The user may have paused in the moment it was opened.
                            await trio.lowlevel.checkpoint_if_cancelled()
                            self._came_up(transport)
                            if not started:
                                started = True
                                task_status.started()
                            await self._serve(transport)
                except ConnectFailed as error:
                    if not started:
                        if error.retry is Retry.NEVER or trio.current_time() >= patient_until:
                            raise
                        await self._first_again(error, patient_until)
                        continue
                    if self._machine.state is LinkState.RECONNECTING:
                        self._machine.handle(LinkTrigger.ATTEMPT_FAILED)
                finally:
                    self._scope = None
                    self._transport = None
                self._ended()
                if self._machine.state is LinkState.FAILED:
                    return
                await self._next_attempt()
        finally:
            if self._machine.handle(LinkTrigger.CLOSE):
                self.error = ClientClosed("the connection has been closed")
                self._up.set()

    async def _first_again(self, error: ConnectFailed, until: float) -> None:
        """Wait until it is time for another first attempt, at ``until`` at the latest."""
        backoff = self._machine.backoff
        delay = min(backoff.next_delay(), until - trio.current_time())
        logger.warning("not connected yet, trying again in %.1f seconds: %s", delay, error)
        backoff.attempted()
        await trio.sleep(delay)

    def _came_up(self, transport: Transport) -> None:
        self._transport = transport
        self._lost = None
        self._silence_limit = float("inf")
        self._machine.handle(LinkTrigger.OPENED)
        self._up.set()

    async def _serve(self, transport: Transport) -> None:
        """Let the tasks of the link run until it ends."""
        async with trio.open_nursery() as self._tasks:
            self._on_up()
            try:
                await self._wait_for_end(transport)
            except TransportClosed as closed:
                self._closed_by_peer(closed)
            self._tasks.cancel_scope.cancel()

    async def _wait_for_end(self, transport: Transport) -> None:
        """Wait until the peer closes, or is silent for too long, whatever is still to be sent."""
        while not self.silent_for(self._silence_limit):
            deadline = transport.last_received + self._silence_limit
            with trio.CancelScope(deadline=deadline) as self._silence:
                # Messages go where `dial` said, as they arrive; this waits for the end.
                await transport.receive()
        self.drop(f"nothing heard for {self._silence_limit:g} seconds")

    def _closed_by_peer(self, closed: TransportClosed) -> None:
        error = self._final_error(closed)
        if error is None:
            self._lost = ConnectionLost(closed.code, closed.reason)
            return
        self.error = error
        self._up.set()
        self._machine.handle(LinkTrigger.THROW)
        self._on_final(error)

    def _ended(self) -> None:
        """The tasks of the link are gone."""
        error = self._lost or ConnectionLost(1006, "")
        if self._machine.state is LinkState.CONNECTED:
            self._machine.handle(LinkTrigger.LOST)
            self._went_down(error)
        else:
            # Told already, but a task may have gone on before it noticed.
            self._on_down(error)

    def _went_down(self, error: Exception) -> None:
        self._up = trio.Event()
        self._on_down(error)
        self._publish(Disconnected(error=error))

    async def _next_attempt(self) -> None:
        """Wait until it is time, or the user says so."""
        machine = self._machine
        while True:
            self._wakeup = trio.Event()
            if machine.state is LinkState.OFFLINE:
                await self._wakeup.wait()
                continue
            delay = machine.backoff.next_delay()
            self._publish(ReconnectScheduled(attempt=machine.backoff.attempt, delay=delay))
            with trio.move_on_after(delay):
                await self._wakeup.wait()
            if not self._wakeup.is_set() and machine.state is LinkState.DISCONNECTED:
                break
        attempt = machine.backoff.attempt
        machine.backoff.attempted()
        machine.handle(LinkTrigger.ATTEMPT)
        self._publish(Reconnecting(attempt=attempt))
