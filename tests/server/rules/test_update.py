from __future__ import annotations

import json

import pytest

from tests.server.rules.world import MISSING, refusal
from trio_realtime.server.rules.json import iso
from trio_realtime.server.rules.start import RESERVED
from trio_realtime.wire import CommandType, GenericCommand, JsonObjectMessage, OpType


@pytest.fixture
def cid(world):
    attr = JsonObjectMessage(data=json.dumps({"name": "old", "attr": {"a": 1, "b": [1]}, "n": 1}))
    return world.start("Tom", "Jerry", "Mary", attr=attr)


def pushed(world):
    (push,) = world.pushes
    message = push.command.conv_message
    return json.loads(message.attr.data), json.loads(message.attr_modified.data)


class TestUpdate:
    def test_the_others_are_told_and_so_are_the_actors_other_sessions(self, world, cid):
        reply = world.update("Jerry", cid, {"name": "new", "attr.a": 2})
        assert world.op == OpType.UPDATED
        assert reply.cid == cid
        assert reply.udate == iso(world.now)
        assert json.loads(reply.attr.data) == {"name": "new", "attr.a": 2}
        assert json.loads(reply.attr_modified.data) == {"name": "new", "attr": {"a": 2}}
        assert world.told() == [("UPDATED", ["Jerry", "Mary", "Tom"], [])]
        (push,) = world.pushes
        assert push.except_actor
        assert push.command.notification_type is None
        assert push.command.conv_message.udate == reply.udate
        assert push.command.conv_message.init_by == "Jerry"
        assert push.command.conv_message.cid == cid
        assert pushed(world) == ({"name": "new", "attr.a": 2}, {"name": "new", "attr": {"a": 2}})
        found = world.one("Tom", cid)
        assert (found["name"], found["attr"], found["n"]) == ("new", {"a": 2, "b": [1]}, 1)
        assert found["updatedAt"] == reply.udate

    @pytest.mark.parametrize(
        ("changes", "attr", "modified"),
        [
            ({"attr": {"z": 1}}, {"z": 1}, {"attr": {"z": 1}}),
            (
                {"attr.c.d.e": 5},
                {"a": 1, "b": [1], "c": {"d": {"e": 5}}},
                {"attr": {"c": {"d": {"e": 5}}}},
            ),
            ({"attr.a": None}, {"a": None, "b": [1]}, {"attr": {"a": None}}),
            ({"attr.a": {"__op": "Delete"}}, {"b": [1]}, {}),
            ({"attr.x.y": {"__op": "Delete"}}, {"a": 1, "b": [1]}, {}),
            (
                {"attr.a": {"__op": "Increment", "amount": 2}},
                {"a": 3, "b": [1]},
                {"attr": {"a": 3}},
            ),
            ({"attr.a": {"__op": "Increment"}}, {"a": 2, "b": [1]}, {"attr": {"a": 2}}),
            (
                {"attr.x": {"__op": "Increment", "amount": -1.5}},
                {"a": 1, "b": [1], "x": -1.5},
                {"attr": {"x": -1.5}},
            ),
            (
                {"attr.b": {"__op": "Add", "objects": [1, 2]}},
                {"a": 1, "b": [1, 1, 2]},
                {"attr": {"b": [1, 1, 2]}},
            ),
            (
                {"attr.b": {"__op": "AddUnique", "objects": [1, 2, 2, True]}},
                {"a": 1, "b": [1, 2, True]},
                {"attr": {"b": [1, 2, True]}},
            ),
            (
                {"attr.b": {"__op": "Remove", "objects": [1]}},
                {"a": 1, "b": []},
                {"attr": {"b": []}},
            ),
            (
                {"attr.l": {"__op": "Add", "objects": [{"k": 1}]}},
                {"a": 1, "b": [1], "l": [{"k": 1}]},
                {"attr": {"l": [{"k": 1}]}},
            ),
            ({"attr": {"a": 5}, "attr.b": 6}, {"a": 5, "b": 6}, {"attr": {"a": 5, "b": 6}}),
            ({"attr.b": 6, "attr": {"a": 5}}, {"a": 5}, {"attr": {"a": 5}}),
        ],
    )
    def test_paths_and_operations(self, world, cid, changes, attr, modified):
        reply = world.update("Tom", cid, changes)
        assert json.loads(reply.attr_modified.data) == modified
        assert pushed(world)[1] == modified
        assert world.one("Tom", cid)["attr"] == attr

    def test_operations_reach_others_as_values(self, world, cid):
        deletion = {"__op": "Delete"}
        world.update(
            "Tom", cid, {"n": {"__op": "Increment", "amount": 2}, "attr.a": deletion, "x": 1}
        )
        assert pushed(world)[0] == {"n": 3, "attr.a": deletion, "x": 1}

    @pytest.mark.parametrize("value", [{"__op": "Delete"}, None])
    def test_the_name_can_be_removed(self, world, cid, value):
        world.update("Tom", cid, {"name": value})
        assert "name" not in world.one("Tom", cid)
        world.update("Tom", cid, {"name": "again"})
        assert world.one("Tom", cid)["name"] == "again"

    def test_top_level_columns(self, world, cid):
        world.update("Tom", cid, {"pinned": True, "n": {"__op": "Delete"}})
        found = world.one("Tom", cid)
        assert found["pinned"] is True
        assert "n" not in found

    def test_no_changes_change_nothing(self, world, cid):
        before = world.one("Tom", cid)
        reply = world.update("Tom", cid, {})
        assert reply.udate == before["updatedAt"]
        assert json.loads(reply.attr_modified.data) == {}
        assert world.told() == []
        assert world.one("Tom", cid) == before

    def test_the_unique_match_is_untouched(self, world):
        cid = world.start("Tom", "Jerry", unique=True)
        world.update("Tom", cid, {"name": "x"})
        assert world.start("Tom", "Jerry", unique=True) == cid


class TestRooms:
    def test_those_inside_and_those_in_charge(self, world):
        cid = world.room("Tom")
        world.remove("Tom", cid, "Tom")
        world.update("Tom", cid, {"name": "a"})
        world.add("Jerry", cid, "Jerry")
        world.update("Jerry", cid, {"name": "b"})
        assert world.told() == [("UPDATED", f"room {cid}", [])]
        assert world.pushes[0].except_actor
        call = (world.update, "Mary", cid, {"name": "c"})
        assert refusal(*call) == (4309, "CONVERSATION_UPDATE_REJECTED")
        world.role("Tom", cid, "Mary", "Manager")
        world.update("Mary", cid, {"name": "c"})
        assert world.one("Tom", cid)["name"] == "c"


class TestRefusals:
    @pytest.mark.parametrize("cid", [None, "", MISSING])
    def test_unknown_conversations_come_first(self, world, cid):
        call = (world.conv, "Tom", OpType.UPDATE)
        assert refusal(*call, cid=cid) == (4303, "CONVERSATION_NOT_FOUND")
        bad = JsonObjectMessage(data="{")
        assert refusal(*call, cid=cid, attr=bad) == (4303, "CONVERSATION_NOT_FOUND")
        command = GenericCommand(cmd=CommandType.CONV, op=OpType.UPDATE)
        assert refusal(world.do, "Tom", command)[0] == 4303

    def test_strangers(self, world, cid):
        assert refusal(world.update, "Anna", cid, {"name": "x"}) == (
            4309,
            "CONVERSATION_UPDATE_REJECTED",
        )
        world.remove("Jerry", cid, "Jerry")
        assert refusal(world.update, "Jerry", cid, {"name": "x"})[0] == 4309
        assert world.one("Tom", cid)["name"] == "old"

    def test_kinds_that_stay_as_they_are(self, world):
        service = world.service()
        world.add("Tom", service, "Tom")
        temporary = world.start("Tom", temp_conv=True)
        for cid in (service, temporary):
            assert refusal(world.update, "Tom", cid, {"a": 1}) == (4307, "CONVERSATION_READ_ONLY")

    @pytest.mark.parametrize("key", sorted(RESERVED))
    @pytest.mark.parametrize("suffix", ["", ".x"])
    def test_keys_of_the_server(self, world, cid, key, suffix):
        before = world.one("Tom", cid)
        call = (world.update, "Tom", cid, {"fine": 1, key + suffix: "Tom"})
        assert refusal(*call) == (4306, "CONVERSATION_UPDATE_FAILED")
        assert world.one("Tom", cid) == before

    @pytest.mark.parametrize(
        "text",
        [
            None,
            "",
            "{",
            "[]",
            "1",
            '{"name":5}',
            '{"name.x":5}',
            '{"n.x":5}',
            '{"attr.b.0":5}',
            '{"":1}',
            '{".":1}',
            '{"a.":1}',
            '{"a..b":1}',
            '{"n":{"__op":"Nonsense"}}',
            '{"n":{"__op":["Delete"]}}',
            '{"n":{"__op":null}}',
            '{"n":{"__op":"Increment","amount":"1"}}',
            '{"n":{"__op":"Increment","amount":true}}',
            '{"n":{"__op":"Increment","amount":1' + "0" * 400 + "}}",
            '{"name":{"__op":"Increment"}}',
            '{"n":{"__op":"Add","objects":[1]}}',
            '{"attr.b":{"__op":"Add","objects":1}}',
            '{"attr.b":{"__op":"Remove"}}',
            '{"attr":' + '{"a":' * 32 + "1" + "}" * 33,
            '{"' + ".".join("a" * 33) + '":1}',
            '{"' + ".".join("a" * 2000) + '":1}',
            '{"' + ".".join("a" * 20) + '":' + '{"a":' * 20 + "1" + "}" * 21,
            '{"a":"' + "x" * 5200 + '"}',
            '{"a":"\\udfff"}',
            '{"\\ud800":1}',
            '{"a":-Infinity}',
        ],
    )
    def test_bad_changes(self, world, cid, text):
        before = world.one("Tom", cid)
        attr = None if text is None else JsonObjectMessage(data=text)
        assert refusal(world.conv, "Tom", OpType.UPDATE, cid=cid, attr=attr) == (
            4306,
            "CONVERSATION_UPDATE_FAILED",
        )
        assert world.one("Tom", cid) == before

    def test_attributes_do_not_grow_without_end(self, world, cid):
        world.update("Tom", cid, {"a": "x" * 3000})
        assert refusal(world.update, "Tom", cid, {"b": "x" * 3000})[0] == 4306
        world.update("Tom", cid, {"a": {"__op": "Delete"}, "b": "x" * 3000})
