"""Subscriptions: independent, bounded, and channels like those of Trio. Time is virtual."""

from __future__ import annotations

import gc

import pytest
import trio
import trio.testing

from tests.client.world import world
from trio_realtime import (
    ClientClosed,
    Event,
    MessageReceived,
    Reconnected,
    Reconnecting,
    SlowConsumer,
    TextMessage,
    UnreadUpdated,
)
from trio_realtime._io.subscription import DEFAULT_BUFFER, Hub, Subscription


@pytest.fixture
def hub():
    taken, seen = [], []
    hub = Hub(taken.append, on_error_seen=lambda: seen.append(True))
    hub.taken, hub.seen = taken, seen
    return hub


def subscription(hub, *types, room=10, handled=None):
    return Subscription(hub, hub.subscribe(types, None, room), handled)


def numbered(count):
    return [Reconnecting(number) for number in range(count)]


async def rest(events):
    """What is left of a stream that has ended."""
    return [event async for event in events]


async def test_a_loop_that_is_too_slow_ends_alone_and_says_what_it_missed(autojump_clock):
    async with world("Tom", "Jerry") as (_w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        slow = jerry.events(MessageReceived, max_buffer=3)
        fast = jerry.events(MessageReceived)
        for number in range(8):
            await tom.send(chat, TextMessage(str(number)))
        await trio.sleep(1)
        assert [(await anext(slow)).message.text for _ in range(3)] == ["0", "1", "2"]
        for _ in range(2):
            with pytest.raises(SlowConsumer) as caught:
                await anext(slow)
            assert caught.value.dropped == 5
            assert caught.value.since is not None
        assert [(await anext(fast)).message.text for _ in range(8)] == list("01234567")


async def test_subscriptions_filter_and_are_independent(autojump_clock):
    async with world("Tom", "Jerry") as (_w, tom, jerry):
        one = await tom.create_conversation(["Jerry"])
        other = await tom.create_conversation(["Jerry"], unique=False)
        of_one = jerry.events(MessageReceived, conversation=one)
        of_both = jerry.events(MessageReceived)
        for chat in (one, other, one):
            await tom.send(chat, TextMessage(chat.id))
        assert [(await anext(of_both)).conversation_id for _ in range(3)] == [
            one.id,
            other.id,
            one.id,
        ]
        assert [(await anext(of_one)).conversation_id for _ in range(2)] == [one.id, one.id]


async def test_a_forgotten_subscription_is_collected(hub):
    events = subscription(hub)
    other = events.clone()
    del events
    gc.collect()
    hub.publish(Reconnected())
    assert other.receive_nowait() == Reconnected()
    del other
    gc.collect()
    assert not hub.listening


# What arrives before anybody asks.


async def test_early_events_wait_for_the_first_subscription_that_wants_them(hub):
    before = numbered(3)
    for event in before:
        hub.publish(event)
    hub.publish(Reconnected())
    lines = subscription(hub, Reconnected)
    assert hub.taken == [Reconnected()]
    hub.publish(Reconnecting(9))
    attempts = subscription(hub, Reconnecting)
    everything = subscription(hub)
    hub.end(None)
    assert await rest(lines) == [Reconnected()]
    assert await rest(attempts) == before, "what came after the first subscription is no more kept"
    assert await rest(everything) == []
    assert hub.taken == [Reconnected(), *before]


async def test_early_messages_survive_a_subscription_that_wants_others(autojump_clock):
    async with world("Tom") as (w, tom), w.open("Jerry") as jerry:
        chat = await tom.create_conversation(["Jerry"])
        for number in range(3):
            await tom.send(chat, TextMessage(str(number)))
        await trio.sleep(1)
        with jerry.events(UnreadUpdated):
            messages = jerry.events(MessageReceived, conversation=chat)
            texts = [(await anext(messages)).message.text for _ in range(3)]
        assert texts == ["0", "1", "2"]


async def test_early_events_that_nobody_takes_are_bounded():
    taken = []
    hub = Hub(taken.append, early_room=3)
    for event in numbered(4):
        hub.publish(event)
    hub.publish(Reconnected())
    events = subscription(hub, MessageReceived)
    with pytest.raises(SlowConsumer) as caught:
        await events.receive()
    assert caught.value.dropped == 5
    assert caught.value.since is not None
    assert taken == []
    # It is told once: the next one goes on from here.
    events = subscription(hub)
    hub.publish(Reconnected())
    assert await events.receive() == Reconnected()


async def test_a_first_subscription_that_comes_too_late_says_so(autojump_clock):
    async with world("Tom") as (w, _tom), w.open("Jerry") as jerry:
        for number in range(DEFAULT_BUFFER + 1):
            jerry.publish(Reconnecting(number))
        with pytest.raises(SlowConsumer) as caught, trio.fail_after(10):
            await anext(jerry.events())
        assert caught.value.dropped == DEFAULT_BUFFER + 1


# Misuse.


@pytest.mark.parametrize("wrong", ["MessageReceived", int, MessageReceived | Reconnected, None])
async def test_what_is_no_class_of_events_is_refused_and_breaks_nothing(wrong, autojump_clock):
    async with world("Tom", "Jerry") as (_w, tom, jerry):
        events = jerry.events(MessageReceived)
        with pytest.raises(TypeError, match="takes classes of events"):
            jerry.events(Event, wrong)
        chat = await tom.create_conversation(["Jerry"])
        await tom.send(chat, TextMessage("hello"))
        assert (await anext(events)).message.text == "hello"


async def test_a_buffer_holds_something(hub):
    with pytest.raises(ValueError, match="at least 1"):
        subscription(hub, room=0)


async def test_two_tasks_may_not_wait_on_one_subscription(hub, autojump_clock):
    events = subscription(hub)
    seen = []

    async def loop():
        async for event in events:
            seen.append(event)  # noqa: PERF401 - it is looked at meanwhile

    async with trio.open_nursery() as nursery:
        nursery.start_soon(loop)
        await trio.testing.wait_all_tasks_blocked()
        for event in numbered(2):
            hub.publish(event)
            # Also in the moment in which the waiting task has an event but did not run yet.
            with pytest.raises(trio.BusyResourceError):
                await anext(events)
            with pytest.raises(trio.WouldBlock):
                events.receive_nowait()
            await trio.testing.wait_all_tasks_blocked()
        hub.end(None)
    assert seen == numbered(2)


# Like a channel of Trio.


async def consume(channel: trio.abc.ReceiveChannel[Event]):
    async with channel:
        return await rest(channel)


async def test_it_goes_wherever_a_channel_goes(hub):
    events = subscription(hub)
    assert isinstance(events, trio.abc.ReceiveChannel)
    for event in numbered(3):
        hub.publish(event)
    assert await events.receive() == Reconnecting(0)
    hub.end(None)
    assert await consume(events) == [Reconnecting(1), Reconnecting(2)]
    with pytest.raises(trio.ClosedResourceError):
        await events.receive()


async def test_at_the_end_a_channel_says_so_again_and_again(hub):
    events = subscription(hub)
    hub.end(None)
    for _ in range(2):
        with pytest.raises(trio.EndOfChannel):
            await events.receive()
        with pytest.raises(trio.EndOfChannel):
            events.receive_nowait()
        assert await rest(events) == []


async def test_the_error_of_the_client_is_told_to_every_clone(hub):
    events = subscription(hub)
    other = events.clone()
    hub.publish(Reconnected())
    hub.end(ClientClosed("over"))
    assert await events.receive() == Reconnected()
    assert not hub.seen
    for channel in (events, other, events):
        with pytest.raises(ClientClosed, match="over"):
            await channel.receive()
    assert hub.seen


async def test_clones_share_the_events(hub, autojump_clock):
    seen = {}

    async def worker(name, channel):
        async with channel:
            seen[name] = []
            async for event in channel:
                seen[name].append(event)
                await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        async with subscription(hub) as events:
            for name in "abc":
                nursery.start_soon(worker, name, events.clone())
        await trio.testing.wait_all_tasks_blocked()
        for event in numbered(7):
            hub.publish(event)
        await trio.sleep(5)
        hub.end(None)
    assert sorted(len(events) for events in seen.values()) == [2, 2, 3]
    assert {event for events in seen.values() for event in events} == set(numbered(7))


async def test_a_cancelled_wait_loses_nothing(hub):
    events = subscription(hub)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(events.receive)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    hub.publish(Reconnected())
    assert events.receive_nowait() == Reconnected()


async def test_nothing_comes_after_close(hub):
    events = subscription(hub)
    for event in numbered(3):
        hub.publish(event)
    assert await anext(events) == Reconnecting(0)
    events.close()
    assert await rest(events) == []
    for get in (events.receive, events.aclose):
        with trio.CancelScope() as scope:
            scope.cancel()
            await get()
        assert scope.cancelled_caught
    with pytest.raises(trio.ClosedResourceError):
        events.receive_nowait()
    with pytest.raises(trio.ClosedResourceError):
        events.clone()
    assert not hub.listening


async def test_closing_ends_the_loop_that_waits_and_leaves_the_clones_alone(hub):
    events = subscription(hub)
    other = events.clone()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rest, events)
        await trio.testing.wait_all_tasks_blocked()
        events.close()
    hub.publish(Reconnected())
    assert other.receive_nowait() == Reconnected()


async def test_what_was_dealt_with_is_known_at_the_next_step_and_at_the_end_of_the_block(hub):
    handled = []
    events = subscription(hub, handled=handled.append)
    for event in numbered(4):
        hub.publish(event)
    with events:
        await anext(events)
        assert handled == []
        await anext(events)
        assert handled == numbered(1)
    assert handled == numbered(2)
    events = subscription(hub, handled=handled.append)
    hub.publish(Reconnecting(5))

    def fail_at(_event):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), events:
        fail_at(events.receive_nowait())
    assert handled == numbered(2), "it was not dealt with"
