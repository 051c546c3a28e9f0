"""The books of a run, and the rules by which they are audited.

A `Record` holds what each party knows: the senders, what they sent and what the server
answered; the listeners, what they saw; the server, its history, counters and marks. `audit`
compares them. It is pure: it knows nothing of clients, sockets or time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from itertools import pairwise

import attrs

MAX_COUNT = 100
"""The server counts unread messages no further."""

Book = tuple[str, str]
"""A member and a conversation."""


@attrs.define(eq=False)
class Sent:
    """A message the server has accepted, as its sender knows it."""

    cid: str
    sender: str
    id: str
    at: int
    """Milliseconds."""
    text: str
    """What was sent, unlike all others."""
    content: str
    """What it says after the last edit that was accepted."""
    in_turn: bool = True
    """Sent in one go; one that was cancelled and taken up later has lost its turn."""


class Kind(Enum):
    """What a listener was told about a message."""

    NEW = "new"
    CHANGED = "changed"


@attrs.frozen
class Sight:
    """One event about one message, as a listener saw it."""

    kind: Kind
    id: str
    at: int
    content: str


@attrs.frozen
class Missing:
    """A listener was told that it cannot be told everything: a `Gap` with an error."""

    since: int | None
    until: int | None
    why: str

    def covers(self, at: int) -> bool:
        """Whether a message of this time may be missing."""
        return (self.since or 0) <= at <= (self.until or 2**63)


@attrs.frozen
class Stored:
    """A message as the history shows it in the end."""

    id: str
    at: int
    sender: str
    content: str


@attrs.define
class Record:
    """Everything that is known of a run."""

    members: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    sent: list[Sent] = attrs.field(factory=list)
    turns: dict[Book, list[str]] = attrs.field(factory=lambda: defaultdict(list))
    """The texts each sender sent to a conversation, in the order of sending."""
    seen: dict[Book, list[Sight]] = attrs.field(factory=lambda: defaultdict(list))
    missing: dict[Book, list[Missing]] = attrs.field(factory=lambda: defaultdict(list))
    read: dict[Book, int] = attrs.field(factory=dict)
    """Time of the newest message a member had seen when it last read a conversation."""
    history: dict[str, list[Stored]] = attrs.field(factory=dict)
    marks: dict[Book, int] = attrs.field(factory=dict)
    """How far the server says that members have read."""
    unread: dict[Book, int] = attrs.field(factory=dict)
    """What members say is unread."""
    log: list[tuple[float, str, str]] = attrs.field(factory=list)
    """When something happened to whose connection."""


@attrs.frozen
class Violation:
    """A rule that was broken."""

    rule: str
    cid: str
    who: str
    what: str
    ids: tuple[str, ...] = ()
    """The messages concerned."""

    def __str__(self) -> str:
        return f"{self.rule}: {self.who} in {self.cid}: {self.what}"


def audit(record: Record) -> list[Violation]:
    """All violations of the promises."""
    sent: dict[str, list[Sent]] = defaultdict(list)
    for one in record.sent:
        sent[one.cid].append(one)
    found: list[Violation] = []
    for member, cid in record.seen:
        if member not in record.members.get(cid, ()):
            found.append(Violation("seen once", cid, member, "heard of a strange conversation"))
    for cid, members in record.members.items():
        history = record.history[cid]
        found += stored_once(cid, sent[cid], history)
        found += timestamps_increase(cid, history)
        for member in members:
            book = (member, cid)
            found += in_order_of_sending(book, record.turns[book], sent[cid], history)
            found += seen_once_in_order(book, record.seen[book], record.missing[book], history)
            found += changes_seen(book, record.seen[book], record.missing[book], history)
            found += counted(book, record, history)
    return found


def stored_once(cid: str, sent: Iterable[Sent], history: Sequence[Stored]) -> Iterator[Violation]:
    """What was accepted is stored as accepted, and nothing else is."""
    stored = {one.id: one for one in history}
    if len(stored) < len(history):
        yield Violation("stored once", cid, "server", "an id appears twice in the history")
    accepted: set[str] = set()
    for one in sent:
        if one.id in accepted:
            yield Violation("stored once", cid, one.sender, f"two messages are {one.id}", (one.id,))
        accepted.add(one.id)
        kept = stored.get(one.id)
        if kept is None:
            yield Violation("stored once", cid, one.sender, f"{one.text!r} is lost", (one.id,))
        elif (kept.at, kept.sender) != (one.at, one.sender):
            yield Violation("stored once", cid, one.sender, f"{one} is kept as {kept}", (one.id,))
        elif kept.content != one.content:
            what = f"{one.text!r} should say {one.content!r}, says {kept.content!r}"
            yield Violation("last edit", cid, one.sender, what, (one.id,))
    for one in history:
        if one.id not in accepted:
            what = f"{one.content!r} is stored, but no sending was told so"
            yield Violation("stored once", cid, one.sender, what, (one.id,))


def timestamps_increase(cid: str, history: Sequence[Stored]) -> Iterator[Violation]:
    """Strictly, from message to message."""
    for earlier, later in pairwise(history):
        if earlier.at >= later.at:
            what = f"{earlier.at} is followed by {later.at}"
            yield Violation("timestamps", cid, "server", what, (earlier.id, later.id))


def in_order_of_sending(
    book: Book, turns: Sequence[str], sent: Iterable[Sent], history: Sequence[Stored]
) -> Iterator[Violation]:
    """What one client sends to a conversation is stored in the order of its sendings."""
    sender, cid = book
    texts = {one.id: one.text for one in sent if one.sender == sender and one.in_turn}
    stored = [texts[one.id] for one in history if one.id in texts]
    kept = set(stored)
    expected = [text for text in turns if text in kept]
    for was, should in zip(stored, expected, strict=True):
        if was != should:
            ids = tuple(mid for mid, text in texts.items() if text in {was, should})
            yield Violation("order of sending", cid, sender, f"{was!r} before {should!r}", ids)
            return


def seen_once_in_order(
    book: Book, sights: Iterable[Sight], missing: Sequence[Missing], history: Sequence[Stored]
) -> Iterator[Violation]:
    """Every message of others once, in their order, unless a gap was owned up to."""
    member, cid = book
    seen: set[str] = set()
    last = (-1, "")
    expected = {one.id: one for one in history if one.sender != member}
    for sight in sights:
        if sight.kind is not Kind.NEW:
            continue
        if sight.id in seen:
            yield Violation("seen once", cid, member, "saw a message twice", (sight.id,))
            continue
        if sight.id not in expected:
            yield Violation("seen once", cid, member, "saw its own, or none at all", (sight.id,))
        elif sight.at <= last[0]:
            what = "saw a message after one that is later"
            yield Violation("seen in order", cid, member, what, (sight.id, last[1]))
        seen.add(sight.id)
        last = max(last, (sight.at, sight.id))
    for one in expected.values():
        if one.id not in seen and not any(gap.covers(one.at) for gap in missing):
            what = f"never saw {one.content!r} of {one.sender}"
            yield Violation("seen once", cid, member, what, (one.id,))


def changes_seen(
    book: Book, sights: Iterable[Sight], missing: Sequence[Missing], history: Iterable[Stored]
) -> Iterator[Violation]:
    """The last a member heard of each message of others is what it says in the end."""
    member, cid = book
    last = {sight.id: sight.content for sight in sights}
    for one in history:
        content = last.get(one.id)
        if content not in {None, one.content} and one.sender != member and not missing:
            what = f"last saw {content!r}, which became {one.content!r}"
            yield Violation("changes seen", cid, member, what, (one.id,))


def counted(book: Book, record: Record, history: Sequence[Stored]) -> Iterator[Violation]:
    """Read marks are where they were set, and what lies behind them is unread."""
    member, cid = book
    mark, read = record.marks.get(book, 0), record.read.get(book, 0)
    newest = history[-1].at if history else 0
    if mark < read:
        yield Violation("read mark", cid, member, f"read up to {read}, marked at {mark}")
    elif mark > newest:
        yield Violation("read mark", cid, member, f"marked at {mark}, the newest is {newest}")
    unread = sum(1 for one in history if one.sender != member and one.at > mark)
    if record.unread.get(book, 0) != min(unread, MAX_COUNT):
        what = f"says {record.unread.get(book, 0)} are unread, of {unread}"
        yield Violation("unread", cid, member, what)


def report(record: Record, violations: Sequence[Violation], *, seed: int, at_most: int = 5) -> str:
    """The violations, with just what happened around the first of them."""
    lines = [f"{len(violations)} violations with seed {seed}"]
    lines += [str(violation) for violation in violations[:at_most]]
    first = violations[0]
    history = record.history.get(first.cid, [])
    places = {one.id: place for place, one in enumerate(history)}
    for mid in first.ids:
        place = places.get(mid)
        lines.append(f"history around {mid}:")
        if place is not None:
            lines += [f"  {place - 2 + n} {one}" for n, one in enumerate(_near(history, place))]
        for book, sights in record.seen.items():
            if book[1] == first.cid:
                for n, sight in enumerate(sights):
                    if sight.id == mid:
                        lines.append(f"  {book[0]} at {n}: {sight}")
    gaps = record.missing.get((first.who, first.cid), [])
    lines += [f"told to be missing: {gap}" for gap in gaps]
    lines.append(f"the connection of {first.who}:")
    lines += [f"  {at:.3f} {what}" for at, who, what in record.log if who == first.who][-30:]
    return "\n".join(lines)


def _near(history: Sequence[Stored], place: int) -> Sequence[Stored]:
    return history[max(place - 2, 0) : place + 3]
