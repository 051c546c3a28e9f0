"""The client of awesome-im. Protocol: docs/protocol/awesome-im.md §2, §5, §6."""

from __future__ import annotations

import logging
import secrets
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast, overload

import attrs
import trio

from trio_realtime._engine.backoff import Backoff
from trio_realtime._engine.link_state import LinkState
from trio_realtime._io.exception_groups import background_nursery, single_error
from trio_realtime._io.future import Future
from trio_realtime._io.reconnect import CONNECT_TIMEOUT, LinkKeeper, connect_failed, patience
from trio_realtime._io.subscription import DEFAULT_BUFFER, Hub, Subscription
from trio_realtime._values.errors import (
    ClientClosed,
    CommandTimeout,
    ConnectionLost,
    RealtimeError,
)
from trio_realtime._values.events import Event
from trio_realtime._values.times import checked_seconds
from trio_realtime.transport import (
    ConnectError,
    Payload,
    StreamOpener,
    Transport,
    connect,
)

from ._codec import (
    MAX_FRAME,
    FrameError,
    decode_envelope,
    encode_message,
    encode_ping,
)
from ._events import Connected, MessageReceived, Notice
from ._messages import PING, BaseMessage, CustomMessage

logger = logging.getLogger("trio_realtime.awesome")

LONGEST_DELAY = 30.0
"""Seconds between two attempts to reconnect, at most: docs/protocol/awesome-im.md §6."""
DEAD_AFTER = 3
"""Ping intervals without any frame after which the link counts as dead, if the server is one
that answers pings."""
REMEMBERED = 256
"""Own messages whose repeated echo is recognised."""

M = TypeVar("M", bound=BaseMessage)
E_co = TypeVar("E_co", bound=Event, covariant=True)


@attrs.frozen(kw_only=True)
class _Config:
    url: str
    user_id: str
    ping_interval: float
    answer_timeout: float
    ssl_context: ssl.SSLContext | None
    open_stream: StreamOpener | None
    connect_timeout: float
    connect_retry: float


@attrs.define(eq=False)
class _PendingMessage:
    """A message whose answer is waited for."""

    payload: bytes
    retry: bool
    answer: Future[BaseMessage]
    patience: trio.CancelScope
    """Ends the wait; the time without a link does not count."""
    transmitted: bool = False
    """On the present link."""


class _MessageChannel:
    """The link of one client, and what waits for an answer on it."""

    def __init__(self, config: _Config) -> None:
        self.link: LinkKeeper = LinkKeeper(
            dial=self._dial,
            on_up=self._link_up,
            on_down=self._link_down,
            publish=self._publish,
            backoff=Backoff(longest=LONGEST_DELAY),
            first_patience=config.connect_retry,
        )
        self.config = config
        self.hub: Hub = Hub(lambda _event: None)
        self._prefix = secrets.token_hex(8)
        self._count = 0
        self._pending: dict[str, _PendingMessage] = {}
        """What was sent and not answered yet, by message id, in the order of sending."""
        self._online = False
        """What is sent leaves at once: nothing waits in front of it."""
        self._answered: deque[str] = deque(maxlen=REMEMBERED)

    # The link.

    @asynccontextmanager
    async def _dial(self) -> AsyncIterator[Transport]:
        config = self.config
        try:
            async with connect(
                config.url,
                subprotocol=None,
                ssl_context=config.ssl_context,
                connect_timeout=config.connect_timeout,
                open_stream=config.open_stream,
                max_message_size=MAX_FRAME,
                deliver=self._received,
            ) as transport:
                yield transport
        except ConnectError as error:
            raise connect_failed(error) from error

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the link until cancelled. Raises `ConnectFailed` if the first attempt fails."""
        try:
            await self.link.run(task_status=task_status)
        finally:
            self._end(ClientClosed("the client has been closed"))

    def _link_up(self) -> None:
        self.link.healthy()
        self._publish(Connected())
        self.link.start_soon(self._ping)
        self.link.start_soon(self._send_deferred)

    def _link_down(self, error: Exception) -> None:
        self._online = False
        for pending in self._pending.values():
            pending.transmitted = False
            pending.patience.deadline = float("inf")
            if not pending.retry:
                pending.answer.set(error)

    async def _ping(self) -> None:
        """The first one at once: it tells the server who this is."""
        while True:
            await self.link.send(encode_ping(self._new_id("ping"), self.config.user_id))
            await trio.sleep(self.config.ping_interval)

    async def _send_deferred(self) -> None:
        """Send what waits, in order; what is sent meanwhile queues up behind."""
        while untransmitted := [item for item in self._pending.items() if not item[1].transmitted]:
            for message_id, pending in untransmitted:
                # It may have been given up while others were on their way.
                if self._pending.get(message_id) is pending:
                    await self._transmit(pending)
        self._online = True

    async def _transmit(self, pending: _PendingMessage) -> None:
        pending.transmitted = True
        pending.patience.deadline = trio.current_time() + self.config.answer_timeout
        await self.link.send(pending.payload)

    def _received(self, payloads: list[Payload]) -> None:
        for payload in payloads:
            try:
                if isinstance(payload, str):
                    raise FrameError("a text frame")  # noqa: TRY301 - of one kind with the rest
                self._receive(payload)
            except FrameError as error:
                logger.warning("dropped a frame: %s", error)

    def _receive(self, payload: bytes) -> None:
        envelope = decode_envelope(payload)
        message = envelope.message
        if envelope.code != 0:
            self._publish(Notice(envelope.code, envelope.reason, message))
        elif message is None:
            logger.warning("dropped an envelope without a message")
        elif isinstance(message, CustomMessage) and message.type == PING:
            # A server may pass on those of others; one that answers this client's will go on.
            if (message.message_id or "").startswith(self._prefix):
                self.link.limit_silence(DEAD_AFTER * self.config.ping_interval)
        elif message.message_id in self._pending:
            pending = self._pending.pop(message.message_id)
            self._answered.append(message.message_id)
            pending.answer.set(message)
        elif message.message_id is None or message.message_id not in self._answered:
            self._publish(MessageReceived(message))

    # Sending.

    def _new_id(self, kind: str = "") -> str:
        self._count += 1
        return f"{self._prefix}-{kind}{self._count}"

    async def send(self, message: M, *, retry: bool) -> M:
        if self.link.error is not None:
            raise self.link.error
        if not retry and not self.link.connected:
            raise ConnectionLost(1006, "not connected")
        message_id = message.message_id or self._new_id()
        if message_id in self._pending:
            raise ValueError(f"a message with the id {message_id!r} is being sent already")
        sent = attrs.evolve(
            message, message_id=message_id, sender=message.sender or self.config.user_id
        )
        payload = encode_message(sent)
        with trio.CancelScope() as patience:
            pending = _PendingMessage(payload, retry, Future(), patience)
            self._pending[message_id] = pending
            try:
                if self._online:
                    await self._transmit(pending)
                # The class is the server's to choose; by default it is that of what was sent.
                return cast("M", await pending.answer.get())
            finally:
                self._pending.pop(message_id, None)
        raise CommandTimeout(type(message).__name__, None, self.config.answer_timeout)

    def _publish(self, event: Event) -> None:
        self.hub.publish(event)

    def _end(self, error: RealtimeError) -> None:
        """Loops end; whatever waits fails."""
        for pending in self._pending.values():
            pending.answer.set(error)
        self.hub.end(None)


class Client:
    """A connected client of awesome-im. Made by `open_client`."""

    def __init__(
        self, channel: _MessageChannel, scope: trio.CancelScope, ended: trio.Event
    ) -> None:
        self._channel = channel
        self._scope = scope
        self._ended = ended

    def __repr__(self) -> str:
        return f"<awesome.Client {self.user_id!r} {self.state.name.lower()}>"

    @property
    def user_id(self) -> str:
        """The id this client sends under."""
        return self._channel.config.user_id

    @property
    def state(self) -> LinkState:
        """Where the connection stands. Protocol: docs/protocol/awesome-im.md §6."""
        return self._channel.link.state

    @overload
    def events(self, *, max_buffer: int = DEFAULT_BUFFER) -> Subscription[Event]: ...

    @overload
    def events(
        self, *types: type[E_co], max_buffer: int = DEFAULT_BUFFER
    ) -> Subscription[E_co]: ...

    def events(self, *types: type[Event], max_buffer: int = DEFAULT_BUFFER) -> Subscription[Any]:
        """Subscribe to what happens; each call gives an independent stream.

        The first subscription also receives what has happened since the connection was made.

        Args:
            types: event classes; without any, all events: `MessageReceived`, `Notice`,
                `Connected` and those of the connection, as in the main client.
            max_buffer: events that may wait for the loop before the subscription ends with
                `SlowConsumer`.

        Protocol: docs/protocol/awesome-im.md §2.
        """
        hub = self._channel.hub
        return Subscription(hub, hub.subscribe(types, None, max_buffer))

    async def send(self, message: M, *, retry: bool = True) -> M:
        """Send a message; returns what the server made of it.

        Waits for the connection if it is down. The message counts as sent when the server has
        returned its ``messageId``. If the link breaks before that, it is sent again on the
        next one with the same id: a server that does not look at ids may pass it on twice.

        Args:
            message: what to send, and to whom.
            retry: off: fail with `ConnectionLost` if there is no connection or it breaks.

        Raises:
            CommandTimeout: the server did not return the message in time.
            ConnectionLost: with ``retry`` off, see there.
            FrameError: MessagePack cannot express the message, or it is too large.
            ClientClosed: after `disconnect`.
            ValueError: another message with the same id is on its way.

        Protocol: docs/protocol/awesome-im.md §5.
        """
        return await self._channel.send(message, retry=retry)

    async def disconnect(self) -> None:
        """Close the connection for good: there is no reconnection, and loops end.

        Protocol: docs/protocol/awesome-im.md §6.
        """
        self._scope.cancel()
        await self._ended.wait()


@asynccontextmanager
async def open_client(
    url: str,
    *,
    user_id: str,
    ping_interval: float = 6.0,
    answer_timeout: float = 20.0,
    ssl_context: ssl.SSLContext | None = None,
    open_stream: StreamOpener | None = None,
    connect_timeout: float = CONNECT_TIMEOUT,
    connect_retry: bool | float = False,
) -> AsyncIterator[Client]:
    """Connect to a server of awesome-im, and stay connected for the time of the block.

    A connection that is lost, for whatever reason, is restored without limit: after 1 second,
    doubling to 30.

    Args:
        url: WebSocket URL, for instance ``ws://localhost:8088``.
        user_id: the id of this user.
        ping_interval: seconds between two heartbeats. A server that answers them, and then
            is silent for three intervals, counts as lost.
        answer_timeout: seconds to wait until the server returns a message; time without a
            connection does not count.
        ssl_context: for ``wss://``; the default verifies the server.
        open_stream: where bytes come from instead of TCP; for tests without sockets.
        connect_timeout: seconds that one attempt to connect may take.
        connect_retry: wait for a server that is not up yet: True for as long as it takes, or
            a number of seconds after which no attempt is begun any more. What cannot pass,
            such as a certificate that is not trusted, is raised at once all the same.

    Raises:
        ConnectFailed: the first attempt to connect failed.
        TypeError, ValueError: an argument is no time to wait.

    Protocol: docs/protocol/awesome-im.md §2, §6.
    """
    checked_seconds(ping_interval, "ping_interval")
    checked_seconds(answer_timeout, "answer_timeout")
    checked_seconds(connect_timeout, "connect_timeout")
    channel = _MessageChannel(
        _Config(
            url=url,
            user_id=user_id,
            ping_interval=ping_interval,
            answer_timeout=answer_timeout,
            ssl_context=ssl_context,
            open_stream=open_stream,
            connect_timeout=connect_timeout,
            connect_retry=patience(connect_retry),
        )
    )
    ended = trio.Event()

    async def run(*, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        try:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(channel.run)
                    task_status.started(scope)
        finally:
            ended.set()

    async with background_nursery() as nursery:
        try:
            with single_error():
                scope = await nursery.start(run)
            yield Client(channel, scope, ended)
        finally:
            nursery.cancel_scope.cancel()
