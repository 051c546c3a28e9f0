"""The tables, and opening a database file safely.

Apps, clients and conversations have integer ids inside; names appear once. A message is
found by (conversation, timestamp), which is unique because the store assigns timestamps.
"""

# ruff: noqa: S608 - SQL text is joined from constants of this program only.

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from trio_realtime.server.store.interface import StoreError
from trio_realtime.server.store.patterns import REGEX_STEPS

from .functions import add_functions

APPLICATION_ID = 0x54525454
"""Marks a file as ours (``PRAGMA application_id``)."""

VERSION = 8
"""The version of the tables (``PRAGMA user_version``)."""

_OLDEST_SQLITE = (3, 35, 0)

TOKENS = """
CREATE TABLE tokens (
    id INTEGER PRIMARY KEY,
    app INTEGER NOT NULL REFERENCES apps,
    digest BLOB NOT NULL,
    -- The name: of who logs in and does nothing else, nothing stays when the token is forgotten.
    client TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    tag TEXT,
    device_id TEXT,
    UNIQUE (app, digest)
);
CREATE INDEX tokens_by_client ON tokens (app, client, id);
CREATE INDEX tokens_by_expiry ON tokens (expires_at);
"""

NOTIFICATIONS = """
CREATE TABLE notifications (
    client INTEGER NOT NULL REFERENCES clients,
    timestamp INTEGER NOT NULL,
    -- Counts what the client was ever told.
    position INTEGER NOT NULL,
    notice INTEGER NOT NULL REFERENCES notices,
    PRIMARY KEY (client, timestamp)
) WITHOUT ROWID;
CREATE INDEX notifications_by_notice ON notifications (notice);
"""

CLOCK = """
CREATE TABLE IF NOT EXISTS clock (
    id INTEGER PRIMARY KEY,
    -- The latest time given out, within a second.
    latest INTEGER NOT NULL
);
-- When the clock was set back: after "until" it was "since" again.
CREATE TABLE IF NOT EXISTS clock_steps (
    id INTEGER PRIMARY KEY,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL
);
"""

LINES = """
CREATE UNIQUE INDEX conversations_by_service ON conversations (app, service, creator)
    WHERE service IS NOT NULL;
"""

INSTALLATIONS = """
CREATE TABLE installations (
    id INTEGER PRIMARY KEY,
    app INTEGER NOT NULL REFERENCES apps,
    object_id TEXT NOT NULL,
    device_token TEXT,
    installation_id TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    -- Everything else that is said of it, and those two again.
    attributes TEXT NOT NULL,
    UNIQUE (app, object_id)
);
CREATE INDEX installations_by_token ON installations (app, device_token)
    WHERE device_token IS NOT NULL;
CREATE INDEX installations_by_device ON installations (app, installation_id)
    WHERE installation_id IS NOT NULL;
CREATE INDEX installations_by_time ON installations (app, updated_at);
"""

TABLES = f"""
{CLOCK.strip()}

CREATE TABLE apps (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    -- How many there are, which is asked before each new one.
    installations INTEGER NOT NULL DEFAULT 0,
    -- The newest patch time given out.
    patch_clock INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE clients (
    id INTEGER PRIMARY KEY,
    app INTEGER NOT NULL REFERENCES apps,
    name TEXT NOT NULL,
    UNIQUE (app, name)
);

CREATE TABLE conversations (
    id INTEGER PRIMARY KEY,
    app INTEGER NOT NULL REFERENCES apps,
    cid TEXT NOT NULL,
    kind INTEGER NOT NULL,
    creator TEXT NOT NULL,
    name TEXT,
    attributes TEXT NOT NULL,
    unique_id TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    last_message_at INTEGER,
    expires_at INTEGER,
    -- The newest message timestamp given out, stored message or not.
    clock INTEGER NOT NULL DEFAULT 0,
    -- Of what a service says to one client alone: the service; the client is its creator.
    service TEXT,
    UNIQUE (app, cid)
);
CREATE INDEX conversations_by_message ON conversations (app, last_message_at);
CREATE INDEX conversations_by_creator ON conversations (app, creator);
-- With the creator, since other members may have the same mark.
CREATE INDEX conversations_by_members ON conversations (app, unique_id, creator)
    WHERE unique_id IS NOT NULL;
CREATE INDEX conversations_by_expiry ON conversations (expires_at)
    WHERE expires_at IS NOT NULL;

{LINES.strip()}

CREATE TABLE members (
    conversation INTEGER NOT NULL REFERENCES conversations ON DELETE CASCADE,
    -- The order of joining.
    position INTEGER NOT NULL,
    client INTEGER NOT NULL REFERENCES clients,
    joined_at INTEGER NOT NULL,
    -- The conversation's clock at that moment: only later messages can be unread.
    floor INTEGER NOT NULL,
    acked INTEGER,
    read INTEGER,
    -- When the unread state last changed by anything but a new message.
    reckoned_at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (conversation, position),
    UNIQUE (conversation, client)
) WITHOUT ROWID;
CREATE INDEX members_by_client ON members (client, conversation);

CREATE TABLE muted (
    conversation INTEGER NOT NULL REFERENCES conversations ON DELETE CASCADE,
    client INTEGER NOT NULL REFERENCES clients,
    PRIMARY KEY (conversation, client)
) WITHOUT ROWID;
CREATE INDEX muted_by_client ON muted (client, conversation);

CREATE TABLE roles (
    conversation INTEGER NOT NULL REFERENCES conversations ON DELETE CASCADE,
    client INTEGER NOT NULL REFERENCES clients,
    id TEXT NOT NULL,
    role TEXT NOT NULL,
    PRIMARY KEY (conversation, client)
) WITHOUT ROWID;

CREATE TABLE listed (
    conversation INTEGER NOT NULL REFERENCES conversations ON DELETE CASCADE,
    listing INTEGER NOT NULL,
    client INTEGER NOT NULL REFERENCES clients,
    expires_at INTEGER,
    PRIMARY KEY (conversation, listing, client)
) WITHOUT ROWID;

CREATE TABLE messages (
    rowid INTEGER PRIMARY KEY,
    conversation INTEGER NOT NULL REFERENCES conversations ON DELETE CASCADE,
    timestamp INTEGER NOT NULL,
    id TEXT NOT NULL,
    sender INTEGER NOT NULL REFERENCES clients,
    dt TEXT,
    -- Text or bytes, kept apart by the storage class of the value.
    body BLOB NOT NULL,
    mentions TEXT,
    mention_all INTEGER NOT NULL,
    receipt INTEGER NOT NULL,
    patched_at INTEGER,
    patch_code INTEGER,
    patch_reason TEXT,
    recalled INTEGER NOT NULL DEFAULT 0,
    ack_at INTEGER,
    read_at INTEGER,
    push_data TEXT,
    lctype INTEGER,
    -- From where it was sent.
    address TEXT,
    UNIQUE (conversation, id)
);
-- With the sender, so that unread messages are counted in the index alone.
CREATE INDEX messages_by_time ON messages (conversation, timestamp, sender);
-- Across conversations, for the operator.
CREATE INDEX messages_by_moment ON messages (timestamp);
CREATE UNIQUE INDEX messages_once ON messages (conversation, sender, dt) WHERE dt IS NOT NULL;
CREATE INDEX messages_by_type ON messages (conversation, lctype, timestamp)
    WHERE lctype IS NOT NULL;
CREATE INDEX messages_with_receipt ON messages (conversation, timestamp) WHERE receipt;
CREATE INDEX messages_by_patch ON messages (conversation, patched_at)
    WHERE patched_at IS NOT NULL;

-- Who received which of the messages that asked for a receipt.
CREATE TABLE deliveries (
    message INTEGER NOT NULL REFERENCES messages (rowid) ON DELETE CASCADE,
    client INTEGER NOT NULL REFERENCES clients,
    PRIMARY KEY (message, client)
) WITHOUT ROWID;

{TOKENS.strip()}

-- One notification is shared by all who receive it.
CREATE TABLE notices (
    id INTEGER PRIMARY KEY,
    item TEXT NOT NULL
);
{NOTIFICATIONS.strip()}

CREATE TABLE documents (
    app INTEGER NOT NULL REFERENCES apps,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (app, kind, key)
) WITHOUT ROWID;

{INSTALLATIONS.strip()}
"""

UPGRADES = {
    # Tokens named rows of clients, which stayed for ever.
    1: f"""
ALTER TABLE tokens RENAME TO tokens_1;
DROP INDEX tokens_by_client;
DROP INDEX tokens_by_expiry;
{TOKENS.strip()}
INSERT INTO tokens SELECT t.id, t.app, t.digest, k.name, t.expires_at, t.tag, t.device_id
    FROM tokens_1 t JOIN clients k ON k.id = t.client;
DROP TABLE tokens_1;
DELETE FROM documents WHERE kind = 'session-slot';
DELETE FROM clients WHERE id NOT IN (
    SELECT client FROM members UNION SELECT client FROM muted UNION SELECT client FROM roles
    UNION SELECT client FROM listed UNION SELECT sender FROM messages
    UNION SELECT client FROM deliveries UNION SELECT client FROM notifications);
""",
    # What is imported may have two messages of one sender at one time.
    2: """
CREATE INDEX messages_by_moment ON messages (timestamp);
DROP INDEX messages_by_time;
CREATE INDEX messages_by_time ON messages (conversation, timestamp, sender);
""",
    # Once for each client is what a notification is written for hundreds of clients.
    3: f"""
ALTER TABLE notifications RENAME TO notifications_3;
DROP INDEX notifications_by_time;
DROP INDEX notifications_by_notice;
{NOTIFICATIONS.strip()}
INSERT INTO notifications SELECT client, timestamp, position, notice FROM notifications_3;
DROP TABLE notifications_3;
""",
    # However many conversations of others have the same mark, they are not looked at.
    4: """
DROP INDEX conversations_by_members;
CREATE INDEX conversations_by_members ON conversations (app, unique_id, creator)
    WHERE unique_id IS NOT NULL;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('conversations', 'conversations_by_members', '1000000 1000000 1 1');
ANALYZE sqlite_master;
""",
    # It was not known when the clock was set back.
    5: CLOCK,
    # There were no installations.
    6: f"""
ALTER TABLE apps ADD COLUMN installations INTEGER NOT NULL DEFAULT 0;
{INSTALLATIONS.strip()}
""",
    # Services spoke to all their subscribers only, and nobody noted from where.
    7: f"""
ALTER TABLE conversations ADD COLUMN service TEXT;
{LINES.strip()}
ALTER TABLE messages ADD COLUMN address TEXT;
""",
}
"""What makes of the tables of a version those of the next one."""

STATISTICS = """
ANALYZE;
DELETE FROM sqlite_stat1;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('conversations', 'sqlite_autoindex_conversations_1', '1000000 1000000 1'),
    ('conversations', 'conversations_by_message', '1000000 1000000 1'),
    ('conversations', 'conversations_by_creator', '1000000 1000000 100'),
    ('conversations', 'conversations_by_members', '1000000 1000000 1 1'),
    ('members', 'members_by_client', '10000000 100 1'),
    ('muted', 'muted_by_client', '1000000 100 1');
ANALYZE sqlite_master;
"""
"""What the query planner should believe, whatever the data: that an app has very many
conversations and a client few. Otherwise it looks for a client's own conversations by walking
all of them, newest first.
"""


def connect(
    path: Path | None, *, read_only: bool = False, regex_steps: int = REGEX_STEPS
) -> sqlite3.Connection:
    """Open one connection, creating the tables in a new file. Raises `StoreError`."""
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old; 3.35 or later is needed")
    name = ":memory:" if path is None else str(path)
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(
            name,
            timeout=5.0,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )
        _prepare(connection, name)
        add_functions(connection, regex_steps)
        if read_only:
            connection.execute("PRAGMA query_only = ON")
    except sqlite3.DatabaseError as exc:
        if connection is not None:
            connection.close()
        raise StoreError(f"cannot open the database {name}: {exc}") from exc
    except StoreError:
        assert connection is not None
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, name: str) -> None:
    ours = _pragma(connection, "application_id")
    version = _pragma(connection, "user_version")
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    new = not tables and not ours and not version
    if not new and ours != APPLICATION_ID:
        raise StoreError(f"{name} is a database of another program")
    known = version == VERSION or (version < VERSION and version in UPGRADES)
    if not new and not known:
        raise StoreError(
            f"{name} has tables of version {version}; this program knows version {VERSION}"
        )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    # Before foreign keys are looked after: a table that goes is none of their business.
    for older in range(version, VERSION) if not new else ():
        connection.executescript(
            f"BEGIN IMMEDIATE; {UPGRADES[older]} PRAGMA user_version = {older + 1}; COMMIT;"
        )
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cache_size = -32768")
    if new:
        connection.executescript(
            f"BEGIN IMMEDIATE; {TABLES} {STATISTICS}"
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT;"
        )


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]
