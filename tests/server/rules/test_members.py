from __future__ import annotations

import attrs
import pytest

from tests.server.rules.world import JS, MISSING, failures, refusal
from trio_realtime.server.rules.json import iso
from trio_realtime.server.rules.signatures import conversation_string, sign
from trio_realtime.server.rules.types import Enforcement, Feature
from trio_realtime.wire import CommandType, GenericCommand, OpType

ALL_OR_NOTHING = JS & ~Feature.PARTIAL_FAILURES


def block(world, cid, *ids, by="Tom"):
    world.block_list(by, OpType.BLOCK, src_cid=cid, to_pids=list(ids))


class TestAdd:
    def test_an_invitation_tells_the_added_then_all_members(self, world):
        cid = world.start("Tom", "Jerry")
        reply = world.add("Jerry", cid, "Mary", "Anna")
        assert world.op == OpType.ADDED
        assert (reply.cid, reply.allowed_pids, reply.failed_pids) == (cid, ["Mary", "Anna"], [])
        assert world.told() == [
            ("JOINED", ["Mary", "Anna"], []),
            ("MEMBERS_JOINED", ["Jerry", "Tom", "Mary", "Anna"], ["Mary", "Anna"]),
        ]
        assert {push.command.conv_message.init_by for push in world.pushes} == {"Jerry"}
        assert not any(push.except_actor for push in world.pushes)
        assert world.members(cid) == ["Jerry", "Tom", "Mary", "Anna"]

    def test_reply_pushes_and_row_carry_the_same_instant(self, world):
        cid = world.start("Tom")
        reply = world.add("Tom", cid, "Mary")
        assert reply.udate == iso(world.now)
        assert {push.command.conv_message.udate for push in world.pushes} == {reply.udate}
        assert {push.command.notification_type for push in world.pushes} == {1}
        assert world.one("Tom", cid)["updatedAt"] == reply.udate

    def test_joining_is_adding_oneself(self, world):
        cid = world.start("Tom")
        reply = world.add("Jerry", cid, "Jerry")
        assert reply.allowed_pids == ["Jerry"]
        assert world.told() == [
            ("JOINED", ["Jerry"], []),
            ("MEMBERS_JOINED", ["Tom", "Jerry"], ["Jerry"]),
        ]

    def test_adding_members_again_succeeds_without_a_word(self, world):
        cid = world.start("Tom", "Jerry")
        changed = world.one("Tom", cid)["updatedAt"]
        reply = world.add("Tom", cid, "Jerry")
        assert (reply.allowed_pids, reply.udate) == (["Jerry"], changed)
        assert world.told() == []
        assert world.one("Tom", cid)["updatedAt"] == changed

    def test_only_the_new_are_announced(self, world):
        cid = world.start("Tom", "Jerry")
        reply = world.add("Tom", cid, "Jerry", "Mary", "Mary")
        assert reply.allowed_pids == ["Jerry", "Mary"]
        assert world.told() == [
            ("JOINED", ["Mary"], []),
            ("MEMBERS_JOINED", ["Jerry", "Tom", "Mary"], ["Mary"]),
        ]

    @pytest.mark.parametrize("ids", [["Mary"], ["Jerry", "Mary"]])
    def test_strangers_cannot_invite(self, world, ids):
        cid = world.start("Tom")
        assert refusal(world.add, "Jerry", cid, *ids) == (4317, "CONVERSATION_MEMBERSHIP_REQUIRED")
        assert world.members(cid) == ["Tom"]

    def test_the_blocked_fail_alone(self, world):
        cid = world.start("Tom")
        block(world, cid, "Mary")
        reply = world.add("Tom", cid, "Mary", "Jerry")
        assert reply.allowed_pids == ["Jerry"]
        assert failures(reply) == [(4548, "BLOCKED_BY_CONV", ["Mary"])]
        assert world.told()[0] == ("JOINED", ["Jerry"], [])

    def test_the_blocked_cannot_join(self, world):
        cid = world.start("Tom")
        block(world, cid, "Mary")
        reply = world.add("Mary", cid, "Mary")
        assert (reply.allowed_pids, failures(reply)) == ([], [(4548, "BLOCKED_BY_CONV", ["Mary"])])
        assert world.told() == []
        assert world.members(cid) == ["Tom"]

    def test_who_blocked_the_conversation_cannot_be_added(self, world):
        cid = world.start("Tom")
        world.block_list("Mary", OpType.BLOCK, src_pid="Mary", to_cids=[cid])
        reply = world.add("Tom", cid, "Mary", "Jerry")
        assert failures(reply) == [(4548, "BLOCKED_BY_CONV", ["Mary"])]
        assert "blocked this" in reply.failed_pids[0].detail
        world.block_list("Mary", OpType.UNBLOCK, src_pid="Mary", to_cids=[cid])
        assert world.add("Tom", cid, "Mary").allowed_pids == ["Mary"]

    def test_beyond_five_hundred_members_the_rest_fails(self, world):
        cid = world.start(*[f"c{n:03}" for n in range(499)])
        reply = world.add("c000", cid, "c001", "x1", "x2", "x3")
        assert reply.allowed_pids == ["c001", "x1"]
        assert failures(reply) == [(4304, "CONVERSATION_FULL", ["x2", "x3"])]
        assert len(world.members(cid)) == 500
        assert failures(world.add("x2", cid, "x2")) == [(4304, "CONVERSATION_FULL", ["x2"])]

    def test_without_partial_failures_nothing_happens_at_all(self, world):
        cid = world.start("Tom")
        block(world, cid, "Mary")
        call = (world.add, "Tom", cid, "Jerry", "Mary")
        assert refusal(*call, features=ALL_OR_NOTHING) == (4548, "BLOCKED_BY_CONV")
        assert world.members(cid) == ["Tom"]
        assert world.tx(lambda tx: tx.notifications("Jerry", 0, limit=10)) == []


class TestRemove:
    def test_a_kick_tells_the_removed_then_who_remains(self, world):
        cid = world.start("Tom", "Jerry", "Mary", "Anna")
        reply = world.remove("Tom", cid, "Mary", "Anna")
        assert world.op == OpType.REMOVED
        assert (reply.cid, reply.allowed_pids, reply.failed_pids) == (cid, ["Mary", "Anna"], [])
        assert world.told() == [
            ("LEFT", ["Mary", "Anna"], []),
            ("MEMBERS_LEFT", ["Jerry", "Tom"], ["Mary", "Anna"]),
        ]
        assert {push.command.conv_message.init_by for push in world.pushes} == {"Tom"}
        assert {push.command.conv_message.udate for push in world.pushes} == {reply.udate}
        assert {push.command.notification_type for push in world.pushes} == {1}
        assert world.one("Mary", cid)["updatedAt"] == reply.udate

    def test_quitting_is_removing_oneself(self, world):
        cid = world.start("Tom", "Jerry")
        assert world.remove("Jerry", cid, "Jerry").allowed_pids == ["Jerry"]
        assert world.told() == [("LEFT", ["Jerry"], []), ("MEMBERS_LEFT", ["Tom"], ["Jerry"])]
        assert world.pushes[0].command.conv_message.init_by == "Jerry"

    def test_the_last_one_out_tells_nobody_else(self, world):
        cid = world.start("Tom")
        world.remove("Tom", cid, "Tom")
        assert world.told() == [("LEFT", ["Tom"], [])]
        assert world.members(cid) == []

    def test_removing_who_is_not_there_succeeds_without_a_word(self, world):
        cid = world.start("Tom")
        changed = world.one("Tom", cid)["updatedAt"]
        reply = world.remove("Tom", cid, "Nobody")
        assert (reply.allowed_pids, reply.udate) == (["Nobody"], changed)
        assert world.told() == []

    def test_quitting_twice_succeeds(self, world):
        cid = world.start("Tom", "Jerry")
        world.remove("Jerry", cid, "Jerry")
        assert world.remove("Jerry", cid, "Jerry").allowed_pids == ["Jerry"]
        assert world.told() == []

    def test_members_cannot_kick_and_strangers_even_less(self, world):
        cid = world.start("Tom", "Jerry", "Mary")
        for ids in (["Mary"], ["Jerry", "Mary"], ["Tom"]):
            assert refusal(world.remove, "Jerry", cid, *ids) == (
                4320,
                "CONVERSATION_OPERATION_UNAUTHORIZED",
            )
        assert refusal(world.remove, "Anna", cid, "Mary")[0] == 4317
        assert len(world.members(cid)) == 3

    def test_managers_can_kick(self, world):
        cid = world.start("Tom", "Jerry", "Mary")
        world.role("Tom", cid, "Jerry", "Manager")
        assert world.remove("Jerry", cid, "Mary").allowed_pids == ["Mary"]

    def test_an_owner_who_left_cannot_kick(self, world):
        cid = world.start("Tom", "Jerry")
        world.remove("Tom", cid, "Tom")
        assert refusal(world.remove, "Tom", cid, "Jerry")[0] == 4317

    def test_mute_and_role_end_with_the_membership(self, world):
        cid = world.start("Tom", "Jerry")
        world.role("Tom", cid, "Jerry", "Manager")
        world.conv("Jerry", OpType.MUTE, cid=cid)
        world.remove("Jerry", cid, "Jerry")
        world.add("Jerry", cid, "Jerry")
        assert world.one("Tom", cid)["mu"] == []
        assert refusal(world.remove, "Jerry", cid, "Tom")[0] == 4320


class TestNeedOwner:
    def test_creators_come_and_go_where_no_roles_are_used(self, world):
        cid = world.start("Tom", "Jerry")
        assert world.remove("Tom", cid, "Tom").allowed_pids == ["Tom"]
        assert world.add("Tom", cid, "Tom").allowed_pids == ["Tom"]

    def test_the_owner_stays_where_roles_are_in_use(self, world):
        cid = world.start("Tom", "Jerry", "Mary")
        world.role("Tom", cid, "Jerry", "Manager")
        reply = world.remove("Tom", cid, "Tom")
        assert reply.allowed_pids == []
        assert failures(reply) == [(4324, "CONVERSATION_NEED_OWNER", ["Tom"])]
        assert world.told() == []
        reply = world.remove("Jerry", cid, "Tom", "Mary")
        assert reply.allowed_pids == ["Mary"]
        assert failures(reply) == [(4324, "CONVERSATION_NEED_OWNER", ["Tom"])]
        assert world.told() == [
            ("LEFT", ["Mary"], []),
            ("MEMBERS_LEFT", ["Jerry", "Tom"], ["Mary"]),
        ]

    def test_without_partial_failures_nobody_is_removed(self, world):
        cid = world.start("Tom", "Jerry", "Mary")
        world.role("Tom", cid, "Jerry", "Manager")
        call = (world.remove, "Jerry", cid, "Tom", "Mary")
        assert refusal(*call, features=ALL_OR_NOTHING) == (4324, "CONVERSATION_NEED_OWNER")
        assert len(world.members(cid)) == 3


class TestRoom:
    def test_joining_and_leaving_is_a_matter_of_presence(self, world):
        cid = world.room("Tom")
        reply = world.add("Jerry", cid, "Jerry")
        assert reply.allowed_pids == ["Jerry"]
        assert world.told() == []
        assert world.inside(cid) == ["Tom", "Jerry"]
        assert world.members(cid) == []
        assert world.remove("Jerry", cid, "Jerry").allowed_pids == ["Jerry"]
        assert world.told() == []
        assert world.inside(cid) == ["Tom"]

    @pytest.mark.parametrize("ids", [["Mary"], ["Tom", "Mary"]])
    @pytest.mark.parametrize("op", [OpType.ADD, OpType.REMOVE])
    def test_others_cannot_be_moved(self, world, op, ids):
        cid = world.room("Tom")
        assert refusal(world.conv, "Tom", op, cid=cid, m=ids) == (
            4314,
            "NORMAL_CONVERSATION_REQUIRED",
        )
        assert world.inside(cid) == ["Tom"]

    def test_the_blocked_stay_outside(self, world):
        cid = world.room("Tom")
        block(world, cid, "Jerry")
        assert failures(world.add("Jerry", cid, "Jerry")) == [(4548, "BLOCKED_BY_CONV", ["Jerry"])]
        assert world.inside(cid) == ["Tom"]
        call = (world.add, "Jerry", cid, "Jerry")
        assert refusal(*call, features=ALL_OR_NOTHING) == (4548, "BLOCKED_BY_CONV")


class TestService:
    def test_subscribing_tells_only_the_subscriber(self, world):
        cid = world.service()
        world.add("Jerry", cid, "Jerry")
        assert world.add("Tom", cid, "Tom").allowed_pids == ["Tom"]
        assert world.told() == [("JOINED", ["Tom"], [])]
        assert world.members(cid) == ["Jerry", "Tom"]
        assert world.remove("Tom", cid, "Tom").allowed_pids == ["Tom"]
        assert world.told() == [("LEFT", ["Tom"], [])]
        assert world.members(cid) == ["Jerry"]

    def test_nobody_is_subscribed_by_others(self, world):
        cid = world.service()
        world.add("Tom", cid, "Tom")
        assert refusal(world.add, "Tom", cid, "Jerry")[0] == 4314
        assert refusal(world.remove, "Tom", cid, "Jerry")[0] == 4314

    def test_more_than_five_hundred_may_subscribe(self, world):
        cid = world.service()
        world.tx(lambda tx: tx.add_members(cid, [f"c{n}" for n in range(600)]))
        assert world.add("Tom", cid, "Tom").allowed_pids == ["Tom"]


@pytest.mark.parametrize("op", [OpType.ADD, OpType.REMOVE])
class TestRefusals:
    def test_temporary_conversations_keep_their_members(self, world, op):
        cid = world.start("Tom", "Jerry", temp_conv=True)
        for ids in (["Tom"], ["Mary"]):
            assert refusal(world.conv, "Tom", op, cid=cid, m=ids) == (
                4307,
                "CONVERSATION_READ_ONLY",
            )

    @pytest.mark.parametrize("cid", [None, "", MISSING, "_tmp:x"])
    def test_unknown_conversations(self, world, op, cid):
        assert refusal(world.conv, "Tom", op, cid=cid, m=["Tom"]) == (
            4303,
            "CONVERSATION_NOT_FOUND",
        )

    def test_no_payload(self, world, op):
        assert refusal(world.do, "Tom", GenericCommand(cmd=CommandType.CONV, op=op))[0] == 4303

    @pytest.mark.parametrize("ids", [[], [""], ["x" * 65], ["Jerry", ""]])
    def test_bad_ids(self, world, op, ids):
        cid = world.start("Tom")
        assert refusal(world.conv, "Tom", op, cid=cid, m=ids) == (4301, "CONVERSATION_API_FAILED")
        assert world.members(cid) == ["Tom"]


class TestSignature:
    @pytest.fixture
    def strict(self, world):
        cid = world.start("Tom", "Jerry")
        world.app = attrs.evolve(world.app, enforce=Enforcement(conversations=True))
        return world, cid

    def signed(self, world, who, cid, ids, action):
        text = conversation_string("app", who, cid, ids, world.now, "n", action)
        return {"t": world.now, "n": "n", "s": sign("master", text).upper()}

    def test_inviting_and_joining(self, strict):
        world, cid = strict
        assert refusal(world.add, "Tom", cid, "b", "a") == (4302, "CONVERSATION_SIGNATURE_FAILED")
        world.add("Tom", cid, "b", "a", **self.signed(world, "Tom", cid, ["a", "b"], "invite"))
        assert refusal(world.add, "Mary", cid, "Mary")[0] == 4302
        world.add("Mary", cid, "Mary", **self.signed(world, "Mary", cid, ["Mary"], "invite"))
        assert world.members(cid) == ["Jerry", "Tom", "b", "a", "Mary"]

    def test_kicking_but_not_quitting(self, strict):
        world, cid = strict
        wrong = self.signed(world, "Tom", cid, ["Jerry"], "invite")
        assert refusal(world.remove, "Tom", cid, "Jerry", **wrong)[0] == 4302
        world.remove("Tom", cid, "Jerry", **self.signed(world, "Tom", cid, ["Jerry"], "kick"))
        world.remove("Tom", cid, "Tom")
        assert world.members(cid) == []

    def test_an_old_one_is_no_good(self, strict):
        world, cid = strict
        fields = self.signed(world, "Tom", cid, ["Mary"], "invite")
        world.now += 6 * 3600 * 1000
        assert refusal(world.add, "Tom", cid, "Mary", **fields)[0] == 4302
