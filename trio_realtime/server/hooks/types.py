"""Application hooks: the functions through which an application approves and observes.

An application passes one `Hooks` with the functions it wants. Those asked *before* something
happens may refuse or change it; those told *after* cannot. Functions are async and take one
frozen value::

    async def no_shouting(message: IncomingMessage) -> Reject | Rewrite | None:
        if isinstance(message.body, str) and message.body.isupper():
            return Reject(detail="please do not shout")
        return None


    hooks = Hooks(message_received=no_shouting)

`web_hooks` makes the same of a URL, `leanengine_hooks` of a program for LeanEngine.

Protocol: docs/protocol/rest.md §10.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, TypeVar

import attrs

T = TypeVar("T")
R = TypeVar("R")
Body = str | bytes


# What functions may answer.


@attrs.frozen
class Reject:
    """No. ``code`` and ``detail`` reach the client as ``appCode`` and ``appMsg``."""

    code: int | None = None
    detail: str | None = None


@attrs.frozen(kw_only=True)
class Rewrite:
    """Yes, but: another body, or fewer receivers. None leaves things as they are."""

    body: Body | None = None
    receivers: Sequence[str] | None = None
    """Of those who would get it, only these do now. Not for chat rooms."""


@attrs.frozen(kw_only=True)
class Amend:
    """Yes, but with another change of the conversation, of the same kind."""

    attributes: Mapping[str, Any] | None = None
    mute: bool | None = None


@attrs.frozen(kw_only=True)
class OfflineDecision:
    """How the absent are to be notified."""

    skip: bool = False
    receivers: Sequence[str] | None = None
    """Instead of all who are offline."""
    data: str | None = None
    """Push payload, instead of the message's own."""
    force: bool = False
    """Notify also those who muted the conversation."""


# What functions are told. Times are in milliseconds.


@attrs.frozen(kw_only=True)
class IncomingMessage:
    """``_messageReceived``: a message that is about to be delivered."""

    sender: str
    conversation_id: str
    receivers: Sequence[str]
    """The other members; empty for chat rooms and services."""
    body: Body
    timestamp: int
    transient: bool = False
    receipt: bool = False
    service: bool = False
    address: str = ""
    """The sender's network address."""


@attrs.frozen(kw_only=True)
class MessageUpdate:
    """``_messageUpdate``: an edit, or a recall, that is about to happen."""

    sender: str
    conversation_id: str
    message_id: str
    receivers: Sequence[str]
    body: Body
    """The new body; of a recall the empty text, unless the client sent words for it."""
    timestamp: int
    """When the message was sent."""
    recall: bool = False
    service: bool = False
    address: str = ""


@attrs.frozen(kw_only=True)
class SentMessage:
    """``_messageSent``: a message was delivered to those who are online."""

    sender: str
    conversation_id: str
    message_id: str
    online: Sequence[str]
    offline: Sequence[str]
    body: Body
    timestamp: int
    transient: bool = False
    receipt: bool = False
    service: bool = False
    address: str = ""


@attrs.frozen(kw_only=True)
class ReceiversOffline:
    """``_receiversOffline``: some receivers of a message are not there. Not for chat rooms."""

    sender: str
    conversation_id: str
    offline: Sequence[str]
    body: Body
    timestamp: int
    mention_all: bool = False
    mentioned: Sequence[str] = ()
    """Those of the absent whom the message mentions."""


@attrs.frozen(kw_only=True)
class OfflinePush:
    """A push notification to send, after `ReceiversOffline` was decided on."""

    sender: str
    conversation_id: str
    receivers: Sequence[str]
    body: Body
    data: str | None
    """The payload the sender or the application chose, JSON text or an alert."""


@attrs.frozen(kw_only=True)
class ConversationStart:
    """``_conversationStart``: a conversation is about to be created."""

    actor: str
    members: Sequence[str]
    attributes: Mapping[str, Any]


@attrs.frozen(kw_only=True)
class ConversationStarted:
    """``_conversationStarted``: a conversation was created."""

    conversation_id: str


@attrs.frozen(kw_only=True)
class MemberChange:
    """Members of a conversation come or go, or did."""

    actor: str
    conversation_id: str
    members: Sequence[str]


@attrs.frozen(kw_only=True)
class ConversationUpdate:
    """``_conversationUpdate``: attributes are about to change, or the actor's do-not-disturb."""

    actor: str
    conversation_id: str
    attributes: Mapping[str, Any] | None = None
    mute: bool | None = None
    """Exactly one of the two is given."""


@attrs.frozen(kw_only=True)
class ClientOnline:
    """``_clientOnline``: a client has logged in."""

    client_id: str
    address: str
    tag: str | None = None
    reconnect: bool = False


class OfflineReason(IntEnum):
    """Why a session ended: docs/protocol/session.md §2."""

    LOGOUT = 1
    LOST = 2
    CONFLICT = 3
    KICKED = 4


@attrs.frozen(kw_only=True)
class ClientOffline:
    """``_clientOffline``: a session of a client is over."""

    client_id: str
    reason: OfflineReason
    message: str | None = None
    address: str | None = None
    """None for a lost connection."""
    tag: str | None = None
    error_code: int | None = None
    error_message: str | None = None


Ask = Callable[[T], Awaitable[R]]
Tell = Callable[[T], Awaitable[None]]


@attrs.frozen(kw_only=True)
class Hooks:
    """The functions of one application; None where it has no interest.

    The first group is asked before, within a time-out, and delays what it is asked about. The
    second group is told after; calls may overlap and come out of order.

    Protocol: docs/protocol/rest.md §10.
    """

    message_received: Ask[IncomingMessage, Reject | Rewrite | None] | None = None
    message_update: Ask[MessageUpdate, Reject | Rewrite | None] | None = None
    conversation_start: Ask[ConversationStart, Reject | None] | None = None
    conversation_add: Ask[MemberChange, Reject | None] | None = None
    """Also for clients who join by themselves."""
    conversation_remove: Ask[MemberChange, Reject | None] | None = None
    """Not for clients who leave by themselves."""
    conversation_update: Ask[ConversationUpdate, Reject | Amend | None] | None = None
    rtm_client_sign: Ask[Mapping[str, Any], Reject | None] | None = None
    """Takes the storage user, as JSON, who asks for a login signature."""

    receivers_offline: Ask[ReceiversOffline, OfflineDecision | None] | None = None
    send_push: Tell[OfflinePush] | None = None
    """Not of the original service: reaches the absent by whatever means there are."""
    message_sent: Tell[SentMessage] | None = None
    conversation_started: Tell[ConversationStarted] | None = None
    conversation_added: Tell[MemberChange] | None = None
    conversation_removed: Tell[MemberChange] | None = None
    service_messages: Tell[Sequence[Mapping[str, Any]]] | None = None
    """What clients write to service conversations, as rows of ``_SysMessage``, some at a time
    and in order. Within 5 seconds; tried four times in all, so that a row (``msgId``) may come
    twice. Protocol: docs/protocol/engine-hooks.md §6."""
    client_online: Tell[ClientOnline] | None = None
    client_offline: Tell[ClientOffline] | None = None
