"""A client logged in on a connection: what the bus delivers to, and the hooks hear of."""

from __future__ import annotations

from typing import Protocol

import attrs

from trio_realtime.server.bus.interface import Channel, LiveSession
from trio_realtime.server.hooks.queue import HookQueue
from trio_realtime.server.hooks.types import ClientOffline, ClientOnline, OfflineReason
from trio_realtime.server.rules.types import Caller, Feature
from trio_realtime.wire import CommandType, GenericCommand, OpType, SessionCommand

from .context import AppContext
from .reply_order import ReplyOrder
from .send_buffer import SendBuffer

SESSION_CONFLICT = 4111


class SessionChannel(Channel, Protocol):
    """A connection, as the sessions on it see it."""

    @property
    def address(self) -> str:
        """Where its client is."""

    @property
    def buffer(self) -> SendBuffer:
        """What is on its way to the client."""

    @property
    def sessions(self) -> dict[str, GatewaySession]:
        """The sessions on it by client id."""

    @property
    def busy(self) -> bool:
        """Whether anything that was asked for here is not done."""

    def push_alone(self, command: GenericCommand, peer: str | None, at: int | None, /) -> None:
        """A push for one client only."""

    def abort(self) -> None:
        """Drop the connection without a word."""


@attrs.define(eq=False)
class GatewaySession:
    """One client logged in on one connection."""

    connection: SessionChannel
    app: AppContext
    client_id: str
    features: Feature
    tag: str | None = None
    device: str | None = None
    room: str | None = None
    """The chat room it is in."""
    kicks: int = 0
    """How often the client had been kicked before it logged in."""
    tokens: tuple[str, ...] = ()
    """With which its client may return: the token it was given last, and the one before, as
    long as it is not known that the answer has arrived."""
    leaving: bool = False
    """Its client has asked to be logged out, and waits for what it asked before."""
    caller: Caller = attrs.field(init=False)
    replies: ReplyOrder = attrs.field(init=False)
    hook_queue: HookQueue | None = attrs.field(init=False, default=None)
    """Where commands wait for the application's hooks, if it has any."""

    def __attrs_post_init__(self) -> None:
        self.replies = ReplyOrder(self.connection.buffer)
        if self.app.hooks is not None:
            self.hook_queue = HookQueue(self.app.hooks, self.app.spawn)
        self._describe()

    def update(self, features: Feature, tag: str | None, device: str | None) -> None:
        """Take over what a new login of the same session says."""
        self.features, self.tag, self.device = features, tag, device
        self._describe()

    def move(self, room: str | None) -> None:
        """Be in this chat room from now on."""
        self.room = room
        self._describe()

    @property
    def live(self) -> bool:
        """Whether it is not over yet."""
        return self.connection.sessions.get(self.client_id) is self

    # Its end.

    def log_out(self) -> None:
        """Its client has had enough."""
        if self._gone():
            self.app.bus.leave(self)
            self.tell_offline(OfflineReason.LOGOUT)

    def lose(self) -> None:
        """Its connection is lost to its client."""
        if self.leaving:
            self.log_out()
        elif self._gone():
            self.app.bus.lose(self)
            self.tell_offline(OfflineReason.LOST)

    def abandon(self, successor: LiveSession | None) -> None:
        """Its client has returned on another connection, and left this one."""
        self.lose()
        if successor is not None:
            # What was said here must not undo what will be said there.
            self.app.store.succeed(self.connection, successor.connection)
        self.connection.abort()

    def end(self, code: int, reason: str, detail: str | None = None) -> None:
        """Force it off-line and tell its client why; the connection stays open."""
        if not self._gone():
            return
        self.app.bus.leave(self)
        conflict = code == SESSION_CONFLICT
        self.tell_offline(OfflineReason.CONFLICT if conflict else OfflineReason.KICKED, reason)
        closed = GenericCommand(
            cmd=CommandType.SESSION,
            op=OpType.CLOSED,
            session_message=SessionCommand(code=code, reason=reason, detail=detail),
        )
        self.connection.push_alone(closed, self.client_id, None)

    def _gone(self) -> bool:
        """Take it off its connection; whether it was there."""
        if not self.live:
            return False
        del self.connection.sessions[self.client_id]
        self.app.unfinished.gone(self.client_id, self.connection)
        return True

    # What the application is told.

    def tell_online(self, *, reconnect: bool) -> None:
        """Tell the application that the client has logged in."""
        if self.app.hooks is not None:
            self.app.hooks.client_online(
                ClientOnline(
                    client_id=self.client_id,
                    address=self.connection.address,
                    tag=self.tag,
                    reconnect=reconnect,
                )
            )

    def tell_offline(self, reason: OfflineReason, message: str | None = None) -> None:
        """Tell the application that the session is over."""
        if self.app.hooks is not None:
            lost = reason is OfflineReason.LOST
            self.app.hooks.client_offline(
                ClientOffline(
                    client_id=self.client_id,
                    reason=reason,
                    message=message,
                    address=None if lost else self.connection.address,
                    tag=self.tag,
                )
            )

    def _describe(self) -> None:
        self.caller = Caller(
            self.app.app,
            self.client_id,
            self.connection,
            self.features,
            self.connection.address,
            self.room,
            self.app.config.limits.json_depth,
        )
