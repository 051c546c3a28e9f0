from __future__ import annotations

import json

import attrs
import pytest

from tests.server.rules.world import MISSING, refusal
from trio_realtime.server.rules import query as _query
from trio_realtime.server.rules.json import iso
from trio_realtime.server.store.interface import Listing
from trio_realtime.wire import CommandType, GenericCommand, JsonObjectMessage, OpType

ALL = {"objectId": {"$ne": "0"}}


def attr(**values):
    return JsonObjectMessage(data=json.dumps(values))


class TestShape:
    def test_a_normal_conversation(self, world):
        cid = world.start(
            "Tom", "Jerry", unique=True, attr=attr(name="cats", attr={"a": [1]}, topic=1)
        )
        created = iso(world.now)
        world.conv("Jerry", OpType.MUTE, cid=cid)
        assert world.one("Tom", cid) == {
            "objectId": cid,
            "name": "cats",
            "m": ["Jerry", "Tom"],
            "c": "Tom",
            "mu": ["Jerry"],
            "createdAt": created,
            "updatedAt": created,
            "unique": True,
            "uniqueId": "09c6a05661878de43defe4ec0e8aca24",
            "conv_type": 1,
            "attr": {"a": [1]},
            "topic": 1,
        }
        assert world.op == OpType.RESULTS

    def test_a_date_of_the_last_message(self, world):
        cid = world.start("Tom")
        message = world.say(cid, "Tom", "hi")
        found = world.one("Tom", cid)
        assert found["lm"] == {"__type": "Date", "iso": iso(message.timestamp)}
        assert "msg" not in found

    def test_compact(self, world):
        cid = world.start("Tom", attr=attr(name="x"))
        found = world.one("Tom", cid, flag=1)
        assert set(found) == {"objectId", "name", "c", "createdAt", "updatedAt", "conv_type"}
        service = world.service()
        world.add("Tom", service, "Tom")
        found = world.one("Tom", service, flag=1)
        assert found["joined"] is True
        assert not {"m", "mu", "muted"} & set(found)

    def test_a_room(self, world):
        cid = world.room("Tom")
        found = world.one("Jerry", cid)
        assert set(found) == {"objectId", "c", "mu", "tr", "createdAt", "updatedAt", "conv_type"}
        assert (found["tr"], found["conv_type"]) == (True, 2)

    def test_a_service(self, world):
        cid = world.service(topic=1)
        found = world.one("Tom", cid)
        assert set(found) == {
            "objectId",
            "name",
            "topic",
            "c",
            "sys",
            "createdAt",
            "updatedAt",
            "conv_type",
            "joined",
            "muted",
        }
        assert (found["sys"], found["conv_type"], found["name"]) == (True, 3, "News")
        assert (found["joined"], found["muted"]) == (False, False)
        world.add("Tom", cid, "Tom")
        joined = world.now
        world.conv("Tom", OpType.MUTE, cid=cid)
        found = world.one("Tom", cid)
        assert (found["joined"], found["joinedAt"], found["muted"]) == (True, joined, True)
        assert world.one("Jerry", cid)["joined"] is False

    def test_a_temporary_one(self, world):
        cid = world.start("Tom", "Jerry", temp_conv=True, temp_conv_ttl=60)
        (found,) = world.query("Tom", temp_conv_ids=[cid])
        assert found["m"] == ["Jerry", "Tom"]
        assert (found["temp"], found["ttl"], found["conv_type"]) == (True, 59, 4)
        assert "unique" not in found
        assert found["createdAt"] == found["updatedAt"]

    def test_attributes_cannot_pretend_to_be_something_else(self, world):
        def create(tx):
            forged = {"ttl": 5, "msg": "x", "m": ["x"], "objectId": "x", "tr": True, "fine": 1}
            return tx.create_conversation(
                kind=_query.Kind.NORMAL, creator="Tom", members=["Tom"], attributes=forged
            )

        cid = world.tx(create).id
        found = world.one("Tom", cid)
        assert (found["objectId"], found["m"], found["fine"]) == (cid, ["Tom"], 1)
        assert not {"ttl", "msg", "tr"} & set(found)


class TestLastMessage:
    def test_text(self, world):
        cid = world.start("Tom", "Jerry")
        world.say(cid, "Jerry", "first")
        message = world.say(cid, "Tom", "hi", mentions=("Jerry",), mention_all=True)
        found = world.one("Jerry", cid, flag=2)
        assert found["msg"] == "hi"
        assert found["bin"] is False
        assert found["msg_mid"] == message.id
        assert found["msg_from"] == "Tom"
        assert found["msg_timestamp"] == message.timestamp
        assert found["mention_all"] is True
        assert found["mention_pids"] == ["Jerry"]
        assert "patch_timestamp" not in found
        assert found["m"] == ["Jerry", "Tom"]

    def test_binary_and_edited(self, world):
        cid = world.start("Tom")
        message = world.say(cid, "Tom", "hi")
        patch = world.tx(
            lambda tx: tx.patch(
                cid,
                message.id,
                body=b"\x01\x02",
                recalled=False,
                mentions=(),
                mention_all=False,
                lctype=None,
            )
        )
        found = world.one("Tom", cid, flag=3)
        assert (found["msg"], found["bin"]) == ("AQI=", True)
        assert found["patch_timestamp"] == patch.patched_at
        assert "m" not in found

    def test_none_yet(self, world):
        cid = world.start("Tom")
        assert not [key for key in world.one("Tom", cid, flag=2) if key.startswith("msg")]

    def test_is_for_whoever_finds_the_conversation(self, world):
        for cid in (world.start("Tom"), world.room("Tom")):
            world.say(cid, "Tom", "open")
            assert world.one("Jerry", cid, flag=2)["msg"] == "open"

    def test_is_not_for_the_blocked(self, world):
        for cid in (world.start("Tom"), world.room("Tom")):
            world.say(cid, "Tom", "secret")
            world.tx(lambda tx, cid=cid: tx.add_listed(Listing.BLOCKED, cid, ["Jerry"]))
            assert "msg" not in world.one("Jerry", cid, flag=2)
            assert "lm" in world.one("Jerry", cid, flag=2)


class TestMembersOnly:
    """The switch of an app: what others say to each other is not found."""

    @pytest.fixture
    def world(self, world):
        world.app = attrs.evolve(world.app, members_only=True)
        return world

    def test_strangers_find_nothing(self, world):
        cid = world.start("Tom", attr=attr(topic="x"))
        world.say(cid, "Tom", "secret")
        for where in ({"objectId": cid}, {"topic": "x"}, {"m": "Tom"}, {"$or": [{"topic": "x"}]}):
            assert world.query("Jerry", where, flag=2) == []
            assert world.query("Tom", where, flag=2)[0]["msg"] == "secret"
        assert world.query("Jerry", ALL) == []
        assert [one["objectId"] for one in world.query("Tom")] == [cid]

    def test_temporary_ones_neither(self, world):
        cid = world.start("Tom", temp_conv=True)
        assert world.query("Jerry", temp_conv_ids=[cid]) == []
        assert len(world.query("Tom", temp_conv_ids=[cid])) == 1

    @pytest.mark.parametrize("fields", [{}, {"temp_conv": True}])
    def test_nor_are_their_members_counted(self, world, fields):
        cid = world.start("Tom", **fields)
        assert world.conv("Tom", OpType.COUNT, cid=cid).count == 1
        assert refusal(world.conv, "Jerry", OpType.COUNT, cid=cid)[0] == 4317

    def test_rooms_and_services_are_for_everybody(self, world):
        cids = {world.room("Tom"), world.service()}
        assert {one["objectId"] for one in world.query("Jerry", ALL)} == cids


class TestConditions:
    def ids(self, found):
        return [one["objectId"] for one in found]

    def test_without_one_it_is_about_oneself(self, world):
        mine = world.start("Tom", "Jerry")
        world.start("Jerry")
        assert self.ids(world.query("Tom")) == [mine]
        assert self.ids(world.query("Tom", {})) == [mine]
        for text in ("", "{}", " {} "):
            found = world.conv("Tom", OpType.QUERY, where=JsonObjectMessage(data=text))
            assert self.ids(json.loads(found.results.data)) == [mine]
        bare = world.do("Tom", GenericCommand(cmd=CommandType.CONV, op=OpType.QUERY))
        assert self.ids(json.loads(bare.conv_message.results.data)) == [mine]

    def test_with_one_it_is_about_everything(self, world):
        mine, theirs = world.start("Tom", attr=attr(topic=1)), world.start("Jerry")
        assert set(self.ids(world.query("Tom", ALL))) == {mine, theirs}
        assert self.ids(world.query("Jerry", {"topic": 1})) == [mine]
        assert self.ids(world.query("Tom", {"m": {"$size": 1, "$all": ["Jerry"]}})) == [theirs]

    def test_a_removed_member_still_finds_it(self, world):
        cid = world.start("Tom", "Jerry")
        world.remove("Tom", cid, "Jerry")
        assert world.one("Jerry", cid)["m"] == ["Tom"]

    def test_no_match_is_an_empty_array(self, world):
        reply = world.conv("Tom", OpType.QUERY, where=attr(objectId=MISSING))
        assert reply.results.data == "[]"

    def test_temporary_ids(self, world):
        mine = world.start("Tom", temp_conv=True)
        other = world.start("Jerry", temp_conv=True, temp_conv_ttl=30)
        normal = world.start("Tom")
        assert mine not in self.ids(world.query("Tom"))
        assert mine not in self.ids(world.query("Tom", ALL))
        assert set(self.ids(world.query("Tom", temp_conv_ids=[mine, other, mine, "_tmp:x"]))) == {
            mine,
            other,
        }
        assert self.ids(world.query("Tom", temp_conv_ids=[normal])) == []
        many = [world.start("Tom", f"c{n}", temp_conv=True) for n in range(12)]
        assert len(world.query("Tom", temp_conv_ids=many)) == 12
        world.now += 30_000
        assert self.ids(world.query("Tom", temp_conv_ids=[other])) == []

    def test_pages(self, world):
        cids = [world.start("Tom", attr=attr(n=n)) for n in range(13)]
        assert len(world.query("Tom")) == 10
        assert world.query("Tom", limit=0) == []
        assert len(world.query("Tom", limit=999)) == 13
        assert len(world.query("Tom", limit=2**31 - 1)) == 13
        page = world.query("Tom", sort="createdAt", limit=2, skip=3)
        assert self.ids(page) == cids[3:5]

    def test_order(self, world):
        cids = [world.start("Tom", attr=attr(n=n % 2, k=n)) for n in range(4)]
        world.say(cids[1], "Tom", "x")
        world.say(cids[0], "Tom", "x")
        assert self.ids(world.query("Tom"))[:2] == [cids[0], cids[1]]
        for sort in ("-n,k", " -n , k ", "-n,,k,-,"):
            order = [cids[1], cids[3], cids[0], cids[2]]
            assert self.ids(world.query("Tom", sort=sort)) == order


@pytest.mark.parametrize(
    "fields",
    [
        {"where": JsonObjectMessage(data="{")},
        {"where": JsonObjectMessage(data="[]")},
        {"where": JsonObjectMessage(data="null")},
        {"where": JsonObjectMessage(data='{"$or":' * 40 + "1" + "}" * 40)},
        {"where": JsonObjectMessage(data='{"a":' + "[" * 10_000)},
        {"where": JsonObjectMessage(data='{"a":{"$unknown":1}}')},
        {"where": JsonObjectMessage(data='{"a":{"$regex":"("}}')},
        {"where": JsonObjectMessage(data='{"a":"\\udc00"}')},
        {"limit": -1},
        {"skip": -1},
        {"sort": ",".join("abcdefghijk")},
    ],
)
def test_illegal_queries(world, fields):
    world.start("Tom", attr=attr(a="x"))
    assert refusal(world.conv, "Tom", OpType.QUERY, **fields) == (4310, "CONVERSATION_QUERY_FAILED")


def test_an_answer_has_a_limit(world, monkeypatch):
    monkeypatch.setattr(_query, "MAX_RESULT", 80_000)
    for _ in range(130):
        world.start("Tom", attr=attr(text="x" * 600))
    refused = 4310, "CONVERSATION_QUERY_FAILED"
    assert refusal(world.query, "Tom", limit=1000) == refused
    # Pages of a hundred are answered whatever their size.
    assert len(world.query("Tom", limit=100)) == 100
    assert len(world.query("Tom", limit=100, skip=100)) == 30
    monkeypatch.setattr(_query, "MAX_RESULT", 120_000)
    assert len(world.query("Tom", limit=1000)) == 130


def test_of_an_answer_that_gets_too_large_little_is_looked_up(world, monkeypatch):
    monkeypatch.setattr(_query, "MAX_RESULT", 1000)
    for _ in range(400):
        world.start("Tom")
    described = []
    about = _query.Facts.about

    def count(tx, rows, *rest):
        described.extend(rows)
        return about(tx, rows, *rest)

    monkeypatch.setattr(_query.Facts, "about", count)
    assert refusal(world.query, "Tom", limit=1000)[0] == 4310
    assert len(described) <= 150
