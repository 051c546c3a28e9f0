"""What the operations of a client use of its session, and nothing else of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from trio_realtime._engine.commands import Repeat
from trio_realtime._engine.conversation_cache import ConversationCache
from trio_realtime._engine.delivery import Delivery
from trio_realtime._engine.unread import UnreadCounters
from trio_realtime._io.authentication import Authentication
from trio_realtime._io.http import Http
from trio_realtime._io.rest import ClientRest
from trio_realtime._values.events import Event
from trio_realtime._values.registry import MessageRegistry
from trio_realtime.wire import GenericCommand


class SessionView(Protocol):
    """A session as its operations see it: commands go out, replies and what is known come back."""

    @property
    def client_id(self) -> str:
        """Who acts."""

    @property
    def error(self) -> Exception | None:
        """What ended the client, if it was not the user."""

    @property
    def registry(self) -> MessageRegistry:
        """Makes messages of bodies."""

    @property
    def rest(self) -> ClientRest:
        """Calls over HTTP on the client's behalf."""

    @property
    def http(self) -> Http:
        """Other requests, for files."""

    @property
    def authentication(self) -> Authentication:
        """Signs what has to be signed."""

    @property
    def conversations(self) -> ConversationCache:
        """The latest snapshots."""

    @property
    def unread(self) -> UnreadCounters:
        """What has not been read."""

    @property
    def delivery(self) -> Delivery[Event]:
        """Told of conversations that were left."""

    def sent(self, cid: str, timestamp: int, mid: str) -> None:
        """A message was stored that was sent here, which nobody awaits."""

    async def request(
        self,
        command: GenericCommand,
        *,
        repeat: Repeat = "always",
        on_reply: Callable[[GenericCommand], None] | None = None,
    ) -> GenericCommand:
        """Send a command and wait for its reply, for at most the command time-out."""

    async def insist(
        self, command: GenericCommand, on_reply: Callable[[GenericCommand], None] | None = None
    ) -> GenericCommand:
        """Send a command until it is answered."""

    async def mark_read(self, cids: Sequence[str]) -> None:
        """Report that conversations were read."""

    def new_token(self) -> str:
        """A token for one sending."""
