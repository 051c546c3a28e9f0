"""Conversations as values: data only, equal by value.

Protocol: docs/protocol/conversations.md §1, §3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum, IntEnum
from typing import Any, ClassVar, Self

import attrs

from .json import EMPTY, freeze_dates, thaw
from .messages import BaseMessage
from .registry import MessageRegistry
from .times import aware, datetime_from_iso, iso_from_datetime

__all__ = [
    "BaseConversation",
    "ChatRoom",
    "Conversation",
    "ConversationKind",
    "MemberInfo",
    "Role",
    "ServiceConversation",
    "TemporaryConversation",
]


class ConversationKind(IntEnum):
    """The kinds of conversations. Protocol: docs/protocol/conversations.md §1."""

    NORMAL = 1
    """With members: a chat of two, or of a group."""
    CHAT_ROOM = 2
    """Whoever is online may come and go; nothing waits for those who are away."""
    SERVICE = 3
    """An account of the application to which clients subscribe."""
    TEMPORARY = 4
    """A few members, for a limited time."""


class Role(Enum):
    """What a member may do. Protocol: docs/protocol/conversations.md §6."""

    OWNER = "Owner"
    """The creator: everything."""
    MANAGER = "Manager"
    """Add, remove, silence and block members, change their roles."""
    MEMBER = "Member"
    """The usual role: send, read, add members."""


@attrs.frozen
class MemberInfo:
    """The role of a member in a conversation."""

    conversation_id: str
    """The conversation."""
    client_id: str
    """The member."""
    role: Role = Role.MEMBER
    """What the member may do."""

    @property
    def is_owner(self) -> bool:
        """Whether the member owns the conversation."""
        return self.role is Role.OWNER


def _ids(value: Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise TypeError(f"expected several client ids, not the single string {value!r}")
    return tuple(value)


def _attributes(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"attributes are a mapping, not {value!r}")
    frozen: Mapping[str, Any] = freeze_dates(value)
    return frozen


def _aware(value: datetime | None) -> datetime | None:
    return None if value is None else aware(value)


@attrs.frozen(kw_only=True)
class BaseConversation:
    """What conversations of every kind have. A snapshot: it does not follow later changes."""

    kind: ClassVar[ConversationKind]
    """Which kind of conversation it is."""

    id: str = attrs.field(kw_only=False)
    """Its id."""
    name: str | None = None
    """What it is called."""
    members: tuple[str, ...] = attrs.field(default=(), converter=_ids)
    """Client ids of the members, as far as known: not for chat rooms, services, compact queries."""
    creator: str | None = None
    """Client id of who created it."""
    created_at: datetime | None = attrs.field(default=None, converter=_aware)
    """When it was created."""
    updated_at: datetime | None = attrs.field(default=None, converter=_aware)
    """When its attributes or members last changed."""
    last_message_at: datetime | None = attrs.field(default=None, converter=_aware)
    """Time of the last message; None: nobody has said anything yet."""
    last_message: BaseMessage | None = None
    """The last message, where it was asked for."""
    muted: bool = False
    """Do not disturb: this client gets no push notifications from here."""
    muted_members: tuple[str, ...] = attrs.field(default=(), converter=_ids)
    """Client ids of all members that do not want to be disturbed, as far as known."""
    unread_count: int = 0
    """Unread messages of others, at most 100."""
    unread_mentioned: bool = False
    """An unread message mentions this client."""
    last_delivered_at: datetime | None = attrs.field(default=None, converter=_aware)
    """Up to when the other of two members has received messages."""
    last_read_at: datetime | None = attrs.field(default=None, converter=_aware)
    """Up to when the other of two members has read messages."""
    attributes: Mapping[str, Any] = attrs.field(default=EMPTY, converter=_attributes, hash=False)
    """What the application has added: a JSON object, deeply immutable, its dates datetimes.

    Other SDKs keep theirs one level deeper: in ``attributes["attr"]``."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which `from_json` restores the conversation."""
        result: dict[str, Any] = {"kind": self.kind.name.lower()}
        for field in attrs.fields(type(self)):
            value = getattr(self, field.name)
            if value != field.default:
                result[field.name] = _to_json(value)
        return result

    @classmethod
    def from_json(cls, data: Mapping[str, Any], registry: MessageRegistry | None = None) -> Self:
        """Restore a conversation from what `to_json` returned.

        Args:
            data: the JSON object.
            registry: types of messages that the last message may have.

        Raises:
            ValueError: the object describes no conversation, or one of another kind.
        """
        kinds = {kind.kind.name.lower(): kind for kind in KINDS.values()}
        try:
            target = kinds[data["kind"]]
            values: dict[str, Any] = {}
            for field in attrs.fields(target):
                if field.name in data:
                    values[field.name] = _from_json(field.name, data[field.name], registry)
            conversation = target(**values)
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(f"not a conversation: {error!r}") from error
        if not isinstance(conversation, cls):
            raise ValueError(f"not a {cls.__name__}: {conversation!r}")  # noqa: TRY004 - see Raises
        return conversation


@attrs.frozen(kw_only=True)
class Conversation(BaseConversation):
    """A normal conversation: of two, or a group."""

    kind: ClassVar[ConversationKind] = ConversationKind.NORMAL

    unique: bool = False
    """Creating a unique conversation with the same members returns this one."""
    unique_id: str | None = None
    """What identifies the set of members of a unique conversation."""


@attrs.frozen(kw_only=True)
class ChatRoom(BaseConversation):
    """A chat room, also called an open or transient conversation."""

    kind: ClassVar[ConversationKind] = ConversationKind.CHAT_ROOM


@attrs.frozen(kw_only=True)
class ServiceConversation(BaseConversation):
    """A service, system or official-account conversation."""

    kind: ClassVar[ConversationKind] = ConversationKind.SERVICE

    joined: bool | None = None
    """Whether this client is subscribed; None: not known."""
    joined_at: datetime | None = attrs.field(default=None, converter=_aware)
    """Since when."""


@attrs.frozen(kw_only=True)
class TemporaryConversation(BaseConversation):
    """A conversation that ends by itself."""

    kind: ClassVar[ConversationKind] = ConversationKind.TEMPORARY

    expires_at: datetime | None = attrs.field(default=None, converter=_aware)
    """When it ends; sending then raises `TemporaryConversationExpired`."""


KINDS: dict[ConversationKind, type[BaseConversation]] = {
    ConversationKind.NORMAL: Conversation,
    ConversationKind.CHAT_ROOM: ChatRoom,
    ConversationKind.SERVICE: ServiceConversation,
    ConversationKind.TEMPORARY: TemporaryConversation,
}


def _to_json(value: Any) -> Any:
    if isinstance(value, BaseMessage):
        return value.to_json()
    if isinstance(value, datetime):
        return iso_from_datetime(value)
    return thaw(value)


def _from_json(name: str, value: Any, registry: MessageRegistry | None) -> Any:
    if value is None:
        return None
    if name.endswith("_at"):
        return datetime_from_iso(value)
    if name == "last_message":
        return (registry or MessageRegistry()).from_json(value)
    return value
