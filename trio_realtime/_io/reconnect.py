"""Keeping a link: one socket after another, as the table of the connection says.

What is spoken on the link is the business of subclasses. Protocol: docs/protocol/transport.md §7.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager

import trio

from trio_realtime._engine.backoff import Backoff
from trio_realtime._engine.link_state import LinkEvent, LinkMachine, LinkState
from trio_realtime._values.errors import ClientClosed, ConnectFailed, ConnectionLost, RealtimeError
from trio_realtime._values.events import (
    Disconnected,
    Event,
    Offline,
    Online,
    Reconnecting,
    ReconnectScheduled,
)
from trio_realtime.transport import Transport


class LinkKeeper(ABC):
    """Dials, serves one link after another, and waits between them."""

    def __init__(self, backoff: Backoff | None = None) -> None:
        self._machine = LinkMachine(backoff or Backoff())
        self._transport: Transport | None = None
        self._link_scope: trio.CancelScope | None = None
        self._wish = trio.Event()
        self._up = trio.Event()
        self._lost: Exception | None = None
        self.error: Exception | None = None
        """What ended the connection for good."""

    @property
    def state(self) -> LinkState:
        """Where the connection stands."""
        return self._machine.state

    # What a subclass does.

    @abstractmethod
    def _dial(self) -> AbstractAsyncContextManager[Transport]:
        """Open a link; its entrance raises `ConnectFailed`."""

    @abstractmethod
    async def _serve(self, transport: Transport) -> None:
        """Speak on one link until it ends; say why in `_lost`, or call `_fail`."""

    @abstractmethod
    def _publish(self, event: Event) -> None:
        """Tell whoever listens."""

    @abstractmethod
    def _suspend(self, error: Exception) -> None:
        """The link broke; may be called twice for one link."""

    @abstractmethod
    def _failed(self, error: RealtimeError) -> None:
        """An error has ended the connection for good."""

    @abstractmethod
    async def _closed(self) -> None:
        """The connection is over, for whatever reason; not for long."""

    # Wishes of the user: allowed in any state.

    def pause(self) -> None:
        """Disconnect and stay so until `resume`, for instance while a device sleeps."""
        was_connected = self._machine.state is LinkState.CONNECTED
        if self._machine.handle(LinkEvent.PAUSE):
            if was_connected:
                self._link_down(ConnectionLost(1000, "paused"))
            self._publish(Offline())
            self._interrupt()

    def resume(self) -> None:
        """Connect again after `pause`, at once."""
        if self._machine.handle(LinkEvent.RESUME):
            self._publish(Online())
            self._interrupt()

    def retry(self) -> None:
        """Do not wait for the next attempt; the schedule starts over."""
        if self._machine.state is LinkState.DISCONNECTED:
            self._machine.backoff.skip_next()
            self._interrupt()

    def healthy(self) -> None:
        """The link is good for something: the schedule starts over."""
        self._machine.backoff.reset()

    def drop(self, reason: str) -> None:
        """Give up the present link; the ordinary reconnection follows."""
        if self._machine.state is LinkState.CONNECTED and self._link_scope is not None:
            self._lost = ConnectionLost(1006, reason)
            self._link_scope.cancel()

    def silent_for(self, seconds: float) -> bool:
        """Whether nothing at all has been heard on the present link for this long."""
        transport = self._transport
        return transport is not None and (trio.current_time() - transport.last_received >= seconds)

    async def wait_up(self) -> None:
        """Wait for a link. Raises what ended the connection for good."""
        await self._up.wait()
        if self.error is not None:
            raise self.error

    def _interrupt(self) -> None:
        if self._link_scope is not None:
            self._link_scope.cancel()
        self._wish.set()

    # The background task.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the connection until cancelled, or until an error that is final.

        Raises:
            ConnectFailed: the very first attempt failed.
        """
        started = False
        try:
            while True:
                try:
                    with trio.CancelScope() as self._link_scope:
                        async with self._dial() as transport:
                            # The user may have paused in the moment it was opened.
                            await trio.lowlevel.checkpoint_if_cancelled()
                            self._link_up(transport)
                            if not started:
                                started = True
                                task_status.started()
                            await self._serve(transport)
                except ConnectFailed:
                    if not started:
                        raise
                    if self._machine.state is LinkState.RECONNECTING:
                        self._machine.handle(LinkEvent.ATTEMPT_FAILED)
                finally:
                    self._link_scope = None
                    self._transport = None
                self._link_ended()
                if self._machine.state is LinkState.FAILED:
                    return
                await self._next_attempt()
        finally:
            if self._machine.handle(LinkEvent.CLOSE):
                self.error = ClientClosed("the connection has been closed")
                self._up.set()
            await self._closed()

    def _link_up(self, transport: Transport) -> None:
        self._transport = transport
        self._lost = None
        self._machine.handle(LinkEvent.OPENED)
        self._up.set()

    def _link_ended(self) -> None:
        """The tasks of the link are gone."""
        error = self._lost or ConnectionLost(1006, "")
        if self._machine.state is LinkState.CONNECTED:
            self._machine.handle(LinkEvent.LOST)
            self._link_down(error)
        else:
            # Told already, but a task may have gone on before it noticed.
            self._suspend(error)

    def _link_down(self, error: Exception) -> None:
        self._up = trio.Event()
        self._suspend(error)
        self._publish(Disconnected(error=error))

    def _fail(self, error: RealtimeError) -> None:
        """Nothing will mend this."""
        self.error = error
        self._up.set()
        self._machine.handle(LinkEvent.THROW)
        self._failed(error)

    async def _next_attempt(self) -> None:
        """Wait until it is time, or the user says so."""
        machine = self._machine
        while True:
            self._wish = trio.Event()
            if machine.state is LinkState.OFFLINE:
                await self._wish.wait()
                continue
            delay = machine.backoff.next_delay()
            self._publish(ReconnectScheduled(attempt=machine.backoff.attempt, delay=delay))
            with trio.move_on_after(delay):
                await self._wish.wait()
            if not self._wish.is_set() and machine.state is LinkState.DISCONNECTED:
                break
        attempt = machine.backoff.attempt
        machine.backoff.attempted()
        machine.handle(LinkEvent.ATTEMPT)
        self._publish(Reconnecting(attempt=attempt))
