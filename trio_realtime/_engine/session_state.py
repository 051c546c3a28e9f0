"""The life of one client's session, as a table.

Theory of operation. A session lives on one link after another. While it is `ONLINE`, a
command leaves as soon as it is submitted; in every other state commands wait,
and leave in their order when it comes online. The shell reports what happens; what follows
from it is decided here and nowhere else. The diagram in the documentation is drawn from
``TRANSITIONS``. Protocol: docs/protocol/session.md §1, §2.
"""

from __future__ import annotations

from enum import Enum, auto

import attrs


class SessionState(Enum):
    """Where a client's session stands."""

    NEW = auto()
    """Never logged in; waits for a link."""
    OPENING = auto()
    """The first login is under way."""
    ONLINE = auto()
    """Logged in; commands leave at once."""
    SUSPENDED = auto()
    """The link broke. Commands wait."""
    RESUMING = auto()
    """Logging in on a new link, then sending what waited."""
    LEAVING = auto()
    """Logging out."""
    CLOSED = auto()
    """Left by the user. Final."""
    ENDED = auto()
    """Ended by an error that logging in again cannot mend. Final."""


class SessionTrigger(Enum):
    """What moves a session from one state to another."""

    OPEN = auto()
    """The first login begins."""
    RESUME = auto()
    """The login on a new link begins."""
    READY = auto()
    """Logged in, and everything that waited has left."""
    LOST = auto()
    """The link broke."""
    LEAVE = auto()
    """The user logs out."""
    CLOSE = auto()
    """The user is gone."""
    END = auto()
    """An error ended it."""


S, T = SessionState, SessionTrigger

_ENDS = {T.CLOSE: S.CLOSED, T.END: S.ENDED}

TRANSITIONS: dict[SessionState, dict[SessionTrigger, SessionState]] = {
    S.NEW: {T.OPEN: S.OPENING, **_ENDS},
    S.OPENING: {T.READY: S.ONLINE, T.LOST: S.SUSPENDED, **_ENDS},
    S.ONLINE: {T.LOST: S.SUSPENDED, T.LEAVE: S.LEAVING, **_ENDS},
    S.SUSPENDED: {T.OPEN: S.OPENING, T.RESUME: S.RESUMING, **_ENDS},
    S.RESUMING: {T.READY: S.ONLINE, T.LOST: S.SUSPENDED, **_ENDS},
    S.LEAVING: _ENDS,
    S.CLOSED: {},
    S.ENDED: {},
}

FINAL = frozenset({S.CLOSED, S.ENDED})

TOLERATED = frozenset({T.LOST, T.LEAVE, T.CLOSE, T.END})
"""Triggers that are ignored where the table has no entry; any other such trigger is a bug."""


@attrs.define
class SessionMachine:
    """The state of one session."""

    state: SessionState = SessionState.NEW

    def handle(self, trigger: SessionTrigger) -> bool:
        """Move along the table; says whether the state changed.

        Raises:
            AssertionError: the shell reported what is impossible in this state.
        """
        target = TRANSITIONS[self.state].get(trigger)
        if target is None:
            assert trigger in TOLERATED or self.state in FINAL, f"{trigger} while {self.state}"
            return False
        self.state = target
        return True
