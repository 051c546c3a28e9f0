"""The claim: every message once, in order, or a gap that is true and no wider than promised."""

from __future__ import annotations

from trio_realtime import (
    CommandTimeout,
    Gap,
    Invited,
    Kicked,
    MessageRecalled,
    MessageReceived,
    MessageUpdated,
    NotificationGap,
    RecalledMessage,
)
from trio_realtime._values.times import ms_from_datetime
from trio_realtime.wire import OpType

from .world import EPOCH, key_of

PATIENT = 4
"""Faults in a row that are no gap yet."""
AHEAD = 60_000
"""Milliseconds by which a conversation may be ahead of the clock of the server."""
IN_A_ROW = 1000
"""Milliseconds by which it is ahead when much is said at once."""
TOLD_AS = {OpType.JOINED: Invited, OpType.LEFT: Kicked}


def audit(world):
    """Compare what was told with what was said."""
    for room in world.rooms.values():
        _audit_room(world, room)
    _audit_notices(world)


def _audit_room(world, room):
    cid = room.cid
    events = [one for one in world.told.received if getattr(one, "conversation_id", None) == cid]
    gaps = [event for event in events if isinstance(event, Gap)]
    told = _once(world, [event for event in events if isinstance(event, MessageReceived)])
    mids = [event.message.id for event in told]
    assert not set(world.mine).intersection(mids), f"{cid}: its own: {mids}"
    late = {one.mid for one in room.said if one.late}
    times = [event.message.timestamp_ms for event in told if event.message.id not in late]
    assert times == sorted(times), f"{cid}: out of order: {mids}"
    for one in room.said:
        if one.owed and one.mid not in mids:
            assert any(covers(gap, one) for gap in gaps), (
                f"{cid}: {one} is missing without a gap: {mids}, {gaps}"
            )
    for gap in gaps:
        _check(world, gap, room, mids)
    _check_repeats(world, gaps, room, mids)
    _audit_edits(world, room, events)


def _once(world, events):
    """These events without what was told again because a program stopped."""
    kept = {}
    for event in events:
        key = key_of(event)
        assert key not in kept or key in world.told.again, f"told twice: {event}"
        kept.setdefault(key, event)
    return list(kept.values())


def _audit_edits(world, room, events):
    """What the client knows of each message is what became of it."""
    if any(cid == room.cid and op == OpType.LEFT for op, cid, _ in world.notices):
        return
    changes = MessageReceived, MessageUpdated, MessageRecalled
    known = {event.message.id: event for event in events if isinstance(event, changes)}
    for one in room.said:
        event = known.get(one.mid)
        if event is None or not one.patched:
            continue
        assert isinstance(event.message, RecalledMessage) is one.recalled, (
            f"{one} is known as {event}"
        )
        assert one.recalled or event.message.body == one.body, f"{one} is known as {event}"


def _audit_notices(world):
    received = world.told.received
    told = _once(world, [event for event in received if isinstance(event, Invited | Kicked)])
    if not world.rest or any(isinstance(event, NotificationGap) for event in received):
        return
    assert {key_of(event) for event in told} == {
        (TOLD_AS[op], cid, at) for op, cid, at in world.notices
    }


# Gaps.


def _check(world, gap, room, mids):
    """A gap is true: something is missing in it, or nobody can know that nothing is."""
    if gap.error is not None:
        _check_error(world, gap, room)
    elif gap.missing_until is not None:
        lost = [
            one
            for one in room.said
            if one.meant and covers(gap, one) and one.mid not in {*mids, *world.mine}
        ]
        assert lost or _cannot_be_known(world, gap, room), f"{gap} and nothing is missing"
        _check_bounds(world, gap, room, lost)
    else:
        assert gap.missing_from is None, gap
        assert gap.filled or gap.edited or gap.notices, f"{gap} says nothing"


def _check_bounds(world, gap, room, lost):
    """It is no wider than has to be: it ends where something is known on either side."""
    told = world.told
    index = next(i for i, one in enumerate(told.received) if one is gap)
    told_at, before_gap = told.at[id(gap)], told.received[:index]
    pushed = world.push and gap.missing_from is None
    if pushed:
        # A program that was stopped does not know whether it has told what was pushed at first.
        before_gap = told.received[max(one for one in told.runs if one <= index) : index]
    # Where the last message is, as far as the server says, or a busy conversation may be.
    latest = max([EPOCH + told_at * 1000 + AHEAD, *(one.at for one in room.said)])
    until = ms_from_datetime(gap.missing_until)
    assert until <= latest, f"{gap} ends later than anything is"
    if not lost:
        return
    known = [
        event.message.timestamp_ms
        for event in before_gap
        if isinstance(event, MessageReceived)
        and event.conversation_id == room.cid
        and id(event) not in told.unnoted
    ]
    late = {one.at for one in room.said if one.late}
    before = [at for at in known if at < min(one.at for one in lost) and at not in late]
    behind = [at for at in known if at > max(one.at for one in lost) and at not in late]
    # Where the server pushes the latest, it says no more than that there were others before.
    if before and not pushed:
        assert gap.missing_from is not None, f"{gap} begins before all: {lost}"
        assert ms_from_datetime(gap.missing_from) >= max(before), f"{gap} begins too early: {lost}"
    if behind:
        assert until <= min(behind), f"{gap} ends too late: {lost}"


def _check_repeats(world, gaps, room, mids):
    """What is missing is said once; a history that could not be had is tried again."""
    final = [
        gap
        for gap in gaps
        if gap.error is None
        and key_of(gap) not in world.told.again
        # The server pushes the latest, and does not say since when others are missing.
        and not (world.push and gap.missing_from is None)
        # Where it could only be guessed how far the conversation had come, the rest comes later.
        and not _open_ended(world, gap)
    ]
    for one in room.said:
        if one.owed and one.mid not in mids:
            saying = [
                gap
                for gap in final
                if covers(gap, one)
                and not _begins(gap, one)
                # Up to a time that is still to come, one knows nothing of what is said then.
                and one.at <= EPOCH + world.told.at[id(gap)] * 1000 + IN_A_ROW
            ]
            assert len(saying) <= 1, f"{one} is said to be missing twice: {saying}"


def _open_ended(world, gap):
    if gap.missing_until is None:
        return False
    told = EPOCH + world.told.at[id(gap)] * 1000
    return ms_from_datetime(gap.missing_until) > told + IN_A_ROW


def _check_error(world, gap, room):
    """Why a history could not be had is told as it is."""
    code = getattr(gap.error, "code", None)
    if code == 4200:
        assert world.faulted > PATIENT, gap
    elif code == 4312:
        assert room.cid in world.left, gap
    else:
        assert isinstance(gap.error, CommandTimeout), gap
        assert world.was_silent, gap


def _cannot_be_known(world, gap, room):
    """What docs/reliability.md says: where a gap may be empty."""
    after = 0 if gap.missing_from is None else ms_from_datetime(gap.missing_from)
    # A history that was given up does not say whether it had more.
    given_up = room.forgotten_until >= after > 0
    # The last message that was heard does not say that it was a will.
    will = any(not one.stored and one.at == after for one in room.said)
    # Who was out in between is not shown what was said before.
    out = any(at >= after > 0 for at in world.left.get(room.cid, ()))
    # Where the first login was cut off, nothing tells whether it would have brought more.
    late = world.told.at[id(gap)] >= world.cut_off
    more = world.push and late and gap.missing_from is None
    # What a history does not show yet may be pushed in the end.
    hidden = any(one.hidden and covers(gap, one) for one in room.said)
    return given_up or will or out or more or hidden


def _begins(gap, one):
    """Whether a gap begins at the very time of a message, which may be what is known."""
    return gap.missing_from is not None and ms_from_datetime(gap.missing_from) == one.at


def covers(gap, one):
    if gap.missing_from is None and gap.missing_until is None:
        return False
    after = gap.missing_from is None or ms_from_datetime(gap.missing_from) <= one.at
    before = gap.missing_until is None or one.at <= ms_from_datetime(gap.missing_until)
    return after and before
