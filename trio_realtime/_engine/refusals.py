"""What a refusal does to the client it is said to: one table for all codes.

The same code means different things at different moments. At the first login every refusal is
the caller's; what else there is to decide stands here. The table in the documentation is drawn
from this one.
Protocol: docs/protocol/errors.md, docs/protocol/transport.md §8.
"""

from __future__ import annotations

from enum import Enum

import attrs

from trio_realtime._values.error_codes import ErrorCode, Retry


class Consequence(Enum):
    """What the client does."""

    RAISE = "raises it"
    LOG_IN = "logs in again, repeats it once"
    FORGET_TOKEN = "logs in without its token"  # noqa: S105 - no password
    RECONNECT = "reconnects"
    END = "ends"


@attrs.frozen
class Consequences:
    """What one code does, by the moment at which it is said."""

    on_return: Consequence
    """In answer to the login after a broken link."""
    command: Consequence = Consequence.RAISE
    """In answer to any other command."""
    on_close: Consequence = Consequence.RECONNECT
    """As the reason for which the server closes the link."""


C = Consequence

BY_RETRY = {
    Retry.NEVER: Consequences(C.END),
    Retry.RELOGIN: Consequences(C.END),
    Retry.LATER: Consequences(C.RECONNECT),
    Retry.RECONNECT: Consequences(C.RECONNECT),
}
"""For a code that has no line of its own."""

UNLISTED = Consequences(C.RECONNECT)
"""For a code that the protocol does not list: it may pass."""

CONSEQUENCES = {
    ErrorCode.APP_NOT_AVAILABLE: Consequences(C.END, on_close=C.END),
    ErrorCode.INVALID_LOGIN: Consequences(C.END, on_close=C.END),
    ErrorCode.INVALID_ORIGIN: Consequences(C.END, on_close=C.END),
    ErrorCode.SESSION_REQUIRED: Consequences(C.RECONNECT, command=C.LOG_IN),
    ErrorCode.SESSION_TOKEN_EXPIRED: Consequences(C.FORGET_TOKEN),
}


def consequences(code: ErrorCode | int) -> Consequences:
    """What a code does."""
    known = ErrorCode.of(code)
    if not isinstance(known, ErrorCode):
        return UNLISTED
    return CONSEQUENCES.get(known) or BY_RETRY[known.retry]
