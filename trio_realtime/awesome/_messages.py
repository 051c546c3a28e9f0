"""Messages of awesome-im, as values. Protocol: docs/protocol/awesome-im.md §3, §4."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum
from typing import Any, ClassVar

import attrs

from trio_realtime._values.times import optional_datetime

SERVER = "server"
"""The user id that stands for the server's side."""


class ConversationType(IntEnum):
    """Who talks with whom. Protocol: docs/protocol/awesome-im.md §4."""

    SERVER = 0
    """The user and the server."""
    PRIVATE = 1
    """Two users."""
    DISCUSSION = 2
    GROUP = 3
    CHATROOM = 4
    SYSTEM = 5


class MessageDirection(IntEnum):
    """Seen from the user. Protocol: docs/protocol/awesome-im.md §4."""

    SEND = 1
    RECEIVE = 2


def _plain(value: Any) -> dict[str, Any]:
    return dict(value)


@attrs.frozen(kw_only=True)
class BaseMessage:
    """What every message has besides its content.

    What you construct needs content and addressee; `Client.send` fills in the rest, and what
    it returns is what the server made of it. Whatever else a message carried is in `extra`.
    """

    message_type: ClassVar[str] = ""
    """Its name on the wire."""

    to: str = SERVER
    """User id of the addressee; ``"server"``: the server itself."""
    sender: str = ""
    """User id of who sent it; empty: the client that sends it."""
    conversation_type: ConversationType | int = ConversationType.SERVER
    """Who talks with whom; a plain number if it is none of the known."""
    message_id: str | None = None
    """Made by the sending client, and returned by the server; None in what the server says by
    itself."""
    message_uid: str | None = None
    """Made by the server."""
    sent_time_ms: int | None = None
    """Server time, milliseconds since the epoch."""
    direction: MessageDirection | int | None = None
    """Whether the user sent or received it, if the server says so."""
    signal_name: str | None = None
    """What a signal means; other messages may carry one too."""
    extra: Mapping[str, Any] = attrs.field(factory=dict, converter=_plain, repr=False)
    """Further keys, as they came, and as they go."""

    @property
    def sent_time(self) -> datetime | None:
        """Server time of the message."""
        return optional_datetime(self.sent_time_ms)

    def content(self) -> Any:
        """What stands under the key ``content``; None: nothing does."""
        return None


@attrs.frozen
class _ContentMessage(BaseMessage):
    message: Any = attrs.field(kw_only=False)
    """The content: any value that MessagePack can express."""
    more_content: Mapping[str, Any] = attrs.field(
        factory=dict, converter=_plain, kw_only=True, repr=False
    )
    """What stands beside it, as it came, and as it goes."""

    def content(self) -> Any:
        return {**self.more_content, "message": self.message}


@attrs.frozen
class TextMessage(_ContentMessage):
    """A text, or any other value."""

    message_type = "TxtMsg"


@attrs.frozen
class ImageMessage(_ContentMessage):
    """An image: what its users agree on, for instance a URL or the bytes."""

    message_type = "ImgMsg"


@attrs.frozen
class FileMessage(_ContentMessage):
    """A file: likewise."""

    message_type = "FileMsg"


@attrs.frozen
class SignalMessage(_ContentMessage):
    """A signal, whose name is agreed with the server: ``SignalMessage("start")``."""

    message_type = "SignalMsg"

    signal_name: str | None = attrs.field(default=None, kw_only=False)
    """What it means."""
    message: Any = None
    """More about it."""

    def content(self) -> Any:
        if self.message is None and not self.more_content:
            return None
        return _ContentMessage.content(self)


@attrs.frozen
class CustomMessage(BaseMessage):
    """A message of any other type, or of any other shape: passed through unchanged."""

    type: str = attrs.field(kw_only=False)
    """Its name on the wire."""
    raw_content: Any = attrs.field(default=None, kw_only=False)
    """What stands under the key ``content``."""

    def content(self) -> Any:
        return self.raw_content


PING = "PingMsg"
"""The message type of heartbeats."""

TYPES: dict[str, type[_ContentMessage]] = {
    kind.message_type: kind for kind in (TextMessage, ImageMessage, FileMessage)
}
TYPES["TextMsg"] = TextMessage  # as a sample of the original spells it
