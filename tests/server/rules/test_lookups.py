from __future__ import annotations

import json

import pytest

from tests.server.rules.world import MISSING, refusal
from trio_realtime.wire import CommandType, GenericCommand, OpType


def is_member(world, who, *cids):
    return json.loads(world.conv(who, OpType.IS_MEMBER, cids=list(cids)).results.data)


class TestCount:
    def test_members_of_a_conversation(self, world):
        cid = world.start("Tom", "Jerry")
        assert world.conv("Stranger", OpType.COUNT, cid=cid).count == 2
        assert world.op == OpType.RESULT

    def test_who_is_in_a_room(self, world):
        cid = world.room("Tom")
        assert world.conv("Tom", OpType.COUNT, cid=cid).count == 1
        world.add("Jerry", cid, "Jerry")
        assert world.conv("Tom", OpType.COUNT, cid=cid).count == 2
        world.remove("Jerry", cid, "Jerry")
        world.remove("Tom", cid, "Tom")
        assert world.conv("Tom", OpType.COUNT, cid=cid).count == 0

    def test_subscribers_and_members_of_temporary_ones(self, world):
        service = world.service()
        world.add("Tom", service, "Tom")
        assert world.conv("Tom", OpType.COUNT, cid=service).count == 1
        temporary = world.start("Tom", "Jerry", "Mary", temp_conv=True)
        assert world.conv("Tom", OpType.COUNT, cid=temporary).count == 3


class TestMembers:
    def test_who_is_in_a_room(self, world):
        cid = world.room("Tom")
        for n in range(60):
            world.add(f"c{n}", cid, f"c{n}")
        assert world.conv("Tom", OpType.MEMBERS, cid=cid, limit=2).m == ["Tom", "c0"]
        assert world.op == OpType.RESULT
        for limit in (None, 0, -1, 51, 1000):
            assert len(world.conv("Tom", OpType.MEMBERS, cid=cid, limit=limit).m) == 50

    def test_of_a_conversation_for_its_members(self, world):
        cid = world.start("Tom", "Jerry")
        assert world.conv("Tom", OpType.MEMBERS, cid=cid).m == ["Jerry", "Tom"]
        assert world.conv("Tom", OpType.MEMBERS, cid=cid, limit=1).m == ["Jerry"]
        assert refusal(world.conv, "Mary", OpType.MEMBERS, cid=cid)[0] == 4317


class TestIsMember:
    def test_every_kind(self, world):
        normal = world.start("Tom", "Jerry")
        service = world.service()
        world.add("Tom", service, "Tom")
        temporary = world.start("Tom", temp_conv=True)
        room = world.room("Tom")
        cids = [normal, service, temporary, room]
        assert is_member(world, "Tom", *cids, MISSING) == {
            **dict.fromkeys(cids, True),
            MISSING: False,
        }
        assert world.op == OpType.RESULT
        assert is_member(world, "Anna", *cids) == dict.fromkeys(cids, False)
        world.remove("Tom", room, "Tom")
        assert is_member(world, "Tom", room) == {room: False}

    def test_of_nothing(self, world):
        assert is_member(world, "Tom") == {}
        assert is_member(world, "Tom", "") == {"": False}


class TestMute:
    def test_own_state_shows_in_the_query(self, world):
        cid = world.start("Tom", "Jerry")
        reply = world.conv("Jerry", OpType.MUTE, cid=cid)
        assert world.op == OpType.UPDATED
        assert world.told() == []
        found = world.one("Tom", cid)
        assert (found["mu"], reply.udate) == (["Jerry"], found["updatedAt"])
        world.conv("Jerry", OpType.MUTE, cid=cid)
        assert world.one("Tom", cid)["mu"] == ["Jerry"]
        world.conv("Jerry", OpType.UNMUTE, cid=cid)
        assert world.op == OpType.UPDATED
        assert world.one("Tom", cid)["mu"] == []

    def test_rooms_and_services(self, world):
        room = world.room("Tom")
        world.conv("Jerry", OpType.MUTE, cid=room)
        assert world.one("Tom", room)["mu"] == ["Jerry"]
        service = world.service()
        assert refusal(world.conv, "Tom", OpType.MUTE, cid=service)[0] == 4317
        world.add("Tom", service, "Tom")
        world.conv("Tom", OpType.MUTE, cid=service)
        assert world.one("Tom", service)["muted"] is True

    @pytest.mark.parametrize("op", [OpType.MUTE, OpType.UNMUTE])
    def test_refusals(self, world, op):
        cid = world.start("Tom")
        assert refusal(world.conv, "Jerry", op, cid=cid) == (
            4317,
            "CONVERSATION_MEMBERSHIP_REQUIRED",
        )
        temporary = world.start("Tom", temp_conv=True)
        assert refusal(world.conv, "Tom", op, cid=temporary) == (4307, "CONVERSATION_READ_ONLY")


@pytest.mark.parametrize("op", [OpType.COUNT, OpType.MEMBERS, OpType.MUTE, OpType.UNMUTE])
def test_unknown_conversations(world, op):
    for cid in (None, "", MISSING):
        assert refusal(world.conv, "Tom", op, cid=cid) == (4303, "CONVERSATION_NOT_FOUND")
    assert refusal(world.do, "Tom", GenericCommand(cmd=CommandType.CONV, op=op))[0] == 4303


def test_an_expired_conversation_is_unknown(world):
    cid = world.start("Tom", temp_conv=True, temp_conv_ttl=5)
    assert world.conv("Tom", OpType.COUNT, cid=cid).count == 1
    world.now += 5000
    assert refusal(world.conv, "Tom", OpType.COUNT, cid=cid)[0] == 4303
