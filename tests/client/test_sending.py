"""What becomes of a message whose sender stopped waiting."""

from __future__ import annotations

import pytest
import trio

from tests.client.world import world
from trio_realtime import (
    CommandError,
    ConnectionLost,
    Message,
    MessageReceived,
    MessageStatus,
    MessageTooLarge,
    RealtimeError,
    SendStatus,
    TextMessage,
    TypedMessage,
)


async def texts(tom, chat):
    return [message.text async for message in tom.history(chat)]


async def test_a_sending_is_accepted_once_and_then_answers_at_once(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, _jerry):
        chat = await tom.create_conversation(["Jerry"])
        sending = tom.sending(chat, TextMessage("hello"))
        assert sending.status is None
        assert "not finished" in repr(sending)
        sent = await sending.send()
        assert sending.status is SendStatus.ACCEPTED
        assert sending.message == sent
        await w.forget()
        assert await sending.send() == sent
        assert await w.seen("Jerry") == []


async def test_the_message_of_a_sending_says_how_far_it_has_come(autojump_clock):
    async with world("Tom", "Jerry") as (_w, tom, _jerry):
        chat = await tom.create_conversation(["Jerry"])
        sending = tom.sending(chat, "hello")
        assert sending.message.status is MessageStatus.NONE
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sending.send)
            while sending.message.status is MessageStatus.NONE:
                await trio.lowlevel.checkpoint()
            assert sending.message.status is MessageStatus.SENDING
            nursery.cancel_scope.cancel()
        assert sending.status is SendStatus.UNKNOWN
        assert sending.message.status is MessageStatus.SENDING
        assert (await sending.send()).status is MessageStatus.SENT
        assert sending.message.status is MessageStatus.SENT
        for refused in (TextMessage("x" * 6000), Message("\ud83d"), TypedMessage(text="x")):
            sending = tom.sending(chat, refused)
            with pytest.raises((MessageTooLarge, ValueError, TypeError)):
                await sending.send()
            assert sending.status is SendStatus.REJECTED
            assert sending.message.status is MessageStatus.FAILED
            assert refused.status is MessageStatus.NONE


async def test_wherever_it_was_cancelled_it_is_stored_once(autojump_clock):
    outcomes = set()
    async with world("Tom", "Jerry") as (w, tom, _jerry):
        chat = await tom.create_conversation(["Jerry"])
        for steps in range(20):
            await w.forget()
            sending = tom.sending(chat, TextMessage(f"cancelled after {steps}"))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sending.send)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            arrived = [event.message.id for event in await w.seen("Jerry")]
            outcomes.add((sending.status, len(arrived)))
            sent = await sending.send()
            assert sending.status is SendStatus.ACCEPTED
            arrived += [event.message.id for event in await w.seen("Jerry")]
            assert arrived == [sent.id]
        assert len(set(await texts(tom, chat))) == 20
        assert (SendStatus.UNKNOWN, 1) in outcomes
        assert (SendStatus.ACCEPTED, 1) in outcomes


async def test_a_cancelled_sending_that_never_left_is_sent_when_asked_again(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, _jerry):
        chat = await tom.create_conversation(["Jerry"])
        tom.pause()
        sending = tom.sending(chat, TextMessage("hello"))
        with trio.move_on_after(5):
            await sending.send()
        assert sending.status is SendStatus.UNKNOWN
        tom.resume()
        await trio.sleep(1)
        assert await texts(tom, chat) == []
        await sending.send()
        assert await texts(tom, chat) == ["hello"]
        assert MessageReceived in [type(event) for event in await w.seen("Jerry")]


async def test_a_refusal_is_final_until_it_is_tried_again(autojump_clock):
    async with world("Tom", "Jerry") as (_w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        await jerry.quit(chat)
        sending = jerry.sending(chat, TextMessage("hello"))
        with pytest.raises(CommandError):
            await sending.send()
        assert sending.status is SendStatus.REJECTED
        await jerry.join(chat)
        await sending.send()
        assert sending.status is SendStatus.ACCEPTED


async def test_what_is_too_large_is_rejected_here(autojump_clock):
    async with world("Tom") as (_w, tom):
        chat = await tom.create_conversation([])
        sending = tom.sending(chat, TextMessage("x" * 6000))
        with pytest.raises(MessageTooLarge):
            await sending.send()
        assert sending.status is SendStatus.REJECTED


async def test_without_retry_a_broken_link_leaves_it_unknown(autojump_clock):
    async with world("Tom") as (_w, tom):
        chat = await tom.create_conversation([])
        tom.pause()
        sending = tom.sending(chat, TextMessage("hello"))
        with pytest.raises(ConnectionLost):
            await sending.send(retry=False)
        assert sending.status is SendStatus.UNKNOWN
        tom.resume()
        await sending.send()
        assert await texts(tom, chat) == ["hello"]


async def test_the_end_of_the_client_is_no_refusal(autojump_clock):
    async with world("Jerry") as (_w, jerry):
        chat = await jerry.create_conversation([])
        events = jerry.events()
        jerry.pause()
        sending = jerry.sending(chat, TextMessage("hello"))
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send():
                with pytest.raises(RealtimeError):
                    await sending.send()

            await trio.testing.wait_all_tasks_blocked()
            await jerry.close()
        assert sending.status is SendStatus.UNKNOWN
        assert events


async def test_a_token_of_ones_own_continues_a_sending(autojump_clock):
    async with world("Tom") as (_w, tom):
        chat = await tom.create_conversation([])
        first = await tom.sending(chat, TextMessage("hello", dt="order-4711")).send()
        again = tom.sending(chat, TextMessage("hello", dt="order-4711"))
        assert again.dt == "order-4711"
        assert (await again.send()).id == first.id
        assert await texts(tom, chat) == ["hello"]
