"""Which messages have been delivered: at most once each, in order, with nothing missing.

For every conversation with traffic a `Track` remembers the newest message delivered, the
ids of the latest ones, and the place up to which everything is known. They make
redelivery and overlap with history harmless; the newest message is where catching up
begins after a broken link. While a conversation is being caught up, its live events wait
behind the missed ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

import attrs

E = TypeVar("E")

REMEMBERED = 256
"""Ids remembered in each conversation beyond which everything older counts as known."""

Place = tuple[int, str]
"""Time and id of a message: where it stands in its conversation."""


@attrs.define(eq=False)
class Track(Generic[E]):
    """What is known of one conversation's stream of messages."""

    mark: Place | None
    """The newest message delivered; None: none since the login."""
    seen: dict[str, int | None] = attrs.field(factory=dict)
    """Ids of the latest messages, with their times; None: not kept in any history."""
    known: Place = (-1, "")
    """Up to here everything was delivered, or is this client's own."""
    deferred: list[E] | None = None
    """Live events that wait while the conversation is caught up."""

    def note(self, timestamp: int, mid: str, *, stored: bool = True) -> bool:
        """Record a message about to be delivered; False if it was already."""
        if mid in self.seen or (stored and (timestamp, mid) <= self.known):
            return False
        self.seen[mid] = timestamp if stored else None
        if stored:
            self._advance((timestamp, mid))
        self._trim()
        return True

    def note_own(self, timestamp: int, mid: str) -> None:
        """Record a message this client sent: history will show it, nobody awaits it.

        It does not move the mark: an earlier message of somebody else may be under way.
        """
        self.seen[mid] = timestamp
        self._trim()

    def known_upto(self, place: Place) -> None:
        """History has been read up to here: its ids need not be remembered."""
        self.known = max(self.known, place)
        self._advance(place)
        self.seen = {
            mid: timestamp
            for mid, timestamp in self.seen.items()
            if timestamp is None or (timestamp, mid) > place
        }

    def release(self) -> None:
        """The conversation is caught up, and what waited has been delivered."""
        self.deferred = None
        self._trim()

    def _advance(self, place: Place) -> None:
        if self.mark is None or place > self.mark:
            self.mark = place

    def _trim(self) -> None:
        """Forget the oldest ids.

        Nothing older can be under way any more, unless it is just being caught up.
        """
        while len(self.seen) > REMEMBERED and self.deferred is None:
            oldest = next(iter(self.seen))
            timestamp = self.seen.pop(oldest)
            if timestamp is not None:
                self.known = max(self.known, (timestamp, oldest))
                self._advance(self.known)


class Delivery(Generic[E]):
    """The tracks of one client."""

    def __init__(self) -> None:
        self.tracks: dict[str, Track[E]] = {}

    def accept(self, cid: str, timestamp: int, mid: str, *, stored: bool = True) -> bool:
        """Record a message; False if it was delivered before.

        ``stored``: it is in the history, where catching up may begin with it.
        """
        track = self.tracks.get(cid)
        if track is None:
            track = self.tracks[cid] = Track(None)
        return track.note(timestamp, mid, stored=stored)

    def sent(self, cid: str, timestamp: int, mid: str) -> None:
        """Record a message this client sent itself."""
        track = self.tracks.get(cid)
        if track is None:
            track = self.tracks[cid] = Track(None)
        track.note_own(timestamp, mid)

    def defer(self, cids: Iterable[str] | None = None) -> list[str]:
        """Begin to catch up these conversations, or all that are known."""
        deferred = list(self.tracks) if cids is None else list(cids)
        for cid in deferred:
            track = self.tracks.setdefault(cid, Track(None))
            if track.deferred is None:
                track.deferred = []
        return deferred

    def deferred(self, cid: str) -> list[E] | None:
        """The list in which live events of this conversation must wait, if any."""
        track = self.tracks.get(cid)
        return None if track is None else track.deferred

    def known_upto(self, cid: str, timestamp: int, mid: str) -> None:
        """Every message up to this one was delivered, or is this client's own."""
        self.tracks[cid].known_upto((timestamp, mid))

    def release(self, cid: str) -> None:
        """The conversation is caught up, and what waited has been delivered."""
        self.tracks[cid].release()

    def forget(self, cid: str) -> None:
        """The client left the conversation."""
        self.tracks.pop(cid, None)
