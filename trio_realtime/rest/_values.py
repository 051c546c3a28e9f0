"""What requests answer, as values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from trio_realtime._values.conversations import Role
from trio_realtime._values.json import EMPTY
from trio_realtime._values.messages import BaseMessage
from trio_realtime._values.times import datetime_from_ms


@attrs.frozen
class SentMessage:
    """A message that the server has taken."""

    id: str
    """Its id."""
    timestamp_ms: int
    """Its time, milliseconds since the epoch."""

    @property
    def timestamp(self) -> datetime:
        """Its time."""
        return datetime_from_ms(self.timestamp_ms)


@attrs.frozen(kw_only=True)
class StoredMessage:
    """A message as the server keeps it. Protocol: docs/protocol/rest.md §4."""

    id: str
    """Its id, unique in its conversation."""
    conversation_id: str
    """Where it was said."""
    sender: str
    """Client id of who said it."""
    timestamp_ms: int
    """Its time, milliseconds since the epoch."""
    message: BaseMessage
    """What was said, by its type."""
    is_room: bool = False
    """Whether it was said in a chat room."""
    receiver: str | None = None
    """Client id of whom a service has said it to alone; None for whatever else was said. Known of
    servers like this one."""
    row: Mapping[str, Any] = attrs.field(default=EMPTY, repr=False, eq=False)
    """The row as the server sent it."""

    @property
    def timestamp(self) -> datetime:
        """Its time."""
        return datetime_from_ms(self.timestamp_ms)


@attrs.frozen
class StoredRole:
    """A role that was given to a member. Protocol: docs/protocol/rest.md §7."""

    id: str
    """Id of the row."""
    client_id: str
    """Who has it."""
    role: Role
    """Which it is."""


@attrs.frozen
class Subscription:
    """A client's subscription of a service conversation. Protocol: docs/protocol/rest.md §6."""

    conversation_id: str
    """The service conversation."""
    client_id: str
    """The subscriber."""
    since: datetime
    """When it began."""


@attrs.frozen
class Statistics:
    """How many use an app. Protocol: docs/protocol/rest.md §7."""

    online: int
    """Clients online now."""
    today: int
    """Clients that were online today."""
