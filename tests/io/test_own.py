"""What a client id says elsewhere. Time is virtual."""

from __future__ import annotations

import trio

from tests.client.world import world
from tests.io.scripted_server import in_background, push
from trio_realtime import (
    MessageEvent,
    MessageRecalled,
    MessageReceived,
    MessageUpdated,
    TextMessage,
    open_client,
)
from trio_realtime.wire import CommandType, GenericCommand, OpType, PatchCommand, PatchItem


async def test_events_say_whether_they_are_of_this_client_id_elsewhere(autojump_clock):
    async with world("Tom") as (w, tom), w.open("Jerry") as here, w.open("Jerry") as there:
        chat = await tom.create_conversation(["Jerry"])
        events = here.events(MessageEvent)
        others = here.events(own=False, conversation=chat)
        sent = await there.send(chat, TextMessage("mine"))
        await there.edit(sent, TextMessage("still mine"))
        await there.recall(sent)
        theirs = await tom.send(chat, TextMessage("yours"))
        await tom.recall(theirs)
        seen = [await anext(events) for _ in range(5)]
        assert [(type(event), event.own) for event in seen] == [
            (MessageReceived, True),
            (MessageUpdated, True),
            (MessageRecalled, True),
            (MessageReceived, False),
            (MessageRecalled, False),
        ]
        await trio.sleep(1)
        here.events()
        await here.close()
        left = [event async for event in others if isinstance(event, MessageEvent)]
        assert left == seen[3:]


async def test_two_bots_under_one_id_do_not_talk_to_each_other(autojump_clock):
    async def bot(client):
        async for event in client.events(MessageReceived, own=False):
            await client.send(event.conversation_id, TextMessage("Out of bed already!"))

    async with (
        world("Tom") as (w, tom),
        trio.open_nursery() as bots,
        w.open("Jerry") as here,
        w.open("Jerry") as there,
    ):
        chat = await tom.create_conversation(["Jerry"])
        for client in (here, there):
            bots.start_soon(bot, client)
        await tom.send(chat, TextMessage("Jerry, are you up?"))
        await trio.sleep(60)
        assert len([message async for message in tom.history(chat)]) == 3


async def test_also_in_what_was_missed(autojump_clock):
    async with world("Tom") as (w, tom), w.open("Jerry") as here, w.open("Jerry") as there:
        chat = await tom.create_conversation(["Jerry"])
        events = here.events(MessageReceived)
        await tom.send(chat, TextMessage("0"))
        await anext(events)
        here.pause()
        await there.send(chat, TextMessage("1"))
        await tom.send(chat, TextMessage("2"))
        here.resume()
        missed = [await anext(events) for _ in range(2)]
        assert [(event.message.text, event.own) for event in missed] == [("1", True), ("2", False)]


async def test_what_the_server_did_to_a_message_of_ones_own_is_not_ones_own(
    scripted, autojump_clock
):
    async def server():
        link = await scripted.accept()
        await link.welcome()
        await link.send(push(mid="a", timestamp=10))
        for code in (None, -4408):
            patch = PatchItem(
                cid="c",
                mid="a",
                from_="Tom",
                timestamp=10,
                patch_timestamp=11,
                data="*",
                patch_code=code,
            )
            await link.send(
                GenericCommand(
                    cmd=CommandType.PATCH,
                    op=OpType.MODIFY,
                    patch_message=PatchCommand(patches=[patch]),
                )
            )
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        events = tom.events(MessageUpdated)
        assert [(await anext(events)).own for _ in range(2)] == [True, False]
