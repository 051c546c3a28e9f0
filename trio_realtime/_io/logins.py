"""Getting in, and in again: the first login of one client, and one on each link that follows.

What a login leads to is the business of the session. Here it is decided whether and when another
one is tried.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from trio_realtime._engine.backoff import Backoff
from trio_realtime._engine.refusals import Consequence, consequences
from trio_realtime._values.errors import (
    CommandError,
    CommandTimeout,
    ConnectFailed,
    ConnectionLost,
    RealtimeError,
    Retry,
)
from trio_realtime._values.events import (
    Event,
    ReconnectFailed,
    Reconnecting,
    ReconnectScheduled,
)

from .authentication import Authentication
from .connection import ClientConnection

logger = logging.getLogger("trio_realtime")

STABLE = 60.0
"""Seconds after which a login is not to blame for what becomes of the session."""


class Logins:
    """The logins of one client.

    Args:
        authentication: logs in.
        connection: where.
        publish: tells the subscriptions.
        closed: whether the client has ended meanwhile.
    """

    def __init__(
        self,
        authentication: Authentication,
        connection: ClientConnection,
        *,
        publish: Callable[[Event], object],
        closed: Callable[[], bool],
    ) -> None:
        self._authentication = authentication
        self._connection = connection
        self._link = connection.link
        self._publish = publish
        self._closed = closed
        self._backoff = Backoff()
        """When to log in again on a link that is there."""
        self._last_at = float("-inf")
        self._hurry = trio.Event()
        """Set when the wait for the next login is over."""

    def succeeded(self) -> None:
        """The server has let the client in."""
        self._link.healthy()
        self._last_at = trio.current_time()

    async def first(self, begin: Callable[[], Awaitable[None]]) -> None:
        """Log in for the first time. Raises what the server or the link says.

        Where the connection is to wait for its server, a link that breaks before the login, a
        server that does not answer and a refusal that passes are no end yet.

        Args:
            begin: waits for a link, and prepares a login on it.
        """
        patient_until = trio.current_time() + self._connection.options.connect_retry
        while True:
            try:
                await begin()
                await self._authentication.log_in()
                break
            except (ConnectionLost, ConnectFailed, CommandError, CommandTimeout) as error:
                now = trio.current_time()
                if self._closed() or now >= patient_until or not _passes(error):
                    raise
                logger.warning("not logged in yet, trying again: %s", error)
                if self._is_dead(error):
                    self._link.drop(str(error))
                elif not isinstance(error, ConnectionLost):
                    delay = self._backoff.next_delay()
                    self._backoff.attempted()
                    await trio.sleep(min(delay, patient_until - now))
        self._backoff.reset()

    async def again(self) -> bool:
        """Log in on a new link. False: nothing more will happen on this one.

        Only where others share the link is it tried a second time: alone, the client had
        better try another link.

        Raises:
            CommandError: the server refuses for good.
        """
        while True:
            try:
                await self._authentication.log_in()
            except ConnectionLost as error:
                self._link.drop(str(error))
                return False
            except RealtimeError as error:
                if self._closed():
                    return False
                dead = self._is_dead(error)
                if not dead:
                    self._publish(ReconnectFailed(error=error))
                if isinstance(error, CommandError) and not _passes(error):
                    raise
                if dead or not self._connection.shared:
                    self._link.drop(str(error))
                    return False
                await self._turn()
            else:
                # The link may have ended in the moment of the answer, or the user have left.
                await trio.lowlevel.checkpoint_if_cancelled()
                return not self._closed()

    async def next_turn(self) -> bool:
        """The server has lost the session: log in again at once, but not all the time.

        False: the client has ended meanwhile.
        """
        if self._backoff.attempt:
            await self._turn()
        else:
            self._backoff.attempted()
        return not self._closed()

    async def _turn(self) -> None:
        """Wait until it is time to log in again, or the user says so."""
        backoff = self._backoff
        delay = backoff.next_delay()
        self._publish(ReconnectScheduled(attempt=backoff.attempt, delay=delay))
        self._hurry = trio.Event()
        with trio.move_on_after(delay):
            await self._hurry.wait()
        attempt = backoff.attempt
        backoff.attempted()
        self._publish(Reconnecting(attempt=attempt))

    def hurry(self) -> None:
        """Do not wait for the next attempt to connect or to log in."""
        self._link.retry()
        self._backoff.reset()
        self._hurry.set()

    def link_lost(self) -> None:
        """The link broke."""
        if trio.current_time() >= self._last_at + STABLE:
            self._backoff.reset()

    def _is_dead(self, error: RealtimeError) -> bool:
        """Whether not the server refuses, but nothing at all is heard on the link."""
        return isinstance(error, CommandTimeout) and self._link.silent_for(error.seconds)


def _passes(error: RealtimeError) -> bool:
    """Whether the same login may succeed later."""
    if isinstance(error, CommandError):
        return consequences(error.code).on_return is Consequence.RECONNECT
    return not isinstance(error, ConnectFailed) or error.retry is not Retry.NEVER
