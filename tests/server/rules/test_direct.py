from __future__ import annotations

import base64

import pytest

from tests.server.rules.world import JS, MISSING, bodies, refusal
from trio_realtime.server.rules.bodies import lctype_of
from trio_realtime.server.rules.types import Feature, Room
from trio_realtime.server.store.interface import Kind, Listing
from trio_realtime.wire import CommandType, GenericCommand


@pytest.fixture
def chat(world):
    return world.conversation("tom", "jerry", "mary")


def silence(world, cid, who, ttl=None):
    world.tx(
        lambda tx: tx.add_listed(
            Listing.SILENCED, cid, [who], expires_at=None if ttl is None else tx.now + ttl
        )
    )


def test_a_message_reaches_every_other_session_of_every_member_once(world, chat):
    phone, tablet = world.device("tom"), world.device("tom")
    jerry, jerry2, mary, stranger = map(world.device, ("jerry", "jerry", "mary", "spike"))
    ack = world.send(phone, chat, "hello", dt="x", mention_pids=["mary"], mention_all=False)
    assert phone.inbox == stranger.inbox == []
    for device in (tablet, jerry, jerry2, mary):
        (push,) = device.take()
        assert push.cmd == CommandType.DIRECT
        direct = push.direct_message
        assert (direct.id, direct.timestamp, direct.cid) == (ack.uid, ack.t, chat)
        assert (direct.from_peer_id, direct.msg, direct.binary_msg) == ("tom", "hello", None)
        assert (direct.conv_type, direct.mention_pids) == (1, ["mary"])
        # What must be absent for the clients of the protocol.
        assert direct.patch_timestamp is direct.transient is direct.offline is None
        assert direct.mention_all is direct.dt is direct.r is None


def test_the_acknowledgement_has_an_id_and_a_time(world, chat):
    ack = world.send(world.device("tom"), chat, "hello")
    assert 0 < len(ack.uid) <= 64
    assert ack.t == world.now
    assert ack.reason is ack.cid is None


def test_what_is_pushed_names_its_conversation_and_its_place_there(world, chat):
    tom = world.device("tom")
    room = world.conversation("tom", kind=Kind.ROOM)
    for cid in (chat, room):
        ack = world.send(tom, cid, "hi")
        (push,) = world.outcome.pushes
        assert (push.conversation_id, push.place) == (cid, ack.t)
    world.send(tom, chat, "gone", transient=True)
    (push,) = world.outcome.pushes
    assert (push.conversation_id, push.place) == (chat, None)


def test_messages_arrive_in_order_with_rising_times(world, chat):
    tom, jerry = world.device("tom"), world.device("jerry")
    mary = world.device("mary")
    times = []
    for number in range(6):
        world.now -= 1000  # several within one millisecond
        times.append(world.send((tom, jerry)[number % 2], chat, str(number)).t)
    assert times == sorted(set(times))
    assert bodies(mary.inbox) == [str(number) for number in range(6)]
    assert [push.direct_message.timestamp for push in mary.inbox] == times
    assert [item.timestamp for item in world.logs(mary, chat)] == times


def test_binary_bodies_stay_binary(world, chat):
    jerry = world.device("jerry")
    world.send(world.device("tom"), chat, binary_msg=b"\0\xff")
    assert bodies(jerry.take()) == [b"\0\xff"]


@pytest.mark.parametrize("fields", [{}, {"msg": "text", "binary_msg": b"bytes"}])
def test_a_message_has_exactly_one_body(world, chat, fields):
    tom, jerry = world.device("tom"), world.device("jerry")
    assert refusal(world.send, tom, chat, **fields) == (4114, "UNPARSEABLE_RAW_MESSAGE")
    assert jerry.inbox == world.logs(tom, chat) == []


def test_an_empty_text_is_a_body(world, chat):
    jerry = world.device("jerry")
    world.send(world.device("tom"), chat, "")
    assert bodies(jerry.take()) == [""]


# Who may send.


def test_strangers_and_unknown_conversations(world, chat):
    target = (4401, "INVALID_MESSAGING_TARGET")
    tom, spike = world.device("tom"), world.device("spike")
    assert refusal(world.send, spike, chat, "hi") == target
    assert refusal(world.send, tom, MISSING, "hi") == target
    assert refusal(world.send, tom, None, "hi") == target
    assert refusal(world.do, tom, GenericCommand(cmd=CommandType.DIRECT, i=1)) == target


def test_expired_temporary_conversations(world):
    cid = world.conversation("tom", "jerry", kind=Kind.TEMPORARY, ttl=3000)
    tom = world.device("tom")
    world.send(tom, cid, "in time")
    world.now += 3000
    assert refusal(world.send, tom, cid, "late") == (4303, "CONVERSATION_NOT_FOUND")


def test_silenced_for_good_and_for_a_while(world, chat):
    tom, jerry = world.device("tom"), world.device("jerry")
    silence(world, chat, "jerry")
    assert refusal(world.send, jerry, chat, "hi") == (4563, "SILIENCED")
    assert refusal(world.send, jerry, chat, "hi", transient=True) == (4563, "SILIENCED")
    assert refusal(world.send, jerry, chat, "hi", will=True) == (4563, "SILIENCED")
    silence(world, chat, "tom", ttl=5000)
    code = 4315, "CONVERSATION_TEMPORARY_BLACKLISTED"
    assert refusal(world.send, tom, chat, "hi") == code
    world.now += 5000
    assert world.send(tom, chat, "hi")


@pytest.mark.parametrize("kind", [Kind.NORMAL, Kind.ROOM, Kind.SERVICE])
def test_the_blocked(world, kind):
    cid = world.conversation("tom", kind=kind)
    world.tx(lambda tx: tx.add_listed(Listing.BLOCKED, cid, ["jerry"]))
    assert refusal(world.send, world.device("jerry"), cid, "hi") == (4548, "BLOCKED_BY_CONV")


# Sent twice.


def test_a_repeated_token_is_one_message(world, chat):
    tom, jerry = world.device("tom"), world.device("jerry")
    first = world.send(tom, chat, "hello", dt="x", r=True)
    again = world.send(tom, chat, "hello", dt="x", r=True)
    assert (again.uid, again.t) == (first.uid, first.t)
    assert bodies(jerry.take()) == ["hello"]
    assert len(world.logs(tom, chat)) == 1


def test_tokens_of_other_senders_and_conversations_are_their_own(world, chat):
    other = world.conversation("tom", "jerry")
    tom, jerry = world.device("tom"), world.device("jerry")
    sent = [
        world.send(tom, chat, "1", dt="x"),
        world.send(jerry, chat, "2", dt="x"),
        world.send(tom, other, "3", dt="x"),
        world.send(tom, chat, "4", dt=""),
        world.send(tom, chat, "5", dt=""),
    ]
    assert len({ack.uid for ack in sent}) == 5


def test_a_repeat_is_confirmed_to_who_was_thrown_out_meanwhile(world, chat):
    tom = world.device("tom")
    first = world.send(tom, chat, "hello", dt="x")
    world.tx(lambda tx: tx.remove_members(chat, ["tom"]))
    assert world.send(tom, chat, "hello", dt="x").uid == first.uid
    assert refusal(world.send, tom, chat, "new", dt="y") == (4401, "INVALID_MESSAGING_TARGET")


# Chat rooms.


def test_a_room_hears_everybody_but_the_sender_himself(world):
    cid = world.conversation(kind=Kind.ROOM)
    tom, tom2, jerry, outside = map(world.device, ("tom", "tom", "jerry", "mary"))
    world.rooms[cid] = [tom, tom2, jerry]
    world.send(tom, cid, "hi")
    assert tom.inbox == tom2.inbox == outside.inbox == []
    assert jerry.inbox[0].direct_message.conv_type == 2
    assert bodies(jerry.take()) == ["hi"]
    assert world.send(outside, cid, "from outside")
    assert bodies(jerry.take()) == bodies(tom2.take()) == ["from outside"]


@pytest.mark.parametrize(
    ("asked", "given"), [(1, 1), (2, 2), (3, 3), (None, 2), (0, 2), (9, 2), (-1, 2)]
)
def test_priority_is_for_rooms(world, chat, asked, given):
    room = world.conversation(kind=Kind.ROOM)
    tom = world.device("tom")
    world.send(tom, room, "hi", priority=asked)
    (push,) = world.outcome.pushes
    assert push.to == Room(room)
    assert push.priority == given
    world.send(tom, chat, "hi", priority=asked)
    assert world.outcome.pushes[0].priority == 1


# Services.


def test_a_message_to_a_service_goes_one_way(world):
    cid = world.conversation("jerry", kind=Kind.SERVICE)
    tom, tom2, jerry = map(world.device, ("tom", "tom", "jerry"))
    ack = world.send(tom, cid, "help", dt="x")
    again = world.send(tom, cid, "help", dt="x")
    other = world.send(tom, cid, binary_msg=b"\1")
    assert (again.uid, again.t) == (ack.uid, ack.t)
    assert len(ack.uid) == len(other.uid) == 22
    assert tom.inbox == tom2.inbox == jerry.inbox == world.logs(jerry, cid) == []
    rows = dict(world.tx(lambda tx: tx.documents("_SysMessage", prefix=f"{cid}/")))
    assert len(rows) == 2
    row = rows[f"{cid}/{ack.uid}"]
    assert (row["from"], row["data"], row["bin"]) == ("tom", "help", False)
    assert (row["msgId"], row["timestamp"]) == (ack.uid, ack.t)
    assert row["conv"]["objectId"] == cid
    row = rows[f"{cid}/{other.uid}"]
    assert (base64.b64decode(row["data"]), row["bin"]) == (b"\1", True)


def test_a_transient_message_to_a_service_is_forgotten(world):
    cid = world.conversation("jerry", kind=Kind.SERVICE)
    jerry = world.device("jerry")
    assert world.send(world.device("tom"), cid, "help", transient=True)
    assert jerry.inbox == world.tx(lambda tx: tx.documents("_SysMessage")) == []


# Temporary conversations.


def test_sessions_that_do_not_know_temporary_conversations_hear_nothing_of_them(world):
    cid = world.conversation("tom", "jerry", kind=Kind.TEMPORARY, ttl=10**9)
    old = world.device("jerry", JS & ~Feature.TEMPORARY_CONVERSATIONS)
    new = world.device("jerry")
    tom = world.device("tom")
    world.send(tom, cid, "hi", r=True)
    world.send(tom, cid, "hi", transient=True)
    assert old.inbox == []
    assert [push.direct_message.conv_type for push in new.take()] == [4, 4]


# Transient messages.


def test_transient_messages_are_delivered_and_forgotten(world, chat):
    tom, tablet, jerry = map(world.device, ("tom", "tom", "jerry"))
    before = world.send(tom, chat, "first")
    ack = world.send(tom, chat, "now", transient=True, r=True, mention_all=True)
    after = world.send(tom, chat, "last")
    assert before.t < ack.t < after.t
    for device in (tablet, jerry):
        push = device.take()[1].direct_message
        assert (push.id, push.timestamp, push.transient) == (ack.uid, ack.t, True)
        assert push.mention_all is True
    assert [item.data for item in world.logs(jerry, chat)] == ["first", "last"]
    assert world.tx(lambda tx: tx.unread(chat, "jerry")).count == 2
    world.ack(jerry, chat, fromts=ack.t, tots=ack.t)
    assert tom.inbox == []


def test_transient_messages_are_acknowledged_to_who_asked_for_it(world, chat):
    tom = world.device("tom", JS & ~Feature.TRANSIENT_ACKS)
    jerry = world.device("jerry")
    assert world.send(tom, chat, "hi", transient=True) is None
    assert bodies(jerry.take()) == ["hi"]
    assert world.send(tom, chat, "hi") is not None


# Wills.


def test_a_will_is_kept_and_delivered_under_the_id_it_was_given(world, chat):
    tom, jerry = world.device("tom", Feature(0)), world.device("jerry")
    ack = world.send(tom, chat, "goodbye", will=True)
    assert jerry.inbox == world.logs(jerry, chat) == []
    for push in world.tx(tom.will):
        world.deliver(push, tom)
    (push,) = jerry.take()
    direct = push.direct_message
    assert (direct.id, direct.msg) == (ack.uid, "goodbye")
    assert direct.timestamp > ack.t
    assert direct.transient is None
    assert tom.inbox == []


def test_a_later_will_replaces_the_earlier_even_without_an_audience(world, chat):
    tom = world.device("tom")
    world.send(tom, chat, "goodbye", will=True)
    world.send(tom, world.conversation(kind=Kind.SERVICE), "goodbye", will=True)
    assert tom.will is None


# Bodies.


@pytest.mark.parametrize(
    ("body", "lctype"),
    [
        ('{"_lctype":-1,"_lctext":"hi"}', -1),
        (' {"_lctext":"hi", "_lctype": 42}', 42),
        ('{"\\u005flctype":7}', 7),
        ('{"_lctype":true}', None),
        ('{"_lctype":1.0}', None),
        ('{"_lctype":"1"}', None),
        ('{"_lctype":2147483648}', None),
        ('{"_lctype":-2147483648}', -2147483648),
        ('{"_lctype":' + "9" * 5000 + "}", None),
        ('[{"_lctype":1}]', None),
        ('{"a":{"_lctype":1}}', None),
        ('{"_lctype":1', None),
        ("[" * 5000 + "_lctype", None),
        ("the word _lctype", None),
        ("", None),
        (b'{"_lctype":1}', None),
    ],
)
def test_the_type_of_a_body(body, lctype):
    assert lctype_of(body) == lctype


def test_mentions_are_kept_once_each(world, chat):
    jerry = world.device("jerry")
    world.send(world.device("tom"), chat, "hi", mention_pids=["a", "b", "a"], mention_all=True)
    (push,) = jerry.take()
    assert push.direct_message.mention_pids == ["a", "b"]
    assert push.direct_message.mention_all is True
