"""What is in the tables, where a transaction cannot tell."""

from __future__ import annotations

import json

import pytest

from tests.server.store.world import query
from trio_realtime._values.protocol import TOKEN_GRACE_MS
from trio_realtime.server.store.interface import NOTIFICATIONS_KEPT, Kind, QueryError, TokenRow
from trio_realtime.server.store.sqlite import find


def count(connection, table):
    (rows,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return rows


def put_token(world, token):
    world.do(lambda tx: tx.put_token(token, TokenRow("tom", world.now + 100)))


def test_tokens_are_not_stored_in_clear(world, connection):
    put_token(world, "very secret")
    assert not any("very secret" in line for line in connection.iterdump())


def test_forgotten_tokens_are_deleted(world, connection):
    put_token(world, "old")
    world.now += 100 + TOKEN_GRACE_MS
    put_token(world, "new")
    assert count(connection, "tokens") == 1


def test_who_only_logs_in_leaves_nothing_behind(world, connection):
    before = len(list(connection.iterdump()))
    for n in range(50):
        row = TokenRow(f"stranger {n}", world.now + 100, f"tag {n}", "device")
        world.do(lambda tx, n=n, row=row: tx.put_token(f"{n}", row))
    assert count(connection, "clients") == 0
    world.now += 100 + TOKEN_GRACE_MS
    for n in range(3):
        put_token(world, f"new {n}")
    assert count(connection, "tokens") == 3
    assert len(list(connection.iterdump())) <= before + 4


def test_notices_that_nobody_has_are_deleted(world, connection):
    def keep(tx):
        for n in range(NOTIFICATIONS_KEPT + 3):
            tx.keep_notification(["tom"], {"n": n})
        tx.keep_notification(["jerry"], {"n": "kept"})

    world.do(keep)
    assert count(connection, "notices") == NOTIFICATIONS_KEPT + 1


def test_a_deleted_conversation_leaves_no_rows(world, connection):
    chat = world.create("tom", "jerry")
    message = world.say(chat.id, "tom", receipt=True)
    world.do(lambda tx: tx.acknowledge(chat.id, "jerry", first=0, last=message.timestamp))
    world.do(lambda tx: tx.set_muted(chat.id, "tom", True))
    world.do(lambda tx: tx.set_role(chat.id, "jerry", "Manager"))
    world.do(lambda tx: tx.delete_conversation(chat.id))
    for table in ("messages", "deliveries", "members", "muted", "roles"):
        assert count(connection, table) == 0, table


def test_a_new_temporary_conversation_purges_expired_ones(world, connection):
    world.create("tom", kind=Kind.TEMPORARY, expires_at=world.now)
    kept = world.create("tom", kind=Kind.TEMPORARY, expires_at=world.now + 10)
    assert connection.execute("SELECT cid FROM conversations").fetchall() == [(kept.id,)]


def test_a_slow_query_is_stopped(world, monkeypatch):
    monkeypatch.setattr(find, "_INSTRUCTIONS_BETWEEN_CHECKS", 10)
    for n in range(20):
        world.create("tom", attributes={"attr": {"v": n}})
    monkeypatch.setattr(world.rules.runner.database, "query_seconds", -1)
    with pytest.raises(QueryError, match="too slow"):
        world.see(lambda tx: tx.find(query({"attr.v": "nothing"})))
    with pytest.raises(QueryError, match="too slow"):
        world.see(lambda tx: tx.count(query({"attr.v": "nothing"})))
    monkeypatch.undo()
    assert len(world.see(lambda tx: tx.find(query({}, limit=99)))) == 20


BAD_DOCUMENTS = [
    '{"attr":{"v":NaN}}',
    '{"attr":{"v":1e999}}',
    '{"attr":{"v":-Infinity,"w":1}}',
    '{"attr":{"v":"\\ud800"}}',
    '{"attr":{"v":{"\\udc00":[1]}}}',
    '{"attr":{"v":1',
    "[" * 100_000,
    "null",
    "",
]


@pytest.mark.parametrize("document", BAD_DOCUMENTS, ids=lambda text: text[:25])
@pytest.mark.parametrize("key", ["attr.v", 'attr.v.q"', "attr.v.w"])
def test_one_bad_row_does_not_spoil_a_query(world, connection, document, key):
    good = [world.create("tom", attributes={"attr": {"v": n}}).id for n in range(3)]
    bad = world.create("tom", name="bad").id
    connection.execute("UPDATE conversations SET attributes = ? WHERE cid = ?", (document, bad))

    def found(where, **more):
        rows = world.see(lambda tx: tx.find(query(where, **more)))
        for row in rows:
            # It can be sent.
            json.dumps(row.attributes, allow_nan=False, ensure_ascii=False).encode()
        return [row.id for row in rows]

    assert found({"attr.v": {"$gte": 1, "$lt": 3}}) == good[:0:-1]
    assert set(found({}, sort=[(key, False)])) == {*good, bad}
    for condition in (1, {"$ne": 1}, {"$regex": "a"}, {"$size": 1}, {"$exists": True}, [1]):
        found({key: condition})
        found({"m": "tom", key: condition})
    assert bad in found({"m": "tom"})
    assert world.see(lambda tx: tx.conversation(bad)).name == "bad"


def test_numbers_beyond_all_integers_can_be_asked_for(world):
    cid = world.create("tom", attributes={'q"': 10**30, "p": 10**400}).id
    for where in ({'q"': {"$gt": 10**29}}, {'q"': 10**30}):
        assert [row.id for row in world.see(lambda tx, w=where: tx.find(query(w)))] == [cid]
    assert world.see(lambda tx: tx.find(query({'p"': {"$lt": 1}}))) == []
