"""Taking over what another server has stored."""

from __future__ import annotations

import attrs
import pytest
from msgspec import structs

from trio_realtime.server.store.interface import (
    ConversationRow,
    ImportedMessage,
    Kind,
    NewMessage,
    StoreError,
)

OLD = 500_000
ROW = ConversationRow(
    "64b0c0ffee00000000000001",
    Kind.NORMAL,
    "tom",
    created_at=OLD,
    updated_at=OLD + 5,
    name="Lunch",
    attributes={"attr": {"topic": "food"}},
    unique_id="mark",
    last_message_at=OLD + 3,
)


def bring(world, row=ROW, members=("tom", "jerry"), muted=()):
    return world.do(lambda tx: tx.import_conversation(row, list(members), list(muted)))


def say(world, *messages, cid=ROW.id):
    return world.do(lambda tx: tx.import_messages([(cid, one) for one in messages]))


def message(number, at=None, **more):
    at = OLD + number if at is None else at
    return ImportedMessage(f"m{number}", "tom", at, f"message {number}", **more)


def bodies(world, cid=ROW.id, **options):
    return [one.body for one in world.see(lambda tx: tx.history(cid, limit=1000, **options))]


def test_a_conversation_is_as_it_was(world):
    assert bring(world, muted=["jerry"]) == "new"
    assert world.see(lambda tx: tx.conversation(ROW.id)) == ROW
    assert world.see(lambda tx: tx.members(ROW.id)) == ["tom", "jerry"]
    assert world.see(lambda tx: tx.muted_by(ROW.id)) == ["jerry"]
    assert world.see(lambda tx: tx.joined_at(ROW.id, "tom")) == ROW.created_at
    members = ["jerry", "tom"]
    found = world.see(lambda tx: tx.conversations_by_unique_id("mark", Kind.NORMAL, members))
    assert found == [ROW]


def test_again_nothing_happens(world):
    bring(world)
    world.do(lambda tx: tx.add_members(ROW.id, ["spike"]))
    assert bring(world) == "known"
    assert world.see(lambda tx: tx.members(ROW.id)) == ["tom", "jerry", "spike"]


def test_a_newer_row_counts(world):
    bring(world)
    newer = structs.replace(ROW, updated_at=OLD + 9, name="Dinner", last_message_at=None)
    assert bring(world, newer, ["jerry", "ann"]) == "changed"
    found = world.see(lambda tx: tx.conversation(ROW.id))
    assert (found.name, found.last_message_at) == ("Dinner", ROW.last_message_at)
    assert world.see(lambda tx: tx.members(ROW.id)) == ["jerry", "ann"]


def test_what_lives_here_is_not_set_back(world):
    bring(world)
    world.do(lambda tx: tx.update_conversation(ROW.id, name="Ours"))
    assert bring(world, structs.replace(ROW, updated_at=OLD + 100)) == "known"
    assert world.see(lambda tx: tx.conversation(ROW.id)).name == "Ours"


def test_messages_keep_ids_and_times(world):
    bring(world)
    assert say(world, message(1), message(2), message(3)) == ["new"] * 3
    found = world.see(lambda tx: tx.history(ROW.id))
    assert [(one.id, one.timestamp, one.sender) for one in found] == [
        (f"m{number}", OLD + number, "tom") for number in (1, 2, 3)
    ]
    assert say(world, message(1), message(2)) == ["known"] * 2


def test_messages_of_one_time_and_sender(world):
    bring(world)
    say(world, *(message(number, at=OLD) for number in range(9)))
    everything = [f"message {number}" for number in range(9)]
    assert bodies(world) == everything
    for size in (1, 2, 4):
        found, start = [], None
        while True:
            page = world.see(lambda tx, s=size, at=start: tx.history(ROW.id, start=at, limit=s))
            if not page:
                break
            found = [one.body for one in page] + found
            start = (page[0].timestamp, page[0].id)
        assert found == everything


def test_another_body_counts_unless_it_was_edited_here(world):
    bring(world)
    say(world, message(1), message(2))
    edited = [attrs.evolve(message(number), body="edited there") for number in (1, 2)]
    world.do(
        lambda tx: tx.patch(
            ROW.id, "m2", body="edited here", recalled=False, mentions=(), mention_all=False,
            lctype=None,
        )
    )  # fmt: skip
    assert say(world, *edited) == ["changed", "known"]
    assert bodies(world) == ["edited there", "edited here"]


def test_of_two_with_one_id_the_later_counts(world):
    bring(world)
    later = attrs.evolve(message(1), body="later")
    assert say(world, message(1), message(2), later) == ["new", "new", "changed"]
    assert bodies(world) == ["later", "message 2"]
    # Once more, the earlier one does not come back, not even for a moment.
    assert say(world, message(1), message(2), later) == ["known", "known", "known"]
    latest = attrs.evolve(message(1), body="latest")
    assert say(world, message(1), later, latest) == ["known", "known", "changed"]
    assert bodies(world) == ["latest", "message 2"]


def test_nothing_is_unread_afterwards(world):
    bring(world)
    say(world, message(1), message(2, at=world.now - 1))
    assert world.see(lambda tx: tx.unread_of("jerry")) == []
    assert world.see(lambda tx: tx.awaiting("jerry", temporary=True, limit=5)) == []
    world.now += 1
    world.say(ROW.id, "tom")
    (unread,) = world.see(lambda tx: tx.unread_of("jerry"))
    assert unread.count == 1


def test_what_is_said_next_is_later(world):
    bring(world)
    say(world, message(1, at=world.now + 1000))
    new = world.say(ROW.id, "tom", "now")
    assert new.timestamp == world.now + 1001
    assert world.see(lambda tx: tx.conversation(ROW.id)).last_message_at == new.timestamp


def test_older_messages_do_not_set_the_clock_back(world):
    bring(world)
    said = world.say(ROW.id, "tom", "ours")
    say(world, message(1))
    assert bodies(world) == ["message 1", "ours"]
    assert world.see(lambda tx: tx.conversation(ROW.id)).last_message_at == said.timestamp


def test_a_message_needs_its_conversation(world):
    with pytest.raises(StoreError):
        say(world, message(1))


def test_roles_keep_their_ids(world):
    bring(world)
    role = lambda tx: tx.import_role(ROW.id, "jerry", "Manager", "5" * 24)  # noqa: E731
    assert [world.do(role), world.do(role)] == ["new", "known"]
    (info,) = world.see(lambda tx: tx.member_infos(ROW.id))
    assert (info.id, info.client_id, info.role) == ("5" * 24, "jerry", "Manager")
    assert world.do(lambda tx: tx.import_role(ROW.id, "jerry", "Member", "5" * 24)) == "changed"


def test_subscribers(world):
    news = structs.replace(ROW, id="news", kind=Kind.SERVICE, unique_id=None, last_message_at=None)
    bring(world, news, [])
    for outcome in ("new", "known"):
        assert world.do(lambda tx: tx.import_subscriber("news", "ann", OLD)) == outcome
    world.do(lambda tx: tx.import_subscriber("news", "bob", OLD + 1))
    assert world.see(lambda tx: tx.subscribers("news")) == [("ann", OLD), ("bob", OLD + 1)]
    world.now += 1
    world.do(lambda tx: tx.append("news", NewMessage("shop", "offer")))
    assert world.see(lambda tx: tx.unread("news", "ann")).count == 1
    bring(world)
    with pytest.raises(StoreError):
        world.do(lambda tx: tx.import_subscriber(ROW.id, "ann", OLD))


def test_apps_do_not_meet(world):
    bring(world)
    assert world.see(lambda tx: tx.conversation(ROW.id), app="other") is None
    assert world.do(lambda tx: tx.import_conversation(ROW, ["x"], []), app="other") == "new"
    assert world.see(lambda tx: tx.members(ROW.id)) == ["tom", "jerry"]
