"""What happens, as values made for ``match``: one class for each event of the guides.

``at`` is server time, None where the server did not say; connection and session events have
none, since the client itself noticed them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from .conversations import ConversationKind, MemberInfo
from .errors import ErrorCode
from .messages import BaseMessage

__all__ = [
    "Blocked",
    "ConnectionEvent",
    "ConversationEvent",
    "ConversationUpdated",
    "Disconnected",
    "Event",
    "Gap",
    "Invited",
    "Kicked",
    "MemberInfoUpdated",
    "MembersBlocked",
    "MembersEvent",
    "MembersJoined",
    "MembersLeft",
    "MembersMuted",
    "MembersUnblocked",
    "MembersUnmuted",
    "MembershipEvent",
    "MessageDelivered",
    "MessageEvent",
    "MessageRead",
    "MessageRecalled",
    "MessageReceived",
    "MessageUpdated",
    "Muted",
    "NotificationGap",
    "Offline",
    "Online",
    "PatchReason",
    "PluginFailed",
    "ReceiptEvent",
    "ReconnectFailed",
    "ReconnectScheduled",
    "Reconnected",
    "Reconnecting",
    "SessionClosed",
    "SessionConflict",
    "SessionEvent",
    "Unblocked",
    "Unmuted",
    "UnreadUpdated",
]


@attrs.frozen
class Event:
    """Anything a subscription yields."""


# The connection: docs/protocol/transport.md §7


@attrs.frozen
class ConnectionEvent(Event):
    """Something about the connection."""


@attrs.frozen
class Disconnected(ConnectionEvent):
    """The connection broke; the client is going to restore it. In the guides: ``disconnect``."""

    error: Exception
    """Why."""


@attrs.frozen
class Offline(ConnectionEvent):
    """The client was paused and stays offline. In the guides: ``offline``."""


@attrs.frozen
class Online(ConnectionEvent):
    """The client was resumed and connects again. In the guides: ``online``."""


@attrs.frozen
class ReconnectScheduled(ConnectionEvent):
    """The next attempt to connect is planned. In the guides: ``schedule``."""

    attempt: int
    """Number of the attempt, from 0."""
    delay: float
    """Seconds until then."""


@attrs.frozen
class Reconnecting(ConnectionEvent):
    """An attempt to connect begins. In the guides: ``retry``."""

    attempt: int
    """Its number, from 0."""


@attrs.frozen
class Reconnected(ConnectionEvent):
    """The client is logged in again and can be used. In the guides: ``reconnect``."""


@attrs.frozen
class ReconnectFailed(ConnectionEvent):
    """The connection is back, but logging in again failed. In the guides: ``reconnecterror``."""

    error: Exception
    """Why."""
    attempt: int | None = None
    """Number of the attempt, from 0, where it is known."""


# The session: docs/protocol/session.md §2, §5


@attrs.frozen
class SessionEvent(Event):
    """The session ended, and with it the client."""


@attrs.frozen
class SessionConflict(SessionEvent):
    """Another device logged in with the same client id and tag. In the guides: ``conflict``."""

    reason: str = ""
    """What the server said."""


@attrs.frozen
class SessionClosed(SessionEvent):
    """The server ended the session, for instance by a kick. In the guides: ``close``."""

    error: Exception
    """Why."""


# Plugins: docs/protocol/live-query-and-plugins.md §1


@attrs.frozen
class PluginFailed(Event):
    """A hook of a plugin raised; what it was given was used as it was."""

    plugin: str
    """Name of the plugin."""
    error: Exception
    """What it raised."""


# Conversations: docs/protocol/conversations.md §9


@attrs.frozen
class ConversationEvent(Event):
    """Something about one conversation."""

    conversation_id: str
    """Where it happened."""


@attrs.frozen
class MembershipEvent(ConversationEvent):
    """Something that one member did to this client or to others."""

    by: str
    """Client id of who did it; empty: the application."""
    at: datetime | None = attrs.field(default=None, kw_only=True)
    """When."""


@attrs.frozen
class MembersEvent(MembershipEvent):
    """Something that one member did to some members."""

    members: tuple[str, ...]
    """Client ids of those it was done to."""


@attrs.frozen
class Invited(MembershipEvent):
    """This client became a member, by itself or through others. In the guides: ``invited``."""


@attrs.frozen
class Kicked(MembershipEvent):
    """This client is no longer a member, also when it left. In the guides: ``kicked``."""


@attrs.frozen
class MembersJoined(MembersEvent):
    """Members came in. In the guides: ``membersjoined``."""


@attrs.frozen
class MembersLeft(MembersEvent):
    """Members left or were removed. In the guides: ``membersleft``."""


@attrs.frozen
class MemberInfoUpdated(MembershipEvent):
    """A member has another role. In the guides: ``memberinfoupdated``."""

    info: MemberInfo
    """The member and the role."""


@attrs.frozen
class Blocked(MembershipEvent):
    """The conversation blocks this client now. In the guides: ``blocked``."""


@attrs.frozen
class Unblocked(MembershipEvent):
    """The conversation no longer blocks this client. In the guides: ``unblocked``."""


@attrs.frozen
class MembersBlocked(MembersEvent):
    """The conversation blocks others now. In the guides: ``membersblocked``."""


@attrs.frozen
class MembersUnblocked(MembersEvent):
    """The conversation no longer blocks others. In the guides: ``membersunblocked``."""


@attrs.frozen
class Muted(MembershipEvent):
    """This client is silenced: it may read but not send. In the guides: ``muted``."""


@attrs.frozen
class Unmuted(MembershipEvent):
    """This client may send again. In the guides: ``unmuted``."""


@attrs.frozen
class MembersMuted(MembersEvent):
    """Members are silenced. In the guides: ``membersmuted``."""


@attrs.frozen
class MembersUnmuted(MembersEvent):
    """Members may send again. In the guides: ``membersunmuted``."""


@attrs.frozen
class ConversationUpdated(MembershipEvent):
    """Attributes changed. In the guides: ``conversationinfoupdated``, ``infoupdated``."""

    attributes: Mapping[str, Any] = attrs.field(hash=False)
    """What was asked for: changed keys, possibly dotted paths, with their new values."""
    modified: Mapping[str, Any] | None = attrs.field(default=None, hash=False)
    """The resulting values of the attributes touched; None: the server did not say."""

    @property
    def updated_at(self) -> datetime | None:
        """When, which is the conversation's new `BaseConversation.updated_at`."""
        return self.at


# Messages: docs/protocol/messages.md §1.3, §4, §5, §8


@attrs.frozen
class MessageEvent(ConversationEvent):
    """Something about one message."""

    message: BaseMessage
    """The message."""
    own: bool = attrs.field(default=False, kw_only=True)
    """Whether this very client id did it: on another device, or in another program. A bot that
    answers those answers itself; ``client.events(own=False)`` leaves them out."""


@attrs.frozen
class MessageReceived(MessageEvent):
    """A message arrived, possibly sent by this user on another device. In the guides: ``message``."""

    @property
    def at(self) -> datetime:
        """Server time of the message."""
        return self.message.timestamp


@attrs.frozen
class PatchReason:
    """Why the server, rather than the author, changed a message."""

    code: ErrorCode | int
    """Negative: built in, -4408 for the word filter. Positive: chosen by a hook."""
    detail: str | None = None
    """The same in words."""


@attrs.frozen
class MessageUpdated(MessageEvent):
    """A message was edited; it is as it is now. In the guides: ``messageupdate``."""

    reason: PatchReason | None = None
    """Why, if it was not its author."""

    @property
    def at(self) -> datetime:
        """Server time of the edit."""
        return self.message.updated_at


@attrs.frozen
class MessageRecalled(MessageEvent):
    """A message was taken back. In the guides: ``messagerecall``.

    What is left of it is usually a `RecalledMessage` with the same id.
    """

    reason: PatchReason | None = None
    """Why, if it was not its author."""

    @property
    def at(self) -> datetime:
        """Server time of the recall."""
        return self.message.updated_at


@attrs.frozen
class ReceiptEvent(ConversationEvent):
    """A message that asked for receipts has come further."""

    message_id: str
    """The message; older ones have come as far."""
    by: str | None = None
    """Client id of who received or read it, where the server says."""
    at: datetime | None = attrs.field(default=None, kw_only=True)
    """When."""


@attrs.frozen
class MessageDelivered(ReceiptEvent):
    """A message reached a member. In the guides: ``lastdeliveredatupdate``."""


@attrs.frozen
class MessageRead(ReceiptEvent):
    """A member read a message. In the guides: ``lastreadatupdate``."""


@attrs.frozen
class UnreadUpdated(ConversationEvent):
    """The server counted unread messages. In the guides: ``unreadmessagescountupdate``."""

    count: int
    """Unread messages of others, at most 100."""
    mentioned: bool = False
    """One of them mentions this client."""
    last_message: BaseMessage | None = None
    """The newest message, where the server says."""
    kind: ConversationKind | None = None
    """What kind of conversation it is, where the server says."""
    at: datetime | None = attrs.field(default=None, kw_only=True)
    """When it was counted."""


@attrs.frozen
class Gap(ConversationEvent):
    """Something was missed while the connection was down; this says what became of it.

    What could be had was delivered before this event, as ordinary events. Where something is
    missing, there may have been messages from `missing_from` to `missing_until` that were not
    delivered.
    Protocol: docs/protocol/session.md §6, §7, docs/protocol/messages.md §7.
    """

    filled: int = 0
    """How many messages were fetched and delivered."""
    edited: int = 0
    """How many missed edits and recalls were delivered."""
    notices: int = 0
    """How much missed news about membership and moderation was delivered."""
    missing_from: datetime | None = None
    """After this time messages are missing; None: nothing is, or the time is not known."""
    missing_until: datetime | None = None
    """Up to this time."""
    error: Exception | None = None
    """Why the rest could not be fetched. If something is missing without an error, the server
    no longer has it, or, with ``offline_messages="push"``, pushed only the latest."""


@attrs.frozen
class NotificationGap(Event):
    """News about the membership of this client was missed, and could not be fetched.

    Messages, edits and counters are not concerned, see `Gap` for those. What a conversation
    is like now is known to `IMClient.get_conversation` and queries.
    Protocol: docs/protocol/session.md §7.
    """

    missing_from: datetime | None
    """After this time such news is missing."""
    error: Exception
    """Why it could not be fetched."""
