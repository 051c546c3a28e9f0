"""The clock of the server was ahead, and was set right: marks of that time hide nothing."""

from __future__ import annotations

import pytest

from tests.server.rules.world import APP, JS
from trio_realtime.server.rules.backlog import find_backlog
from trio_realtime.server.rules.notifications import notifications_json
from trio_realtime.server.rules.session import LoginRequest
from trio_realtime.wire import PatchItem, SessionCommand

HOUR = 3600 * 1000
RETURNS = [{"r": True}, {"st": "token"}, {"r": True, "st": "token"}]


def backlog(world, who, **message):
    message = SessionCommand(config_bitmap=int(JS), **message)
    login = LoginRequest(APP, who, message, delivery=3, ttl=60)
    return world.tx(lambda tx: find_backlog(tx, login))


def edit(world, cid, message, text):
    item = PatchItem(cid=cid, mid=message.id, timestamp=message.timestamp, data=text)
    world.patch(world.device_of("Tom"), item)


def edits(found):
    items = [push.patch_message for push in found.pushes if push.patch_message is not None]
    return [patch.data for message in items for patch in message.patches]


@pytest.fixture
def edited(world):
    """Jerry was here an hour ahead of time; Tom edits now. The mark of Jerry."""
    cid = world.start("Tom", "Jerry")
    sent = [world.say(cid, "Tom", f"{n}") for n in range(3)]
    world.now += HOUR
    mark = world.now
    world.now -= HOUR
    for number, message in enumerate(sent):
        edit(world, cid, message, f"edited {number}")
    return mark


@pytest.mark.parametrize("how", RETURNS, ids=str)
def test_edits(world, edited, how):
    found = backlog(world, "Jerry", last_patch_time=edited, **how)
    assert edits(found) == ["edited 0", "edited 1", "edited 2"]
    assert edits(backlog(world, "Jerry", last_patch_time=world.now, **how)) == []


def test_who_was_never_here_begins_with_its_own_clock(world, edited):
    assert edits(backlog(world, "Jerry", last_patch_time=edited, r=False)) == []


def test_edits_whose_times_run_ahead_are_not_repeated(world):
    cid = world.start("Tom", "Jerry")
    message = world.say(cid, "Tom", "x")
    world.now += HOUR
    edit(world, cid, message, "ahead")
    mark = world.now
    world.now -= HOUR
    assert edits(backlog(world, "Jerry", r=True, last_patch_time=mark)) == []
    edit(world, cid, message, "now")
    assert edits(backlog(world, "Jerry", r=True, last_patch_time=mark)) == ["now"]


def test_of_very_many_edits_the_newest_are_told(world, monkeypatch):
    monkeypatch.setattr("trio_realtime.server.rules.patch._REPLAYED_AT_MOST", 2)
    cid = world.start("Tom", "Jerry")
    sent = [world.say(cid, "Tom", f"{n}") for n in range(4)]
    for number, message in enumerate(sent):
        edit(world, cid, message, f"edited {number}")
    mark = world.now + HOUR
    assert edits(backlog(world, "Jerry", r=True, last_patch_time=mark)) == ["edited 2", "edited 3"]
    monkeypatch.setattr("trio_realtime.server.rules.patch._BYTES", 8)
    assert edits(backlog(world, "Jerry", r=True, last_patch_time=mark)) == ["edited 3"]


@pytest.mark.parametrize("kind", [None, "permanent"])
def test_notifications(world, kind):
    def missed(after):
        found = world.tx(lambda tx: notifications_json(tx, "Jerry", after, 100, kind))
        return [item["op"] for item in found.get("permanent", found)["notifications"]]

    cid = world.start("Tom", "Jerry")
    world.now += HOUR
    mark = world.now
    world.now -= HOUR
    world.remove("Tom", cid, "Jerry")
    assert missed(mark) == ["joined", "left"]
    assert missed(world.now) == []


def test_notifications_whose_times_run_ahead_are_paged(world):
    world.now += HOUR
    cid = world.start("Tom", "Jerry")
    ahead = world.now
    world.now -= HOUR
    world.remove("Tom", cid, "Jerry")
    page = world.tx(lambda tx: notifications_json(tx, "Jerry", ahead, 1, "permanent"))
    assert [item["op"] for item in page["notifications"]] == ["left"]
    last = page["notifications"][-1]["serverTs"]
    assert last > ahead
    page = world.tx(lambda tx: notifications_json(tx, "Jerry", last, 1, "permanent"))
    assert page["notifications"] == []
