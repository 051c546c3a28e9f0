"""Attacks on a server, for ``benchmarks/bystander.py``.

Each prepares what it needs, says "ready", and goes on until it is killed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from . import strangers, users

__all__ = ["ATTACKS"]

ATTACKS: dict[str, Callable[[int], Awaitable[None]]] = {
    "garbage, a hundred connections a second": strangers.garbage,
    "slow-loris, 500 connections": strangers.slow_loris,
    "1,000 connections that log in and idle": strangers.idle,
    "pings before login, one connection": partial(
        strangers.barrage, of=strangers.PING, connections=1
    ),
    "pings before login, ten connections": partial(
        strangers.barrage, of=strangers.PING, connections=10
    ),
    "echoes before login, one connection": partial(
        strangers.barrage, of=strangers.ECHO, connections=1
    ),
    "echoes before login, ten connections": partial(
        strangers.barrage, of=strangers.ECHO, connections=10
    ),
    "chunks of one letter, ten requests": strangers.tiny_chunks,
    "fragments of one letter, ten connections": strangers.tiny_fragments,
    "nested JSON before login, ten connections": strangers.nested_json,
    "large bodies that nest, ten connections": strangers.large_bodies,
    "odd request targets": strangers.odd_targets,
    "failed logins in the bystander's name": strangers.failed_logins,
    "regex queries over 60 own conversations": partial(users.queries, own=60, regex=True),
    "regex queries over 1,500": partial(users.queries, own=1500, regex=True),
    "plain queries over 1,500": partial(users.queries, own=1500, regex=False),
    "messages of 30 KB and a victim's logins": users.large_messages,
    "large pages for twelve silent readers": users.silent_readers,
    "acknowledging 15,000 receipts": users.range_acks,
    "logins with 10,000 own conversations": partial(
        users.logins, subprotocol="lc.protobuf2.3", silent=False
    ),
    "logins in mode 1, 10,000 silent ones": partial(
        users.logins, subprotocol="lc.protobuf2.1", silent=True
    ),
    "refresh without end": users.refresh,
    "500 clients of a connection that is lost": partial(users.leaving, wills=False),
    "the same, 300 with a will": partial(users.leaving, wills=True),
    "creating with 490 members": partial(users.many_ids, of=["start"], connections=1),
    "adding and removing 490": partial(users.many_ids, of=["add", "remove"], connections=1),
    "silencing 490": partial(users.many_ids, of=["add", "silence", "check"], connections=1),
    "blocking and unblocking 900": partial(users.many_ids, of=["block", "unblock"], connections=1),
    "queries that name 800": partial(users.many_ids, of=["query"], connections=1),
    "reading 170 conversations": partial(users.many_ids, of=["read"], connections=1),
    "all of these": partial(users.many_ids, of=users.NAMING, connections=1),
    "all of these, ten connections": partial(users.many_ids, of=users.NAMING, connections=10),
}
