"""WebSockets for the session above: `connect` opens a `Transport`."""

from __future__ import annotations

from ._connect import TransportName, connect
from ._errors import ConnectError, MessageTooBig, TransportClosed, TransportError
from ._interface import Payload, StreamOpener, Transport

__all__ = [
    "ConnectError",
    "MessageTooBig",
    "Payload",
    "StreamOpener",
    "Transport",
    "TransportClosed",
    "TransportError",
    "TransportName",
    "connect",
]
