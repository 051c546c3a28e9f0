from __future__ import annotations

import pytest

from tests.server.rules.world import JS, MISSING, refusal
from trio_realtime.server.rules.patch import patch_pushes
from trio_realtime.server.rules.types import Feature, Refusal
from trio_realtime.server.store.interface import Kind, Listing, NewMessage
from trio_realtime.server.store.sqlite.members import Members
from trio_realtime.wire import CommandType, GenericCommand, OpType, PatchCommand, PatchItem


@pytest.fixture
def chat(world):
    return world.conversation("tom", "jerry")


def item_of(push):
    assert (push.cmd, push.op, push.i) == (CommandType.PATCH, OpType.MODIFY, None)
    (item,) = push.patch_message.patches
    assert push.patch_message.last_patch_time == item.patch_timestamp
    return item


def body(world, cid, mid):
    return world.tx(lambda tx: tx.message(cid, mid)).body


def test_an_edit_reaches_the_others_and_the_authors_other_sessions(world, chat):
    tom, tablet, jerry, jerry2, mary = map(world.device, ("tom", "tom", "jerry", "jerry", "mary"))
    sent = world.send(tom, chat, "hi", mention_pids=["jerry"], mention_all=True)
    tablet.take(), jerry.take(), jerry2.take()
    when = world.patch(
        tom, PatchItem(cid=chat, mid=sent.uid, timestamp=sent.t, data="ho", mention_pids=["mary"])
    )
    assert tom.inbox == mary.inbox == []
    for device in (tablet, jerry, jerry2):
        (push,) = device.take()
        item = item_of(push)
        assert (item.cid, item.mid, item.timestamp) == (chat, sent.uid, sent.t)
        assert (item.data, item.binary_msg, item.recall) == ("ho", None, False)
        assert (item.patch_timestamp, item.from_) == (when, "tom")
        assert (item.mention_pids, item.mention_all) == (["mary"], None)
        assert item.patch_code is item.patch_reason is None


def test_a_recall_leaves_a_body_that_says_so(world, chat):
    tom, jerry = world.device("tom"), world.device("jerry")
    sent = world.send(tom, chat, "hi", mention_pids=["jerry"])
    jerry.take()
    world.patch(tom, PatchItem(cid=chat, mid=sent.uid, recall=True, mention_all=True))
    item = item_of(*jerry.take())
    assert (item.recall, item.data, item.mention_pids) == (True, '{"_lctype":-127}', [])
    assert item.mention_all is None


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ('{"_lctype":-127,"_lctext":"gone"}', True),
        ('{"_lctype":-1}', False),
        ("the secret", False),
    ],
)
def test_a_recall_keeps_only_words_that_are_meant_for_it(world, chat, given, kept):
    tom = world.device("tom")
    sent = world.send(tom, chat, "hi")
    world.patch(tom, PatchItem(cid=chat, mid=sent.uid, recall=True, data=given))
    assert body(world, chat, sent.uid) == (given if kept else '{"_lctype":-127}')


def test_text_becomes_bytes_and_bytes_text(world, chat):
    tom, jerry = world.device("tom"), world.device("jerry")
    sent = world.send(tom, chat, "hi")
    jerry.take()
    world.patch(tom, PatchItem(cid=chat, mid=sent.uid, binary_msg=b"\1"))
    assert item_of(*jerry.take()).binary_msg == b"\1"
    world.patch(tom, PatchItem(cid=chat, mid=sent.uid, data=""))
    item = item_of(*jerry.take())
    assert (item.data, item.binary_msg) == ("", None)


def test_patch_times_rise(world, chat):
    tom = world.device("tom")
    sent = world.send(tom, chat, "hi")
    times = []
    for number in range(4):
        world.now -= 1000
        times.append(world.patch(tom, PatchItem(cid=chat, mid=sent.uid, data=str(number))))
    assert times == sorted(set(times))


def test_a_recall_twice_is_one(world, chat):
    tom, jerry = world.device("tom"), world.device("jerry")
    sent = world.send(tom, chat, "hi")
    jerry.take()
    first = world.patch(tom, PatchItem(cid=chat, mid=sent.uid, recall=True))
    assert world.patch(tom, PatchItem(cid=chat, mid=sent.uid, recall=True)) == first
    assert len(jerry.take()) == 1
    again = PatchItem(cid=chat, mid=sent.uid, data="back")
    assert refusal(world.patch, tom, again) == (4404, "MESSAGE_NOT_FOUND")


# Who may.


def test_refusals(world, chat):
    tom, jerry, spike = map(world.device, ("tom", "jerry", "spike"))
    sent = world.send(tom, chat, "hi")
    transient = world.send(tom, chat, "hi", transient=True)
    jerry.take()
    other = world.conversation("tom")
    missing = (4404, "MESSAGE_NOT_FOUND")
    for cid, mid in [
        (chat, "unknown"),
        (chat, transient.uid),
        (other, sent.uid),
        (MISSING, sent.uid),
        (None, sent.uid),
        (chat, None),
    ]:
        assert refusal(world.patch, tom, PatchItem(cid=cid, mid=mid, data="x")) == missing
    assert refusal(world.patch, tom) == missing
    empty = GenericCommand(cmd=CommandType.PATCH, op=OpType.MODIFY, i=1)
    assert refusal(world.do, tom, empty) == missing
    for who in (jerry, spike):
        for fields in ({"data": "x"}, {"recall": True}):
            item = PatchItem(cid=chat, mid=sent.uid, **fields)
            assert refusal(world.patch, who, item) == (4403, "MESSAGE_OWNERSHIP_REQUIRED")
    for fields in ({}, {"data": "x", "binary_msg": b"x"}):
        assert refusal(world.patch, tom, PatchItem(cid=chat, mid=sent.uid, **fields))[0] == 4114
    assert body(world, chat, sent.uid) == "hi"
    assert jerry.inbox == []


def test_who_may_not_speak_may_take_back_but_not_edit(world, chat):
    tom, jerry = world.device("tom"), world.device("jerry")
    sent = [world.send(tom, chat, str(number)) for number in range(2)]
    jerry.take()
    edits = [PatchItem(cid=chat, mid=one.uid, data="advertisement") for one in sent]
    recalls = [PatchItem(cid=chat, mid=one.uid, recall=True) for one in sent]
    world.tx(lambda tx: tx.add_listed(Listing.SILENCED, chat, ["tom"]))
    assert refusal(world.patch, tom, edits[0]) == (4563, "SILIENCED")
    world.patch(tom, recalls[0])
    world.tx(lambda tx: tx.remove_members(chat, ["tom"]))
    assert refusal(world.patch, tom, edits[1]) == (4401, "INVALID_MESSAGING_TARGET")
    world.patch(tom, recalls[1])
    assert [item_of(push).mid for push in jerry.take()] == [one.uid for one in sent]


def test_several_edits_are_all_or_none(world, chat):
    tom, jerry = world.device("tom"), world.device("jerry")
    one, two = (world.send(tom, chat, text) for text in "12")
    foreign = world.send(jerry, chat, "3")
    jerry.take()
    good = [PatchItem(cid=chat, mid=sent.uid, data="x") for sent in (one, two)]
    with pytest.raises(Refusal):
        world.patch(tom, *good, PatchItem(cid=chat, mid=foreign.uid, data="x"))
    assert body(world, chat, one.uid) == "1"
    assert jerry.inbox == []
    latest = world.patch(tom, *good)
    items = [item_of(push) for push in jerry.take()]
    assert [item.mid for item in items] == [one.uid, two.uid]
    assert items[-1].patch_timestamp == latest > items[0].patch_timestamp


# Who is told.


def test_sessions_say_what_they_understand(world):
    cid = world.conversation("tom", "jerry", kind=Kind.TEMPORARY, ttl=10**9)
    tom, jerry = world.device("tom"), world.device("jerry")
    old = world.device("jerry", JS & ~Feature.PATCHES)
    older = world.device("jerry", Feature.PATCHES)
    sent = world.send(tom, cid, "hi")
    old.take(), older.take(), jerry.take()
    world.patch(tom, PatchItem(cid=cid, mid=sent.uid, data="ho"))
    assert old.inbox == older.inbox == []
    assert item_of(*jerry.take()).data == "ho"


@pytest.mark.parametrize("fields", [{"data": "ho"}, {"recall": True}])
def test_rooms(world, fields):
    cid = world.conversation(kind=Kind.ROOM)
    tom, tom2, jerry = map(world.device, ("tom", "tom", "jerry"))
    world.rooms[cid] = [tom, tom2, jerry]
    sent = world.send(tom, cid, "hi")
    jerry.take()
    world.patch(tom, PatchItem(cid=cid, mid=sent.uid, **fields))
    assert tom.inbox == []
    for device in (tom2, jerry):
        assert item_of(*device.take()).mid == sent.uid


def test_what_a_service_says_is_not_for_clients_to_change(world):
    cid = world.conversation("jerry", "tom", kind=Kind.SERVICE)
    tom, jerry = world.device("tom"), world.device("jerry")
    message = world.tx(lambda tx: tx.append(cid, NewMessage("tom", "news"))[0])
    for fields in ({"data": "old news"}, {"recall": True}):
        item = PatchItem(cid=cid, mid=message.id, **fields)
        assert refusal(world.patch, tom, item) == (4403, "MESSAGE_OWNERSHIP_REQUIRED")
    assert jerry.take() == []
    assert world.tx(lambda tx: tx.message(cid, message.id)) == message


def test_an_edit_shows_in_the_counters_and_may_change_who_is_mentioned(world, chat):
    tom = world.device("tom")
    sent = world.send(tom, chat, "hi")
    when = world.patch(tom, PatchItem(cid=chat, mid=sent.uid, data="ho", mention_all=True))
    row = world.tx(lambda tx: tx.unread(chat, "jerry"))
    assert (row.count, row.mentioned, row.newest.body) == (1, True, "ho")
    assert row.newest.patched_at == when


def test_a_client_that_has_seen_a_patch_gets_no_answer(world):
    message = PatchCommand(last_patch_time=1)
    command = GenericCommand(cmd=CommandType.PATCH, op=OpType.MODIFIED, i=1, patch_message=message)
    assert world.do(world.device("tom"), command) is None
    assert world.outcome.pushes == ()


# After login.


def test_missed_patches_come_in_batches_oldest_first(world, chat):
    tom = world.device("tom")
    sent = [world.send(tom, chat, str(number)) for number in range(120)]
    first = world.patch(tom, *[PatchItem(cid=chat, mid=one.uid, data="x") for one in sent[:1]])
    world.patch(tom, *[PatchItem(cid=chat, mid=one.uid, recall=True) for one in sent[1:]])
    for who in ("jerry", "tom"):
        pushes = world.tx(lambda tx, who=who: patch_pushes(tx, who, first))
        items = [item for push in pushes for item in push.patch_message.patches]
        assert [item.mid for item in items] == [one.uid for one in sent[1:]]
        assert all(item.recall and item.data for item in items)
        assert [len(push.patch_message.patches) for push in pushes] == [50, 50, 19]
        assert [push.patch_message.last_patch_time for push in pushes] == [
            push.patch_message.patches[-1].patch_timestamp for push in pushes
        ]
    assert world.tx(lambda tx: patch_pushes(tx, "jerry", tx.now)) == []
    assert world.tx(lambda tx: patch_pushes(tx, "spike", 0)) == []


def test_missed_patches_without_temporary_conversations(world, chat):
    temporary = world.conversation("tom", "jerry", kind=Kind.TEMPORARY, ttl=10**9)
    tom = world.device("tom")
    for cid in (temporary, chat):
        sent = world.send(tom, cid, "hi")
        world.patch(tom, PatchItem(cid=cid, mid=sent.uid, data="ho"))
    pushes = world.tx(lambda tx: patch_pushes(tx, "jerry", 0, temporary=False))
    assert [item.cid for push in pushes for item in push.patch_message.patches] == [chat]
    (push,) = world.tx(lambda tx: patch_pushes(tx, "jerry", 0))
    assert len(push.patch_message.patches) == 2


def test_a_backlog_of_patches_does_not_overrun_its_receiver(world, chat):
    tom = world.device("tom")
    sent = [world.send(tom, chat, "hi") for _ in range(100)]
    for one in sent:
        world.patch(tom, PatchItem(cid=chat, mid=one.uid, data="x" * 4000))
    pushes = world.tx(lambda tx: patch_pushes(tx, "jerry", 0))
    items = [item for push in pushes for item in push.patch_message.patches]
    assert [item.mid for item in items] == [one.uid for one in sent[:65]]


def test_many_edits_in_one_conversation_look_once_who_is_there(world, chat, monkeypatch):
    tom, jerry = world.device("tom"), world.device("jerry")
    sent = [world.send(tom, chat, str(n)).uid for n in range(5)]
    jerry.take()
    looked = []
    members = Members.members
    monkeypatch.setattr(Members, "members", lambda tx, cid: looked.append(cid) or members(tx, cid))
    edits = [PatchItem(cid=chat, mid=mid, data="ho") for mid in sent[:3]]
    world.patch(tom, *edits, *(PatchItem(cid=chat, mid=mid, recall=True) for mid in sent[3:]))
    assert len(looked) == 2
    assert [item_of(push).mid for push in jerry.take()] == sent
