"""What the writer does for one command does not grow with what was stored before."""

from __future__ import annotations

import pytest

from tests.server.store.sqlite.support import SqliteRules
from tests.server.store.world import World
from trio_realtime.server.rules.members import add_clients, remove_clients
from trio_realtime.server.rules.query import Facts
from trio_realtime.server.rules.start import same_members
from trio_realtime.server.store.interface import Kind, NewMessage, TokenRow

LATER = 10**15
SMALL, LARGE = 1500, 6000
"""Both larger than any page."""


def steps_of(world, rule):
    """How many hundreds of instructions SQLite needs for a rule."""
    steps = 0

    def count():
        nonlocal steps
        steps += 1

    world.rules.connection.set_progress_handler(count, 100)
    world.do(rule)
    world.rules.connection.set_progress_handler(None, 0)
    return steps


def fill_with_receipts(world, size):
    chat = world.create("tom", "jerry").id
    group = world.create("tom", "jerry", "ann").id
    for cid in (chat, group):
        world.do(
            lambda tx, cid=cid: [
                tx.append(cid, NewMessage("tom", "x", receipt=True)) for _ in range(size)
            ]
        )
    return [
        ("acknowledge", lambda tx: tx.acknowledge(chat, "jerry", first=0, last=LATER)),
        ("again", lambda tx: tx.acknowledge(chat, "jerry", first=0, last=LATER)),
        ("in a group", lambda tx: tx.acknowledge(group, "jerry", first=0, last=LATER)),
        ("again there", lambda tx: tx.acknowledge(group, "jerry", first=0, last=LATER)),
        ("own", lambda tx: tx.acknowledge(group, "tom", first=0, last=LATER)),
        ("read", lambda tx: tx.mark_read(chat, "jerry", LATER)),
        ("read in a group", lambda tx: tx.mark_read(group, "jerry", LATER)),
        ("unread", lambda tx: tx.unread(chat, "jerry")),
        ("own messages", lambda tx: tx.unread(group, "tom")),
        ("login", lambda tx: tx.unread_of("tom")),
        ("login of a reader", lambda tx: tx.unread_of("ann")),
        ("login again", lambda tx: tx.unread_of("tom", since=1)),
        ("never read", lambda tx: tx.unread(group, "ann")),
    ]


def fill_with_tokens(world, size):
    def put(tx, token):
        tx.put_token(token, TokenRow("tom", world.now + 100))

    world.do(lambda tx: [put(tx, str(n)) for n in range(size)])
    return [
        ("another", lambda tx: put(tx, "another")),
        ("recent login", lambda tx: tx.recent_login("tom", world.now + 101)),
        ("forget", lambda tx: tx.forget_tokens("tom")),
    ]


def fill_with_marks(world, size):
    """Conversations of strangers whose members have the same mark as some others."""
    for number in range(size):
        world.create(f"stranger {number}", unique_id="u")
    mine = world.create("tom", "jerry", unique_id="u")

    def find(tx):
        assert same_members(tx, "u", Kind.NORMAL, ["jerry", "tom"]) == mine

    def find_none(tx):
        assert same_members(tx, "u", Kind.NORMAL, ["ann", "tom"]) is None

    return [("find", find), ("find none", find_none)]


def fill_with_subscribers(world, size):
    """A service and a chat room with many who do not want to be disturbed."""
    service = world.create("first", kind=Kind.SERVICE)
    room = world.create(kind=Kind.ROOM)
    names = [f"fan {number}" for number in range(size)]
    world.do(lambda tx: tx.add_members(service.id, names))
    world.do(
        lambda tx: [tx.set_muted(cid, n, True) for cid in (service.id, room.id) for n in names]
    )

    def shown(tx, cid, viewer):
        return Facts.about(tx, [tx.conversation(cid)], viewer).json(tx.conversation(cid))

    def show_service(tx):
        assert shown(tx, service.id, names[-1])["muted"]
        assert not shown(tx, service.id, "eve")["muted"]

    def show_room(tx):
        seen = shown(tx, room.id, names[-1])["mu"]
        assert seen == [*names[:500], names[-1]]
        assert shown(tx, room.id, names[0])["mu"] == names[:500]

    return [
        ("subscribe", lambda tx: add_clients(tx, service, ["eve"], by="eve")),
        ("again", lambda tx: add_clients(tx, service, ["eve"], by="eve")),
        ("unsubscribe", lambda tx: remove_clients(tx, service, ["eve"], by="eve")),
        ("show service", show_service),
        ("show room", show_room),
    ]


@pytest.mark.parametrize(
    "fill", [fill_with_receipts, fill_with_tokens, fill_with_marks, fill_with_subscribers]
)
def test_work_does_not_grow(fill):
    taken = []
    for size in (SMALL, LARGE):
        with SqliteRules.opened(None) as rules:
            world = World(rules)
            taken.append({name: steps_of(world, rule) for name, rule in fill(world, size)})
    small, large = taken
    for name, steps in large.items():
        assert steps <= small[name] * 1.5 + 5, (name, small, large)


def test_the_newest_tokens_are_kept(world):
    def put(token):
        world.do(lambda tx: tx.put_token(token, TokenRow("tom", world.now + 100)))

    world.do(lambda tx: tx.put_token("of another", TokenRow("jerry", world.now + 100)))
    for n in range(120):
        put(str(n))
    kept = [n for n in range(120) if world.see(lambda tx, n=n: tx.token(str(n)))]
    assert kept == list(range(20, 120))
    assert world.see(lambda tx: tx.token("of another"))
