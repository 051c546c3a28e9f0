"""On which connections clients are still being heard, though they log in on another one.

A client that comes back says again what it was not told the end of. Had what it said before its
connection broke not been written when the new login is, it would be pushed to the new session
as from another device. So a login comes behind what its client has said elsewhere so far.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol
from weakref import WeakSet

import attrs

PRUNED_AT = 1_000
"""Clients remembered that may have left, beyond which is looked who has."""


class Busy(Hashable, Protocol):
    """A connection, as far as it matters here."""

    @property
    def busy(self) -> bool:
        """Whether anything asked for there is not done."""


@attrs.define
class Unfinished:
    """The connections of an app's clients, as long as they are there or have something to do."""

    _connections: dict[str, WeakSet[Busy]] = attrs.field(factory=dict)
    _left: int = 0

    def arrived(self, client_id: str, connection: Busy) -> None:
        """A client has a session on this connection."""
        self._connections.setdefault(client_id, WeakSet()).add(connection)

    def gone(self, client_id: str, connection: Busy) -> None:
        """Its session there is over; what it asked for may not be."""
        if connection.busy:
            self._left += 1
            if self._left > PRUNED_AT:
                self._prune()
            return
        connections = self._connections.get(client_id)
        if connections is not None:
            connections.discard(connection)
            if not connections:
                del self._connections[client_id]

    def busy(self, client_id: str, but: Busy) -> Sequence[Busy]:
        """Where a client that logs in has something under way."""
        return [one for one in self._connections.get(client_id, ()) if one is not but and one.busy]

    def _prune(self) -> None:
        self._left = 0
        for client_id, connections in list(self._connections.items()):
            if not connections:
                del self._connections[client_id]
