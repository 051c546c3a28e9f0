"""What arrives for one client, on its way to the subscriptions: once, in order, and counted.

What is being fetched for a conversation comes first, and what arrives meanwhile waits for it. A
message is acknowledged when it has reached the user, and not before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import trio

from trio_realtime._engine.acknowledgements import Acknowledgements
from trio_realtime._engine.conversation_cache import ConversationCache
from trio_realtime._engine.delivery import Delivery
from trio_realtime._engine.login import LoginState
from trio_realtime._engine.message_hooks import HookedRegistry, MessageHooks
from trio_realtime._engine.positions import Positions
from trio_realtime._engine.unread import UnreadCounters
from trio_realtime._values.events import (
    ConversationEvent,
    Event,
    Invited,
    Kicked,
    MessageReceived,
    PluginFailed,
    UnreadUpdated,
)
from trio_realtime._values.times import ms_from_datetime
from trio_realtime._values.typed_messages import TypedMessage
from trio_realtime.wire import AckCommand, CommandType, GenericCommand

from .subscription import Hub


class Inbox:
    """The events of one client, and what follows from them.

    Args:
        login: who the client is.
        message_types: the application's own.
        plugins: what looks at messages before they are handed over.
        ack_on_delivery: whether a message has reached the user when a subscription has it;
            otherwise `handled` says so.
        on_due: called when `due_at` may have changed.
        on_error_seen: called when a subscription has raised what ended the client.
    """

    def __init__(
        self,
        login: LoginState,
        *,
        message_types: Sequence[type[TypedMessage]],
        plugins: Sequence[MessageHooks],
        ack_on_delivery: bool,
        on_due: Callable[[], None],
        on_error_seen: Callable[[], None],
    ) -> None:
        self._login = login
        self._ack_on_delivery = ack_on_delivery
        self._on_due = on_due
        self.hub: Hub = Hub(self._delivered, on_error_seen=on_error_seen)
        self.registry: HookedRegistry = HookedRegistry(message_types, plugins, self._report)
        self.delivery: Delivery[Event] = Delivery()
        self.positions: Positions = Positions()
        self.acks: Acknowledgements = Acknowledgements()
        self.unread: UnreadCounters = UnreadCounters()
        self.conversations: ConversationCache = ConversationCache(
            lambda: login.assigned_id, self.unread.of
        )
        self.rooms: set[str] = set()
        """Chat rooms: their messages are neither acknowledged nor counted."""
        self.on_progress: Callable[[], None] | None = None
        """Called when `positions` have changed; None while they are not kept for a later run."""

    def _report(self, event: PluginFailed) -> None:
        self.hub.publish(event)

    def sent(self, cid: str, timestamp: int, mid: str) -> None:
        """A message of this client was stored: nobody here awaits it."""
        now = trio.current_time()
        self.delivery.sent(cid, timestamp, mid, now)
        if self.on_progress is not None:
            self.positions.send(cid, (timestamp, mid), now)
            self.on_progress()

    def missing(self, cid: str, since: int, until: int | None) -> None:
        """Something is missing in this time: a `Gap` will follow."""
        if self.on_progress is not None:
            self.positions.hold(cid, since, until)

    def received(self, event: Event) -> None:
        """An event has come that the user may have to be given."""
        if self.on_progress is not None:
            self.positions.receive(event)

    def deliver(self, event: Event) -> None:
        """Publish an event now, or after what is being fetched for its conversation."""
        if isinstance(event, ConversationEvent):
            deferred = self.delivery.deferred(event.conversation_id)
            if deferred is not None:
                deferred.append(event)
                return
        self.publish(event)

    def publish(self, event: Event) -> bool:
        """Hand an event to the subscriptions; False for a message that was delivered before."""
        if type(event) is not MessageReceived:
            if isinstance(event, ConversationEvent):
                self.conversations.follow(event)
                if isinstance(event, UnreadUpdated):
                    self.unread.counted_by_server(event)
                elif isinstance(event, Kicked):
                    self.unread.forget(event.conversation_id)
                    self.delivery.left(event.conversation_id, _ms(event.at))
                elif isinstance(event, Invited):
                    self.delivery.joined(event.conversation_id, _ms(event.at) or 0)
                    self.positions.join(event.conversation_id, _ms(event.at) or 0)
            self._hand_over(event)
            return True
        message = event.message
        cid, stored = event.conversation_id, not message.transient
        if not self.delivery.accept(cid, message.timestamp_ms, message.id, stored=stored):
            return False
        if stored and self.on_progress is not None:
            self.positions.deliver(cid, (message.timestamp_ms, message.id))
        self.conversations.follow(event)
        counts = stored and not event.own and cid not in self.rooms
        if counts:
            self.acks.receive(cid, message.id)
        if not self.registry.lets_through(event):
            self.handled(event)
            return True
        if counts:
            self.unread.received(event)
        self._hand_over(event)
        return True

    def _hand_over(self, event: Event) -> None:
        if self.hub.publish(event):
            self._delivered(event)
        elif not self.hub.wants(event):
            self._dealt_with(event)

    def _delivered(self, event: Event) -> None:
        """A subscription has taken the event."""
        if self._ack_on_delivery:
            self.handled(event)

    def handled(self, event: Event) -> None:
        """An event has reached the user: acknowledge it if it is a message."""
        if self.on_progress is not None:
            self._dealt_with(event)
        if isinstance(event, MessageReceived):
            message = event.message
            if self.acks.hand_over(event.conversation_id, message.id, message.timestamp_ms):
                self._on_due()

    def _dealt_with(self, event: Event) -> None:
        """The next run of the program need not see this."""
        if self.on_progress is not None and self.positions.deal_with(event):
            self.on_progress()

    def link_lost(self) -> None:
        """The link broke: what was to be reported there is void, and so are the snapshots."""
        self.acks.link_lost()
        self.unread.link_lost()
        self.conversations.clear()

    # What the server is told of it.

    @property
    def due_at(self) -> float:
        """When there is something to report; infinity if there is nothing."""
        return min(self.acks.due_at, self.unread.due_at)

    def reports(self, now: float) -> list[GenericCommand]:
        """Acknowledgements and read marks to send now: docs/protocol/messages.md §1.4, §5."""
        read = self.unread.take(now)
        for command in read:
            command.peer_id = self._login.client_id
        return [*self._acknowledgements(now), *read]

    def _acknowledgements(self, now: float) -> Iterable[GenericCommand]:
        return [
            GenericCommand(
                cmd=CommandType.ACK,
                peer_id=self._login.client_id,
                ack_message=AckCommand(cid=cid, fromts=first, tots=last),
            )
            for cid, first, last in self.acks.take(now)
        ]


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else ms_from_datetime(moment)
