"""What is said, who may hear it, and what the client was told of it."""

from __future__ import annotations

import itertools

import attrs
import trio

from trio_realtime import Invited, Kicked, MessageReceived
from trio_realtime._values.times import ms_from_datetime
from trio_realtime.wire import OpType

from .rooms import KINDS, ME, Room, Said

EPOCH = 1_000_000_000
PAST = 10_000
LOGIN_SETTLED = 10
"""Seconds after which a client believes that it has all that a login brings."""


def server_time():
    return EPOCH + int(trio.current_time() * 1000)


@attrs.define(eq=False)
class Told:
    """What the client was told."""

    received: list[object] = attrs.field(factory=list)
    at: dict[int, float] = attrs.field(factory=dict)
    """When it was told of each event."""
    again: set[object] = attrs.field(factory=set)
    """Events that may be told a second time: the program stopped before it was noted."""
    unnoted: set[int] = attrs.field(factory=set)
    """What it was told before that, and not again."""
    runs: list[int] = attrs.field(factory=list)
    """How much each run of the program found told."""

    def take(self, event):
        self.received.append(event)
        self.at[id(event)] = trio.current_time()

    def heard(self):
        """The messages that the client was told of, and has not forgotten."""
        return [
            event
            for event in self.received
            if isinstance(event, MessageReceived) and id(event) not in self.unnoted
        ]

    def forget_since(self, stopped):
        """The program had not noted what it was told since then."""
        unnoted = [one for one in self.received if self.at[id(one)] >= stopped]
        self.again |= {key_of(event) for event in unnoted}
        self.unnoted |= {id(event) for event in unnoted}


@attrs.define(eq=False)
class World:
    """The truth, beside what the server shows of it.

    Args:
        push: missed messages are pushed after a login, the latest of them.
        rest: there is a REST API, that knows which memberships were missed.
    """

    push: bool = False
    rest: bool = False
    rooms: dict[str, Room] = attrs.field(init=False)
    notices: list[tuple[OpType, str, int]] = attrs.field(init=False, factory=list)
    """Memberships that began and ended."""
    left: dict[str, list[int]] = attrs.field(init=False, factory=dict)
    """When memberships ended, by conversation."""
    begun_at: int | None = attrs.field(init=False, default=None)
    """The first login."""
    heard_at: float | None = attrs.field(init=False, default=None)
    """When the client was pushed anything last."""
    cut_off: float | None = attrs.field(init=False, default=None)
    """When the first link ended, if not all had come for certain that a login brings."""
    was_silent: bool = attrs.field(init=False, default=False)
    """Whether the server has ever left histories unanswered."""
    faulted: int = attrs.field(init=False, default=0)
    """Histories that were to be refused for no reason."""
    patched: int = attrs.field(init=False, default=0)
    """When anything was edited or recalled last."""
    mine: dict[str, float] = attrs.field(init=False, factory=dict)
    """Ids of what the client sent itself, and when it learnt that they are stored."""
    tokens: dict[str, Said] = attrs.field(init=False, factory=dict)
    """What the client has sent, by the tokens of the sendings."""
    told: Told = attrs.field(init=False, factory=Told)
    ids: itertools.count = attrs.field(init=False, factory=itertools.count)

    def __attrs_post_init__(self):
        self.rooms = {cid: Room(cid, kind) for cid, kind in KINDS.items()}
        self.rooms["new"].joined_at = None

    def begin(self):
        """The first login: what was said before is told only where it is pushed."""
        self.begun_at = server_time()
        for room in self.rooms.values():
            for one in room.said:
                one.owed = self.push and one.sender != ME and room.joined_at is not None
                one.meant = one.owed

    def keep(self, cid, sender, body=None, *, at=None, **fields):
        """Somebody says something."""
        room = self.rooms[cid]
        at = at or room.after_all(max(server_time(), room.joined_at or 0))
        number = next(self.ids)
        # The order of ids is not that of times.
        mid = f"{(number * 7919) % 1000:03d}-{number}"
        one = Said(at, mid, sender, body if body is not None else mid, **fields)
        one.owed = one.meant = room.joined_at is not None
        room.said.append(one)
        return one

    def keep_past(self, cid):
        """Something was said before the client ever came."""
        self.keep(cid, "Jerry", at=self.rooms[cid].after_all(EPOCH - PAST))

    def note_notice(self, op, cid, after=0):
        """A membership begins or ends; when."""
        at = max(server_time(), self.begun_at + 1, after)
        if self.notices:
            at = max(at, self.notices[-1][2] + 1)
        self.notices.append((op, cid, at))
        return at

    def note_left(self, cid, at):
        self.rooms[cid].joined_at = None
        self.left.setdefault(cid, []).append(at)

    def note_first_end(self, heard_at):
        """The first link ends; the client knows that it was alive until then."""
        if self.cut_off is None:
            begun = (self.begun_at - EPOCH) / 1000
            hasty = heard_at is None or heard_at < begun + LOGIN_SETTLED
            self.cut_off = trio.current_time() if hasty else float("inf")

    # What nobody can expect any more.

    def disown_unwritten(self):
        """What is not written yet, and in no place to be found, never will be."""
        for room in self.rooms.values():
            for one in room.said:
                if not one.stored or one.behind:
                    one.owed = False

    def disown_unheard(self, room):
        """Where nothing was heard that the history ever had, nobody can know what is gone.

        After a loss, that means nothing that was said since.
        """
        heard = {event.message.id for event in self.told.heard()}
        if not any(
            one.stored and one.mid in heard and one.at > room.forgotten_until for one in room.said
        ):
            for one in room.said:
                one.owed &= one.at <= room.forgotten_until

    def disown_sent(self, since):
        """What was sent since then the client does not know as its own any more."""
        for one in self.tokens.values():
            if self.mine.get(one.mid, float("inf")) >= since:
                self.mine.pop(one.mid, None)
                one.late = True


def key_of(event):
    """What makes an event the same as another one."""
    if isinstance(event, MessageReceived):
        return event.conversation_id, event.message.id
    if isinstance(event, Invited | Kicked):
        return type(event), event.conversation_id, ms_from_datetime(event.at)
    return id(event)
