from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_realtime.server.store.interface import Kind, MessageRow, NewMessage, StoreError


def test_a_message_comes_back_as_it_was_stored(world, chat):
    stored = world.say(
        chat,
        "tom",
        "喵",
        mentions=("jerry", 'o"dd'),
        mention_all=True,
        receipt=True,
        push_data="{}",
        lctype=-1,
        dt="1",
    )
    assert stored == MessageRow(
        id=stored.id,
        conversation_id=chat,
        kind=Kind.NORMAL,
        sender="tom",
        timestamp=world.now,
        body="喵",
        mentions=("jerry", 'o"dd'),
        mention_all=True,
        receipt=True,
        push_data="{}",
        lctype=-1,
    )
    assert re.fullmatch("[A-Za-z0-9_]{22}", stored.id)
    assert world.see(lambda tx: tx.message(chat, stored.id)) == stored
    assert world.see(lambda tx: tx.last_message(chat)) == stored
    assert world.see(lambda tx: tx.history(chat)) == [stored]
    assert world.see(lambda tx: tx.sent_before(chat, "tom", "1")) == stored
    assert world.see(lambda tx: tx.conversation(chat)).last_message_at == stored.timestamp


def test_bytes_and_empty_bodies_keep_their_kind(world, chat):
    for body in (b"\x00\xff", b"", "", "a\x00b"):
        mid = world.say(chat, "tom", body).id
        assert world.see(lambda tx, mid=mid: tx.message(chat, mid)).body == body


def test_unknown_messages_and_conversations(world, chat):
    assert world.see(lambda tx: tx.message(chat, "x")) is None
    assert world.see(lambda tx: tx.last_message(chat)) is None
    assert world.see(lambda tx: tx.sent_before(chat, "tom", "1")) is None
    assert world.see(lambda tx: tx.history("nowhere")) == []
    assert not world.do(lambda tx: tx.delete_message(chat, "x"))
    for rule in (
        lambda tx: tx.append("nowhere", NewMessage("tom", "hi")),
        lambda tx: tx.next_timestamp("nowhere"),
    ):
        with pytest.raises(StoreError, match="no conversation"):
            world.do(rule)


def test_a_repeated_dt_returns_the_first_message(world, chat):
    def send(sender, body, dt, cid=chat):
        return world.do(lambda tx: tx.append(cid, NewMessage(sender, body, dt=dt)))

    first, new = send("tom", "one", "1")
    assert new
    world.now += 50
    assert send("tom", "two", "1") == (first, False)
    assert send("jerry", "three", "1")[1]
    assert send("tom", "four", "2")[1]
    assert send("tom", "five", "1", world.create("tom").id)[1]
    assert send("tom", "six", None)[1]
    assert send("tom", "seven", None)[1]
    bodies = [m.body for m in world.see(lambda tx: tx.history(chat))]
    assert bodies == ["one", "three", "four", "six", "seven"]
    world.do(lambda tx: tx.patch(chat, first.id, body="1!", recalled=False, **NOBODY))
    assert send("tom", "two", "1")[0].id == first.id


NOBODY = {"mentions": (), "mention_all": False, "lctype": None}


def test_a_repeat_in_the_same_rule_is_found_too(world, chat):
    def twice(tx):
        return [tx.append(chat, NewMessage("tom", "hi", dt="1")) for _ in range(2)]

    (first, new), (second, again) = world.do(twice)
    assert (new, again) == (True, False)
    assert first == second


def test_a_given_id_is_used_once(world, chat):
    assert world.say(chat, "tom", id="will-1").id == "will-1"
    with pytest.raises(StoreError, match="taken"):
        world.say(chat, "tom", id="will-1")
    assert world.say(world.create("tom").id, "tom", id="will-1").id == "will-1"


@given(clock=st.lists(st.integers(0, 20), min_size=1, max_size=20), data=st.data())
def test_timestamps_increase_whatever_the_clock_does(make_world, clock, data):
    world = make_world()
    chat = world.create("tom").id
    times = []
    for now in clock:
        world.now = now
        if data.draw(st.booleans()):
            times.append(world.say(chat, "tom").timestamp)
        else:
            times.append(world.do(lambda tx: tx.next_timestamp(chat)))
    assert all(earlier < later for earlier, later in itertools.pairwise(times))
    assert all(time >= now for time, now in zip(times, clock, strict=True))


def test_conversations_have_clocks_of_their_own(world, chat):
    other = world.create("tom").id
    assert [world.say(chat, "tom").timestamp for _ in range(3)][-1] == world.now + 2
    assert world.say(other, "tom").timestamp == world.now


def test_a_service_conversation_shows_no_last_message_time(world):
    news = world.create("tom", kind=Kind.SERVICE).id
    world.say(news, "tom")
    assert world.see(lambda tx: tx.conversation(news)).last_message_at is None


def expected_page(messages, *, start, start_included, end, end_included, newer, limit, lctype):
    """The rule of docs/protocol/messages.md §7, said the slow way."""

    def beyond(message, bound, included, after):
        if bound is None:
            return True
        timestamp, mid = bound
        here = (message.timestamp,) if mid is None else (message.timestamp, message.id)
        there = (timestamp,) if mid is None else (timestamp, mid)
        return (here == there and included) or (here > there if after else here < there)

    found = [
        message
        for message in messages
        if beyond(message, start, start_included, newer)
        and beyond(message, end, end_included, not newer)
        and (lctype is None or message.lctype == lctype)
    ]
    return found[:limit] if newer else found[len(found) - min(limit, len(found)) :]


HISTORY_IDS = [f"m{step * 7 % 12}" for step in range(12)]


@pytest.fixture(scope="session")
def history(make_world):
    """A conversation of twelve messages, some of them in the same millisecond of the clock."""
    world = make_world()
    world.now = 100
    cid = world.create("tom").id
    messages = []
    for step, mid in enumerate(HISTORY_IDS):
        world.now += step % 3
        messages.append(world.say(cid, "tom", str(step), lctype=[None, -1, 2][step % 3], id=mid))
    return world, cid, messages


bounds = st.none() | st.tuples(st.integers(98, 116), st.none() | st.sampled_from(HISTORY_IDS))


@given(
    start=bounds,
    start_included=st.booleans(),
    end=bounds,
    end_included=st.booleans(),
    newer=st.booleans(),
    limit=st.integers(0, 14),
    lctype=st.sampled_from([None, -1, 2, 7]),
)
def test_history_pages(history, **page):
    world, cid, messages = history
    got = world.see(lambda tx: tx.history(cid, **page))
    assert got == expected_page(messages, **page)


def test_history_defaults_to_the_newest_twenty_ascending(world, chat):
    sent = [world.say(chat, "tom", str(n)) for n in range(25)]
    assert world.see(lambda tx: tx.history(chat)) == sent[5:]
    assert world.see(lambda tx: tx.history(chat, newer=True)) == sent[:20]
    assert world.see(lambda tx: tx.history(chat, limit=-3)) == []


def test_an_edit_shows_everywhere(world, chat):
    message = world.say(chat, "tom", "tpyo", lctype=-1)
    world.now += 10
    patch = world.do(
        lambda tx: tx.patch(
            chat,
            message.id,
            body=b"typo",
            recalled=True,
            mentions=("jerry",),
            mention_all=True,
            lctype=-127,
            code=-4408,
            reason="censored",
        )
    )
    edited = world.see(lambda tx: tx.message(chat, message.id))
    assert patch.message == edited == world.see(lambda tx: tx.last_message(chat))
    assert (patch.patched_at, patch.code, patch.reason) == (world.now, -4408, "censored")
    assert (edited.timestamp, edited.patched_at) == (message.timestamp, world.now)
    assert (edited.body, edited.recalled, edited.lctype) == (b"typo", True, -127)
    assert (edited.mentions, edited.mention_all) == (("jerry",), True)
    assert world.see(lambda tx: tx.history(chat, lctype=-1)) == []
    assert world.see(lambda tx: tx.patches_for("jerry", world.now - 1)) == [patch]


def test_patching_an_unknown_message_changes_nothing(world, chat):
    with pytest.raises(StoreError, match="no message"):
        world.do(lambda tx: tx.patch(chat, "x", body="", recalled=False, **NOBODY))


def test_missed_patches_come_oldest_first_and_once(world, chat):
    foreign = world.create("ann").id
    other = world.create("jerry").id
    messages = [world.say(cid, "ann") for cid in (chat, other, foreign, chat)]
    before = world.now - 1

    def patch(message):
        return world.do(
            lambda tx: tx.patch(
                message.conversation_id, message.id, body="x", recalled=False, **NOBODY
            )
        )

    # The clock stands still, patch times do not.
    patches = [patch(message) for message in messages]
    again = patch(messages[0])
    times = [p.patched_at for p in (*patches, again)]
    assert times == sorted(set(times))

    def missed(client, after, **more):
        return world.see(lambda tx: tx.patches_for(client, after, **more))

    assert missed("jerry", before) == [patches[1], patches[3], again]
    assert missed("jerry", before, limit=2) == [patches[1], patches[3]]
    assert missed("jerry", patches[3].patched_at) == [again]
    assert missed("jerry", again.patched_at) == []
    assert missed("tom", before) == [patches[3], again]
    assert missed("eve", before) == []


def test_a_deleted_message_is_gone(world, chat):
    first = world.say(chat, "tom", receipt=True, dt="1")
    second = world.say(chat, "tom")
    assert world.do(lambda tx: tx.delete_message(chat, second.id))
    assert world.see(lambda tx: tx.last_message(chat)) == first
    assert world.see(lambda tx: tx.conversation(chat)).last_message_at == first.timestamp
    world.do(lambda tx: tx.acknowledge(chat, "jerry", first=0, last=10**15))
    assert world.do(lambda tx: tx.delete_message(chat, first.id))
    assert world.see(lambda tx: tx.conversation(chat)).last_message_at is None
    assert world.say(chat, "tom", dt="1").timestamp > second.timestamp


def test_the_last_messages_of_several_conversations(world):
    one, other, silent, unasked = (world.create("tom").id for _ in range(4))
    for cid, body in ((one, "old"), (one, "new"), (other, b"x"), (unasked, "y")):
        world.do(lambda tx, cid=cid, body=body: tx.append(cid, NewMessage("tom", body)))
    found = world.see(lambda tx: tx.last_messages([silent, other, one, "nowhere"]))
    assert found == {
        cid: world.see(lambda tx, cid=cid: tx.last_message(cid)) for cid in (one, other)
    }
