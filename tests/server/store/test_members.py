from __future__ import annotations

import pytest

from trio_realtime.server.store.interface import Kind, Listing, NewMessage, StoreError


def test_members_keep_the_order_of_joining(world, chat):
    world.now += 7
    assert world.do(lambda tx: tx.add_members(chat, ["zoe", "tom", "ann", "zoe"])) == [
        "zoe",
        "ann",
    ]
    assert world.see(lambda tx: tx.members(chat)) == ["tom", "jerry", "zoe", "ann"]
    assert world.see(lambda tx: tx.member_count(chat)) == 4
    assert world.see(lambda tx: tx.conversation(chat)).updated_at == world.now
    assert world.see(lambda tx: tx.joined_at(chat, "zoe")) == world.now
    assert world.see(lambda tx: tx.joined_at(chat, "tom")) == world.now - 7
    assert world.see(lambda tx: tx.joined_at(chat, "eve")) is None


def test_the_order_of_joining_is_that_of_each_conversation(world):
    world.create("ann", "tom", "jerry")
    chat = world.create("jerry", "tom").id
    world.do(lambda tx: tx.add_members(chat, ["zoe", "ann"]))
    world.do(lambda tx: tx.remove_members(chat, ["jerry"]))
    world.do(lambda tx: tx.add_members(chat, ["jerry"]))
    order = ["tom", "zoe", "ann", "jerry"]
    assert world.see(lambda tx: tx.members(chat)) == order
    assert world.see(lambda tx: tx.members_of([chat])) == {chat: order}
    assert [mark.client_id for mark in world.see(lambda tx: tx.marks(chat))] == order


def test_removed_members_lose_their_role(world, chat):
    world.do(lambda tx: tx.set_role(chat, "jerry", "Manager"))
    world.now += 7
    assert world.do(lambda tx: tx.remove_members(chat, ["eve", "jerry", "jerry"])) == ["jerry"]
    assert world.see(lambda tx: tx.conversation(chat)).updated_at == world.now
    assert not world.see(lambda tx: tx.is_member(chat, "jerry"))
    assert world.see(lambda tx: tx.is_member(chat, "tom"))
    assert world.see(lambda tx: tx.role(chat, "jerry")) is None
    world.do(lambda tx: tx.add_members(chat, ["jerry"]))
    assert world.see(lambda tx: tx.members(chat)) == ["tom", "jerry"]
    assert world.see(lambda tx: tx.role(chat, "jerry")) is None


def test_membership_of_what_does_not_exist_cannot_change(world):
    for rule in (
        lambda tx: tx.add_members("nowhere", ["tom"]),
        lambda tx: tx.remove_members("nowhere", ["tom"]),
        lambda tx: tx.set_muted("nowhere", "tom", True),
        lambda tx: tx.set_role("nowhere", "tom", "Manager"),
        lambda tx: tx.add_listed(Listing.BLOCKED, "nowhere", ["tom"]),
    ):
        with pytest.raises(StoreError, match="no conversation"):
            world.do(rule)


def test_do_not_disturb(world, chat):
    for client, muted in (("jerry", True), ("jerry", True), ("tom", True), ("tom", False)):
        world.do(lambda tx, c=client, m=muted: tx.set_muted(chat, c, m))
    assert world.see(lambda tx: tx.muted_by(chat)) == ["jerry"]
    world.do(lambda tx: tx.set_muted(chat, "never seen", False))
    assert world.see(lambda tx: tx.muted_by(chat)) == ["jerry"]


def test_roles_keep_their_row(world, chat):
    assert world.see(lambda tx: tx.role(chat, "jerry")) is None
    first = world.do(lambda tx: tx.set_role(chat, "jerry", "Manager"))
    again = world.do(lambda tx: tx.set_role(chat, "jerry", "Member"))
    assert first.id == again.id
    assert world.see(lambda tx: tx.role(chat, "jerry")) == "Member"
    tom = world.do(lambda tx: tx.set_role(chat, "tom", "Manager"))
    assert sorted(world.see(lambda tx: tx.member_infos(chat)), key=repr) == sorted(
        [again, tom], key=repr
    )
    pages = [world.see(lambda tx, n=n: tx.member_infos(chat, limit=1, skip=n)) for n in range(3)]
    assert [len(page) for page in pages] == [1, 1, 0]
    assert pages[0] != pages[1]
    assert world.see(lambda tx: tx.member_infos("nowhere")) == []


def test_lists_are_paged_to_the_end(world, chat):
    names = [f"c{n}" for n in range(7)]
    world.do(lambda tx: tx.add_listed(Listing.BLOCKED, chat, names))
    world.do(lambda tx: tx.add_listed(Listing.SILENCED, chat, ["other"]))
    seen, cursor, sizes = [], None, []
    while True:
        page, cursor = world.see(
            lambda tx, c=cursor: tx.listed(Listing.BLOCKED, chat, limit=3, after=c)
        )
        seen += page
        sizes.append(len(page))
        if cursor is None:
            break
    assert sorted(seen) == names
    assert sizes == [3, 3, 1]
    whole = world.see(lambda tx: tx.listed(Listing.BLOCKED, chat, limit=7))
    assert (sorted(whole[0]), whole[1]) == (names, None)
    assert world.see(lambda tx: tx.listed_count(Listing.BLOCKED, chat)) == 7
    assert world.see(lambda tx: tx.listed(Listing.BLOCKED, chat, limit=0)) == ([], None)


@pytest.mark.parametrize("cursor", ["x", "-1", "²", "9" * 40, "1; DROP TABLE listed"])
def test_a_forged_cursor_ends_the_list(world, chat, cursor):
    world.do(lambda tx: tx.add_listed(Listing.BLOCKED, chat, ["eve"]))
    assert world.see(lambda tx: tx.listed(Listing.BLOCKED, chat, limit=3, after=cursor)) == (
        [],
        None,
    )


def test_entries_of_a_list_can_be_removed(world, chat):
    world.do(lambda tx: tx.add_listed(Listing.SILENCED, chat, ["eve", "jerry"]))
    ask = ["tom", "eve", "jerry", "never seen"]
    assert world.see(lambda tx: tx.which_listed(Listing.SILENCED, chat, ask)) == {
        "eve",
        "jerry",
    }
    assert world.see(lambda tx: tx.which_listed(Listing.BLOCKED, chat, ask)) == set()
    world.do(lambda tx: tx.remove_listed(Listing.SILENCED, chat, ["eve", "never seen"]))
    assert world.see(lambda tx: tx.which_listed(Listing.SILENCED, chat, ask)) == {"jerry"}
    assert not world.see(lambda tx: tx.temporarily_silenced(chat, "jerry"))
    world.do(lambda tx: tx.add_listed(Listing.BLOCKED, chat, ["jerry"]))
    world.do(lambda tx: tx.remove_listed(Listing.BLOCKED, chat, ["jerry"]))
    assert world.see(lambda tx: tx.which_listed(Listing.SILENCED, chat, ask)) == {"jerry"}


def test_a_temporary_entry_ends(world, chat):
    def silence(client, **more):
        world.do(lambda tx: tx.add_listed(Listing.SILENCED, chat, [client], **more))

    def state(client):
        return world.see(
            lambda tx: (
                bool(tx.which_listed(Listing.SILENCED, chat, [client])),
                tx.temporarily_silenced(chat, client),
                tx.listed_count(Listing.SILENCED, chat),
            )
        )

    silence("eve", expires_at=world.now + 10)
    assert state("eve") == (True, True, 0)
    assert world.see(lambda tx: tx.listed(Listing.SILENCED, chat, limit=9)) == ([], None)
    silence("eve", expires_at=world.now + 20)
    world.now += 15
    assert state("eve") == (True, True, 0)
    world.now += 5
    assert state("eve") == (False, False, 0)
    silence("eve")
    silence("eve", expires_at=world.now + 10)
    assert state("eve") == (True, False, 1)
    world.now += 10
    assert state("eve") == (True, False, 1)


def test_several_conversations_in_one_question(world, chat):
    other, empty = world.create("ann", "tom").id, world.create().id
    cids = [other, chat, empty, "nowhere", chat]
    assert world.see(lambda tx: tx.members_of(cids)) == {
        chat: ["tom", "jerry"],
        other: ["ann", "tom"],
    }
    assert set(world.see(lambda tx: tx.conversations(cids))) == {other, chat, empty}
    joined = world.see(lambda tx: tx.joined("jerry", cids))
    assert joined == {chat: world.see(lambda tx: tx.joined_at(chat, "jerry"))}
    assert world.see(lambda tx: tx.joined("nobody", cids)) == {}
    world.do(lambda tx: tx.set_muted(chat, "jerry", True))
    assert world.see(lambda tx: tx.muted_in(cids, limit=9)) == {chat: ["jerry"]}
    assert world.see(lambda tx: tx.muted_in(cids, limit=0)) == {}
    assert world.see(lambda tx: tx.muting("jerry", cids)) == {chat}
    assert world.see(lambda tx: tx.muting("tom", cids)) == set()
    world.do(lambda tx: tx.add_listed(Listing.BLOCKED, other, ["eve"]))
    world.do(lambda tx: tx.add_listed(Listing.SILENCED, chat, ["eve"]))
    world.do(lambda tx: tx.add_listed(Listing.BLOCKED, empty, ["eve"], expires_at=world.now + 5))
    assert world.see(lambda tx: tx.listed_in(Listing.BLOCKED, "eve", cids)) == {other, empty}
    assert world.see(lambda tx: tx.listed_in(Listing.BLOCKED, "jerry", cids)) == set()
    world.now += 5
    assert world.see(lambda tx: tx.listed_in(Listing.BLOCKED, "eve", cids)) == {other}


def test_where_a_client_is_awaited(world, chat):
    quiet, own, other, service = (world.create("ann", "tom").id for _ in range(4))
    for cid, sender in ((chat, "jerry"), (own, "tom"), (other, "ann"), (service, "ann")):
        world.now += 1
        world.do(lambda tx, cid=cid, sender=sender: tx.append(cid, NewMessage(sender, "x")))

    def awaiting(**options):
        options = {"temporary": True, "limit": 50, **options}
        rows = world.see(lambda tx: tx.awaiting("tom", **options))
        return [row.conversation.id for row in rows]

    assert awaiting() == [service, other, chat]
    assert awaiting(limit=2) == [service, other]
    joined = world.see(lambda tx: tx.joined_at(chat, "tom"))
    rows = world.see(lambda tx: tx.awaiting("tom", temporary=True, limit=50))
    assert {row.received for row in rows} == {joined - 1}
    heard = world.see(lambda tx: tx.last_message(chat)).timestamp
    world.do(lambda tx: tx.acknowledge(chat, "tom", first=0, last=heard))
    world.now += 1
    world.say(chat, "jerry")
    (row,) = world.see(lambda tx: tx.awaiting("tom", temporary=True, limit=1))
    assert (row.conversation.id, row.received) == (chat, heard)
    world.do(lambda tx: tx.acknowledge(other, "tom", first=0, last=world.now))
    world.do(lambda tx: tx.mark_read(service, "tom", world.now))
    assert awaiting() == [chat]
    assert world.see(lambda tx: tx.awaiting("nobody", temporary=True, limit=5)) == []
    assert quiet not in awaiting()


def test_temporary_conversations_await_only_who_knows_them(world):
    cid = world.do(
        lambda tx: tx.create_conversation(
            kind=Kind.TEMPORARY, creator="ann", members=["ann", "tom"], expires_at=world.now + 9
        )
    ).id
    world.do(lambda tx: tx.append(cid, NewMessage("ann", "x")))
    for temporary in (True, False):
        found = world.see(lambda tx, t=temporary: tx.awaiting("tom", temporary=t, limit=5))
        assert len(found) == temporary
    world.now += 9
    assert world.see(lambda tx: tx.awaiting("tom", temporary=True, limit=5)) == []


def test_who_is_no_member_changes_nothing_by_being_removed(world, chat):
    before = world.see(lambda tx: tx.conversation(chat))
    world.now += 7
    assert world.do(lambda tx: tx.remove_members(chat, ["eve"])) == []
    assert world.see(lambda tx: tx.conversation(chat)) == before


def test_removed_members_are_disturbed_again(world, chat):
    world.do(lambda tx: tx.set_muted(chat, "tom", True))
    world.do(lambda tx: tx.set_muted(chat, "jerry", True))
    world.do(lambda tx: tx.remove_members(chat, ["jerry"]))
    assert world.see(lambda tx: tx.muted_by(chat)) == ["tom"]


def test_a_page_may_begin_after_some_entries(world, chat):
    names = ["a", "b", "c", "d"]
    world.do(lambda tx: tx.add_listed(Listing.BLOCKED, chat, names))
    page = world.see(lambda tx: tx.listed(Listing.BLOCKED, chat, limit=2, skip=1))
    assert page[0] == ["b", "c"]
    assert page[1] is not None
    assert world.see(lambda tx: tx.listed(Listing.BLOCKED, chat, limit=2, skip=9)) == ([], None)
