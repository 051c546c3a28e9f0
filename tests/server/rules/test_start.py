from __future__ import annotations

import hashlib
import json

import pytest

from tests.server.rules.world import MISSING, World, refusal
from trio_realtime.server.rules.json import iso
from trio_realtime.server.rules.signatures import conversation_string, sign
from trio_realtime.server.rules.start import unique_id
from trio_realtime.server.rules.types import Enforcement, Feature
from trio_realtime.wire import CommandType, GenericCommand, JsonObjectMessage, OpType


def attr(**values):
    return JsonObjectMessage(data=json.dumps(values))


def test_creating_tells_everybody_twice_including_the_creator(world):
    reply = world.conv("Tom", OpType.START, m=["Jerry", "Tom"], unique=True)
    assert world.op == OpType.STARTED
    assert reply.cdate == iso(world.now)
    assert not reply.existing
    assert world.told() == [
        ("JOINED", ["Jerry", "Tom"], []),
        ("MEMBERS_JOINED", ["Jerry", "Tom"], ["Jerry", "Tom"]),
    ]
    for push in world.pushes:
        assert push.command.cmd == CommandType.CONV
        assert push.command.i is None
        assert push.command.notification_type == 1
        assert push.command.server_ts == world.now
        assert push.command.conv_message.cid == reply.cid
        assert push.command.conv_message.init_by == "Tom"
        assert push.command.conv_message.udate == reply.cdate
        assert not push.except_actor
        assert push.needs == Feature(0)


def test_the_creator_is_added_when_the_client_leaves_it_out(world):
    cid = world.conv("Tom", OpType.START, m=["Jerry"]).cid
    assert sorted(world.members(cid)) == ["Jerry", "Tom"]


def test_name_and_attributes_are_stored_and_reserved_keys_are_not(world):
    cid = world.start(
        "Tom", attr=attr(name="cats", topic=1, attr={"a": 2}, m=["x"], c="x", tr=True)
    )
    found = world.one("Tom", cid)
    assert found["name"] == "cats"
    assert found["topic"] == 1
    assert found["attr"] == {"a": 2}
    assert found["m"] == ["Tom"]
    assert found["c"] == "Tom"
    assert "tr" not in found


@pytest.mark.parametrize(
    "message", [None, JsonObjectMessage(data=""), JsonObjectMessage(data="{}")]
)
def test_attributes_may_be_absent(world, message):
    cid = world.start("Tom", attr=message)
    assert "name" not in world.one("Tom", cid)


def test_a_command_without_payload_creates_a_conversation_with_oneself(world):
    reply = world.do("Tom", GenericCommand(cmd=CommandType.CONV, op=OpType.START))
    assert world.members(reply.conv_message.cid) == ["Tom"]


class TestUnique:
    def test_the_same_members_in_any_order_find_the_first(self, world):
        first = world.start("Tom", "Jerry", unique=True, attr=attr(name="one"))
        reply = world.conv(
            "Jerry", OpType.START, m=["Tom", "Jerry"], unique=True, attr=attr(name="two")
        )
        assert reply.cid == first
        assert reply.existing
        assert world.told() == []
        found = world.one("Tom", first)
        assert found["name"] == "one"
        assert reply.cdate == found["createdAt"]

    @pytest.mark.parametrize(
        ("members", "digest"),
        [
            (("BillGates", "SteveJobs"), "6c7b0e5afcae9aa1139a0afa25833dec"),
            (("William", "T8"), "61e52ce97f2b93050655a1c83371b070"),
            (("Tom", "Jerry"), "09c6a05661878de43defe4ec0e8aca24"),
        ],
    )
    def test_unique_id_is_the_digest_of_the_sorted_members(self, world, members, digest):
        reply = world.conv(members[0], OpType.START, m=list(members), unique=True)
        assert reply.unique_id == digest
        found = world.one(members[0], reply.cid)
        assert (found["unique"], found["uniqueId"]) == (True, digest)

    def test_conversations_that_are_not_unique_are_never_found(self, world):
        first = world.start("Tom", "Jerry")
        assert world.start("Tom", "Jerry", unique=True) != first
        assert world.start("Tom", "Jerry", unique=False) != first
        assert "unique" not in world.one("Tom", first)

    def test_another_member_set_with_the_same_digest_is_another_conversation(self, world):
        theirs = world.start("ab", "c", unique=True)
        reply = world.conv("a", OpType.START, m=["bc"], unique=True)
        assert unique_id(["ab", "c"]) == unique_id(["a", "bc"]) == reply.unique_id
        assert reply.cid != theirs
        assert not reply.existing
        assert world.start("bc", "a", unique=True) == reply.cid
        assert world.start("c", "ab", unique=True) == theirs

    def test_the_match_follows_the_members(self, world):
        cid = world.start("Tom", "Jerry", unique=True)
        world.add("Tom", cid, "Mary")
        assert world.start("Tom", "Jerry", "Mary", unique=True) == cid
        other = world.start("Tom", "Jerry", unique=True)
        assert other != cid
        world.remove("Mary", cid, "Mary")
        assert world.start("Tom", "Jerry", unique=True) == cid

    def test_blocking_changes_the_match_as_well(self, world):
        cid = world.start("Tom", "Jerry", "Mary", unique=True)
        world.block_list("Tom", OpType.BLOCK, src_cid=cid, to_pids=["Mary"])
        assert world.start("Jerry", "Tom", unique=True) == cid


class TestRoom:
    def test_the_creator_is_inside_at_once_and_nobody_is_told(self, world):
        reply = world.conv("Tom", OpType.START, m=["Tom", "Jerry"], transient=True, unique=True)
        assert world.told() == []
        assert world.inside(reply.cid) == ["Tom"]
        assert world.members(reply.cid) == []
        assert reply.unique_id is None
        found = world.one("Tom", reply.cid)
        assert (found["tr"], found["conv_type"], found["c"]) == (True, 2, "Tom")
        assert "m" not in found

    def test_two_rooms_are_never_the_same(self, world):
        assert world.room("Tom") != world.room("Tom")


class TestTemporary:
    def start(self, world, who, *others, **fields):
        return world.conv(who, OpType.START, m=[who, *others], temp_conv=True, **fields)

    def test_traffic_only_for_clients_that_know_the_kind(self, world):
        reply = self.start(world, "Tom", "Jerry", temp_conv_ttl=3600)
        assert reply.cid.startswith("_tmp:")
        assert reply.temp_conv
        assert reply.temp_conv_ttl == 3600
        assert reply.unique_id is None
        assert world.told() == [
            ("JOINED", ["Jerry", "Tom"], []),
            ("MEMBERS_JOINED", ["Jerry", "Tom"], ["Jerry", "Tom"]),
        ]
        assert {push.needs for push in world.pushes} == {Feature.TEMPORARY_CONVERSATIONS}

    @pytest.mark.parametrize(
        ("asked", "given"),
        [(None, 86400), (0, 86400), (-5, 86400), (1, 1), (2592000, 2592000), (2592001, 2592000)],
    )
    def test_time_to_live(self, world, asked, given):
        assert self.start(world, "Tom", temp_conv_ttl=asked).temp_conv_ttl == given

    def test_the_same_members_get_the_same_while_it_lives(self, world):
        first = self.start(world, "Tom", "Jerry", temp_conv_ttl=10)
        again = self.start(world, "Jerry", "Tom", temp_conv_ttl=10)
        assert again.cid == first.cid
        assert again.existing
        assert again.temp_conv_ttl == 9  # what is left of it
        assert world.told() == []
        world.now += 10_000
        assert self.start(world, "Tom", "Jerry").cid != first.cid

    def test_it_is_not_the_unique_normal_one(self, world):
        normal = world.start("Tom", "Jerry", unique=True)
        assert self.start(world, "Tom", "Jerry", unique=True).cid != normal

    def test_at_most_ten_members(self, world):
        ids = [f"c{n}" for n in range(10)]
        self.start(world, *ids)
        assert refusal(self.start, world, *ids, "more") == (4304, "CONVERSATION_FULL")


def test_at_most_five_hundred_members(world):
    ids = [f"c{n:03}" for n in range(500)]
    cid = world.start(*ids)
    assert len(world.members(cid)) == 500
    assert refusal(world.start, *ids, "more") == (4304, "CONVERSATION_FULL")


@pytest.mark.parametrize(
    "fields",
    [
        {"attr": JsonObjectMessage(data="{")},
        {"attr": JsonObjectMessage(data="[]")},
        {"attr": JsonObjectMessage(data='"x"')},
        {"attr": JsonObjectMessage(data='{"a":NaN}')},
        {"attr": JsonObjectMessage(data='{"a":1e999}')},
        {"attr": JsonObjectMessage(data='{"a":"\\ud800"}')},
        {"attr": JsonObjectMessage(data='{"a":' + "9" * 5000 + "}")},
        {"attr": JsonObjectMessage(data='{"a":' * 33 + "1" + "}" * 33)},
        {"attr": JsonObjectMessage(data="[" * 100_000)},
        {"attr": attr(name=5)},
        {"attr": attr(name=["x"])},
        {"attr": attr(big="x" * 5 * 1024)},
    ],
)
@pytest.mark.parametrize("kind", [{}, {"transient": True}, {"temp_conv": True}])
def test_bad_attributes_are_refused_and_create_nothing(world, fields, kind):
    assert refusal(world.conv, "Tom", OpType.START, **fields, **kind) == (
        4301,
        "CONVERSATION_API_FAILED",
    )
    assert world.query("Tom", {"objectId": {"$ne": MISSING}}) == []


@pytest.mark.parametrize("ids", [[""], ["x" * 65], ["Jerry", ""]])
@pytest.mark.parametrize("kind", [{}, {"unique": True}, {"temp_conv": True}])
def test_bad_ids_are_refused(world, ids, kind):
    assert refusal(world.conv, "Tom", OpType.START, m=ids, **kind) == (
        4301,
        "CONVERSATION_API_FAILED",
    )


def test_the_longest_id_and_the_deepest_attributes_are_taken(world):
    deep = JsonObjectMessage(data='{"a":' * 32 + "1" + "}" * 32)
    cid = world.start("Tom", "x" * 64, attr=deep)
    assert sorted(world.members(cid)) == ["Tom", "x" * 64]


class TestSignature:
    @pytest.fixture
    def strict(self):
        world = World(enforce=Enforcement(conversations=True))
        yield world
        world.close()

    def signed(self, world, members):
        text = conversation_string("app", "Tom", None, members, world.now, "n", None)
        return {"t": world.now, "n": "n", "s": sign("master", text)}

    def test_create_needs_one(self, strict):
        call = (strict.conv, "Tom", OpType.START)
        assert refusal(*call, m=["Jerry", "Tom"]) == (4302, "CONVERSATION_SIGNATURE_FAILED")
        fields = self.signed(strict, ["Jerry", "Tom"])
        assert strict.conv("Tom", OpType.START, m=["Jerry", "Tom"], **fields).cid
        assert strict.conv("Tom", OpType.START, m=["Jerry"], **fields).cid
        assert refusal(*call, m=["Mary", "Tom"], **fields)[0] == 4302

    @pytest.mark.parametrize("members", [[], ["Tom"]])
    def test_chat_rooms_sign_the_creator_or_nobody(self, strict, members):
        assert refusal(strict.room, "Tom")[0] == 4302
        fields = self.signed(strict, members)
        assert strict.conv("Tom", OpType.START, m=["Tom"], transient=True, **fields).cid

    def test_temporary_conversations_need_none(self, strict):
        assert strict.conv("Tom", OpType.START, m=["Jerry"], temp_conv=True).cid

    def test_a_wrong_one_does_not_matter_where_none_is_asked_for(self, world):
        assert world.start("Tom", s="nonsense", t=1, n="x")


def test_digest_of_the_reference():
    assert unique_id(["Tom", "Jerry"]) == hashlib.md5(b"JerryTom").hexdigest()
