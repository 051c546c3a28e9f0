from __future__ import annotations

import pytest

from tests.client.world import kinds, world
from trio_realtime import (
    GroupRead,
    GroupReceipts,
    Message,
    MessageReceived,
    SendOptions,
    TextMessage,
    Unread,
)


async def test_members_of_a_group_are_told_who_has_read(autojump_clock):
    async with world("Spike") as (w, _):
        toms, jerrys = GroupReceipts(), GroupReceipts()
        tom = await w.client("Tom", plugins=[toms.plugin])
        jerry = await w.client("Jerry", plugins=[jerrys.plugin])
        group = await tom.create_conversation(["Jerry", "Spike"])
        sent = await tom.send(group, TextMessage("cheese?"))
        await w.forget()
        await jerrys.read(group)
        (told,) = [event for event in await w.seen("Tom") if isinstance(event, GroupRead)]
        assert (told.conversation_id, told.by) == (group.id, "Jerry")
        assert told.at >= sent.timestamp
        # It is no message: not for Tom, not in the history, and nobody counts it.
        assert "MessageReceived" not in kinds(await w.seen("Tom"))
        assert [m.id async for m in tom.history(group)] == [sent.id]
        assert tom.unread(group) == Unread(0)
        assert jerry.unread(group) == Unread(0)
        assert (await tom.fetch_receipts(group))["Jerry"].read_at >= sent.timestamp
        # By its id, and for those without the plugin a message like any other.
        await toms.read(group.id)
        marks = [e.by for e in await w.seen("Jerry") if isinstance(e, GroupRead)]
        assert marks == ["Tom"]
        (_, theirs) = [e for e in await w.seen("Spike") if isinstance(e, MessageReceived)]
        assert theirs.message.transient


async def test_two_people_need_no_such_messages(autojump_clock):
    async with world("Jerry") as (w, jerry):
        receipts = GroupReceipts()
        tom = await w.client("Tom", plugins=[receipts.plugin])
        chat = await tom.create_conversation(["Jerry"])
        room = await tom.create_chat_room()
        await jerry.join(room)
        await w.forget()
        await receipts.read(chat, room)
        assert kinds(await w.seen("Jerry")) == []


async def test_without_a_client_there_is_nothing_to_read():
    with pytest.raises(RuntimeError, match="open a client"):
        await GroupReceipts().read("somewhere")


async def test_a_mark_of_the_javascript_plugin_is_understood(autojump_clock):
    async with world("Spike", "Jerry") as (w, _, jerry):
        receipts = GroupReceipts()
        tom = await w.client("Tom", plugins=[receipts.plugin])
        group = await tom.create_conversation(["Jerry", "Spike"])
        await w.forget()
        for body in (
            '{"timestamp":"2026-11-21T09:30:00.000Z","_lctype":-101}',
            '{"_lctype":-101}',
        ):
            await jerry.send(group, Message(body), SendOptions(transient=True))
        assert kinds(await w.seen("Tom")) == ["GroupRead", "GroupRead"]
