"""The life of a connection, as a table.

Theory of operation. A connection is opened once; if that first attempt fails, nothing was
begun and the error is the caller's. From then on the machine below says what may happen
next. Two kinds of triggers move it: *facts* the shell reports (the socket closed, an attempt
failed) and *wishes* of the user (pause, resume, retry, close). A wish that makes no sense
in a state leaves the state alone, so that ``pause``, ``resume`` and ``retry`` are allowed
at any time.

Everything that decides about the state lives in this file; the diagram in the
documentation is drawn from ``TRANSITIONS``. Protocol: docs/protocol/transport.md §7.
"""

from __future__ import annotations

from enum import Enum, auto

import attrs

from .backoff import Backoff


class LinkState(Enum):
    """Where the connection stands."""

    INITIALIZED = auto()
    """Not connected yet."""
    CONNECTED = auto()
    """The socket is open."""
    DISCONNECTED = auto()
    """Waiting for the next attempt."""
    RECONNECTING = auto()
    """An attempt is under way."""
    OFFLINE = auto()
    """Paused by the user; nothing is attempted."""
    CLOSED = auto()
    """Ended by the user. Final."""
    FAILED = auto()
    """Ended by an error that reconnecting cannot mend. Final."""


class LinkTrigger(Enum):
    """What moves the connection from one state to another."""

    OPENED = auto()
    LOST = auto()
    ATTEMPT = auto()
    ATTEMPT_FAILED = auto()
    PAUSE = auto()
    RESUME = auto()
    CLOSE = auto()
    THROW = auto()


S, T = LinkState, LinkTrigger

TRANSITIONS: dict[LinkState, dict[LinkTrigger, LinkState]] = {
    S.INITIALIZED: {T.OPENED: S.CONNECTED, T.CLOSE: S.CLOSED, T.THROW: S.FAILED},
    S.CONNECTED: {
        T.LOST: S.DISCONNECTED,
        T.PAUSE: S.OFFLINE,
        T.CLOSE: S.CLOSED,
        T.THROW: S.FAILED,
    },
    S.DISCONNECTED: {
        T.ATTEMPT: S.RECONNECTING,
        T.PAUSE: S.OFFLINE,
        T.CLOSE: S.CLOSED,
        T.THROW: S.FAILED,
    },
    S.RECONNECTING: {
        T.OPENED: S.CONNECTED,
        T.ATTEMPT_FAILED: S.DISCONNECTED,
        T.PAUSE: S.OFFLINE,
        T.CLOSE: S.CLOSED,
        T.THROW: S.FAILED,
    },
    S.OFFLINE: {T.RESUME: S.DISCONNECTED, T.CLOSE: S.CLOSED, T.THROW: S.FAILED},
    S.CLOSED: {},
    S.FAILED: {},
}

FINAL = frozenset({S.CLOSED, S.FAILED})

WISHES = frozenset({T.PAUSE, T.RESUME, T.CLOSE, T.THROW})
"""Triggers that are ignored where the table has no entry; any other such trigger is a bug."""


@attrs.define
class LinkMachine:
    """The state of one connection and when to try again."""

    backoff: Backoff = attrs.field(factory=Backoff)
    state: LinkState = LinkState.INITIALIZED

    def handle(self, trigger: LinkTrigger) -> bool:
        """Move along the table; says whether the state changed.

        Raises:
            AssertionError: the shell reported a fact that is impossible in this state.
        """
        target = TRANSITIONS[self.state].get(trigger)
        if target is None:
            assert trigger in WISHES or self.state in FINAL, f"{trigger} while {self.state}"
            return False
        if trigger is LinkTrigger.RESUME:
            self.backoff.skip_next()
        self.state = target
        return True
