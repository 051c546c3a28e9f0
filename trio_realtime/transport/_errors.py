"""What can go wrong below the session."""

from __future__ import annotations


class TransportError(Exception):
    """Everything a transport raises on purpose."""


class ConnectError(TransportError):
    """No WebSocket could be opened: bad URL, DNS, TCP, TLS, or the server declined.

    The message says which of these it was. Other endpoints may still work.
    Protocol: docs/protocol/transport.md §3.
    """

    status: int | None
    """The HTTP status of a server that declined the upgrade, if it got that far."""

    permanent: bool
    """Whether the same URL will fail again: it is none, or the server is not to be trusted."""

    def __init__(self, message: str, *, status: int | None = None, permanent: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.permanent = permanent


class TransportClosed(TransportError):
    """The WebSocket is closed; nothing can be sent or received any more.

    Protocol: docs/protocol/transport.md §8 lists the application codes.
    """

    code: int
    """The close code: the peer's, or ours if we closed first, or 1006 if the link just broke."""
    reason: str
    """The text that came with the code, often empty."""

    def __init__(self, code: int = 1006, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"closed with code {self.code}" + (f" ({self.reason})" if self.reason else "")


class MessageTooBig(TransportClosed):
    """A message exceeded the limit of the side that received it: code 1009."""


def closed_error(code: int, reason: str) -> TransportClosed:
    """The exception for a close code."""
    return (MessageTooBig if code == 1009 else TransportClosed)(code, reason)
