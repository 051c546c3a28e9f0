from __future__ import annotations

import pytest

from tests.server.rules.world import refusal
from trio_realtime.server.rules.json import iso
from trio_realtime.server.rules.notifications import notifications_json
from trio_realtime.server.rules.types import Feature
from trio_realtime.wire import OpType


def missed(world, who, after=0, limit=100):
    return world.tx(lambda tx: notifications_json(tx, who, after, limit, "permanent"))


def everything(world, who, after=0, limit=100):
    return world.tx(lambda tx: notifications_json(tx, who, after, limit))


def ops(page):
    return [item["op"] for item in page["notifications"]]


def test_an_invitation_can_be_read_later(world):
    cid = world.start("Tom", "Jerry")
    at = world.now
    assert missed(world, "Jerry") == {
        "hasMore": False,
        "notifications": [
            {
                "cmd": "conv",
                "op": "joined",
                "cid": cid,
                "initBy": "Tom",
                "udate": iso(at),
                "serverTs": at,
                "notificationType": 1,
            }
        ],
    }
    assert missed(world, "Jerry", at - 1)["notifications"] != []
    assert missed(world, "Jerry", at)["notifications"] == []
    assert missed(world, "Nobody")["notifications"] == []


def test_who_saw_a_push_has_nothing_to_catch_up(world):
    cid = world.start("Tom", "Jerry")
    world.block_list("Tom", OpType.BLOCK, src_cid=cid, to_pids=["Jerry"])
    seen = [push.command.server_ts for push in world.pushes if push.to.ids == ["Jerry"]]
    items = everything(world, "Jerry", world.now - 1)["permanent"]["notifications"]
    assert [item["serverTs"] for item in items] == seen
    assert [item["op"] for item in items] == ["blocked", "left"]


def test_every_way_to_join_and_leave(world):
    cid = world.start("Tom", "Jerry")
    world.remove("Tom", cid, "Jerry")
    world.add("Jerry", cid, "Jerry")
    world.remove("Jerry", cid, "Jerry")
    service = world.service()
    world.add("Jerry", service, "Jerry")
    world.remove("Jerry", service, "Jerry")
    world.start("Tom", "Jerry", temp_conv=True)
    page = missed(world, "Jerry")
    assert ops(page) == ["joined", "left", "joined", "left", "joined", "left", "joined"]
    by = [item["initBy"] for item in page["notifications"]]
    assert by == ["Tom", "Tom", "Jerry", "Jerry", "Jerry", "Jerry", "Tom"]


def test_only_what_the_javascript_sdk_understands(world):
    cid = world.start("Tom", "Jerry", "Mary")
    world.conv("Tom", OpType.ADD_SHUTUP, cid=cid, m=["Jerry"])
    world.conv("Tom", OpType.REMOVE_SHUTUP, cid=cid, m=["Jerry"])
    world.update("Tom", cid, {"name": "x"})
    world.role("Tom", cid, "Jerry", "Manager")
    world.block_list("Tom", OpType.BLOCK, src_cid=cid, to_pids=["Jerry"])
    world.block_list("Tom", OpType.UNBLOCK, src_cid=cid, to_pids=["Jerry"])
    assert ops(missed(world, "Jerry")) == ["joined", "left"]
    full = everything(world, "Jerry")
    assert ops(full["permanent"]) == [
        "joined",
        "shutuped",
        "unshutuped",
        "blocked",
        "left",
        "unblocked",
    ]
    assert full["permanent"]["hasMore"] is False
    assert full["droppable"] == {"invalidLocalConvCache": True, "notifications": []}


def test_rooms_are_forgotten(world):
    cid = world.room("Tom")
    world.add("Jerry", cid, "Jerry")
    assert ops(missed(world, "Tom")) == ops(missed(world, "Jerry")) == []


def test_pages_follow_each_other_by_the_last_time(world):
    cid = world.start("Tom", "Jerry")
    for _ in range(6):
        world.conv("Tom", OpType.ADD_SHUTUP, cid=cid, m=["Jerry"])
        world.conv("Tom", OpType.REMOVE_SHUTUP, cid=cid, m=["Jerry"])
        world.remove("Jerry", cid, "Jerry")
        world.add("Jerry", cid, "Jerry")
    seen, after, more = [], 0, True
    while more:
        page = missed(world, "Jerry", after, 2)
        assert 0 < len(page["notifications"]) <= 2
        seen += page["notifications"]
        after, more = seen[-1]["serverTs"], page["hasMore"]
        assert seen[-1]["notificationType"] == 1
    assert [item["op"] for item in seen] == ["joined", *["left", "joined"] * 6]
    assert len({item["serverTs"] for item in seen}) == 13


@pytest.mark.parametrize(("limit", "size"), [(-1, 1), (0, 1), (3, 3), (100, 100), (5000, 100)])
def test_the_size_of_a_page(world, limit, size):
    cid = world.start("Tom", "Jerry")
    for _ in range(60):
        world.remove("Jerry", cid, "Jerry")
        world.add("Jerry", cid, "Jerry")
    page = missed(world, "Jerry", 0, limit)
    assert (len(page["notifications"]), page["hasMore"]) == (size, True)


def test_a_refused_command_leaves_nothing_behind(world):
    cid = world.start("Tom")
    world.block_list("Tom", OpType.BLOCK, src_cid=cid, to_pids=["Mary"])
    call = (world.add, "Tom", cid, "Jerry", "Mary")
    assert refusal(*call, features=Feature(0)) == (4548, "BLOCKED_BY_CONV")
    assert missed(world, "Jerry")["notifications"] == []
