"""The logged-in client: its events, its connection, and all operations by their families."""

from __future__ import annotations

from typing import Any, overload

from trio_realtime._engine.link_state import LinkState
from trio_realtime._io.session import ClientSession
from trio_realtime._io.subscription import DEFAULT_BUFFER, E_co, Subscription
from trio_realtime._values.events import Event

from .operands import ConversationLike, id_of
from .operations.conversations import ConversationOperations
from .operations.editing import EditOperations
from .operations.files import FileOperations
from .operations.history import HistoryOperations
from .operations.members import MemberOperations
from .operations.moderation import ModerationOperations
from .operations.presence import PresenceOperations
from .operations.receipts import ReceiptOperations
from .operations.send import SendOperations


class IMClient(
    SendOperations,
    EditOperations,
    HistoryOperations,
    ReceiptOperations,
    FileOperations,
    MemberOperations,
    ModerationOperations,
    ConversationOperations,
    PresenceOperations,
):
    """A logged-in client: everything one client id can do.

    Made by `open_client`; it lives until that block ends. All operations may be awaited
    from any task, also inside an event loop. Operations on a conversation take the
    conversation or its id. While the connection is down they wait for it, for at most the
    command time-out; `send` waits for as long as its caller does.
    """

    # The client itself also guides its session; the operations only see it.
    _session: ClientSession

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    def __repr__(self) -> str:
        return f"<IMClient {self.client_id!r} {self.state.name.lower()}>"

    @property
    def client_id(self) -> str:
        """The id this client is logged in with, also where the server made it up."""
        return self._session.client_id

    @property
    def state(self) -> LinkState:
        """Where the connection stands; `LinkState.FAILED` once an error has ended this client,
        `LinkState.CLOSED` once it was closed. Protocol: docs/protocol/transport.md §7.
        """
        session = self._session
        if session.error is not None:
            return LinkState.FAILED
        return LinkState.CLOSED if session.closed else session.connection.link.state

    @property
    def closed(self) -> bool:
        """Whether this client has ended: by `close`, by the end of its block, or by an error."""
        return self._session.closed

    @property
    def error(self) -> Exception | None:
        """What ended this client for good, such as `KickedError`; None while it lives, and if
        it was closed by the program.
        """
        return self._session.error

    @overload
    def events(
        self,
        *,
        conversation: ConversationLike | None = None,
        own: bool = True,
        max_buffer: int = DEFAULT_BUFFER,
    ) -> Subscription[Event]: ...

    @overload
    def events(
        self,
        *types: type[E_co],
        conversation: ConversationLike | None = None,
        own: bool = True,
        max_buffer: int = DEFAULT_BUFFER,
    ) -> Subscription[E_co]: ...

    def events(
        self,
        *types: type[Event],
        conversation: ConversationLike | None = None,
        own: bool = True,
        max_buffer: int = DEFAULT_BUFFER,
    ) -> Subscription[Any]:
        """Subscribe to what happens; each call gives an independent stream.

        What has arrived since the login and before the first subscription is kept, each event
        for the first one that wants it. Beyond 10,000 events it is dropped, and the first
        subscription raises `SlowConsumer`.

        Args:
            types: event classes; without any, all events.
            conversation: only events of this conversation.
            own: off: without messages, edits and recalls of this very client id on another
                device or in another program. A bot that answers messages wants them off, or
                it answers itself where it runs twice.
            max_buffer: events that may wait for the loop before the subscription ends
                with `SlowConsumer`; at least 1.

        Raises:
            TypeError: one of the types is no class of events.
            ValueError: ``max_buffer`` is less than 1.
        """
        hub = self._session.hub
        cid = None if conversation is None else id_of(conversation)
        buffer = hub.subscribe(types, cid, max_buffer, own=own)
        handled = self._session.inbox.handled if self._session.options.ack == "next" else None
        return Subscription(hub, buffer, handled)

    def publish(self, event: Event) -> None:
        """Hand an event to the subscriptions of this client that want it, as a plugin may.

        It goes to this program alone; the server learns nothing. A class of its own, derived
        from `Event` or `ConversationEvent`, lets loops ask for it by type and conversation.

        Raises:
            TypeError: it is no event.
        """
        if not isinstance(event, Event):
            raise TypeError(f"only an event can be published, not {event!r}")
        self._session.hub.publish(event)

    def pause(self) -> None:
        """Disconnect and stay offline until `resume`; allowed in any state."""
        self._session.connection.link.pause()

    def resume(self) -> None:
        """Reconnect at once after `pause`; allowed in any state."""
        self._session.connection.link.resume()

    def retry(self) -> None:
        """Try to reconnect now instead of at the scheduled time; allowed in any state."""
        self._session.retry()

    async def close(self) -> None:
        """Log out now. Loops over events end; leaving the block does this too."""
        await self._session.log_out()
