"""Databases of earlier versions."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.server.store.sqlite.support import SqliteRules
from tests.server.store.world import World
from trio_realtime.server.store.interface import Kind, Listing, NewMessage, TokenRow
from trio_realtime.server.store.sqlite import schema

TOKENS_1 = """
CREATE TABLE tokens (
    id INTEGER PRIMARY KEY,
    app INTEGER NOT NULL REFERENCES apps,
    digest BLOB NOT NULL,
    client INTEGER NOT NULL REFERENCES clients,
    expires_at INTEGER NOT NULL,
    tag TEXT,
    device_id TEXT,
    UNIQUE (app, digest)
);
CREATE INDEX tokens_by_client ON tokens (client, id);
CREATE INDEX tokens_by_expiry ON tokens (expires_at);
"""


NOTIFICATIONS_3 = """
CREATE TABLE notifications (
    client INTEGER NOT NULL REFERENCES clients,
    position INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    notice INTEGER NOT NULL REFERENCES notices,
    PRIMARY KEY (client, position)
) WITHOUT ROWID;
CREATE UNIQUE INDEX notifications_by_time ON notifications (client, timestamp);
CREATE INDEX notifications_by_notice ON notifications (notice);
"""


def names(path):
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM clients")}


def seventh(path):
    """Make of the tables what version 7 had."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "DROP INDEX conversations_by_service;"
            "ALTER TABLE conversations DROP COLUMN service;"
            "ALTER TABLE messages DROP COLUMN address;"
            "PRAGMA user_version = 7;"
        )


def sixth(path):
    """Make of the tables what version 6 had."""
    seventh(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "DROP TABLE installations; ALTER TABLE apps DROP COLUMN installations;"
            "PRAGMA user_version = 6;"
        )


def fourth(path):
    """Make of the tables what version 4 had."""
    sixth(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "DROP INDEX conversations_by_members;"
            "CREATE INDEX conversations_by_members ON conversations (app, unique_id)"
            " WHERE unique_id IS NOT NULL;"
            "PRAGMA user_version = 4;"
        )


def third(path):
    """Make of the tables what version 3 had."""
    fourth(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "ALTER TABLE notifications RENAME TO notifications_4;"
            "DROP INDEX notifications_by_notice;"
            f"{NOTIFICATIONS_3}"
            "INSERT INTO notifications SELECT client, position, timestamp, notice"
            " FROM notifications_4;"
            "DROP TABLE notifications_4;"
            "PRAGMA user_version = 3;"
        )


def second(path):
    """Make of the tables what version 2 had."""
    third(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "DROP INDEX messages_by_moment; DROP INDEX messages_by_time;"
            "CREATE UNIQUE INDEX messages_by_time ON messages (conversation, timestamp, sender);"
            "PRAGMA user_version = 2;"
        )


def downgraded(path):
    """Make of the tables what version 1 had."""
    second(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "INSERT INTO clients (app, name) SELECT DISTINCT app, client FROM tokens"
            " WHERE true ON CONFLICT DO NOTHING;"
            "INSERT INTO clients (app, name) VALUES (1, 'passer-by');"
            "ALTER TABLE tokens RENAME TO tokens_2;"
            "DROP INDEX tokens_by_client; DROP INDEX tokens_by_expiry;"
            f"{TOKENS_1}"
            "INSERT INTO tokens SELECT t.id, t.app, t.digest, k.id, t.expires_at, t.tag,"
            " t.device_id FROM tokens_2 t JOIN clients k ON k.app = t.app AND k.name = t.client;"
            "DROP TABLE tokens_2;"
            "INSERT INTO documents VALUES (1, 'session-slot', 'tom\nphone', '{\"device\":\"d\"}');"
            "PRAGMA user_version = 1;"
        )


def test_the_first_version(tmp_path):
    path = tmp_path / "data.db"
    with SqliteRules.opened(path) as rules:
        world = World(rules)
        row = TokenRow("tom", world.now + 100, "phone", "d")
        world.do(lambda tx: tx.put_token("secret", row))
        chat = world.create("jerry", "spike")
        said = world.say(chat.id, "butch")
        world.do(lambda tx: tx.add_listed(Listing.SILENCED, chat.id, ["nibbles"]))
        world.do(lambda tx: tx.remove_members(chat.id, ["spike"]))
        now = world.now
    downgraded(path)
    assert {"tom", "passer-by"} <= names(path)
    for _ in range(2):
        with SqliteRules.opened(path) as rules:
            world = World(rules)
            world.now = now
            assert world.see(lambda tx: tx.token("secret")) == row
            assert world.see(lambda tx: tx.tag_holder("tom", "phone")) == row
            assert world.see(lambda tx: tx.members(chat.id)) == ["jerry"]
            assert world.see(lambda tx: tx.message(chat.id, said.id)) == said
            assert world.see(lambda tx: tx.document("session-slot", "tom\nphone")) is None
            assert not rules.connection.execute("PRAGMA foreign_key_check").fetchall()
        # Who is known by what is stored stays; who only logged in is forgotten.
        assert names(path) == {"jerry", "butch", "nibbles"}


def test_the_second_version(tmp_path):
    path = tmp_path / "data.db"
    with SqliteRules.opened(path) as rules:
        world = World(rules)
        said = world.say(world.create("tom").id, "tom")
        now = world.now
    second(path)
    with SqliteRules.opened(path) as rules:
        world = World(rules, now)
        assert world.see(lambda tx: tx.feed()) == [said]
        sql = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql NOT NULL"
        indexes = dict(rules.connection.execute(sql))
    assert "messages_by_moment" in indexes
    assert "UNIQUE" not in indexes["messages_by_time"]


def test_the_third_version(tmp_path):
    path = tmp_path / "data.db"
    with SqliteRules.opened(path) as rules:
        world = World(rules)
        for n in range(3):
            world.do(lambda tx, n=n: tx.keep_notification(["tom", "jerry"], {"n": n}))
        kept = world.see(lambda tx: tx.notifications("tom", 0, limit=9))
        now = world.now
    third(path)
    with SqliteRules.opened(path) as rules:
        world = World(rules, now)
        assert world.see(lambda tx: tx.notifications("tom", 0, limit=9)) == kept
        world.do(lambda tx: tx.keep_notification(["tom"], {"n": 3}))
        again = world.see(lambda tx: tx.notifications("tom", 0, limit=9))
        assert [row.item["n"] for row in again] == [0, 1, 2, 3]
        assert not rules.connection.execute("PRAGMA foreign_key_check").fetchall()


def test_the_fourth_version(tmp_path):
    path = tmp_path / "data.db"
    with SqliteRules.opened(path) as rules:
        world = World(rules)
        chat = world.create("tom", "jerry", unique_id="u")
        now = world.now
    fourth(path)
    for _ in range(2):
        with SqliteRules.opened(path) as rules:
            world = World(rules, now)
            found = world.see(
                lambda tx: tx.conversations_by_unique_id("u", Kind.NORMAL, ["jerry", "tom"])
            )
            assert found == [chat]
            stat = "SELECT stat FROM sqlite_stat1 WHERE idx = 'conversations_by_members'"
            assert rules.connection.execute(stat).fetchall() == [("1000000 1000000 1 1",)]


def test_the_sixth_version(tmp_path):
    path = tmp_path / "data.db"
    with SqliteRules.opened(path) as rules:
        world = World(rules)
        world.create("tom")
    sixth(path)
    with SqliteRules.opened(path) as rules:
        row = World(rules).do(lambda tx: tx.put_installation({"deviceToken": "t"}))
    with SqliteRules.opened(path) as rules:
        world = World(rules)
        assert world.see(lambda tx: tx.installation(row.id)) == row
        assert world.see(lambda tx: tx.installation_count()) == 1


def test_the_seventh_version(tmp_path):
    path = tmp_path / "data.db"
    with SqliteRules.opened(path) as rules:
        world = World(rules)
        service = world.create(kind=Kind.SERVICE).id
        said = world.say(service, "bot")
        now = world.now
    seventh(path)
    for count in (1, 2):
        with SqliteRules.opened(path) as rules:
            world = World(rules, now)
            assert world.see(lambda tx: tx.history(service)) == [said]
            world.do(lambda tx: tx.append_to_lines(service, ["tom"], NewMessage("bot", "x")))
            assert len(world.see(lambda tx: tx.feed())) == 1 + count


def test_an_upgrade_that_fails_leaves_everything_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "data.db"
    with SqliteRules.opened(path) as rules:
        World(rules).create("jerry")
    downgraded(path)
    broken = {**schema.UPGRADES, 1: schema.UPGRADES[1] + "SELECT * FROM nowhere;"}
    monkeypatch.setattr(schema, "UPGRADES", broken)
    with pytest.raises(schema.StoreError), SqliteRules.opened(path):
        pass
    monkeypatch.undo()
    with SqliteRules.opened(path):
        pass
    assert names(path) == {"jerry"}
