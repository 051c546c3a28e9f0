"""What can go wrong with a request, as one family under `RealtimeError`."""

from __future__ import annotations

from trio_realtime._values.error_codes import ErrorCode
from trio_realtime._values.errors import RealtimeError


class RestError(RealtimeError):
    """A request had no success. Catch it to catch whatever this package raises.

    Protocol: docs/protocol/rest.md §1.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status of the last answer, if there was one."""


class Unavailable(RestError):
    """No proper answer came, however often it was asked.

    Why: the network or the server is down (5xx), or what answers is no such server. Of what is
    not repeated by itself it is not known whether it was carried out. What to do: try later.
    """


class RateLimited(RestError):
    """The server goes on to say that it is asked too much (429).

    What to do: ask less, with a smaller ``requests_per_minute``, or later.
    """


class Unauthorized(RestError):
    """The server does not accept the key (401).

    Why: the master key is not that of the app, or the app key was given. What to do: look both
    up again.
    """


class Refused(RestError):
    """The server understood, and refused: compare ``code`` with members of `ErrorCode`."""

    def __init__(self, code: int, reason: str, *, status: int) -> None:
        super().__init__(f"{reason or 'refused'} ({code})", status=status)
        self.code: ErrorCode | int = ErrorCode.of(code)
        """An `ErrorCode`, or a number of the storage service."""
        self.reason = reason
        """What the server says."""


class NotFound(Refused):
    """There is no such thing (404, 4303): a conversation or a row that was removed, or a request
    that this server does not know.
    """
