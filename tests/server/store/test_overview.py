"""What the operator asks of an app as a whole."""

from __future__ import annotations

import pytest

from trio_realtime.server.store.interface import Kind, TokenRow


@pytest.fixture
def talk(world):
    """Four messages in two conversations and a service; the second and third at one time."""
    chat, group = world.create("tom", "jerry"), world.create("tom", "ann", "spike")
    service = world.create(kind=Kind.SERVICE)
    said = []
    for cid, sender, at in (
        (chat.id, "tom", 10),
        (chat.id, "jerry", 20),
        (group.id, "tom", 20),
        (group.id, "ann", 30),
        (service.id, "tom", 40),
    ):
        world.now = 1_000_000 + at
        said.append(world.say(cid, sender, str(at)))
    return said


def in_order(said):
    return sorted(said, key=lambda message: (message.timestamp, message.id))


def test_the_feed_has_every_message_newest_first(world, talk):
    assert world.see(lambda tx: tx.feed()) == in_order(talk)[::-1]
    assert world.see(lambda tx: tx.feed(newer=True)) == in_order(talk)


@pytest.mark.parametrize("newer", [False, True])
@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_feed_pages_across_messages_of_one_time(world, talk, newer, limit):
    found, start = [], None
    while True:
        page = world.see(lambda tx, at=start: tx.feed(start=at, newer=newer, limit=limit))
        if not page:
            break
        found += page
        start = (page[-1].timestamp, page[-1].id)
    assert found == (in_order(talk) if newer else in_order(talk)[::-1])


def test_bounds_of_the_feed(world, talk):
    first, *_, last = in_order(talk)

    def bodies(**options):
        return [message.body for message in world.see(lambda tx: tx.feed(**options))]

    assert bodies(start=(last.timestamp, None)) == ["30", "20", "20", "10"]
    assert bodies(start=(last.timestamp, None), start_included=True)[0] == "40"
    assert bodies(start=(last.timestamp, last.id), start_included=True)[0] == "40"
    assert bodies(end=(first.timestamp, None))[-1] == "20"
    assert bodies(end=(first.timestamp, first.id), end_included=True)[-1] == "10"
    assert bodies(end=(first.timestamp, first.id))[-1] == "20"
    assert bodies(limit=0) == []


def test_the_feed_of_a_sender_has_no_services(world, talk):
    found = world.see(lambda tx: tx.feed(sender="tom"))
    assert [message.body for message in found] == ["20", "10"]
    assert world.see(lambda tx: tx.feed(sender="nobody")) == []


def test_apps_do_not_see_each_other(world, talk):
    assert world.see(lambda tx: tx.feed(), app="other") == []
    world.do(lambda tx: tx.set_role(talk[0].conversation_id, "jerry", "Manager"))
    assert world.see(lambda tx: tx.all_member_infos(), app="other") == []
    assert world.see(lambda tx: tx.clients_seen(0), app="other") == 0


def test_all_roles_in_pages(world, talk):
    cids = [talk[0].conversation_id, talk[2].conversation_id]
    made = [world.do(lambda tx, c=cid: tx.set_role(c, "tom", "Manager")) for cid in cids]
    made.sort(key=lambda info: info.id)
    assert world.see(lambda tx: tx.all_member_infos()) == made
    assert world.see(lambda tx: tx.all_member_infos(limit=1)) == made[:1]
    assert world.see(lambda tx: tx.all_member_infos(after=made[0].id)) == made[1:]


def test_subscribers_and_subscriptions(world):
    news, sport = world.create(kind=Kind.SERVICE), world.create(kind=Kind.SERVICE)
    for name in ("ann", "bob", "cat"):
        world.now += 1
        world.do(lambda tx, who=name: tx.add_members(news.id, [who]))
    world.now += 1
    world.do(lambda tx: tx.add_members(sport.id, ["bob"]))
    names = [name for name, _ in world.see(lambda tx: tx.subscribers(news.id))]
    assert names == ["ann", "bob", "cat"]
    rest = world.see(lambda tx: tx.subscribers(news.id, after="ann", limit=1))
    assert rest == [("bob", 1_000_002)]
    assert world.see(lambda tx: tx.subscribers(news.id, after="cat")) == []
    assert world.see(lambda tx: tx.subscribers(news.id, after="stranger")) == []
    world.create("bob", "tom")
    found = world.see(lambda tx: tx.subscriptions("bob"))
    assert found == [(news.id, 1_000_002), (sport.id, 1_000_004)]


def test_clients_that_were_here(world):
    for client, expires_at in (("ann", 500), ("ann", 900), ("bob", 1000), ("cat", 2000)):
        row = TokenRow(client, world.now + expires_at)
        world.do(lambda tx, r=row: tx.put_token(f"{r.client_id}{r.expires_at}", r))
    assert world.see(lambda tx: tx.clients_seen(world.now)) == 3
    assert world.see(lambda tx: tx.clients_seen(world.now + 900)) == 2
