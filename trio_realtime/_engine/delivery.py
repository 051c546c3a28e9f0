"""Which messages have been delivered: at most once each, in order, with nothing missing.

For every conversation with traffic a `Track` remembers the newest message delivered and the
ids of the latest ones. They make redelivery and overlap with history harmless; the newest
message is where catching up begins after a broken link. A conversation without a track has
not spoken since a time that is common to all of them, and is caught up from there. While it is
not certain that a conversation missed nothing, its live events wait.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

import attrs

E = TypeVar("E")

REMEMBERED = 256
"""Ids remembered in each conversation beyond which everything older counts as known."""

SLACK = 60_000
"""Milliseconds by which a server may push something later than it wrote it down."""

SETTLED = 10.0
"""Seconds after the answer to a sending in which older messages of others may still come."""

FORGOTTEN = 7 * 24 * 3_600_000
"""Milliseconds of silence after which a conversation is no longer tracked."""

Place = tuple[int, str]
"""Time and id of a message: where it stands in its conversation. Without an id: before every
message of that time."""


NOWHERE: Place = (-1, "")
"""Before every message."""


@attrs.define(eq=False)
class Track(Generic[E]):
    """What is known of one conversation's stream of messages."""

    mark: Place | None
    """Up to here everything was delivered; None: nothing has been since the login."""
    seen: dict[str, int | None] = attrs.field(factory=dict)
    """Ids of the latest messages, with their times; None: not kept in any history."""
    known: Place = NOWHERE
    """Up to here everything was delivered, or is this client's own, though no ids are left."""
    deferred: list[E] | None = None
    """Live events that wait while the conversation is caught up."""
    kind: int | None = None
    """What kind of conversation it is, where a push has said so."""
    left: bool = False
    """This client is no longer a member: nothing more can be had, and nothing is missed."""
    own: tuple[Place, float] | None = None
    """The newest message this client sent, and when that was answered."""

    @property
    def heard(self) -> bool:
        """Whether anything was ever heard in it, or said by this client."""
        return bool(self.seen) or self.known > NOWHERE

    def note(self, timestamp: int, mid: str, *, stored: bool = True) -> bool:
        """Record a message about to be delivered; False if it was already."""
        if mid in self.seen or (stored and (timestamp, mid) <= self.known):
            return False
        self.seen[mid] = timestamp if stored else None
        if stored:
            self.left = False
            self._advance((timestamp, mid))
        self._trim()
        return True

    def note_own(self, timestamp: int, mid: str, now: float) -> None:
        """Record a message this client sent: history will show it, nobody awaits it.

        It does not move the mark yet: an earlier message of somebody else may be under way.
        """
        self.seen[mid] = timestamp
        if self.own is None or self.own[0] < (timestamp, mid):
            self.own = (timestamp, mid), now
        self._trim()

    def settle(self, heard_at: float) -> None:
        """The link was alive until then: what was said before an older sending has arrived."""
        if self.own is not None and self.own[1] + SETTLED <= heard_at:
            self._advance(self.own[0])

    def known_upto(self, place: Place) -> None:
        """History has been read up to here: of its ids only the latest need be remembered."""
        self._advance(place)
        read = sorted(
            (timestamp, mid)
            for mid, timestamp in self.seen.items()
            if timestamp is not None and (timestamp, mid) <= place
        )
        for timestamp, mid in read[:-REMEMBERED]:
            del self.seen[mid]
            self.known = max(self.known, (timestamp, mid))

    def given_up(self, place: Place) -> None:
        """The history has nothing up to here any more: whether it reaches back says nothing."""
        self._advance(place)
        if self.mark is not None:
            self.mark = (self.mark[0], "")

    def joined(self, timestamp: int) -> None:
        """This client became a member: what was said before does not concern it."""
        if self.left and self.mark is not None and self.mark[1]:
            # Whether the history reaches back to it says nothing any more.
            self.mark = (self.mark[0], "")
        self.left = False
        self._advance((timestamp, ""))

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
        self.begun_at: int = 0
        """Server time before which nothing is missed: the first login."""
        self.heard: int = 0
        """The latest server time that this client has been told."""
        self.away_since: int | None = None
        """Server time since which something may have been missed; None: nothing has been."""
        self._heard_at = float("-inf")
        self.begun: bool = True
        """Whether what the server pushes after the first login has come."""
        self._begun_at = float("-inf")

    # While the link is up.

    def begin(self, server_time: int, now: float) -> None:
        """The first login."""
        self.begun_at = self.heard = server_time
        self.begun, self._begun_at = False, now

    def begun_settled(self, now: float) -> bool:
        """Whether by now, on the link of the first login, what it brings has come."""
        return self.begun or (self.away_since is None and self._begun_at + SETTLED <= now)

    def hear(self, server_time: int, now: float) -> None:
        """Something was pushed that the server wrote down at this time."""
        self.heard = max(self.heard, server_time)
        self._heard_at = now

    def accept(self, cid: str, timestamp: int, mid: str, *, stored: bool = True) -> bool:
        """Record a message; False if it was delivered before.

        ``stored``: it is in the history, where catching up may begin with it.
        """
        return self._track(cid).note(timestamp, mid, stored=stored)

    def sent(self, cid: str, timestamp: int, mid: str, now: float = 0.0) -> None:
        """Record a message this client sent itself; ``now`` is the time of its answer."""
        self._track(cid).note_own(timestamp, mid, now)

    def joined(self, cid: str, timestamp: int) -> None:
        """This client became a member."""
        self._track(cid).joined(timestamp)

    def left(self, cid: str, timestamp: int | None = None) -> None:
        """This client is no longer a member; what happened since shows that it is one again."""
        track = self.tracks.get(cid)
        if track is None:
            return
        if timestamp is None or track.mark is None or track.mark[0] <= timestamp:
            track.left = True

    def of_kind(self, cid: str, kind: int) -> None:
        """A push has said what kind of conversation it is."""
        if cid in self.tracks:
            self.tracks[cid].kind = kind

    def _track(self, cid: str) -> Track[E]:
        track = self.tracks.get(cid)
        if track is None:
            track = self.tracks[cid] = Track(None)
        return track

    # After a break.

    @property
    def complete_until(self) -> int:
        """Server time up to which nothing is missing anywhere, beside what the tracks say."""
        if self.away_since is not None:
            return self.away_since
        return max(self.begun_at, self.heard - SLACK)

    def lose_link(self) -> None:
        """The link broke: from now on something may be missed in every conversation."""
        if self.away_since is None:
            self.begun = self.begun_settled(self._heard_at)
            for track in self.tracks.values():
                track.settle(self._heard_at)
        self.away_since = self.complete_until
        self._forget_silent()
        self.defer()

    def _forget_silent(self) -> None:
        oldest = self.complete_until - FORGOTTEN
        for cid, track in list(self.tracks.items()):
            if track.deferred is None and track.mark is not None and track.mark[0] < oldest:
                del self.tracks[cid]

    def caught_up(self, returned_at: int) -> None:
        """Nothing is missing any more."""
        self.away_since = None
        self.heard = max(self.heard, returned_at)

    def start(self, cid: str) -> Place:
        """Where catching up begins."""
        mark = self.tracks[cid].mark
        return (self.complete_until, "") if mark is None else mark

    def unfetched_until(self, cid: str, timestamp: int, mid: str) -> int | None:
        """Up to when there may be messages before this one that no catching up finds.

        None: there are none. Where the first login was cut off, what came before it may still
        be missing, unless some of that has been delivered, after what was to be said about it.
        """
        track, complete = self.tracks.get(cid), self.complete_until
        mark = None if track is None else track.mark
        if track is not None and mark is not None and mark[1]:
            known = mid in track.seen or (timestamp, mid) <= track.known
            if not known and timestamp < mark[0]:
                return timestamp
            times = timestamp if known else complete, *track.seen.values()
            begun = self.begun or any(time is not None and time < complete for time in times)
            return None if begun else complete
        start = complete if mark is None else min(mark[0], complete)
        if self.begun:
            return timestamp if timestamp < start else None
        return min(timestamp, start)

    def begin_at(self, cid: str, timestamp: int) -> None:
        """Of a conversation without a mark everything since this time is missing."""
        track = self._track(cid)
        if track.mark is None:
            track.mark = (timestamp, "")

    def defer(self, cids: Iterable[str] | None = None) -> list[str]:
        """Begin to catch up these conversations, or all that are known and not left."""
        if cids is None:
            cids = [cid for cid, track in self.tracks.items() if not track.left]
        deferred = list(cids)
        for cid in deferred:
            track = self._track(cid)
            if track.deferred is None:
                track.deferred = []
        return deferred

    def deferred(self, cid: str) -> list[E] | None:
        """The list in which live events of this conversation must wait, if any."""
        track = self.tracks.get(cid)
        return None if track is None else track.deferred

    @property
    def waiting(self) -> list[str]:
        """The conversations whose live events wait."""
        return [cid for cid, track in self.tracks.items() if track.deferred is not None]

    def known_upto(self, cid: str, timestamp: int, mid: str) -> None:
        """Every message up to this one was delivered, or is this client's own."""
        self.tracks[cid].known_upto((timestamp, mid))

    def given_up(self, cid: str, place: Place) -> None:
        """The history has nothing up to here any more, and the user has been told."""
        self.tracks[cid].given_up(place)

    def release(self, cid: str) -> None:
        """The conversation is caught up, and what waited has been delivered."""
        self.tracks[cid].release()
