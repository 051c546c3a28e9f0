"""What every bus promises. Sessions are spread over two processes where there are several."""

from __future__ import annotations

import attrs
import pytest
import trio

from tests.server.bus.world import IMPLEMENTATIONS, message
from trio_realtime.server.bus.nonces import Nonce
from trio_realtime.server.rules.types import (
    HIGH,
    LOW,
    Clients,
    CountRoom,
    EnterRoom,
    Everyone,
    Evict,
    Feature,
    FindInRooms,
    KeepWill,
    LeaveRoom,
    ListRoom,
    Push,
    Refusal,
    Room,
    Will,
)
from trio_realtime.wire import CommandType, ConvCommand, GenericCommand

ROOM = Room("r")


@pytest.fixture(params=IMPLEMENTATIONS)
async def cluster(request):
    async with IMPLEMENTATIONS[request.param]() as cluster:
        yield cluster


async def enter(session, cid="r"):
    await session.bus.perform(session, EnterRoom(cid))


async def inside(session, cid="r", limit=100):
    """Who is in a room, as one session finds out."""
    found = []
    await session.bus.perform(session, ListRoom(cid, limit, found.extend))
    return found


# Delivery.


async def test_every_session_of_every_receiver_is_told_in_order(cluster):
    tom, tom_too = [await cluster.login("tom", node=node) for node in (0, 1)]
    jerry = await cluster.login("jerry", node=1)
    mary = await cluster.login("mary")
    await cluster.deliver(message("a", "tom", "jerry", "nobody"), message("b", "jerry", "tom"))
    await cluster.deliver(message("c", "tom"))
    assert tom.texts == tom_too.texts == ["a", "b", "c"]
    assert jerry.texts == ["a", "b"]
    assert mary.texts == []


async def test_messages_of_a_conversation_arrive_in_their_places_whoever_sends(cluster):
    receivers = [await cluster.login("tom", node=node) for node in (0, 1)]
    senders = [await cluster.login("jerry", node=node) for node in (0, 1)]
    for place in range(20):
        sender = senders[place % 2]
        push = message(str(place), "tom", place=1000 + place)
        sender.bus.deliver([push], actor=sender, at=1000 + place)
    await cluster.settle()
    for receiver in receivers:
        assert receiver.texts == [str(place) for place in range(20)]


async def test_the_actor_alone_can_be_left_out(cluster):
    actor = await cluster.login("tom")
    elsewhere = await cluster.login("tom", node=1)
    await cluster.deliver(message("a", "tom", except_actor=True), message("b", "tom"), actor=actor)
    assert actor.texts == ["b"]
    assert elsewhere.texts == ["a", "b"]


async def test_a_client_can_be_left_out_wherever_it_is(cluster):
    toms = [await cluster.login("tom", node=node) for node in (0, 1)]
    jerry = await cluster.login("jerry", node=1)
    await cluster.deliver(message("a", "tom", "jerry", except_client="tom"), actor=toms[0])
    assert [tom.texts for tom in toms] == [[], []]
    assert jerry.texts == ["a"]


async def test_everyone_is_whoever_is_online_wherever(cluster):
    sessions = [
        await cluster.login(name, node=node) for name, node in (("a", 0), ("a", 1), ("b", 1))
    ]
    gone = await cluster.login("c")
    gone.bus.leave(gone)
    await cluster.deliver(attrs.evolve(message("x"), to=Everyone()))
    assert [session.texts for session in sessions] == [["x"]] * 3
    assert gone.texts == []


async def test_only_who_knows_a_feature_gets_what_needs_it(cluster):
    some = Feature.PATCHES | Feature.TEMPORARY_CONVERSATIONS
    old = await cluster.login("tom", features=Feature.PATCHES)
    new = await cluster.login("tom", features=some, node=1)
    await cluster.deliver(message("a", "tom", needs=some), message("b", "tom"))
    assert old.texts == ["b"]
    assert new.texts == ["a", "b"]


async def test_a_push_says_what_it_is_and_when(cluster):
    tom = await cluster.login("tom", node=1)
    own = Push(Clients(["tom"]), GenericCommand(cmd=CommandType.CONV, server_ts=7))
    await cluster.deliver(message("a", "tom"), own, at=1234)
    assert [(command.service, command.server_ts) for _, command, _ in tom.connection.got] == [
        (2, 1234),
        (2, 7),
    ]


async def test_only_in_rooms_may_anything_be_lost(cluster):
    tom = await cluster.login("tom", node=1)
    await enter(tom)
    await cluster.deliver(message("a", "tom", priority=LOW), message("b", ROOM, priority=LOW))
    assert [priority for _, _, priority in tom.connection.got] == [HIGH, LOW]


async def test_what_another_client_of_the_actors_connection_hears_keeps_its_distance(cluster):
    line = cluster.line()
    tom, jerry = [await cluster.login(name, line=line) for name in ("tom", "jerry")]
    mary = await cluster.login("mary")
    everybody = Clients(["tom", "jerry", "mary"])
    conv = [
        Push(everybody, GenericCommand(cmd=CommandType.CONV, conv_message=ConvCommand()))
        for _ in range(2)
    ]
    await cluster.deliver(*conv, actor=tom)
    assert [item if item == "pause" else item[0] for item in line.got] == [
        "tom",
        "pause",
        "jerry",
        "tom",
        "jerry",
    ]
    assert [peer for peer, _, _ in mary.connection.got] == ["mary"] * 2
    line.got.clear()
    await cluster.deliver(message("a", "jerry"), actor=tom)
    await cluster.deliver(conv[0], actor=mary)
    assert "pause" not in line.got
    assert jerry.ended is None


async def test_a_session_that_is_over_is_told_nothing(cluster):
    left, lost, stays = [await cluster.login("tom", node=node) for node in (0, 1, 1)]
    left.bus.leave(left)
    lost.bus.lose(lost)
    lost.bus.leave(lost)
    await cluster.settle()
    await cluster.deliver(message("a", "tom"))
    assert (left.texts, lost.texts, stays.texts) == ([], [], ["a"])


# Presence.


async def test_who_is_online(cluster):
    for client_id, node in (("tom", 0), ("tom", 1), ("jerry", 1)):
        await cluster.login(client_id, node=node)
    bus = cluster.bus()
    assert await bus.present(Clients(["jerry", "mary", "tom", "jerry"])) == ["jerry", "tom"]
    assert await bus.present(Clients(["jerry", "tom"]), 1) == ["jerry"]
    assert await bus.present(Clients([])) == []


async def test_a_client_is_offline_when_its_last_session_is_over(cluster):
    one, two = [await cluster.login("tom", node=node) for node in (0, 1)]
    one.bus.leave(one)
    await cluster.settle()
    assert await cluster.bus().present(Clients(["tom"])) == ["tom"]
    two.bus.lose(two)
    await cluster.settle()
    assert await cluster.bus().present(Clients(["tom"])) == []


async def test_logging_in_again_makes_no_second_session(cluster):
    tom = await cluster.login("tom")
    await cluster.join(tom)
    await cluster.deliver(message("a", "tom"))
    assert tom.texts == ["a"]
    tom.bus.leave(tom)
    await cluster.settle()
    assert await cluster.bus().present(Clients(["tom"])) == []


# Rooms.


async def test_a_room_hears_what_is_said_in_it(cluster):
    tom, jerry = [
        await cluster.login(name, node=node) for node, name in enumerate(("tom", "jerry"))
    ]
    mary = await cluster.login("mary", node=1)
    for session in (tom, jerry):
        await enter(session)
    await cluster.deliver(message("a", ROOM, except_client="tom"), actor=tom)
    await cluster.deliver(message("b", Room("elsewhere")))
    assert (tom.texts, jerry.texts, mary.texts) == ([], ["a"], [])


async def test_a_session_is_in_one_room_at_a_time(cluster):
    tom = await cluster.login("tom", node=1)
    watcher = await cluster.login("mary")
    await enter(tom, "r")
    await enter(tom, "r")
    assert (tom.room, await inside(watcher)) == ("r", ["tom"])
    await enter(tom, "other")
    assert (tom.room, await inside(watcher)) == ("other", [])
    await tom.bus.perform(tom, LeaveRoom("r"))
    assert tom.room == "other"
    await tom.bus.perform(tom, LeaveRoom("other"))
    assert (tom.room, await inside(watcher, "other")) == (None, [])


async def test_those_in_a_room_are_clients_not_sessions(cluster):
    for client_id, node in (("tom", 0), ("tom", 1), ("jerry", 1)):
        await enter(await cluster.login(client_id, node=node))
    mary = await cluster.login("mary")
    counts, found = [], []
    await mary.bus.perform(mary, CountRoom("r", counts.append))
    await mary.bus.perform(mary, CountRoom("empty", counts.append))
    assert counts == [2, 0]
    assert sorted(await inside(mary)) == ["jerry", "tom"]
    assert len(await inside(mary, limit=1)) == 1
    assert sorted(await mary.bus.present(ROOM)) == ["jerry", "tom"]
    assert len(await mary.bus.present(ROOM, 1)) == 1
    await mary.bus.perform(mary, FindInRooms(["x", "r", "y"], "jerry", found.extend))
    await mary.bus.perform(mary, FindInRooms(["r"], "mary", found.extend))
    assert found == ["r"]


async def test_the_evicted_are_out_with_all_their_sessions(cluster):
    toms = [await cluster.login("tom", node=node) for node in (0, 1, 1)]
    await enter(toms[0])
    await enter(toms[1])
    await enter(toms[2], "other")
    jerry = await cluster.login("jerry", node=1)
    await enter(jerry)
    await jerry.bus.perform(jerry, Evict(["r", "empty"], ["tom", "nobody"]))
    await cluster.deliver(message("a", ROOM))
    assert [tom.room for tom in toms] == [None, None, "other"]
    assert [tom.texts for tom in toms] == [[], [], []]
    assert jerry.texts == ["a"]


async def test_who_was_lost_returns_into_its_room(cluster, autojump_clock):
    tom = await cluster.login("tom")
    await enter(tom)
    tom.bus.lose(tom)
    await cluster.settle()
    assert tom.room is None
    await trio.sleep(99)
    back = await cluster.login("tom", node=1, returning=True)
    assert (back.room, await inside(back)) == ("r", ["tom"])


@pytest.mark.parametrize("reason", ["late", "anew", "left", "out", "evicted", "elsewhere"])
async def test_who_does_not_return_into_a_room(cluster, reason, autojump_clock):
    tom, mary = await cluster.login("tom"), await cluster.login("mary", node=1)
    await enter(tom)
    if reason == "out":
        await tom.bus.perform(tom, LeaveRoom("r"))
    if reason == "left":
        tom.bus.leave(tom)
    else:
        tom.bus.lose(tom)
    await cluster.settle()
    if reason == "evicted":
        await mary.bus.perform(mary, Evict(["r"], ["tom"]))
    if reason == "elsewhere":
        await mary.bus.perform(mary, Evict(["other"], ["tom"]))
    if reason == "late":
        await trio.sleep(101)
    back = await cluster.login("tom", node=1, returning=reason != "anew")
    assert back.room == ("r" if reason == "elsewhere" else None)


async def test_a_place_in_a_room_is_kept_for_one_return(cluster):
    tom = await cluster.login("tom")
    await enter(tom)
    tom.bus.lose(tom)
    await cluster.settle()
    rooms = [(await cluster.login("tom", node=1, returning=True)).room for _ in range(2)]
    assert rooms == ["r", None]


async def test_steps_of_a_session_that_is_over_change_nothing(cluster):
    tom = await cluster.login("tom")
    watcher = await cluster.login("mary", node=1)
    tom.bus.leave(tom)
    await enter(tom)
    await tom.bus.perform(tom, KeepWill(Will(message("x").command, "id")))
    tom.bus.lose(tom)
    await cluster.settle()
    assert (tom.room, await inside(watcher), cluster.wills) == (None, [], [])


async def test_steps_are_carried_out_in_the_order_they_are_asked_for(cluster):
    tom = await cluster.login("tom", node=1)
    counts = []
    count = CountRoom("r", counts.append)
    steps = [count, EnterRoom("r"), count, EnterRoom("other"), count]
    for answer in [tom.bus.perform(tom, step) for step in steps]:
        await answer
    assert counts == [0, 1, 0]


# Takeover, tags, kicks.


async def test_who_returns_with_its_token_takes_its_session_over(cluster):
    old = await cluster.login("tom", token="t")
    other = await cluster.login("tom", token="u", node=1)
    jerry = await cluster.login("jerry", token="t", node=1)
    new = cluster.session("tom", node=1, token="v")
    await cluster.join(new, token="t", returning=True)
    await cluster.settle()
    assert (old.ended, other.ended, jerry.ended) == ("abandoned", None, None)
    await cluster.deliver(message("a", "tom"))
    assert (old.texts, other.texts, new.texts) == ([], ["a"], ["a"])


async def test_the_room_of_a_session_taken_over_goes_with_it(cluster):
    old = await cluster.login("tom", token="t")
    await enter(old)
    new = await cluster.join(cluster.session("tom", node=1), token="t", returning=True)
    await cluster.settle()
    assert (old.room, new.room) == (None, "r")


async def test_a_late_word_on_an_old_connection_takes_nothing_over(cluster):
    line = cluster.line()
    new = await cluster.login("tom", token="t", node=1)
    late = await cluster.join(cluster.session("tom", line=line), token="t", returning=True)
    await cluster.settle()
    assert (new.ended, late.ended) == (None, None)


async def test_without_a_token_nothing_is_taken_over(cluster):
    old = await cluster.login("tom", token="t")
    await cluster.join(cluster.session("tom", node=1))
    await cluster.settle()
    assert old.ended is None


async def test_a_tag_is_one_in_the_whole_cluster(cluster):
    rival = await cluster.login("tom", tag="phone")
    others = [
        await cluster.login("tom", tag="web", node=1),
        await cluster.login("tom", node=1),
        await cluster.login("jerry", tag="phone", node=1),
    ]
    new = await cluster.login("tom", tag="phone", node=1)
    untagged = await cluster.login("tom")
    await cluster.settle()
    assert rival.ended == (4111, "SESSION_CONFLICT")
    assert [one.ended for one in [*others, new, untagged]] == [None] * 5
    await cluster.deliver(message("a", "tom"))
    assert (rival.texts, new.texts) == ([], ["a"])


async def test_a_tag_that_is_only_assumed_gives_way(cluster):
    first = await cluster.login("tom", tag="phone")
    late = cluster.session("tom", tag="phone", node=1)
    with pytest.raises(Refusal) as caught:
        await cluster.join(late, assumed=True)
    assert caught.value.code == 4111
    await cluster.deliver(message("a", "tom"))
    assert (first.ended, first.texts, late.texts) == (None, ["a"], [])
    jerry = cluster.session("jerry", tag="phone", node=1)
    assert (await cluster.join(jerry, assumed=True)).ended is None


async def test_who_logs_in_again_is_no_rival_of_itself(cluster):
    tom = await cluster.login("tom", tag="phone", token="t")
    await cluster.join(tom, token="t", assumed=True)
    assert tom.ended is None


async def test_a_kick_reaches_every_session(cluster):
    toms = [await cluster.login("tom", node=node) for node in (0, 1)]
    jerry = await cluster.login("jerry", node=1)
    await enter(toms[1])
    await cluster.bus().kick("tom", 4115, "WHY")
    await cluster.bus().kick("nobody", 4115, "WHY")
    await cluster.settle()
    assert [tom.ended for tom in toms] == [(4115, "WHY")] * 2
    assert jerry.ended is None
    assert await cluster.bus(1).present(Clients(["tom", "jerry"])) == ["jerry"]
    assert await inside(jerry) == []


# Nonces.


async def test_of_many_who_show_a_nonce_one_is_let_in(cluster):
    results = []

    async def show(node):
        try:
            await cluster.bus(node).expect("tom", Nonce("tom", 1, "n"))
        except Refusal as refusal:
            results.append(refusal.code)
        else:
            results.append(None)

    async with trio.open_nursery() as nursery:
        for node in range(10):
            nursery.start_soon(show, node)
    assert sorted(results, key=str) == [4102] * 9 + [None]


async def test_nonces_are_told_apart_by_client_time_and_text(cluster):
    for client_id, timestamp, text in (
        ("tom", 1, "n"),
        ("jerry", 1, "n"),
        ("tom", 2, "n"),
        ("tom", 1, "m"),
    ):
        await cluster.bus(timestamp).expect(client_id, Nonce(client_id, timestamp, text))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
async def test_where_replay_is_not_refused_a_nonce_counts_for_nothing(implementation):
    async with IMPLEMENTATIONS[implementation](nonces=False) as cluster:
        for node in (0, 1, 0):
            await cluster.bus(node).expect("tom", Nonce("tom", 1, "n"))


# Rates.


async def test_a_rate_is_of_one_client_one_limit_and_one_minute(cluster, autojump_clock):
    bus = cluster.bus()

    def over(client_id, limit="messages_per_minute"):
        refusal = bus.over_rate(client_id, limit)
        return refusal and (refusal.code, refusal.limit)

    await trio.sleep(-trio.current_time() % 60 or 60)
    refused = (4116, "messages_per_minute")
    assert [over("tom") for _ in range(4)] == [None, None, refused, refused]
    assert over("tom", "commands_per_minute") is None
    assert over("jerry") is None
    assert [over("tom", "history_per_minute") for _ in range(9)] == [None] * 9
    await trio.sleep(60)
    assert over("tom") is None


# Wills.


async def test_a_will_is_carried_out_when_its_session_is_lost(cluster):
    tom, jerry = await cluster.login("tom"), await cluster.login("jerry", node=1)
    wills = [Will(message(text).command, text) for text in ("a", "b", "c")]
    await tom.bus.perform(tom, KeepWill(wills[0]))
    await tom.bus.perform(tom, KeepWill(wills[1]))
    await jerry.bus.perform(jerry, KeepWill(wills[2]))
    assert cluster.wills == []
    tom.bus.lose(tom)
    await cluster.settle()
    tom.bus.lose(tom)
    await cluster.settle()
    assert cluster.wills == [("tom", wills[1])]
    jerry.abandon()
    await cluster.settle()
    assert cluster.wills == [("tom", wills[1]), ("jerry", wills[2])]


@pytest.mark.parametrize("how", ["taken back", "left", "kicked"])
async def test_a_will_that_is_not_carried_out(cluster, how):
    tom = await cluster.login("tom")
    await tom.bus.perform(tom, KeepWill(Will(message("a").command, "a")))
    if how == "taken back":
        await tom.bus.perform(tom, KeepWill(None))
    elif how == "left":
        tom.bus.leave(tom)
    else:
        await cluster.bus(1).kick("tom", 4115, "WHY")
    tom.bus.lose(tom)
    await cluster.settle()
    assert cluster.wills == []
