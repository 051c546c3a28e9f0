"""Roles and the silence list."""

from __future__ import annotations

import pytest

from tests.server.rules.world import JS, MISSING, failures, refusal
from trio_realtime.server.rules.json import iso
from trio_realtime.server.rules.member_info import member_infos_json
from trio_realtime.server.rules.types import Feature
from trio_realtime.server.store.interface import Listing
from trio_realtime.wire import CommandType, ConvMemberInfo, GenericCommand, OpType

ALL_OR_NOTHING = JS & ~Feature.PARTIAL_FAILURES
UNAUTHORIZED = (4320, "CONVERSATION_OPERATION_UNAUTHORIZED")


@pytest.fixture
def cid(world):
    return world.start("Tom", "Jerry", "Mary")


def silence(world, who, cid, *ids, **fields):
    return world.conv(who, OpType.ADD_SHUTUP, cid=cid, m=list(ids), **fields)


def unsilence(world, who, cid, *ids, **fields):
    return world.conv(who, OpType.REMOVE_SHUTUP, cid=cid, m=list(ids), **fields)


def check(world, who, cid, *ids):
    return world.conv(who, OpType.CHECK_SHUTUP, cid=cid, m=list(ids)).m


class TestRoles:
    def test_everybody_hears_of_a_new_manager(self, world, cid):
        reply = world.role("Tom", cid, "Jerry", "Manager")
        assert world.op == OpType.MEMBER_INFO_UPDATED
        assert (reply.info.pid, reply.info.role) == ("Jerry", "Manager")
        assert world.told() == [("MEMBER_INFO_CHANGED", ["Jerry", "Mary", "Tom"], [])]
        (push,) = world.pushes
        assert not push.except_actor
        assert push.command.conv_message.init_by == "Tom"
        assert push.command.conv_message.udate == reply.udate == iso(world.now)
        assert push.command.conv_message.info.pid == "Jerry"
        assert push.command.conv_message.info.role == "Manager"
        assert push.command.conv_message.info.info_id == reply.info.info_id
        assert world.tx(lambda tx: member_infos_json(tx, cid)) == [
            {"objectId": reply.info.info_id, "cid": cid, "clientId": "Jerry", "role": "Manager"}
        ]

    def test_rows_exist_only_for_roles_that_were_changed(self, world, cid):
        assert world.tx(lambda tx: member_infos_json(tx, cid)) == []
        world.role("Tom", cid, "Jerry", "Manager")
        world.role("Tom", cid, "Jerry", "Member")
        world.role("Tom", cid, "Mary", "Manager")
        rows = world.tx(lambda tx: member_infos_json(tx, cid))
        assert {row["clientId"]: row["role"] for row in rows} == {
            "Jerry": "Member",
            "Mary": "Manager",
        }
        assert len(world.tx(lambda tx: member_infos_json(tx, cid, limit=1))) == 1
        assert world.tx(lambda tx: member_infos_json(tx, cid, 10, 2)) == []
        assert world.tx(lambda tx: member_infos_json(tx, cid, -1, -1)) == []
        assert world.tx(lambda tx: member_infos_json(tx, MISSING)) == []

    def test_managers_make_managers(self, world, cid):
        world.role("Tom", cid, "Jerry", "Manager")
        world.role("Jerry", cid, "Mary", "Manager")
        world.role("Mary", cid, "Jerry", "Member")
        assert refusal(world.role, "Jerry", cid, "Jerry", "Manager") == UNAUTHORIZED

    @pytest.mark.parametrize("role", ["Manager", "Member", "Owner", "Nonsense", None])
    def test_members_may_not_even_ask(self, world, cid, role):
        assert refusal(world.role, "Jerry", cid, "Jerry", role) == UNAUTHORIZED
        assert refusal(world.role, "Jerry", cid, "Tom", role) == UNAUTHORIZED

    @pytest.mark.parametrize(
        ("target", "role", "expected"),
        [
            ("Jerry", "Nonsense", (4321, "UNKNOWN_CONVERSATION_ROLE")),
            ("Jerry", "manager", (4321, "UNKNOWN_CONVERSATION_ROLE")),
            ("Jerry", "", (4321, "UNKNOWN_CONVERSATION_ROLE")),
            ("Jerry", None, (4321, "UNKNOWN_CONVERSATION_ROLE")),
            ("Jerry", "Owner", UNAUTHORIZED),
            ("Tom", "Owner", UNAUTHORIZED),
            ("Tom", "Manager", (4324, "CONVERSATION_NEED_OWNER")),
            ("Tom", "Member", (4324, "CONVERSATION_NEED_OWNER")),
            ("Nobody", "Manager", (4317, "CONVERSATION_MEMBERSHIP_REQUIRED")),
        ],
    )
    def test_what_the_owner_may_not(self, world, cid, target, role, expected):
        assert refusal(world.role, "Tom", cid, target, role) == expected
        assert world.tx(lambda tx: member_infos_json(tx, cid)) == []

    def test_an_owner_who_leaves_is_none_when_he_returns(self, world, cid):
        world.remove("Tom", cid, "Tom")
        assert refusal(world.role, "Tom", cid, "Jerry", "Manager")[0] == 4317
        world.add("Tom", cid, "Tom")
        assert refusal(world.role, "Tom", cid, "Mary", "Manager") == UNAUTHORIZED
        assert refusal(world.remove, "Tom", cid, "Mary") == UNAUTHORIZED
        assert refusal(silence, world, "Tom", cid, "Mary") == UNAUTHORIZED
        assert world.one("Tom", cid)["c"] == "Tom"

    def test_without_owner_and_managers_the_longest_member_acts_as_manager(self, world, cid):
        silence(world, "Tom", cid, "Mary")
        world.remove("Tom", cid, "Tom")
        assert refusal(unsilence, world, "Mary", cid, "Mary") == UNAUTHORIZED
        unsilence(world, "Jerry", cid, "Mary")
        world.role("Jerry", cid, "Mary", "Manager")
        # From now on there is a manager.
        assert refusal(world.role, "Jerry", cid, "Jerry", "Manager") == UNAUTHORIZED

    def test_who_was_owner_once_can_be_silenced_blocked_and_leave(self, world, cid):
        world.role("Tom", cid, "Jerry", "Manager")
        world.role("Tom", cid, "Mary", "Manager")
        world.role("Jerry", cid, "Mary", "Member")
        assert failures(world.remove("Tom", cid, "Tom"))[0][0] == 4324
        world.tx(lambda tx: tx.remove_members(cid, ["Tom"]))
        world.add("Tom", cid, "Tom")
        assert silence(world, "Jerry", cid, "Tom").allowed_pids == ["Tom"]
        world.role("Jerry", cid, "Tom", "Manager")
        assert failures(world.remove("Tom", cid, "Tom")) == []
        world.add("Tom", cid, "Tom")
        assert world.block_list(
            "Jerry", OpType.BLOCK, src_cid=cid, to_pids=["Tom"]
        ).allowed_pids == ["Tom"]

    def test_an_orphaned_conversation_gives_way_to_a_new_one(self, world):
        old = world.start("Spike", "Tom", "Jerry", unique=True)
        silence(world, "Spike", old, "Jerry")
        world.remove("Spike", old, "Spike")
        new = world.start("Tom", "Jerry", unique=True)
        assert new != old
        assert world.start("Jerry", "Tom", unique=True) == new
        assert check(world, "Jerry", new, "Jerry") == []
        assert check(world, "Jerry", old, "Jerry") == ["Jerry"]
        # Its creator's return makes it what it was, for who asks for all three.
        world.add("Tom", old, "Spike")
        assert world.start("Jerry", "Spike", "Tom", unique=True) == old

    def test_either_name_of_the_target_is_enough(self, world, cid):
        op = OpType.MEMBER_INFO_UPDATE
        info = ConvMemberInfo(pid="Jerry", role="Manager")
        assert world.conv("Tom", op, cid=cid, info=info).info.pid == "Jerry"
        info = ConvMemberInfo(role="Manager")
        assert world.conv("Tom", op, cid=cid, target_client_id="Mary", info=info).info.pid == "Mary"

    def test_missing_parts(self, world, cid):
        op = OpType.MEMBER_INFO_UPDATE
        assert refusal(world.conv, "Tom", op, cid=cid)[0] == 4317
        assert refusal(world.conv, "Tom", op, cid=cid, target_client_id="Jerry")[0] == 4321
        assert refusal(world.conv, "Tom", op)[0] == 4303
        assert refusal(world.do, "Tom", GenericCommand(cmd=CommandType.CONV, op=op))[0] == 4303

    def test_a_room_has_managers(self, world):
        cid = world.room("Tom")
        world.add("Jerry", cid, "Jerry")
        world.role("Tom", cid, "Jerry", "Manager")
        assert world.told() == [("MEMBER_INFO_CHANGED", f"room {cid}", [])]
        silence(world, "Jerry", cid, "Mary")

    @pytest.mark.parametrize("temporary", [True, False])
    def test_other_kinds_have_none(self, world, temporary):
        cid = world.start("Tom", temp_conv=True) if temporary else world.service("Tom")
        assert refusal(world.role, "Tom", cid, "Tom", "Manager") == (
            4314,
            "NORMAL_CONVERSATION_REQUIRED",
        )


class TestSilence:
    def test_the_silenced_and_all_members_are_told(self, world, cid):
        reply = silence(world, "Tom", cid, "Jerry", "Mary")
        assert world.op == OpType.SHUTUP_ADDED
        assert (reply.cid, reply.allowed_pids, reply.failed_pids) == (cid, ["Jerry", "Mary"], [])
        assert world.told() == [
            ("SHUTUPED", ["Jerry", "Mary"], []),
            ("MEMBERS_SHUTUPED", ["Jerry", "Mary", "Tom"], ["Jerry", "Mary"]),
        ]
        assert {push.command.conv_message.init_by for push in world.pushes} == {"Tom"}
        assert {push.command.conv_message.udate for push in world.pushes} == {reply.udate}
        assert {push.command.notification_type for push in world.pushes} == {1}
        assert not any(push.except_actor for push in world.pushes)

    def test_and_back(self, world, cid):
        silence(world, "Tom", cid, "Jerry")
        reply = unsilence(world, "Tom", cid, "Jerry", "Mary")
        assert world.op == OpType.SHUTUP_REMOVED
        assert reply.allowed_pids == ["Jerry", "Mary"]
        assert world.told() == [
            ("UNSHUTUPED", ["Jerry"], []),
            ("MEMBERS_UNSHUTUPED", ["Jerry", "Mary", "Tom"], ["Jerry"]),
        ]
        assert check(world, "Jerry", cid, "Jerry") == []

    def test_again_is_fine_and_silent(self, world, cid):
        silence(world, "Tom", cid, "Jerry")
        assert silence(world, "Tom", cid, "Jerry").allowed_pids == ["Jerry"]
        assert world.told() == []
        assert silence(world, "Tom", cid, "Jerry", "Mary").allowed_pids == ["Jerry", "Mary"]
        assert world.told()[0] == ("SHUTUPED", ["Mary"], [])

    def test_for_a_while_becomes_for_good(self, world, cid):
        soon = world.now + 60_000
        world.tx(lambda tx: tx.add_listed(Listing.SILENCED, cid, ["Jerry"], expires_at=soon))
        silence(world, "Tom", cid, "Jerry")
        world.now += 120_000
        assert check(world, "Tom", cid, "Jerry") == ["Jerry"]

    def test_strangers_and_the_owner_cannot_be_silenced(self, world, cid):
        world.role("Tom", cid, "Jerry", "Manager")
        reply = silence(world, "Jerry", cid, "Tom", "Nobody", "Mary")
        assert reply.allowed_pids == ["Mary"]
        assert failures(reply) == [
            (4320, "CONVERSATION_OPERATION_UNAUTHORIZED", ["Tom"]),
            (4317, "CONVERSATION_MEMBERSHIP_REQUIRED", ["Nobody"]),
        ]
        call = (silence, world, "Jerry", cid, "Jerry", "Nobody")
        assert refusal(*call, features=ALL_OR_NOTHING)[0] == 4317
        assert check(world, "Tom", cid, "Jerry") == []

    def test_who_left_can_be_given_the_word_back(self, world, cid):
        silence(world, "Tom", cid, "Jerry")
        world.remove("Jerry", cid, "Jerry")
        world.add("Jerry", cid, "Jerry")
        assert check(world, "Tom", cid, "Jerry") == ["Jerry"]
        world.remove("Jerry", cid, "Jerry")
        assert unsilence(world, "Tom", cid, "Jerry").allowed_pids == ["Jerry"]
        assert world.told() == [
            ("UNSHUTUPED", ["Jerry"], []),
            ("MEMBERS_UNSHUTUPED", ["Mary", "Tom"], ["Jerry"]),
        ]

    def test_a_list_has_an_end(self, world, cid):
        world.tx(lambda tx: tx.add_listed(Listing.SILENCED, cid, [f"c{n}" for n in range(499)]))
        reply = silence(world, "Tom", cid, "Jerry", "Mary")
        assert reply.allowed_pids == ["Jerry"]
        assert failures(reply) == [(4561, "SILIENCED_MEMBER_LIST_FULL", ["Mary"])]
        assert check(world, "Tom", cid, "Jerry", "Mary") == ["Jerry"]

    @pytest.mark.parametrize("op", [OpType.ADD_SHUTUP, OpType.REMOVE_SHUTUP])
    def test_who_may(self, world, cid, op):
        assert refusal(world.conv, "Jerry", op, cid=cid, m=["Mary"]) == UNAUTHORIZED
        assert refusal(world.conv, "Jerry", op, cid=cid, m=["Jerry"]) == UNAUTHORIZED
        assert refusal(world.conv, "Anna", op, cid=cid, m=["Mary"])[0] == 4317
        world.role("Tom", cid, "Jerry", "Manager")
        world.conv("Jerry", op, cid=cid, m=["Mary"])

    def test_rooms_tell_who_is_inside(self, world):
        cid = world.room("Tom")
        silence(world, "Tom", cid, "Jerry")
        assert world.told() == [
            ("SHUTUPED", ["Jerry"], []),
            ("MEMBERS_SHUTUPED", f"room {cid}", ["Jerry"]),
        ]
        assert refusal(silence, world, "Mary", cid, "Jerry")[0] == 4317
        world.add("Mary", cid, "Mary")
        assert refusal(silence, world, "Mary", cid, "Jerry")[0] == 4320
        assert check(world, "Mary", cid, "Jerry") == ["Jerry"]
        world.tx(lambda tx: tx.add_listed(Listing.SILENCED, cid, [f"c{n}" for n in range(600)]))
        assert silence(world, "Tom", cid, "Anna").allowed_pids == ["Anna"]


class TestLooking:
    def test_pages_by_number(self, world, cid):
        """As old SDKs ask for them: how many entries they have already."""
        ids = [f"c{n:02}" for n in range(25)]
        world.tx(lambda tx: tx.add_listed(Listing.SILENCED, cid, ids))

        def page(cursor, limit=10):
            reply = world.conv("Mary", OpType.QUERY_SHUTUP, cid=cid, limit=limit, next=cursor)
            return reply.m, reply.next

        assert page("0") == (ids[:10], "10")
        assert page("10") == (ids[10:20], "20")
        assert page("20") == (ids[20:], None)
        assert page("25") == ([], None)
        assert page("999999999") == ([], None)
        assert page("3", limit=100) == (ids[3:], None)

    def test_pages(self, world, cid):
        ids = [f"c{n:02}" for n in range(25)]
        world.tx(lambda tx: tx.add_listed(Listing.SILENCED, cid, ids))
        seen, cursor, sizes = [], None, []
        while cursor != "":
            page = world.conv("Mary", OpType.QUERY_SHUTUP, cid=cid, next=cursor)
            assert world.op == OpType.SHUTUP_RESULT
            seen += page.m
            sizes.append(len(page.m))
            cursor = page.next or ""
        assert (sorted(seen), sizes) == (ids, [10, 10, 5])
        for limit, size in ((7, 7), (100, 25), (1000, 25), (0, 10), (-3, 10)):
            assert len(world.conv("Mary", OpType.QUERY_SHUTUP, cid=cid, limit=limit).m) == size

    def test_a_foreign_cursor_is_the_end(self, world, cid):
        silence(world, "Tom", cid, "Jerry")
        for cursor in ("x", "-1", "9" * 100, "'"):
            page = world.conv("Tom", OpType.QUERY_SHUTUP, cid=cid, next=cursor)
            assert (page.m, page.next) == ([], None)

    def test_check(self, world, cid):
        silence(world, "Tom", cid, "Jerry")
        assert check(world, "Jerry", cid, "Mary", "Jerry", "Nobody") == ["Jerry"]
        assert world.op == OpType.CHECK_RESULT

    @pytest.mark.parametrize("op", [OpType.QUERY_SHUTUP, OpType.CHECK_SHUTUP])
    def test_strangers(self, world, cid, op):
        assert refusal(world.conv, "Anna", op, cid=cid, m=["Jerry"])[0] == 4317


@pytest.mark.parametrize(
    "op", [OpType.ADD_SHUTUP, OpType.REMOVE_SHUTUP, OpType.QUERY_SHUTUP, OpType.CHECK_SHUTUP]
)
class TestRefusals:
    def test_unknown_conversations(self, world, op):
        for cid in (None, "", MISSING):
            assert refusal(world.conv, "Tom", op, cid=cid, m=["x"])[0] == 4303
        assert refusal(world.do, "Tom", GenericCommand(cmd=CommandType.CONV, op=op))[0] == 4303

    def test_kinds_without_a_list(self, world, op):
        for cid in (world.start("Tom", temp_conv=True), world.service("Tom")):
            assert refusal(world.conv, "Tom", op, cid=cid, m=["Tom"])[0] == 4314

    @pytest.mark.parametrize("ids", [[], [""], ["x" * 65]])
    def test_bad_ids(self, world, cid, op, ids):
        if op == OpType.QUERY_SHUTUP:
            assert world.conv("Tom", op, cid=cid, m=ids).m == []  # asks for no ids
        else:
            assert refusal(world.conv, "Tom", op, cid=cid, m=ids)[0] == 4301
