"""awesome-im: a small dialect of MessagePack over WebSocket, client and embedded server.

::

    async with awesome.open_client("ws://localhost:8088", user_id="allen") as me:
        await me.send(awesome.SignalMessage("start"))
        async for event in me.events(awesome.MessageReceived):
            print(event.message)

Needs the extra ``[awesome]``. Protocol: docs/protocol/awesome-im.md.
"""

from __future__ import annotations

from ._client import Client, open_client
from ._codec import Envelope, FrameError, decode_envelope, decode_message
from ._events import Connected, MessageReceived, Notice
from ._messages import (
    BaseMessage,
    ConversationType,
    CustomMessage,
    FileMessage,
    ImageMessage,
    MessageDirection,
    SignalMessage,
    TextMessage,
)
from ._server import Handler, Server, open_server

__all__ = [
    "BaseMessage",
    "Client",
    "Connected",
    "ConversationType",
    "CustomMessage",
    "Envelope",
    "FileMessage",
    "FrameError",
    "Handler",
    "ImageMessage",
    "MessageDirection",
    "MessageReceived",
    "Notice",
    "Server",
    "SignalMessage",
    "TextMessage",
    "decode_envelope",
    "decode_message",
    "open_client",
    "open_server",
]
