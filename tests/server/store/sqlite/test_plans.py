"""No operation may walk through a whole table, however it is asked."""

# ruff: noqa: ARG005 - every operation is given the same arguments.

from __future__ import annotations

import re

import pytest

from tests.server.store.world import query
from trio_realtime.server.store.interface import Kind, Listing, NewMessage, TokenRow
from trio_realtime.server.store.sqlite.conditions import Scope
from trio_realtime.server.store.sqlite.find import find_sql

OPERATIONS = {
    "conversation": lambda tx, c, m: tx.conversation(c),
    "unique": lambda tx, c, m: tx.conversations_by_unique_id("u", Kind.NORMAL, ["tom", "ann"]),
    "create": lambda tx, c, m: tx.create_conversation(
        kind=Kind.TEMPORARY, creator="tom", members=["tom", "new"], expires_at=tx.now + 9
    ),
    "update": lambda tx, c, m: tx.update_conversation(c, name="x", attributes={"a": 1}),
    "find own": lambda tx, c, m: tx.find(query({"m": "tom"})),
    "find ids": lambda tx, c, m: tx.find(query({}, ids=["_tmp:1"])),
    "members": lambda tx, c, m: (tx.members(c), tx.member_count(c), tx.joined_at(c, "tom")),
    "add": lambda tx, c, m: tx.add_members(c, ["ann"]),
    "remove": lambda tx, c, m: tx.remove_members(c, ["tom"]),
    "several": lambda tx, c, m: (
        tx.conversations([c]),
        tx.members_of([c]),
        tx.muted_in([c], limit=10),
        tx.muting("tom", [c]),
        tx.joined("tom", [c]),
        tx.listed_in(Listing.BLOCKED, "tom", [c]),
        tx.last_messages([c]),
        tx.awaiting("tom", temporary=True, limit=50),
        tx.unread_in("jerry", [c]),
        tx.which_documents("t", ["k"]),
    ),
    "mute": lambda tx, c, m: (tx.set_muted(c, "tom", True), tx.muted_by(c)),
    "roles": lambda tx, c, m: (tx.set_role(c, "tom", "Manager"), tx.member_infos(c)),
    "list": lambda tx, c, m: (
        tx.add_listed(Listing.BLOCKED, c, ["tom"]),
        tx.listed(Listing.BLOCKED, c, limit=5, after="1"),
        tx.which_listed(Listing.BLOCKED, c, ["tom"]),
        tx.listed_count(Listing.BLOCKED, c),
        tx.remove_listed(Listing.BLOCKED, c, ["tom"]),
    ),
    "append": lambda tx, c, m: tx.append(c, NewMessage("tom", "x", dt="1", receipt=True)),
    "repeat": lambda tx, c, m: tx.append(c, NewMessage("tom", "x", dt="0")),
    "message": lambda tx, c, m: (tx.message(c, m), tx.last_message(c)),
    "older": lambda tx, c, m: tx.history(c, start=(99, "a"), end=(1, "b")),
    "newer": lambda tx, c, m: tx.history(c, start=(1, "a"), newer=True),
    "typed": lambda tx, c, m: tx.history(c, start=(99, None), lctype=-1),
    "patch": lambda tx, c, m: tx.patch(
        c, m, body="y", recalled=False, mentions=(), mention_all=False, lctype=None
    ),
    "patches": lambda tx, c, m: tx.patches_for("tom", 0),
    "feed": lambda tx, c, m: (
        tx.feed(start=(99, "a"), end=(1, "b")),
        tx.feed(newer=True, sender="tom"),
        tx.subscribers(c, after="tom"),
        tx.subscriptions("tom"),
        tx.clients_seen(1),
    ),
    "acknowledge": lambda tx, c, m: tx.acknowledge(c, "jerry", first=0, last=10**9),
    "read": lambda tx, c, m: tx.mark_read(c, "jerry", 10**9),
    "marks": lambda tx, c, m: tx.marks(c, ["tom"]),
    "unread": lambda tx, c, m: (tx.unread(c, "jerry"), tx.unread_of("jerry")),
    "unread since": lambda tx, c, m: tx.unread_of("jerry", since=5),
    "token": lambda tx, c, m: (
        tx.put_token("s", TokenRow("tom", 9)),
        tx.token("s"),
        tx.recent_login("tom", 0),
    ),
    "notify": lambda tx, c, m: (
        tx.keep_notification(["tom"], {}),
        tx.notifications("tom", 0, limit=5),
    ),
    "documents": lambda tx, c, m: (
        tx.put_document("t", "k", {}),
        tx.documents("t", prefix="k", after="a"),
        tx.delete_document("t", "k"),
    ),
    "lines": lambda tx, c, m: (
        tx.append_to_lines(c, ["tom"], NewMessage("bot", "x")),
        tx.lines("tom", [c]),
        tx.unread_of("tom"),
    ),
    "installations": lambda tx, c, m: (
        tx.put_installation({"deviceToken": "t", "installationId": "i"}),
        tx.installations_of(device_token="t", installation_id="i"),
        tx.installation("x"),
        tx.installation_count(),
        tx.forget_installations(5),
        tx.delete_installation("x"),
    ),
    "delete message": lambda tx, c, m: tx.delete_message(c, m),
    "delete": lambda tx, c, m: tx.delete_conversation(c),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_table_is_scanned(world, connection, name):
    cid = world.create("tom", "jerry").id
    mid = world.say(cid, "tom", receipt=True, dt="0").id
    statements = []
    connection.set_trace_callback(statements.append)
    world.do(lambda tx: OPERATIONS[name](tx, cid, mid))
    connection.set_trace_callback(None)
    plans = 0
    for statement in statements:
        if not re.match("SELECT|INSERT|UPDATE|DELETE", statement):
            continue
        plans += 1
        for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {statement}"):
            scanned = re.match(r"SCAN (\w+)(?! VIRTUAL TABLE)$", step)
            # The newest of something are a bounded number.
            assert not scanned or scanned[1] in {"CONSTANT", "newest"}, (statement, step)
    assert plans


def sql_of(world, rule):
    connection = world.rules.connection
    statements = []
    connection.set_trace_callback(statements.append)
    world.see(rule)
    connection.set_trace_callback(None)
    (statement,) = [text for text in statements if "FROM messages m" in text]
    return " / ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}"))


@pytest.mark.parametrize(
    ("page", "search"),
    [
        ({}, "messages_by_time (conversation=?)"),
        ({"start": (50, "x")}, "messages_by_time (conversation=? AND timestamp<?)"),
        (
            {"start": (5, None), "newer": True, "end": (9, "x")},
            "messages_by_time (conversation=? AND timestamp>? AND timestamp<?)",
        ),
        (
            {"start": (50, None), "lctype": -1},
            "messages_by_type (conversation=? AND lctype=? AND timestamp<?)",
        ),
    ],
    ids=str,
)
def test_a_page_of_history_is_read_in_order(world, page, search):
    cid = world.create("tom").id
    plan = sql_of(world, lambda tx: tx.history(cid, **page))
    assert f"SEARCH m USING INDEX {search}" in plan
    # Those of one time, one by one.
    rest = re.sub("USE TEMP B-TREE FOR (LAST TERM|RIGHT PART) OF ORDER BY", "", plan)
    assert "TEMP B-TREE" not in rest


def plan(connection, where, **more):
    sql, parameters = find_sql(query(where, **more), Scope(1), 0)
    rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
    return " / ".join(row[3] for row in rows)


@pytest.mark.parametrize(
    ("where", "index"),
    [
        ({"m": "tom"}, "SEARCH members USING COVERING INDEX members_by_client"),
        ({"m": {"$all": ["tom"], "$size": 2}}, "members_by_client"),
        ({"m": {"$all": ["tom", "jerry"], "$size": 2}}, "members_by_client"),
        ({"m": {"$in": ["tom"]}, "attr.v": 1}, "members_by_client"),
        ({"mu": "tom"}, "muted_by_client"),
        ({"objectId": "x"}, "SEARCH c USING INDEX sqlite_autoindex_conversations_1"),
        ({"objectId": {"$in": ["x"]}}, "SEARCH c USING INDEX sqlite_autoindex_conversations_1"),
        ({"c": "tom"}, "SEARCH c USING INDEX conversations_by_creator"),
        ({"uniqueId": "u"}, "SEARCH c USING INDEX conversations_by_members"),
        ({}, "SEARCH c USING INDEX conversations_by_message"),
    ],
    ids=str,
)
def test_common_queries_use_an_index(connection, where, index):
    assert index in plan(connection, where)
    if where and "c" not in where and "uniqueId" not in where and "objectId" not in where:
        assert "SEARCH c USING INTEGER PRIMARY KEY" in plan(connection, where)


def test_the_default_order_needs_no_sorting(connection):
    assert "TEMP B-TREE" not in plan(connection, {})
