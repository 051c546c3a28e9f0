"""What a store takes and gives: the values that its transactions deal in.

Times are integer milliseconds since the epoch, as on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, Literal

import attrs
import msgspec

from .conditions import EVERYTHING, NEWEST_FIRST, Condition, SortKey

Bound = tuple[int, str | None]
"""A point in a conversation's history: timestamp and, to break a tie, message id."""


class Kind(IntEnum):
    """The four kinds of conversation (``convType`` on the wire)."""

    NORMAL = 1
    ROOM = 2
    SERVICE = 3
    TEMPORARY = 4


class Listing(IntEnum):
    """The per-conversation lists of client ids besides the members."""

    SILENCED = 1
    BLOCKED = 2


# What is made for each message and for each row of a page are structs: an immutable one takes a
# tenth of the time that attrs takes, and a page of history is a quarter faster to read.


class ConversationRow(msgspec.Struct, frozen=True, gc=False):
    """A conversation as stored; members are asked for separately."""

    id: str
    kind: Kind
    creator: str
    created_at: int
    updated_at: int
    name: str | None = None
    attributes: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """Every custom top-level column, for instance ``{"attr": {...}, "topic": 1}``."""
    unique_id: str | None = None
    """MD5 of the member set, for conversations created as unique."""
    last_message_at: int | None = None
    expires_at: int | None = None
    """For temporary conversations."""
    service: str | None = None
    """Of a line, which is what a service says to its creator alone: the service."""

    @property
    def told_as(self) -> str:
        """The id that clients know it by: a line is a part of its service."""
        return self.service or self.id


class MessageRow(msgspec.Struct, frozen=True, gc=False):
    """A stored message, with its latest edit applied."""

    id: str
    conversation_id: str
    kind: Kind
    sender: str
    timestamp: int
    body: str | bytes
    mentions: tuple[str, ...] = ()
    mention_all: bool = False
    receipt: bool = False
    patched_at: int | None = None
    recalled: bool = False
    ack_at: int | None = None
    read_at: int | None = None
    push_data: str | None = None
    lctype: int | None = None
    """``_lctype`` of a typed body."""
    address: str | None = None
    """The network address from which it was sent."""
    receiver: str | None = None
    """Of what a service has said to one client alone, this client."""


class NewMessage(msgspec.Struct, frozen=True, gc=False):
    """A message about to be stored; the store assigns its time and, by default, its id."""

    sender: str
    body: str | bytes
    dt: str | None = None
    mentions: tuple[str, ...] = ()
    mention_all: bool = False
    receipt: bool = False
    push_data: str | None = None
    lctype: int | None = None
    id: str | None = None
    address: str | None = None


@attrs.define
class ImportedMessage:
    """A message that another server has stored; there may be millions, and thawed ones are made quicker."""

    id: str
    sender: str
    timestamp: int
    body: str | bytes
    recalled: bool = False
    lctype: int | None = None
    ack_at: int | None = None
    address: str | None = None


ImportOutcome = Literal["new", "changed", "known"]
"""What became of something imported: ``known`` where nothing was to be done."""


@attrs.frozen
class PatchRow:
    """One edit or recall, as it is pushed to clients."""

    message: MessageRow
    patched_at: int
    code: int | None = None
    reason: str | None = None


@attrs.frozen
class UnreadRow:
    """What one client has not read in one conversation."""

    conversation: ConversationRow
    count: int
    """At most 100."""
    mentioned: bool
    newest: MessageRow | None


@attrs.frozen
class Membership:
    """One client in one conversation."""

    conversation: ConversationRow
    received: int
    """The time up to which the client has what was said, or need not have it."""


@attrs.frozen
class ReadMarks:
    """How far a member has received and read a conversation."""

    client_id: str
    acked: int | None
    read: int | None


@attrs.frozen
class MemberInfoRow:
    """The role of one member, where it was ever changed."""

    id: str
    conversation_id: str
    client_id: str
    role: str


@attrs.frozen
class TokenRow:
    """A session token, bound to a client id and its login."""

    client_id: str
    expires_at: int
    tag: str | None = None
    device_id: str | None = None


@attrs.frozen
class NotificationRow:
    """One membership notification kept for replay: docs/protocol/session.md §7."""

    timestamp: int
    item: Mapping[str, Any]


@attrs.frozen
class Query:
    """A conversation query after validation: docs/protocol/conversations.md §3."""

    where: Condition = EVERYTHING
    sort: Sequence[SortKey] = NEWEST_FIRST
    limit: int = 10
    """At most 1000 are found, whatever it says."""
    skip: int = 0
    ids: Sequence[str] | None = None
    """Temporary conversation ids; then ``where`` does not apply."""


@attrs.frozen
class InstallationRow:
    """One installation of an app on a device: docs/protocol/push.md §1."""

    id: str
    created_at: int
    updated_at: int
    attributes: Mapping[str, Any]
    """All columns but these, as they are told to the operator."""
