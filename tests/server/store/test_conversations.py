from __future__ import annotations

import re

import pytest

from tests.server.store.world import query
from trio_realtime.server.store.interface import (
    SAME_MARK,
    Kind,
    NewMessage,
    NotStorable,
    QueryError,
    StoreError,
)


def test_a_new_conversation_can_be_read_back(world):
    attributes = {"attr": {"topic": "电影", "n": [1, 2.5, None, True]}, 'od"d\\key': "\U0001f408"}
    created = world.create("tom", "jerry", name="cats", attributes=attributes, unique_id="u")
    assert re.fullmatch("[0-9a-f]{24}", created.id)
    assert created.created_at == created.updated_at == world.now
    assert created.attributes == attributes
    assert created.last_message_at is None
    assert world.see(lambda tx: tx.conversation(created.id)) == created
    assert world.see(lambda tx: tx.members(created.id)) == ["tom", "jerry"]


def test_members_named_twice_join_once(world):
    chat = world.create("tom", "tom", "jerry")
    assert world.see(lambda tx: tx.members(chat.id)) == ["tom", "jerry"]


NO_TEXT = "a\ud800b"


@pytest.mark.parametrize(
    "rule",
    [
        lambda tx, cid: tx.update_conversation(cid, name=NO_TEXT),
        lambda tx, cid: tx.update_conversation(cid, attributes={"a": {"b": [NO_TEXT]}}),
        lambda tx, cid: tx.update_conversation(cid, attributes={NO_TEXT: 1}),
        lambda tx, cid: tx.update_conversation(cid, attributes={"a": float("nan")}),
        lambda tx, cid: tx.update_conversation(cid, attributes={"a": [float("inf")]}),
        lambda tx, cid: tx.update_conversation(cid, attributes={"a": object()}),
        lambda tx, _: tx.create_conversation(kind=Kind.NORMAL, creator="tom", name=NO_TEXT),
        lambda tx, _: tx.create_conversation(kind=Kind.NORMAL, creator=NO_TEXT),
        lambda tx, cid: tx.add_members(cid, ["ann", NO_TEXT]),
        lambda tx, cid: tx.append(cid, NewMessage("tom", NO_TEXT)),
        lambda tx, cid: tx.append(cid, NewMessage(NO_TEXT, "hi")),
        lambda tx, cid: tx.append(cid, NewMessage("tom", "hi", mentions=(NO_TEXT,))),
        lambda tx, _: tx.keep_notification(["tom"], {"a": NO_TEXT}),
        lambda tx, _: tx.put_document("t", "k", {"a": float("-inf")}),
        lambda tx, _: tx.put_document("t", NO_TEXT, {}),
    ],
)
def test_what_has_no_plain_form_is_refused_and_harms_nobody(world, chat, rule):
    def change(tx):
        tx.update_conversation(chat, attributes={"begun": True})
        rule(tx, chat)

    with pytest.raises(NotStorable):
        world.do(change)
    (row,) = world.see(lambda tx: tx.find(query()))
    assert row.attributes == {}
    assert world.see(lambda tx: tx.members(chat)) == ["tom", "jerry"]
    world.do(lambda tx: tx.add_members(chat, ["ann"]))
    assert world.see(lambda tx: tx.members(chat)) == ["tom", "jerry", "ann"]


def test_what_cannot_be_stored_is_not_found(world, chat):
    assert world.see(lambda tx: tx.conversations([NO_TEXT, chat])).keys() == {chat}
    assert world.see(lambda tx: tx.find(query(ids=[NO_TEXT]))) == []


def test_ids_of_conversations_differ(world):
    assert len({world.create("tom").id for _ in range(100)}) == 100


def test_apps_do_not_see_each_other(world):
    chat = world.create("tom", unique_id="u", app="one")
    world.do(lambda tx: tx.put_document("t", "k", {}), "one")
    for app in ("two", "never seen"):
        assert world.see(lambda tx: tx.conversation(chat.id), app) is None
        assert world.see(lambda tx: tx.members(chat.id), app) == []
        assert world.see(lambda tx: tx.joined("tom", [chat.id]), app) == {}
        assert world.see(lambda tx: tx.find(query({})), app) == []
        assert world.see(lambda tx: tx.find(query({"m": "tom"})), app) == []
        assert world.see(lambda tx: tx.document("t", "k"), app) is None
        assert world.see(lambda tx: unique(tx, Kind.NORMAL, "tom"), app) == []
        with pytest.raises(StoreError):
            world.do(lambda tx: tx.add_members(chat.id, ["eve"]), app)
    assert world.see(lambda tx: tx.find(query({})), "one") == [chat]


def test_update_replaces_what_is_given(world):
    chat = world.create("tom", name="old", attributes={"a": 1}, unique_id="u")
    world.now += 5
    changed = world.do(lambda tx: tx.update_conversation(chat.id, attributes={"b": 2}))
    assert (changed.name, changed.attributes, changed.unique_id) == ("old", {"b": 2}, "u")
    assert (changed.created_at, changed.updated_at) == (world.now - 5, world.now)
    changed = world.do(lambda tx: tx.update_conversation(chat.id, name="new", unique_id="v"))
    assert (changed.name, changed.attributes, changed.unique_id) == ("new", {"b": 2}, "v")
    world.now += 5
    world.do(lambda tx: tx.clear_name(chat.id))
    cleared = world.see(lambda tx: tx.conversation(chat.id))
    assert (cleared.name, cleared.updated_at) == (None, world.now)


def test_updating_what_does_not_exist_fails(world):
    with pytest.raises(StoreError, match="no conversation"):
        world.do(lambda tx: tx.update_conversation("0" * 24, name="x"))


def unique(tx, kind, *members):
    return tx.conversations_by_unique_id("u", kind, members)


def test_unique_ids_are_looked_up_by_kind(world):
    first = world.create("tom", unique_id="u")
    second = world.create("tom", unique_id="u")
    temporary = world.create("tom", unique_id="u", kind=Kind.TEMPORARY, expires_at=world.now + 10)
    assert world.see(lambda tx: unique(tx, Kind.NORMAL, "tom")) == [first, second]
    assert world.see(lambda tx: unique(tx, Kind.TEMPORARY, "tom", "tom")) == [temporary]
    assert world.see(lambda tx: unique(tx, Kind.ROOM, "tom")) == []


def test_of_one_unique_id_those_of_the_members_are_found(world):
    world.create("jerry", unique_id="u")
    world.create("tom", "jerry", unique_id="u")
    world.create("ann", "tom", unique_id="other")
    mine = world.create("tom", "ann", unique_id="u")
    assert world.see(lambda tx: unique(tx, Kind.NORMAL, "ann")) == []
    assert mine in world.see(lambda tx: unique(tx, Kind.NORMAL, "ann", "tom"))
    many = [world.create("ann", unique_id="u") for _ in range(SAME_MARK + 5)]
    assert world.see(lambda tx: unique(tx, Kind.NORMAL, "ann")) == many[:SAME_MARK]


def test_a_deleted_conversation_takes_everything_along(world):
    chat, other = world.create("tom", "jerry"), world.create("tom")
    message = world.say(chat.id, "tom", receipt=True)
    world.do(lambda tx: tx.acknowledge(chat.id, "jerry", first=0, last=message.timestamp))
    world.do(lambda tx: tx.set_muted(chat.id, "tom", True))
    world.do(lambda tx: tx.set_role(chat.id, "jerry", "Manager"))
    world.do(lambda tx: tx.delete_conversation(chat.id))
    assert world.see(lambda tx: tx.conversation(chat.id)) is None
    assert list(world.see(lambda tx: tx.joined("tom", [chat.id, other.id]))) == [other.id]


def test_an_expired_conversation_is_gone(world):
    brief = world.create(
        "tom", "jerry", kind=Kind.TEMPORARY, expires_at=world.now + 10, unique_id="u"
    )
    assert brief.id.startswith("_tmp:")
    world.say(brief.id, "tom")
    by_ids = query({}, ids=[brief.id, "_tmp:unknown"])
    world.now += 9
    assert [row.id for row in world.see(lambda tx: tx.find(by_ids))] == [brief.id]
    assert len(world.see(lambda tx: tx.unread_of("jerry"))) == 1
    world.now += 1
    assert world.see(lambda tx: tx.conversation(brief.id)) is None
    assert world.see(lambda tx: unique(tx, Kind.TEMPORARY, "tom", "jerry")) == []
    assert world.see(lambda tx: tx.find(by_ids)) == []
    assert world.see(lambda tx: tx.members(brief.id)) == []
    assert not world.see(lambda tx: tx.is_member(brief.id, "tom"))
    assert world.see(lambda tx: tx.joined("tom", [brief.id])) == {}
    assert world.see(lambda tx: tx.unread_of("jerry")) == []
    assert world.see(lambda tx: tx.unread_of("jerry", since=0)) == []
    assert world.see(lambda tx: tx.history(brief.id)) == []


def test_a_temporary_conversation_outlives_the_making_of_others(world):
    def make():
        return world.create("tom", kind=Kind.TEMPORARY, expires_at=world.now + 10)

    first = make()
    world.now += 9
    second = make()
    assert world.see(lambda tx: tx.conversation(first.id)) == first
    world.now += 1
    make()
    assert world.see(lambda tx: tx.conversation(first.id)) is None
    assert world.see(lambda tx: tx.conversation(second.id)) == second


def test_temporary_conversations_are_found_by_id_only(world):
    brief = world.create("tom", kind=Kind.TEMPORARY, expires_at=world.now + 10)
    chat = world.create("tom")
    assert world.see(lambda tx: tx.find(query({}))) == [chat]
    assert world.see(lambda tx: tx.find(query({}, ids=[chat.id]))) == []
    assert world.see(lambda tx: tx.find(query({}, ids=[brief.id], limit=0))) == []


def test_results_are_sorted_by_several_keys(world):
    ranks = [("b", 1), ("a", 2), ("a", 1), ("b", None)]
    for name, rank in ranks:
        world.create("tom", name=name, attributes={"attr": {"rank": rank}})

    def found(*sort, **more):
        rows = world.see(lambda tx: tx.find(query({}, sort=sort, **more)))
        return [(row.name, row.attributes["attr"]["rank"]) for row in rows]

    assert found(("name", False), ("attr.rank", True)) == [
        ("a", 2),
        ("a", 1),
        ("b", 1),
        ("b", None),
    ]
    assert found(("attr.rank", True), ("name", False), limit=2) == [("a", 2), ("a", 1)]
    assert found(("createdAt", False)) == ranks
    assert found(("createdAt", True)) == ranks[::-1]
    assert found(("objectId", False), skip=1, limit=2) == ranks[1:3]


def test_the_default_order_is_the_latest_message_first(world):
    first, second, silent = world.create("tom"), world.create("tom"), world.create("tom")
    world.say(second.id, "tom")
    world.now += 1
    world.say(first.id, "tom")
    rows = world.see(lambda tx: tx.find(query({"m": "tom"})))
    assert [row.id for row in rows] == [first.id, second.id, silent.id]


def test_pages_are_bounded(world):
    for _ in range(12):
        world.create("tom")
    assert world.see(lambda tx: tx.find(query({}, limit=0))) == []
    assert len(world.see(lambda tx: tx.find(query({})))) == 10
    assert len(world.see(lambda tx: tx.find(query({}, limit=5000)))) == 12
    assert len(world.see(lambda tx: tx.find(query({}, limit=10**30, skip=10**30)))) == 0
    for bad in (query(limit=-1), query(skip=-1)):
        with pytest.raises(QueryError):
            world.see(lambda tx, bad=bad: tx.find(bad))
