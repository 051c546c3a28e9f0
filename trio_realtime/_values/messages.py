"""Messages: what every kind has in common, plain text and bytes.

One class serves both directions. What you construct has only content; what you receive,
and what sending returns, also says who sent it, where, and when.

Protocol: docs/protocol/messages.md §2–4.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum, IntEnum
from functools import cache
from typing import Any, ClassVar, TypeVar

import attrs

from .checks import flag, text
from .json import FrozenMapping, dump, freeze, thaw
from .protocol import MAX_CLIENT_ID
from .summaries import SummaryWords
from .texts import checked_id
from .times import datetime_from_ms, optional_datetime

__all__ = [
    "BaseMessage",
    "BinaryMessage",
    "Message",
    "MessagePriority",
    "MessageStatus",
    "SendOptions",
    "send_options_for",
]


class MessageStatus(Enum):
    """How far a message has come. Protocol: docs/protocol/messages.md §4."""

    NONE = "none"
    """Constructed, not sent."""
    SENDING = "sending"
    """On its way to the server."""
    SENT = "sent"
    """The server has it."""
    DELIVERED = "delivered"
    """The other member of a two-person conversation has received it."""
    FAILED = "failed"
    """It could not be sent."""


class MessagePriority(IntEnum):
    """What an overloaded chat room drops last. Protocol: docs/protocol/messages.md §1.1."""

    HIGH = 1
    NORMAL = 2
    LOW = 3


PRIORITIES = frozenset(MessagePriority)


def _frozen_object(value: Mapping[str, Any] | None) -> FrozenMapping | None:
    if value is None or isinstance(value, FrozenMapping):
        return value
    if not isinstance(value, Mapping):
        raise TypeError(f"push_data is a mapping, not {value!r}")
    try:
        frozen: FrozenMapping = freeze(value)
        dump(thaw(frozen))
    except TypeError as error:
        raise TypeError(f"push_data cannot be sent: {error}") from None
    except ValueError as error:
        raise ValueError(f"push_data cannot be sent: {error}") from None
    return frozen


def _priority(value: MessagePriority | int | None) -> MessagePriority | None:
    if value is None or isinstance(value, MessagePriority):
        return value
    if type(value) is int and value in PRIORITIES:
        return MessagePriority(value)
    known = ", ".join(str(one) for one in MessagePriority)
    raise ValueError(f"there is no priority {value!r}: a MessagePriority is one of {known}")


_flag = attrs.validators.optional(flag)


@attrs.frozen(kw_only=True)
class SendOptions:
    """How a message is sent; None leaves a choice to whoever decides next.

    A message class may state its own (`BaseMessage.send_options`, then
    `BaseMessage.get_send_options`); options of the call win.
    Protocol: docs/protocol/live-query-and-plugins.md §1.
    """

    transient: bool | None = attrs.field(default=None, validator=_flag)
    """Only for who is online now: no history, no unread count, no push."""
    receipt: bool | None = attrs.field(default=None, validator=_flag)
    """Ask to be told when it was delivered and read."""
    will: bool | None = attrs.field(default=None, validator=_flag)
    """Deliver it when this client's connection breaks. Protocol: docs/protocol/messages.md §10."""
    priority: MessagePriority | None = attrs.field(default=None, converter=_priority)
    """Matters in chat rooms only."""
    push_data: Mapping[str, Any] | None = attrs.field(
        default=None, converter=_frozen_object, hash=False
    )
    """What offline devices are shown. Protocol: docs/protocol/messages.md §9."""

    def over(self, weaker: SendOptions) -> SendOptions:
        """These options, completed by weaker ones."""
        if weaker is NO_OPTIONS:
            return self
        return SendOptions(
            transient=weaker.transient if self.transient is None else self.transient,
            receipt=weaker.receipt if self.receipt is None else self.receipt,
            will=weaker.will if self.will is None else self.will,
            priority=weaker.priority if self.priority is None else self.priority,
            push_data=weaker.push_data if self.push_data is None else self.push_data,
        )


NO_OPTIONS = SendOptions()

M = TypeVar("M", bound="BaseMessage")


def _ids(value: Iterable[str] | str) -> tuple[str, ...]:
    if not value:
        return ()
    if isinstance(value, str):
        return (value,)
    try:
        ids = tuple(value)
    except TypeError:
        raise TypeError(f"mentions are client ids, not {value!r}") from None
    for one in ids:
        checked_id(one, "a client id that is mentioned", MAX_CLIENT_ID)
    return ids


# Classes with a dictionary: attrs fills it directly, where it would call
# object.__setattr__ for each field of a frozen class with slots.
@attrs.frozen(kw_only=True, slots=False)
class BaseMessage:
    """What every message has besides its content: its envelope.

    All of it is filled in by the server, apart from `mentions`, `mention_all` and `dt`.

    Two messages are equal if they say the same in the same place: what `send` returned, what
    others received, and what the history keeps are one message. How far it has come (`status`,
    `delivered_at`, `read_at`) and what only one side knows (`receipt`, `mentioned`, `dt`) does
    not count.
    """

    send_options: ClassVar[SendOptions] = NO_OPTIONS
    """How messages of this class are sent if nothing else is said."""

    id: str = ""
    """Given by the server; empty until sent."""
    conversation_id: str = ""
    """Where it was sent; empty until sent."""
    sender: str = ""
    """Client id of who sent it; empty until sent."""
    timestamp_ms: int = 0
    """Server time of the message, milliseconds since the epoch; 0 until sent."""
    updated_at_ms: int | None = attrs.field(default=None, repr=False)
    """Time of the last edit, milliseconds since the epoch; None: never edited."""
    status: MessageStatus = attrs.field(default=MessageStatus.NONE, repr=False, eq=False)
    """How far it has come."""
    mentions: tuple[str, ...] = attrs.field(default=(), converter=_ids, repr=False)
    """Client ids of the members it mentions; at most 20 are advisable."""
    mention_all: bool = attrs.field(default=False, repr=False)
    """It mentions every member."""
    mentioned: bool = attrs.field(default=False, repr=False, eq=False)
    """It mentions the client that received it, and somebody else sent it."""
    receipt: bool = attrs.field(default=False, repr=False, eq=False)
    """Its sender asked for receipts; known to the sender only."""
    transient: bool = attrs.field(default=False, repr=False)
    """It went only to those online, and is in no history."""
    delivered_at_ms: int | None = attrs.field(default=None, repr=False, eq=False)
    """When the other member of a two-person conversation received it, in milliseconds."""
    read_at_ms: int | None = attrs.field(default=None, repr=False, eq=False)
    """When the other member of a two-person conversation read it, in milliseconds."""
    dt: str | None = attrs.field(default=None, repr=False, eq=False)
    """The token by which the server recognises a repeated sending. Each sending has its own
    unless you choose one here, to send again what may or may not have arrived."""

    @property
    def timestamp(self) -> datetime:
        """Server time of the message; 1970 until sent."""
        return datetime_from_ms(self.timestamp_ms)

    @property
    def updated_at(self) -> datetime:
        """Time of the last edit, or of the message if it was never edited."""
        ms = self.updated_at_ms
        return datetime_from_ms(self.timestamp_ms if ms is None else ms)

    @property
    def delivered_at(self) -> datetime | None:
        """When the other member of a two-person conversation received it."""
        return optional_datetime(self.delivered_at_ms)

    @property
    def read_at(self) -> datetime | None:
        """When the other member of a two-person conversation read it."""
        return optional_datetime(self.read_at_ms)

    @property
    def summary(self) -> str:
        """A line of text that stands for the message, for instance in a list of chats.

        It is never empty; `summarize` says it in other languages.
        """
        return self.summarize()

    def summarize(self, words: SummaryWords = SummaryWords.CHINESE) -> str:
        """What `summary` says, with your choice of words for what is no text."""
        return words.other

    def payload(self) -> str | bytes:
        """The body as it goes over the wire. Protocol: docs/protocol/messages.md §3."""
        raise NotImplementedError(f"{type(self).__name__} has no content; use one of its children")

    def get_send_options(self) -> SendOptions:
        """How this very message is sent; overrides `send_options` of its class."""
        return NO_OPTIONS

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which `MessageRegistry.from_json` restores the message.

        Raises:
            TypeError, ValueError: the content cannot be expressed in JSON.
        """
        body = self.payload()
        result: dict[str, Any] = (
            {"data": body}
            if isinstance(body, str)
            else {"data": base64.b64encode(body).decode(), "bin": True}
        )
        for key, name in JSON_KEYS.items():
            value = getattr(self, name)
            if value not in {None, "", ()}:
                result[key] = list(value) if isinstance(value, tuple) else value
        result["status"] = self.status.value
        return result


def has_text(text: str | None) -> bool:
    """Whether a reader sees anything of a text."""
    return bool(text) and not str(text).isspace()


JSON_KEYS = {
    "id": "id",
    "cid": "conversation_id",
    "from": "sender",
    "timestamp": "timestamp_ms",
    "updatedAt": "updated_at_ms",
    "deliveredAt": "delivered_at_ms",
    "readAt": "read_at_ms",
    "mentionList": "mentions",
    "mentionedAll": "mention_all",
    "mentioned": "mentioned",
    "receipt": "receipt",
    "transient": "transient",
    "dt": "dt",
}
"""Keys of a message in JSON, those of the JavaScript SDK as far as it has them."""


@attrs.frozen(kw_only=True, slots=False)
class Message(BaseMessage):
    """A message that is any text, and every message whose type is not known.

    The text is kept as it came: a body ``42`` is the text ``"42"`` (the JavaScript SDK makes
    it a number; see `json`).
    """

    body: str = attrs.field(kw_only=False, validator=text)
    """The text."""

    @property
    def json(self) -> Any:
        """The value the text spells in JSON, or the text itself if it is no JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return self.body

    def summarize(self, words: SummaryWords = SummaryWords.CHINESE) -> str:
        """The text itself."""
        return self.body if has_text(self.body) else words.other

    def payload(self) -> str:
        """The text."""
        return self.body


def _bytes(value: bytes | bytearray | memoryview) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"a binary message consists of bytes, not {type(value).__name__}")
    return bytes(value)


@attrs.frozen(kw_only=True, slots=False)
class BinaryMessage(BaseMessage):
    """A message that is any bytes."""

    data: bytes = attrs.field(kw_only=False, converter=_bytes)
    """The bytes."""

    def payload(self) -> bytes:
        """The bytes."""
        return self.data


@cache
def _is_plain(cls: type) -> bool:
    """Whether all fields are in the dictionary of the instance."""
    return not any(base.__dict__.get("__slots__") for base in cls.__mro__)


def with_envelope(message: M, fields: dict[str, Any]) -> M:
    """The message with other fields of its envelope; what ``attrs.evolve`` does, but fast."""
    cls: Any = type(message)
    if not _is_plain(cls):
        return attrs.evolve(message, **fields)
    copy: M = object.__new__(cls)
    copy.__dict__.update(message.__dict__)
    copy.__dict__.update(fields)
    return copy


def send_options_for(message: BaseMessage, call: SendOptions = NO_OPTIONS) -> SendOptions:
    """The options that apply: those of the call, of the message, of its class, in this order."""
    own = message.get_send_options()
    weaker = type(message).send_options
    if call is NO_OPTIONS and own is NO_OPTIONS:
        return weaker
    return call.over(own.over(weaker))
