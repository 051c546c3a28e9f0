"""What a service says to one client alone, as the store keeps it."""

from __future__ import annotations

import pytest

from trio_realtime.server.store.ids import copy_id
from trio_realtime.server.store.interface import ImportedMessage, Kind, NewMessage, Query


@pytest.fixture
def service(world):
    return world.create(kind=Kind.SERVICE).id


def tell(world, cid, *client_ids, body="psst"):
    """The copy of the first."""
    return world.do(lambda tx: tx.append_to_lines(cid, client_ids, NewMessage("bot", body)))[0]


def line(world, cid, client_id):
    return world.see(lambda tx: tx.lines(client_id, [cid])).get(cid)


def test_each_has_it_in_its_line(world, service):
    new = NewMessage("bot", "psst", id="m")
    copies = world.do(lambda tx: tx.append_to_lines(service, ["tom", "jerry", "tom"], new))
    assert [copy.receiver for copy in copies] == ["tom", "jerry"]
    assert [copy.id for copy in copies] == ["m", copy_id("m", "jerry")]
    assert len({copy.timestamp for copy in copies}) == 1
    for copy in copies:
        where = line(world, service, copy.receiver)
        kept = world.see(lambda tx, where=where, copy=copy: tx.message(where, copy.id))
        assert kept == copy
        assert (kept.conversation_id, kept.body, kept.kind) == (service, "psst", Kind.SERVICE)
    # Of each copy there is one, wherever all messages are told.
    assert sorted(row.id for row in world.see(lambda tx: tx.feed())) == sorted(
        copy.id for copy in copies
    )
    assert line(world, service, "spike") is None
    assert world.see(lambda tx: tx.lines("tom", [service]), "another app") == {}
    assert world.see(lambda tx: tx.history(service)) == []
    assert world.see(lambda tx: tx.message(service, "m")) is None


def test_times_of_a_service_and_its_lines_ascend_together(world, service):
    times = []
    for _ in range(3):
        times.append(tell(world, service, "tom").timestamp)
        times.append(world.say(service, "bot").timestamp)
        times.append(tell(world, service, "jerry").timestamp)
    assert times == sorted(set(times))


def test_a_line_is_told_as_its_service(world, service):
    said = tell(world, service, "tom")
    (unread,) = world.see(lambda tx: tx.unread_of("tom"))
    assert (unread.count, unread.conversation.told_as, unread.newest.id) == (1, service, said.id)
    (awaited,) = world.see(lambda tx: tx.awaiting("tom", temporary=True, limit=9))
    assert awaited.conversation.told_as == service
    (shown,) = world.see(lambda tx: tx.feed())
    assert (shown.conversation_id, shown.receiver) == (service, "tom")
    tom = line(world, service, "tom")
    world.do(
        lambda tx: tx.patch(
            tom, said.id, body="x", recalled=False, mentions=(), mention_all=False, lctype=None
        )
    )
    (patch,) = world.see(lambda tx: tx.patches_for("tom", 0))
    assert patch.message.conversation_id == service
    assert world.see(lambda tx: tx.unread_of("jerry")) == []


def test_a_line_is_no_conversation_that_anybody_finds(world, service):
    tell(world, service, "tom")
    assert [row.id for row in world.see(lambda tx: tx.find(Query()))] == [service]
    assert world.see(lambda tx: tx.subscriptions("tom")) == []
    assert world.see(lambda tx: tx.member_count(service)) == 0


def test_lines_end_with_their_service(world, service):
    tell(world, service, "tom")
    world.do(lambda tx: tx.delete_conversation(service))
    assert world.see(lambda tx: tx.feed()) == []
    assert line(world, service, "tom") is None


def test_what_is_imported_into_a_line_is_read(world, service):
    tom = world.do(lambda tx: tx.open_line(service, "tom"))
    assert world.do(lambda tx: tx.open_line(service, "tom")) == tom
    old = ImportedMessage("m", "bot", world.now - 5, "old", address="192.0.2.1")
    assert world.do(lambda tx: tx.import_messages([(tom, old)])) == ["new"]
    assert world.see(lambda tx: tx.unread_of("tom")) == []
    assert world.see(lambda tx: tx.message(tom, "m")).address == "192.0.2.1"
    tell(world, service, "tom")
    assert [row.count for row in world.see(lambda tx: tx.unread_of("tom"))] == [1]


def test_from_where_it_was_sent(world, chat):
    said = world.say(chat, "tom", address="2001:db8::1")
    assert said.address == "2001:db8::1"
    assert world.see(lambda tx: tx.message(chat, said.id)) == said


def test_the_liveliest_lines_are_awaited_first(world):
    first, second = (world.create(kind=Kind.SERVICE).id for _ in range(2))
    for cid in (first, second, first):
        world.now += 10
        tell(world, cid, "tom")
    (awaited,) = world.see(lambda tx: tx.awaiting("tom", temporary=True, limit=1))
    assert awaited.conversation.told_as == first
