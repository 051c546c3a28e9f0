"""Which class a received body becomes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

from .json import dump, load
from .messages import JSON_KEYS, BaseMessage, BinaryMessage, Message, MessageStatus
from .typed_messages import (
    AudioMessage,
    FileMessage,
    ImageMessage,
    LocationMessage,
    RecalledMessage,
    TextMessage,
    TypedMessage,
    VideoMessage,
    decoders,
)

__all__ = ["MessageRegistry"]

BUILT_IN: tuple[type[TypedMessage], ...] = (
    FileMessage,
    ImageMessage,
    AudioMessage,
    VideoMessage,
    LocationMessage,
    TextMessage,
    RecalledMessage,
)


class MessageRegistry:
    """The message types one client knows: those of the protocol and the application's own."""

    def __init__(self, types: Iterable[type[TypedMessage]] = ()) -> None:
        self._by_number: dict[int | float, tuple[type[TypedMessage], ...]] = {}
        for cls in BUILT_IN:
            self.register(cls)
        for cls in types:
            self.register(cls)

    def register(self, cls: type[TypedMessage]) -> None:
        """Add a type. Of types with the same number, the one registered last is tried first.

        Raises:
            TypeError: the class was not made with `message_type`, or the annotation of a field
                cannot be read from JSON.
        """
        if not getattr(cls, "lctype", 0):
            raise TypeError(f"{cls!r} is no message type: decorate it with @message_type")
        decoders(cls)
        others = self._by_number.get(cls.lctype, ())
        self._by_number[cls.lctype] = (cls, *(other for other in others if other is not cls))

    def knows(self, cls: type[TypedMessage]) -> bool:
        """Whether bodies may become messages of this class."""
        return any(issubclass(one, cls) for one in self._by_number.get(cls.lctype, ()))

    def parse(self, body: str | bytes, envelope: Mapping[str, Any]) -> BaseMessage:
        """The message with this body, and these fields of `BaseMessage`. Never fails.

        A body of an unknown type, or one that does not fit its type, becomes a `Message` with
        the text as it came. Protocol: docs/protocol/messages.md §3.
        """
        if not isinstance(body, str):
            return BinaryMessage(body, **envelope)
        if body[:1] == "{" or body.lstrip()[:1] == "{":
            message = self._parse_typed(body, envelope)
            if message is not None:
                return message
        return Message(body, **envelope)

    def _parse_typed(self, body: str, envelope: Mapping[str, Any]) -> TypedMessage | None:
        try:
            decoded = load(body)
        except (ValueError, RecursionError):
            return None
        number = decoded.get("_lctype")
        if isinstance(number, bool) or not isinstance(number, int | float):
            return None
        for cls in self._by_number.get(number, ()):
            try:
                return cls.from_body(decoded, envelope)
            except Exception:  # noqa: BLE001, S112 - an application's type may refuse in any way
                continue
        return None

    def from_json(self, data: Mapping[str, Any]) -> BaseMessage:
        """Restore a message from what `BaseMessage.to_json` returned.

        Raises:
            ValueError: the object describes no message.
        """
        body = data.get("data")
        try:
            if data.get("bin"):
                body = base64.b64decode(body or "", validate=True)
            elif not isinstance(body, str):
                # The JavaScript SDK leaves the body decoded.
                body = dump(body)
            envelope = {name: data[key] for key, name in JSON_KEYS.items() if data.get(key)}
            envelope["status"] = MessageStatus(data.get("status", "none"))
            return self.parse(body, envelope)
        except (TypeError, ValueError, binascii.Error) as error:
            raise ValueError(f"not a message: {error}") from error
