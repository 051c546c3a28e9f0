from __future__ import annotations

import attrs
import pytest

from tests.server.rules.world import JS, MISSING, failures, refusal
from trio_realtime.server.rules.client_blocks import blocked_page
from trio_realtime.server.rules.signatures import conversation_string, sign
from trio_realtime.server.rules.types import Enforcement, Feature
from trio_realtime.server.store.interface import Listing
from trio_realtime.wire import CommandType, GenericCommand, OpType

ALL_OR_NOTHING = JS & ~Feature.PARTIAL_FAILURES


@pytest.fixture
def cid(world):
    return world.start("Tom", "Jerry", "Mary", "Anna")


def block(world, who, cid, *ids, **fields):
    return world.block_list(who, OpType.BLOCK, src_cid=cid, to_pids=list(ids), **fields)


def unblock(world, who, cid, *ids, **fields):
    return world.block_list(who, OpType.UNBLOCK, src_cid=cid, to_pids=list(ids), **fields)


def check(world, who, cid, *ids):
    reply = world.block_list(who, OpType.CHECK_BLOCK, src_cid=cid, to_pids=list(ids))
    return reply.blocked_pids


class TestBlock:
    def test_everybody_hears_of_it_in_order(self, world, cid):
        reply = block(world, "Tom", cid, "Mary", "Stranger", "Anna")
        assert world.op == OpType.BLOCKED
        assert reply.src_cid == cid
        assert reply.allowed_pids == ["Mary", "Stranger", "Anna"]
        assert reply.failed_pids == []
        blocked = ["Mary", "Stranger", "Anna"]
        assert world.told() == [
            ("BLOCKED", blocked, []),
            ("LEFT", ["Mary", "Anna"], []),
            ("MEMBERS_BLOCKED", ["Jerry", "Tom"], blocked),
            ("MEMBERS_LEFT", ["Jerry", "Tom"], ["Mary", "Anna"]),
        ]
        assert {push.command.cmd for push in world.pushes} == {CommandType.CONV}
        assert {push.command.notification_type for push in world.pushes} == {1}
        assert {push.command.conv_message.init_by for push in world.pushes} == {"Tom"}
        assert len({push.command.conv_message.udate for push in world.pushes}) == 1
        assert not any(push.except_actor for push in world.pushes)
        assert world.members(cid) == ["Jerry", "Tom"]

    def test_who_is_no_member_is_told_as_well(self, world, cid):
        block(world, "Tom", cid, "Stranger")
        assert world.told() == [
            ("BLOCKED", ["Stranger"], []),
            ("MEMBERS_BLOCKED", ["Anna", "Jerry", "Mary", "Tom"], ["Stranger"]),
        ]

    def test_again_is_fine_and_silent(self, world, cid):
        block(world, "Tom", cid, "Mary")
        assert block(world, "Tom", cid, "Mary").allowed_pids == ["Mary"]
        assert world.told() == []

    def test_the_owner_cannot_be_blocked(self, world, cid):
        world.role("Tom", cid, "Jerry", "Manager")
        reply = block(world, "Jerry", cid, "Tom", "Mary")
        assert reply.allowed_pids == ["Mary"]
        assert failures(reply) == [(4324, "CONVERSATION_NEED_OWNER", ["Tom"])]
        call = (block, world, "Jerry", cid, "Anna", "Tom")
        assert refusal(*call, features=ALL_OR_NOTHING) == (4324, "CONVERSATION_NEED_OWNER")
        assert "Anna" in world.members(cid)

    def test_a_list_has_an_end(self, world, cid):
        world.tx(lambda tx: tx.add_listed(Listing.BLOCKED, cid, [f"c{n}" for n in range(499)]))
        reply = block(world, "Tom", cid, "Mary", "Anna")
        assert reply.allowed_pids == ["Mary"]
        assert failures(reply) == [(4543, "BLACKLIST_FULL", ["Anna"])]
        assert world.members(cid) == ["Anna", "Jerry", "Tom"]
        assert failures(block(world, "Tom", cid, "Anna")) == [(4543, "BLACKLIST_FULL", ["Anna"])]


class TestUnblock:
    def test_the_unblocked_and_the_members_are_told(self, world, cid):
        block(world, "Tom", cid, "Mary")
        reply = unblock(world, "Tom", cid, "Mary", "Stranger")
        assert world.op == OpType.UNBLOCKED
        assert reply.allowed_pids == ["Mary", "Stranger"]
        assert world.told() == [
            ("UNBLOCKED", ["Mary"], []),
            ("MEMBERS_UNBLOCKED", ["Anna", "Jerry", "Tom"], ["Mary"]),
        ]
        assert "Mary" not in world.members(cid)
        assert world.add("Mary", cid, "Mary").allowed_pids == ["Mary"]

    def test_nobody_to_unblock(self, world, cid):
        assert unblock(world, "Tom", cid, "Mary").allowed_pids == ["Mary"]
        assert world.told() == []


@pytest.mark.parametrize("op", [OpType.BLOCK, OpType.UNBLOCK])
class TestWhoMay:
    def test_members_and_strangers(self, world, cid, op):
        fields = {"src_cid": cid, "to_pids": ["Mary"]}
        assert refusal(world.block_list, "Jerry", op, **fields) == (
            4320,
            "CONVERSATION_OPERATION_UNAUTHORIZED",
        )
        assert refusal(world.block_list, "Nobody", op, **fields)[0] == 4317
        world.role("Tom", cid, "Jerry", "Manager")
        world.block_list("Jerry", op, **fields)

    def test_the_blocked_cannot_free_themselves(self, world, cid, op):
        block(world, "Tom", cid, "Mary")
        assert refusal(world.block_list, "Mary", op, src_cid=cid, to_pids=["Mary"])[0] == 4317


class TestLooking:
    def test_pages_by_number(self, world, cid):
        """As old SDKs ask for them: how many entries they have already."""
        ids = [f"c{n:02}" for n in range(25)]
        world.tx(lambda tx: tx.add_listed(Listing.BLOCKED, cid, ids))

        def page(cursor, limit=10):
            reply = world.block_list("Jerry", OpType.QUERY, src_cid=cid, limit=limit, next=cursor)
            return reply.blocked_pids, reply.next

        assert page("0") == (ids[:10], "10")
        assert page("10") == (ids[10:20], "20")
        assert page("20") == (ids[20:], None)
        assert page("25") == ([], None)
        assert page("999999999") == ([], None)
        assert page("3", limit=100) == (ids[3:], None)

    def test_pages(self, world, cid):
        ids = [f"c{n:02}" for n in range(25)]
        world.tx(lambda tx: tx.add_listed(Listing.BLOCKED, cid, ids))
        seen, cursor, sizes = [], None, []
        while cursor != "":
            page = world.block_list("Jerry", OpType.QUERY, src_cid=cid, next=cursor)
            assert world.op == OpType.QUERY_RESULT
            assert page.src_cid == cid
            seen += page.blocked_pids
            sizes.append(len(page.blocked_pids))
            cursor = page.next or ""
        assert (sorted(seen), sizes) == (ids, [10, 10, 5])
        page = world.block_list("Jerry", OpType.QUERY, src_cid=cid, limit=100)
        assert len(page.blocked_pids) == 25

    def test_check(self, world, cid):
        block(world, "Tom", cid, "Mary")
        assert check(world, "Jerry", cid, "Anna", "Mary", "Nobody") == ["Mary"]
        assert world.op == OpType.CHECK_RESULT

    @pytest.mark.parametrize("op", [OpType.QUERY, OpType.CHECK_BLOCK])
    def test_strangers(self, world, cid, op):
        call = (world.block_list, "Nobody", op)
        assert refusal(*call, src_cid=cid, to_pids=["Mary"])[0] == 4317


@pytest.mark.parametrize("op", [OpType.BLOCK, OpType.UNBLOCK, OpType.QUERY, OpType.CHECK_BLOCK])
class TestRefusals:
    def test_unknown_conversations(self, world, op):
        for cid in (None, "", MISSING):
            assert refusal(world.block_list, "Tom", op, src_cid=cid, to_pids=["x"]) == (
                4303,
                "CONVERSATION_NOT_FOUND",
            )
        command = GenericCommand(cmd=CommandType.BLACKLIST, op=op)
        assert refusal(world.do, "Tom", command)[0] == 4303

    def test_temporary_conversations_have_no_list(self, world, op):
        cid = world.start("Tom", temp_conv=True)
        call = (world.block_list, "Tom", op)
        assert refusal(*call, src_cid=cid, to_pids=["x"]) == (4314, "NORMAL_CONVERSATION_REQUIRED")

    def test_the_list_of_somebody_else(self, world, cid, op):
        call = (world.block_list, "Tom", op)
        assert refusal(*call, src_pid="Jerry", to_cids=[cid])[0] == 4320

    @pytest.mark.parametrize("ids", [[], [""], ["x" * 65]])
    def test_bad_ids(self, world, cid, op, ids):
        call = (world.block_list, "Tom", op)
        if op == OpType.QUERY:
            assert world.block_list("Tom", op, src_cid=cid, to_pids=ids).blocked_pids == []
        else:
            assert refusal(*call, src_cid=cid, to_pids=ids)[0] == 4301


class TestOpenKinds:
    def test_a_room_evicts(self, world):
        cid = world.room("Tom")
        world.add("Jerry", cid, "Jerry")
        block(world, "Tom", cid, "Jerry")
        assert world.told() == [
            ("BLOCKED", ["Jerry"], []),
            ("MEMBERS_BLOCKED", f"room {cid}", ["Jerry"]),
        ]
        assert world.inside(cid) == ["Tom"]
        unblock(world, "Tom", cid, "Jerry")
        assert world.told() == [
            ("UNBLOCKED", ["Jerry"], []),
            ("MEMBERS_UNBLOCKED", f"room {cid}", ["Jerry"]),
        ]
        world.add("Jerry", cid, "Jerry")
        assert world.inside(cid) == ["Tom", "Jerry"]
        world.tx(lambda tx: tx.add_listed(Listing.BLOCKED, cid, [f"c{n}" for n in range(600)]))
        assert block(world, "Tom", cid, "Anna").allowed_pids == ["Anna"]

    def test_a_service_tells_only_the_subscriber(self, world):
        cid = world.service("Tom")
        world.add("Tom", cid, "Tom")
        world.add("Jerry", cid, "Jerry")
        block(world, "Tom", cid, "Jerry")
        assert world.told() == [("BLOCKED", ["Jerry"], []), ("LEFT", ["Jerry"], [])]
        assert world.members(cid) == ["Tom"]
        assert failures(world.add("Jerry", cid, "Jerry")) == [(4548, "BLOCKED_BY_CONV", ["Jerry"])]
        unblock(world, "Tom", cid, "Jerry")
        assert world.told() == [("UNBLOCKED", ["Jerry"], [])]


class TestOwnList:
    def own(self, world, op, *cids, **fields):
        return world.block_list("Mary", op, src_pid="Mary", to_cids=list(cids), **fields)

    def test_blocking_a_conversation_leaves_it_for_good(self, world, cid):
        other = world.start("Tom")
        reply = self.own(world, OpType.BLOCK, cid, other)
        assert world.op == OpType.BLOCKED
        assert (reply.src_pid, reply.blocked_cids) == ("Mary", [cid, other])
        assert world.told() == [
            ("LEFT", ["Mary"], []),
            ("MEMBERS_LEFT", ["Anna", "Jerry", "Tom"], ["Mary"]),
        ]
        assert failures(world.add("Tom", cid, "Mary")) == [(4548, "BLOCKED_BY_CONV", ["Mary"])]
        assert failures(world.add("Mary", other, "Mary"))[0][0] == 4548
        reply = self.own(world, OpType.UNBLOCK, cid)
        assert (world.op, reply.blocked_cids) == (OpType.UNBLOCKED, [cid])
        assert world.told() == []
        assert world.add("Tom", cid, "Mary").allowed_pids == ["Mary"]

    def test_looking(self, world):
        cids = sorted(world.start("Tom") for _ in range(12))
        self.own(world, OpType.BLOCK, *cids)
        page = self.own(world, OpType.QUERY)
        assert (page.blocked_cids, page.src_pid) == (cids[:10], "Mary")
        page = self.own(world, OpType.QUERY, next=page.next)
        assert (page.blocked_cids, page.next) == (cids[10:], None)
        assert self.own(world, OpType.QUERY, limit=100, next="z" * 500).blocked_cids == cids
        assert self.own(world, OpType.CHECK_BLOCK, cids[3], MISSING).blocked_cids == [cids[3]]
        assert world.block_list("M", OpType.QUERY, src_pid="M").blocked_cids == []

    def test_ids_that_look_alike_have_lists_of_their_own(self, world):
        first, second = world.start("Tom"), world.start("Tom")
        world.block_list("a", OpType.BLOCK, src_pid="a", to_cids=[first])
        world.block_list("a:b", OpType.BLOCK, src_pid="a:b", to_cids=[second])
        assert world.block_list("a", OpType.QUERY, src_pid="a").blocked_cids == [first]
        assert world.block_list("a:b", OpType.QUERY, src_pid="a:b").blocked_cids == [second]

    def test_rooms_and_services(self, world):
        room, service = world.room("Tom"), world.service()
        world.add("Mary", room, "Mary")
        world.add("Mary", service, "Mary")
        self.own(world, OpType.BLOCK, room, service)
        assert world.told() == [("LEFT", ["Mary"], [])]
        assert world.inside(room) == ["Tom"]
        assert failures(world.add("Mary", room, "Mary"))[0][0] == 4548
        assert failures(world.add("Mary", service, "Mary"))[0][0] == 4548

    def test_all_or_nothing(self, world, cid):
        for bad in ([], [MISSING], [cid, MISSING], [""]):
            assert refusal(self.own, world, OpType.BLOCK, *bad)[0] == 4303
        temporary = world.start("Mary", temp_conv=True)
        assert refusal(self.own, world, OpType.BLOCK, cid, temporary)[0] == 4314
        mine = world.start("Mary", "Tom")
        world.role("Mary", mine, "Tom", "Manager")
        assert refusal(self.own, world, OpType.BLOCK, cid, mine) == (
            4324,
            "CONVERSATION_NEED_OWNER",
        )
        assert "Mary" in world.members(cid)
        assert self.own(world, OpType.QUERY).blocked_cids == []
        assert refusal(self.own, world, OpType.UNBLOCK, MISSING)[0] == 4303


class TestSignature:
    @pytest.fixture
    def cid(self, world):
        cid = world.start("Tom", "Jerry", "Mary", "Anna")
        world.app = attrs.evolve(world.app, enforce=Enforcement(block_list=True))
        return cid

    def signed(self, world, who, cid, ids, action):
        text = conversation_string("app", who, cid, ids, world.now, "n", action)
        return {"t": world.now, "n": "n", "s": sign("master", text)}

    @pytest.mark.parametrize(
        ("op", "action"),
        [
            (OpType.BLOCK, "conversation-block-clients"),
            (OpType.UNBLOCK, "conversation-unblock-clients"),
        ],
    )
    def test_of_a_conversation(self, world, cid, op, action):
        fields = {"src_cid": cid, "to_pids": ["Mary", "Anna"]}
        refused = (4546, "BLACKLIST_SIGNATURE_FAILED")
        assert refusal(world.block_list, "Tom", op, **fields) == refused
        wrong = self.signed(world, "Tom", cid, ["Mary"], action)
        assert refusal(world.block_list, "Tom", op, **fields, **wrong) == refused
        right = self.signed(world, "Tom", cid, ["Anna", "Mary"], action)
        assert world.block_list("Tom", op, **fields, **right).allowed_pids == ["Mary", "Anna"]

    @pytest.mark.parametrize(
        ("op", "action"),
        [
            (OpType.BLOCK, "client-block-conversations"),
            (OpType.UNBLOCK, "client-unblock-conversations"),
        ],
    )
    def test_of_a_client(self, world, cid, op, action):
        fields = {"src_pid": "Mary", "to_cids": [cid]}
        assert refusal(world.block_list, "Mary", op, **fields)[0] == 4546
        right = self.signed(world, "Mary", cid, [], action)
        assert world.block_list("Mary", op, **fields, **right).blocked_cids == [cid]

    def test_looking_needs_none(self, world, cid):
        assert check(world, "Tom", cid, "Mary") == []


def test_a_page_of_nothing_is_one(world, cid):
    world.block_list("Mary", OpType.BLOCK, src_pid="Mary", to_cids=[cid])
    page = world.tx(lambda tx: blocked_page(tx, "Mary", limit=0))
    assert page == ([], None)
