from __future__ import annotations

from trio_realtime.server.store.interface import Kind, NewMessage, ReadMarks

LATER = 10**15


def ids(messages):
    return [message.id for message in messages]


def acknowledge(world, cid, client, first, last):
    return world.do(lambda tx: tx.acknowledge(cid, client, first=first, last=last))


def mark_read(world, cid, client, upto=LATER):
    return world.do(lambda tx: tx.mark_read(cid, client, upto))


def unread(world, cid, client):
    row = world.see(lambda tx: tx.unread(cid, client))
    return row.count, row.mentioned


def marks(world, cid, *clients):
    return world.see(lambda tx: tx.marks(cid, list(clients) or None))


# Received.


def test_a_receipt_is_returned_once(world, chat):
    plain = world.say(chat, "tom")
    wanted = [world.say(chat, "tom", receipt=True) for _ in range(3)]
    own = world.say(chat, "jerry", receipt=True)
    times = [message.timestamp for message in wanted]
    assert ids(acknowledge(world, chat, "jerry", times[1], times[1])) == [wanted[1].id]
    assert acknowledge(world, chat, "jerry", times[1], times[1]) == []
    # Out of order and overlapping, as clients do.
    assert ids(acknowledge(world, chat, "jerry", plain.timestamp, own.timestamp)) == [
        wanted[0].id,
        wanted[2].id,
    ]
    assert ids(acknowledge(world, chat, "tom", 0, LATER)) == [own.id]


def test_the_received_mark_never_moves_back(world, chat):
    first, second = world.say(chat, "tom"), world.say(chat, "tom")
    acknowledge(world, chat, "jerry", second.timestamp, second.timestamp)
    acknowledge(world, chat, "jerry", first.timestamp, first.timestamp)
    assert marks(world, chat, "jerry") == [ReadMarks("jerry", second.timestamp, None)]


def test_nobody_receives_the_future(world, chat):
    message = world.say(chat, "tom")
    acknowledge(world, chat, "jerry", 0, LATER)
    mark_read(world, chat, "jerry")
    assert marks(world, chat, "jerry") == [ReadMarks("jerry", message.timestamp, message.timestamp)]
    world.say(chat, "tom")
    assert unread(world, chat, "jerry") == (1, False)


def test_strangers_have_no_marks(world, chat):
    world.say(chat, "tom", receipt=True)
    assert acknowledge(world, chat, "eve", 0, LATER) == []
    assert acknowledge(world, "nowhere", "tom", 0, LATER) == []
    assert mark_read(world, chat, "eve") == []
    assert mark_read(world, "nowhere", "tom") == []
    assert marks(world, chat, "eve") == []
    assert acknowledge(world, chat, "jerry", 9, 3) == []


def test_each_member_of_a_group_gives_his_own_receipt(world):
    group = world.create("tom", "jerry", "ann").id
    message = world.say(group, "tom", receipt=True)
    for client in ("jerry", "ann"):
        assert ids(acknowledge(world, group, client, 0, LATER)) == [message.id]
        assert ids(mark_read(world, group, client)) == [message.id]
    # The times on the message speak of one other member; here there are two.
    stored = world.see(lambda tx: tx.message(group, message.id))
    assert (stored.ack_at, stored.read_at) == (None, None)


def test_the_message_tells_when_the_other_got_it(world, chat):
    plain, own = world.say(chat, "tom"), world.say(chat, "jerry")
    world.now += 10
    acknowledge(world, chat, "jerry", 0, LATER)
    world.now += 10
    mark_read(world, chat, "jerry")
    world.now += 10
    acknowledge(world, chat, "jerry", 0, LATER)

    def times(message):
        row = world.see(lambda tx: tx.message(chat, message.id))
        return row.ack_at, row.read_at

    assert times(plain) == (world.now - 20, world.now - 10)
    assert times(own) == (None, None)


# Read.


def test_reading_returns_new_receipts_and_never_goes_back(world, chat):
    messages = [world.say(chat, "tom", receipt=n != 1) for n in range(4)]
    own = world.say(chat, "jerry", receipt=True)
    times = [message.timestamp for message in messages]
    assert ids(mark_read(world, chat, "jerry", times[2])) == [messages[0].id, messages[2].id]
    assert mark_read(world, chat, "jerry", times[2]) == []
    assert mark_read(world, chat, "jerry", times[0]) == []
    assert marks(world, chat, "jerry") == [ReadMarks("jerry", times[2], times[2])]
    assert ids(mark_read(world, chat, "jerry")) == [messages[3].id]
    assert ids(mark_read(world, chat, "tom")) == [own.id]


def test_who_read_has_received(world, chat):
    messages = [world.say(chat, "tom") for _ in range(3)]
    times = [message.timestamp for message in messages]
    acknowledge(world, chat, "jerry", times[0], times[0])
    mark_read(world, chat, "jerry", times[1])
    assert marks(world, chat) == [
        ReadMarks("tom", None, None),
        ReadMarks("jerry", times[1], times[1]),
    ]
    acknowledge(world, chat, "jerry", times[2], times[2])
    assert marks(world, chat, "jerry", "eve") == [ReadMarks("jerry", times[2], times[1])]


# Unread.


def test_unread_counts_what_others_wrote_since(world, chat):
    assert unread(world, chat, "jerry") == (0, False)
    world.say(chat, "tom")
    second = world.say(chat, "tom")
    own = world.say(chat, "jerry")
    assert unread(world, chat, "jerry") == (2, False)
    assert unread(world, chat, "tom") == (1, False)
    row = world.see(lambda tx: tx.unread(chat, "jerry"))
    assert row.newest == own
    assert row.conversation.id == chat
    mark_read(world, chat, "jerry", second.timestamp - 1)
    assert unread(world, chat, "jerry") == (1, False)
    mark_read(world, chat, "jerry")
    assert unread(world, chat, "jerry") == (0, False)


def test_transient_messages_are_never_unread(world, chat):
    world.do(lambda tx: tx.next_timestamp(chat))
    assert unread(world, chat, "jerry") == (0, False)
    assert world.see(lambda tx: tx.unread_of("jerry")) == []


def test_acknowledging_is_not_reading(world, chat):
    world.say(chat, "tom")
    acknowledge(world, chat, "jerry", 0, LATER)
    assert unread(world, chat, "jerry") == (1, False)


def test_the_count_stops_at_a_hundred(world, chat):
    world.say(chat, "tom", mention_all=True)
    for _ in range(99):
        world.say(chat, "tom")
    assert unread(world, chat, "jerry") == (100, True)
    world.say(chat, "tom")
    # The oldest, with its mention, has fallen out.
    assert unread(world, chat, "jerry") == (100, False)


def test_mentions(world, chat):
    world.say(chat, "tom", mentions=("ann", "jerr"))
    assert unread(world, chat, "jerry") == (1, False)
    message = world.say(chat, "tom", mentions=("ann", "jerry"))
    assert unread(world, chat, "jerry") == (2, True)
    mark_read(world, chat, "jerry", message.timestamp)
    assert unread(world, chat, "jerry") == (0, False)
    world.say(chat, "jerry", mentions=("jerry",), mention_all=True)
    assert unread(world, chat, "jerry") == (0, False)
    world.say(chat, "tom", mention_all=True)
    assert unread(world, chat, "jerry") == (1, True)


def test_who_joins_later_has_nothing_unread(world, chat):
    # All in the same millisecond: times alone could not tell.
    world.say(chat, "tom")
    world.do(lambda tx: tx.add_members(chat, ["ann"]))
    assert unread(world, chat, "ann") == (0, False)
    world.say(chat, "tom")
    assert unread(world, chat, "ann") == (1, False)
    world.do(lambda tx: tx.remove_members(chat, ["ann"]))
    world.do(lambda tx: tx.add_members(chat, ["ann"]))
    assert unread(world, chat, "ann") == (0, False)


def test_reading_does_not_reach_back_before_joining(world, chat):
    world.say(chat, "tom", receipt=True)
    world.do(lambda tx: tx.add_members(chat, ["ann"]))
    second = world.say(chat, "tom", receipt=True)
    assert ids(mark_read(world, chat, "ann")) == [second.id]


def unread_of(world, client, **more):
    rows = world.see(lambda tx: tx.unread_of(client, **more))
    return [(row.conversation.id, row.count) for row in rows]


def test_unread_conversations_come_newest_first(world):
    chats = [world.create("tom", "jerry").id for _ in range(4)]
    for n, cid in enumerate(chats):
        world.now += 1
        world.say(cid, ["tom", "tom", "jerry", "tom"][n])
    assert unread_of(world, "jerry") == [(chats[3], 1), (chats[1], 1), (chats[0], 1)]
    assert unread_of(world, "jerry", limit=2) == [(chats[3], 1), (chats[1], 1)]
    assert unread_of(world, "tom") == [(chats[2], 1)]
    assert unread_of(world, "eve") == []
    mark_read(world, chats[1], "jerry")
    assert unread_of(world, "jerry") == [(chats[3], 1), (chats[0], 1)]


def test_unread_changes_since_a_time(world):
    quiet, read, busy, own = [world.create("tom", "jerry").id for _ in range(4)]
    for cid in (quiet, read, busy):
        world.say(cid, "tom")
    since = world.now
    world.now += 5
    mark_read(world, read, "jerry")
    world.say(busy, "tom")
    world.say(own, "jerry")
    assert sorted(unread_of(world, "jerry", since=since)) == sorted([(read, 0), (busy, 2)])
    assert unread_of(world, "jerry", since=world.now) == []


def test_deleting_an_unread_message_changes_the_count(world, chat):
    message = world.say(chat, "tom")
    since = world.now
    world.now += 5
    world.do(lambda tx: tx.delete_message(chat, message.id))
    assert unread(world, chat, "jerry") == (0, False)
    assert unread_of(world, "jerry", since=since) == [(chat, 0)]


def test_subscribers_have_unread_messages(world):
    news = world.create("tom", "jerry", kind=Kind.SERVICE).id
    world.say(news, "tom")
    assert unread_of(world, "jerry") == [(news, 1)]


def test_unread_of_several_conversations_in_the_order_asked_for(world):
    first, second, left = (world.create("ann", "tom").id for _ in range(3))
    for _ in range(3):
        world.do(lambda tx: tx.append(first, NewMessage("ann", "x")))
    world.do(lambda tx: tx.append(second, NewMessage("ann", "@tom", mentions=("tom",))))
    world.do(lambda tx: tx.append(second, NewMessage("ann", "all", mention_all=True)))
    world.do(lambda tx: tx.remove_members(left, ["tom"]))
    rows = world.see(lambda tx: tx.unread_in("tom", [second, first, second, "nowhere", left]))
    assert [(row.conversation.id, row.count, row.mentioned) for row in rows[:2]] == [
        (second, 2, True),
        (first, 3, False),
    ]
    assert rows[0].newest.body == "all"
    for row in rows:
        assert row == world.see(lambda tx, row=row: tx.unread(row.conversation.id, "tom"))
