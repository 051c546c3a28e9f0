from __future__ import annotations

import pytest

from tests.server.rules.world import JS, MISSING, refusal
from trio_realtime.server.rules.read import unread_push
from trio_realtime.server.rules.types import Feature
from trio_realtime.server.store.interface import Kind
from trio_realtime.wire import CommandType, ConvCommand, GenericCommand, ReadCommand, ReadTuple


@pytest.fixture
def chat(world):
    return world.conversation("tom", "jerry")


def receipts(device):
    """(message, by whom, read) of the receipts among what arrived; nothing else is wanted."""
    found = []
    for push in device.take():
        assert push.cmd == CommandType.RCP
        rcp = push.rcp_message
        found.append((rcp.id, rcp.from_, rcp.read))
    return found


def counters(device):
    """{conversation: (unread, mentioned)} of the one unread push that arrived."""
    (push,) = [one for one in device.take() if one.cmd == CommandType.UNREAD]
    return {one.cid: (one.unread, one.mentioned) for one in push.unread_message.convs}


def unread(world, who, cid):
    return world.tx(lambda tx: tx.unread(cid, who)).count


# Delivery.


def test_a_range_of_received_messages_sends_each_sender_his_receipts(world):
    cid = world.conversation("tom", "jerry", "mary")
    tom, tablet, jerry, mary = map(world.device, ("tom", "tom", "jerry", "mary"))
    one = world.send(tom, cid, "1", r=True)
    world.send(tom, cid, "2")
    three = world.send(mary, cid, "3", r=True)
    four = world.send(tom, cid, "4", r=True)
    tablet.take(), mary.take(), tom.take()
    world.ack(jerry, cid, fromts=one.t, tots=three.t)
    assert receipts(tom) == receipts(tablet) == [(one.uid, "jerry", None)]
    assert receipts(mary) == [(three.uid, "jerry", None)]
    world.ack(jerry, cid, fromts=one.t, tots=four.t)
    assert receipts(tom) == [(four.uid, "jerry", None)]
    world.ack(mary, cid, fromts=one.t, tots=four.t)
    assert receipts(tom) == [(one.uid, "mary", None), (four.uid, "mary", None)]


def test_a_receipt_says_when_and_where(world, chat):
    tom, jerry = world.device("tom"), world.device("jerry")
    sent = world.send(tom, chat, "hi", r=True)
    world.ack(jerry, chat, mid=sent.uid)
    (push,) = tom.take()
    rcp = push.rcp_message
    assert (rcp.cid, rcp.id, rcp.t, rcp.read) == (chat, sent.uid, world.now, None)


def test_one_message_is_acknowledged_by_its_id(world, chat):
    tom, jerry = world.device("tom"), world.device("jerry")
    world.send(tom, chat, "1", r=True)
    two = world.send(tom, chat, "2", r=True)
    world.ack(jerry, chat, mid=two.uid)
    world.ack(jerry, chat, mid=two.uid)
    assert receipts(tom) == [(two.uid, "jerry", None)]


@pytest.mark.parametrize("end", ["fromts", "tots"])
def test_half_a_range_is_one_moment(world, chat, end):
    tom, jerry = world.device("tom"), world.device("jerry")
    world.send(tom, chat, "1", r=True)
    two = world.send(tom, chat, "2", r=True)
    world.send(tom, chat, "3", r=True)
    world.ack(jerry, chat, **{end: two.t})
    assert receipts(tom) == [(two.uid, "jerry", None)]


def test_acknowledgements_that_make_no_sense_are_passed_over(world, chat):
    tom, jerry, spike = map(world.device, ("tom", "jerry", "spike"))
    sent = world.send(tom, chat, "hi", r=True)
    for who, cid, fields in [
        (spike, chat, {"fromts": 0, "tots": sent.t}),
        (tom, chat, {"fromts": 0, "tots": sent.t}),
        (jerry, chat, {"fromts": sent.t + 1, "tots": sent.t - 1}),
        (jerry, chat, {"mid": "unknown"}),
        (jerry, chat, {}),
        (jerry, MISSING, {"mid": sent.uid}),
        (jerry, None, {"mid": sent.uid}),
    ]:
        world.ack(who, cid, **fields)
    world.do(jerry, GenericCommand(cmd=CommandType.ACK))
    assert tom.inbox == spike.inbox == []


def test_rooms_and_services_have_no_receipts(world):
    for kind in (Kind.ROOM, Kind.SERVICE):
        cid = world.conversation("jerry", "tom", kind=kind)
        tom, jerry = world.device("tom"), world.device("jerry")
        message = world.tx(lambda tx, cid=cid: tx.append(cid, new("tom", receipt=True))[0])
        world.ack(jerry, cid, mid=message.id)
        world.read(jerry, cid)
        assert [push.cmd for push in tom.take()] == []


def new(sender, **fields):
    from trio_realtime.server.store.interface import NewMessage

    return NewMessage(sender, "x", **fields)


def test_receipts_of_temporary_conversations_need_their_feature(world):
    cid = world.conversation("tom", "jerry", kind=Kind.TEMPORARY, ttl=10**9)
    old = world.device("tom", JS & ~Feature.TEMPORARY_CONVERSATIONS)
    tom, jerry = world.device("tom"), world.device("jerry")
    sent = world.send(tom, cid, "hi", r=True)
    world.ack(jerry, cid, mid=sent.uid)
    world.read(jerry, cid)
    assert len(tom.take()) == 2
    assert old.inbox == []


# Reading.


def test_reading_clears_the_counter_on_every_session_of_the_reader(world, chat):
    tom, jerry, jerry2 = map(world.device, ("tom", "jerry", "jerry"))
    sent = world.send(tom, chat, "hi", mention_all=True)
    jerry.take(), jerry2.take()
    world.read(jerry, chat)
    for device in (jerry, jerry2):
        (push,) = device.take()
        (item,) = push.unread_message.convs
        assert (item.cid, item.unread, item.mentioned) == (chat, 0, False)
        # Clients parse the message of a tuple as soon as it has an id.
        assert (item.mid, item.timestamp, item.data) == (sent.uid, sent.t, "hi")
        assert push.unread_message.notif_time == world.now
    assert tom.inbox == []


def test_reading_up_to_a_message_leaves_the_later_ones(world, chat):
    tom, jerry = world.device("tom"), world.device("jerry")
    one = world.send(tom, chat, "1", mention_pids=["jerry"])
    two = world.send(tom, chat, "2")
    three = world.send(tom, chat, "3", mention_pids=["jerry"])
    four = world.send(tom, chat, binary_msg=b"4")
    jerry.take()
    world.read(jerry, chat, timestamp=one.t)
    (push,) = jerry.take()
    (item,) = push.unread_message.convs
    assert (item.unread, item.mentioned, item.mid) == (3, True, four.uid)
    assert (item.timestamp, item.from_, item.data) == (four.t, "tom", None)
    assert item.binary_msg == b"4"
    world.read(jerry, chat, mid=three.uid)
    assert counters(jerry) == {chat: (1, False)}
    world.read(jerry, chat, mid=two.uid)  # a mark never moves back
    assert counters(jerry) == {chat: (1, False)}
    # With both, the time counts.
    world.read(jerry, chat, mid=one.uid, timestamp=four.t)
    assert counters(jerry) == {chat: (0, False)}


def test_a_time_of_the_future_hides_no_counter(world, chat):
    """The service's clock may have been ahead when the client heard it last."""
    world.send(world.device("tom"), chat, "hi")
    for since in (world.now + 10**6, 2**63 - 1):
        push = world.tx(lambda tx, since=since: unread_push(tx, "jerry", since))
        assert [row.unread for row in push.unread_message.convs] == [1]


def test_a_mark_in_the_future_hides_nothing(world, chat):
    tom, jerry = world.device("tom"), world.device("jerry")
    world.send(tom, chat, "1", r=True)
    world.read(jerry, chat, timestamp=2**63 - 1)
    world.ack(jerry, chat, fromts=0, tots=2**63 - 1)
    tom.take()
    later = world.send(tom, chat, "2", r=True)
    assert unread(world, "jerry", chat) == 1
    world.ack(jerry, chat, fromts=0, tots=2**63 - 1)
    assert receipts(tom) == [(later.uid, "jerry", None)]


def test_the_three_forms_of_read(world):
    cids = [world.conversation("tom", "jerry") for _ in range(4)]
    tom, jerry = world.device("tom"), world.device("jerry")
    for cid in cids:
        world.send(tom, cid, "1")
    jerry.take()
    world.read_command(jerry, ReadCommand(cid=cids[0]))
    assert counters(jerry) == {cids[0]: (0, False)}
    world.read_command(jerry, ReadCommand(cids=cids[1:3]))
    assert counters(jerry) == {cids[1]: (0, False), cids[2]: (0, False)}
    world.read_command(jerry, ReadCommand(convs=[ReadTuple(cid=cids[3])], cids=[cids[3]]), i=7)
    assert counters(jerry) == {cids[3]: (0, False)}
    world.do(jerry, GenericCommand(cmd=CommandType.READ))
    assert jerry.inbox == []


def test_what_is_not_the_readers_is_passed_over(world, chat):
    tom, spike = world.device("tom"), world.device("spike")
    world.send(tom, chat, "hi", r=True)
    other = world.conversation("spike")
    world.read(spike, chat, MISSING, other)
    assert counters(spike) == {other: (0, False)}
    world.read(spike, other, mid="unknown")
    assert spike.inbox == tom.inbox == []


def test_one_read_receipt_for_the_newest_message_of_each_sender(world):
    cid = world.conversation("tom", "mary", "jerry")
    tom, tablet, mary, jerry = map(world.device, ("tom", "tom", "mary", "jerry"))
    world.send(tom, cid, "1", r=True)
    mine = world.send(mary, cid, "2", r=True)
    last = world.send(tom, cid, "3", r=True)
    world.send(tom, cid, "4")
    tablet.take(), mary.take(), tom.take()
    world.read(jerry, cid)
    assert receipts(tom) == receipts(tablet) == [(last.uid, "jerry", True)]
    assert receipts(mary) == [(mine.uid, "jerry", True)]
    world.read(jerry, cid)
    assert tom.inbox == []


def test_temporary_counters_go_to_sessions_that_know_them(world, chat):
    temporary = world.conversation("jerry", "tom", kind=Kind.TEMPORARY, ttl=10**9)
    old = world.device("jerry", JS & ~Feature.TEMPORARY_CONVERSATIONS)
    jerry = world.device("jerry")
    world.read(jerry, temporary, chat)
    assert counters(old) == {chat: (0, False)}
    pushed = [item.cid for push in jerry.take() for item in push.unread_message.convs]
    assert sorted(pushed) == sorted([temporary, chat])


def test_subscribers_of_a_service_have_counters(world):
    cid = world.conversation("jerry", kind=Kind.SERVICE)
    world.tx(lambda tx: tx.append(cid, new("admin")))
    jerry = world.device("jerry")
    assert unread(world, "jerry", cid) == 1
    world.read(jerry, cid)
    assert counters(jerry) == {cid: (0, False)}


# After login.


def test_counters_after_a_first_login(world, chat):
    other = world.conversation("tom", "jerry")
    quiet = world.conversation("tom", "jerry")
    tom, jerry = world.device("tom"), world.device("jerry")
    world.send(tom, chat, "1")
    edited = world.send(tom, chat, "2", mention_pids=["jerry"])
    world.send(jerry, quiet, "mine")
    world.send(tom, other, "1", transient=True)
    push = world.tx(lambda tx: unread_push(tx, "jerry", None))
    (item,) = push.unread_message.convs
    assert (item.cid, item.unread, item.mentioned, item.conv_type) == (chat, 2, True, 1)
    assert (item.mid, item.timestamp, item.from_) == (edited.uid, edited.t, "tom")
    assert (item.data, item.patch_timestamp) == ("2", None)
    assert push.unread_message.notif_time == world.now


def test_no_news_is_no_push(world, chat):
    assert world.tx(lambda tx: unread_push(tx, "jerry", None)) is None
    assert world.tx(lambda tx: unread_push(tx, "nobody", 0)) is None
    world.send(world.device("tom"), chat, "1")
    assert world.tx(lambda tx: unread_push(tx, "jerry", tx.now)) is None


def test_counters_after_a_return_are_those_that_changed(world, chat):
    other = world.conversation("tom", "jerry")
    tom, jerry = world.device("tom"), world.device("jerry")
    world.send(tom, chat, "1")
    world.send(tom, other, "1")
    since = world.now
    world.send(tom, chat, "2")
    push = world.tx(lambda tx: unread_push(tx, "jerry", since))
    assert [(item.cid, item.unread) for item in push.unread_message.convs] == [(chat, 2)]
    world.read(jerry, other)  # on another device: it dropped to 0
    push = world.tx(lambda tx: unread_push(tx, "jerry", since))
    found = {item.cid: item.unread for item in push.unread_message.convs}
    assert found == {chat: 2, other: 0}


def test_at_most_fifty_conversations_and_a_hundred_messages(world, chat):
    tom = world.device("tom")
    for _ in range(103):
        world.tx(lambda tx: tx.append(chat, new("tom")))
    assert unread(world, "jerry", chat) == 100
    for _ in range(50):
        world.send(tom, world.conversation("tom", "jerry"), "1")
    push = world.tx(lambda tx: unread_push(tx, "jerry", None))
    assert len(push.unread_message.convs) == 50


def test_counters_without_temporary_conversations(world, chat):
    temporary = world.conversation("jerry", "tom", kind=Kind.TEMPORARY, ttl=10**9)
    tom = world.device("tom")
    world.send(tom, temporary, "1")
    assert world.tx(lambda tx: unread_push(tx, "jerry", None, temporary=False)) is None
    world.send(tom, chat, "1")
    push = world.tx(lambda tx: unread_push(tx, "jerry", None, temporary=False))
    assert [item.cid for item in push.unread_message.convs] == [chat]
    push = world.tx(lambda tx: unread_push(tx, "jerry", None))
    assert len(push.unread_message.convs) == 2


# How far the others are.


def test_how_far_the_other_of_two_is(world, chat):
    tom, jerry = world.device("tom"), world.device("jerry")
    one, two = (world.send(tom, chat, text) for text in "12")
    marks = world.max_read(tom, chat)
    assert marks.max_ack_timestamp is marks.max_read_timestamp is None
    world.ack(jerry, chat, mid=one.uid)
    marks = world.max_read(tom, chat)
    assert (marks.max_ack_timestamp, marks.max_read_timestamp) == (one.t, None)
    world.read(jerry, chat)
    marks = world.max_read(tom, chat)
    assert (marks.max_ack_timestamp, marks.max_read_timestamp) == (two.t, two.t)
    assert marks.max_read_tuples == []


def test_how_far_all_or_one_of_many_are(world):
    cid = world.conversation("tom", "jerry", "mary", "spike")
    tom, jerry, mary = map(world.device, ("tom", "jerry", "mary"))
    one, two = (world.send(tom, cid, text) for text in "12")
    world.read(tom, cid)
    world.read(jerry, cid, timestamp=one.t)
    world.ack(mary, cid, mid=two.uid)
    marks = world.max_read(tom, cid, query_all_members=True)
    assert [
        (item.pid, item.max_ack_timestamp, item.max_read_timestamp)
        for item in marks.max_read_tuples
    ] == [("jerry", one.t, one.t), ("mary", two.t, None)]
    marks = world.max_read(tom, cid, target_client_id="mary")
    assert (marks.max_ack_timestamp, marks.max_read_timestamp) == (two.t, None)
    for fields in ({}, {"target_client_id": "nobody"}, {"query_all_members": False}):
        marks = world.max_read(tom, cid, **fields)
        assert marks == ConvCommand(cid=cid)


def test_who_may_ask_how_far_the_others_are(world, chat):
    spike = world.device("spike")
    assert refusal(world.max_read, spike, chat)[0] == 4317
    assert refusal(world.max_read, spike, MISSING) == (4303, "CONVERSATION_NOT_FOUND")
    assert refusal(world.max_read, spike, None)[0] == 4303
    room = world.conversation(kind=Kind.ROOM)
    assert refusal(world.max_read, spike, room)[0] == 4314
