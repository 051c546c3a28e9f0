from __future__ import annotations

import pytest

from tests.server.rules.world import bodies
from trio_realtime.server.rules.offline import offline_pushes
from trio_realtime.server.store.interface import Kind, NewMessage
from trio_realtime.wire import CommandType, PatchItem


@pytest.fixture
def chat(world):
    return world.conversation("tom", "jerry")


def missed(world, who="jerry", **options):
    pushes = world.tx(lambda tx: offline_pushes(tx, who, **options))
    for push in pushes:
        assert push.cmd == CommandType.DIRECT
        assert push.direct_message.offline is True
    return pushes


def test_missed_messages_come_until_they_are_acknowledged(world, chat):
    tom, jerry = world.device("tom"), world.device("jerry")
    one = world.send(tom, chat, "1")
    two = world.send(tom, chat, binary_msg=b"2")
    pushes = missed(world)
    assert bodies(pushes) == ["1", b"2"]
    direct = pushes[0].direct_message
    assert (direct.id, direct.timestamp, direct.from_peer_id) == (one.uid, one.t, "tom")
    assert direct.has_more is None
    assert bodies(missed(world)) == ["1", b"2"]
    world.ack(jerry, chat, mid=one.uid)
    assert bodies(missed(world)) == [b"2"]
    world.ack(jerry, chat, fromts=one.t, tots=two.t)
    assert missed(world) == []


def test_what_was_read_was_received(world, chat):
    world.send(world.device("tom"), chat, "1")
    world.read(world.device("jerry"), chat)
    assert missed(world) == []


def test_own_and_transient_messages_are_not_missed(world, chat):
    tom, jerry = world.device("tom"), world.device("jerry")
    world.send(tom, chat, "now", transient=True)
    world.send(jerry, chat, "mine")
    assert missed(world) == []
    world.send(tom, chat, "yours")
    world.send(jerry, chat, "mine too")
    assert bodies(missed(world)) == ["yours"]


def test_what_was_said_before_joining_is_not_missed(world, chat):
    tom = world.device("tom")
    first = world.send(tom, chat, "before")
    world.send(tom, chat, "before, too")
    world.tx(lambda tx: tx.add_members(chat, ["mary"]))
    assert missed(world, "mary") == []
    world.read(world.device("mary"), chat, timestamp=first.t)
    assert missed(world, "mary") == []
    world.send(tom, chat, "after")
    assert bodies(missed(world, "mary")) == ["after"]


@pytest.mark.parametrize(("count", "more"), [(20, None), (21, True), (150, True)])
def test_the_newest_twenty_of_a_conversation(world, chat, count, more):
    for number in range(count):
        world.tx(lambda tx, number=number: tx.append(chat, NewMessage("tom", str(number))))
    world.send(world.device("jerry"), chat, "mine")
    pushes = missed(world)
    assert bodies(pushes) == [str(number) for number in range(count - 20, count)]
    assert {push.direct_message.has_more for push in pushes} == {more}


def test_the_fifty_liveliest_conversations(world):
    tom = world.device("tom")
    cids = [world.conversation("tom", "jerry") for _ in range(53)]
    quiet = cids.pop()
    for cid in cids:
        world.send(tom, cid, "hi")
    world.send(tom, cids[0], "again")
    world.send(world.device("jerry"), quiet, "mine")  # lively, but nothing is missed there
    pushes = missed(world)
    order = list(dict.fromkeys(push.direct_message.cid for push in pushes))
    assert order == [cids[0], *reversed(cids[3:])]
    assert bodies(pushes)[:2] == ["hi", "again"]


def test_edits_and_recalls_are_delivered_as_they_are_now(world, chat):
    tom = world.device("tom")
    sent = world.send(tom, chat, "1")
    when = world.patch(tom, PatchItem(cid=chat, mid=sent.uid, recall=True))
    (push,) = missed(world)
    assert push.direct_message.msg == '{"_lctype":-127}'
    assert push.direct_message.patch_timestamp == when


def test_services_and_temporary_conversations(world):
    tom = world.device("tom")
    service = world.conversation("jerry", kind=Kind.SERVICE)
    world.tx(lambda tx: tx.append(service, NewMessage("admin", "news")))
    temporary = world.conversation("tom", "jerry", kind=Kind.TEMPORARY, ttl=10**9)
    world.send(tom, temporary, "hi")
    assert sorted(bodies(missed(world))) == ["hi", "news"]
    assert bodies(missed(world, temporary=False)) == ["news"]


def test_who_was_nowhere_missed_nothing(world):
    assert missed(world, "nobody") == []


def test_a_backlog_does_not_overrun_its_receiver(world):
    tom, jerry = world.device("tom"), world.device("jerry")
    for _ in range(40):
        cid = world.conversation("tom", "jerry")
        for _ in range(4):
            world.send(tom, cid, "x" * 4000)
    seen = set()
    while pushes := missed(world):
        assert sum(len(body) for body in bodies(pushes)) < 300 * 1024
        cids = {push.direct_message.cid for push in pushes}
        assert not cids & seen
        seen |= cids
        for push in pushes:
            world.ack(jerry, push.direct_message.cid, mid=push.direct_message.id)
    assert len(seen) == 40
