"""Hooks of a running server, seen by real clients."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
import trio.testing

from tests.security.test_conversations import logs
from tests.server.gateway.world import conversation_of, direct, peer_of, world
from trio_realtime import (
    KickedError,
    MessageReceived,
    RejectedByApp,
    SendOptions,
    SessionConflictError,
    TextMessage,
    open_client,
)
from trio_realtime.server import Amend, Hooks, OfflineReason, Reject, Rewrite
from trio_realtime.testing import open_server
from trio_realtime.wire import CommandType


@asynccontextmanager
async def served(hooks, *names):
    async with open_server(memory=True, hooks=hooks) as server, AsyncExitStack() as stack:

        async def log_in(name, **options):
            return await stack.enter_async_context(
                open_client(
                    name,
                    app_id=server.app_id,
                    app_key=server.app_key,
                    server=server.url,
                    open_stream=server.open_stream,
                    **options,
                )
            )

        yield (server, log_in, *[await log_in(name) for name in names])


class Told:
    """Records what the application is told."""

    def __init__(self):
        self.calls = []

    async def __call__(self, about):
        self.calls.append(about)


async def until_ended(events):
    with pytest.raises((SessionConflictError, KickedError)):
        async for _event in events:
            pass


async def test_a_message_can_be_refused_and_rewritten(autojump_clock):
    async def received(message):
        if "shout" in message.body:
            return Reject(7, "do not shout")
        return Rewrite(body=message.body.replace("damn", "****"))

    async with served(Hooks(message_received=received), "Tom", "Jerry") as (_s, _l, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        with pytest.raises(RejectedByApp) as caught:
            await tom.send(chat, TextMessage("shout"))
        assert (caught.value.code, caught.value.app_code) == (4402, 7)
        assert caught.value.app_message == "do not shout"
        await tom.send(chat, TextMessage("damn cat"))
        event = await anext(jerry.events(MessageReceived))
        assert event.message.text == "**** cat"
        assert [m.text async for m in jerry.history(chat)] == ["**** cat"]


async def test_receivers_can_be_narrowed(autojump_clock):
    async def received(_message):
        return Rewrite(receivers=["Jerry"])

    hooks = Hooks(message_received=received)
    async with served(hooks, "Tom", "Jerry", "Mary") as (_s, _l, tom, jerry, mary):
        chat = await tom.create_conversation(["Jerry", "Mary"])
        await tom.send(chat, TextMessage("psst"))
        assert (await anext(jerry.events(MessageReceived))).message.text == "psst"
        with trio.move_on_after(5) as scope:
            await anext(mary.events(MessageReceived))
        assert scope.cancelled_caught


async def test_an_edit_can_be_refused(autojump_clock):
    async def update(_message):
        return Reject(1, "carved in stone")

    async with served(Hooks(message_update=update), "Tom") as (_s, _l, tom):
        chat = await tom.create_conversation([])
        sent = await tom.send(chat, TextMessage("a"))
        with pytest.raises(RejectedByApp) as caught:
            await tom.edit(sent, TextMessage("b"))
        assert caught.value.code == 4405


async def test_changes_of_conversations_can_be_refused(autojump_clock):
    async def refuse(_about):
        return Reject(3, "not now")

    hooks = Hooks(conversation_add=refuse, conversation_remove=refuse, conversation_update=refuse)
    async with served(hooks, "Tom", "Jerry") as (_s, _l, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        for operation in (
            tom.add_members(chat, ["Mary"]),
            tom.remove_members(chat, ["Jerry"]),
            tom.update_conversation(chat, {"a": 1}),
        ):
            with pytest.raises(RejectedByApp) as caught:
                await operation
            assert (caught.value.code, caught.value.app_code) == (4305, 3)
        assert (await jerry.get_conversation(chat.id, refresh=True)).members == ("Jerry", "Tom")

    async with served(Hooks(conversation_start=refuse), "Tom") as (_s, _l, tom):
        with pytest.raises(RejectedByApp):
            await tom.create_conversation(["Jerry"])


async def test_the_application_is_told_what_happened(autojump_clock):
    sent, started, added, online, offline, absent = (Told() for _ in range(6))
    hooks = Hooks(
        message_sent=sent,
        conversation_started=started,
        conversation_added=added,
        client_online=online,
        client_offline=offline,
        receivers_offline=absent,
    )
    async with served(hooks, "Tom") as (server, log_in, tom):
        chat = await tom.create_conversation(["Jerry"])
        await tom.add_members(chat, ["Mary"])
        message = await tom.send(chat, TextMessage("hi"), SendOptions(push_data={"alert": "x"}))
        await trio.sleep(1)
        assert [about.conversation_id for about in started.calls] == [chat.id]
        assert [list(about.members) for about in added.calls] == [["Mary"]]
        assert [about.message_id for about in sent.calls] == [message.id]
        assert {name for about in absent.calls for name in about.offline} == {"Jerry", "Mary"}
        jerry = await log_in("Jerry", tag="phone")
        await jerry.close()
        mary = await log_in("Mary", tag="phone")
        ending = mary.events()
        second = await log_in("Mary", tag="phone")
        await until_ended(ending)
        ending = second.events()
        await server.kick("Mary", "enough")
        await until_ended(ending)
        server.drop_connections("Tom")
        await trio.sleep(5)
        assert [(a.client_id, a.reconnect) for a in online.calls] == [
            ("Tom", False),
            ("Jerry", False),
            ("Mary", False),
            ("Mary", False),
            ("Tom", True),
        ]
        assert [(a.client_id, a.reason) for a in offline.calls] == [
            ("Jerry", OfflineReason.LOGOUT),
            ("Mary", OfflineReason.CONFLICT),
            ("Mary", OfflineReason.KICKED),
            ("Tom", OfflineReason.LOST),
        ]


@pytest.mark.parametrize("hang", [False, True])
async def test_a_hook_that_fails_does_not_stop_the_conversation(autojump_clock, hang, caplog):
    async def broken(_message):
        if hang:
            await trio.sleep_forever()
        raise RuntimeError("a bug of the application")

    async with served(Hooks(message_received=broken), "Tom") as (_s, _l, tom):
        chat = await tom.create_conversation([])
        start = trio.current_time()
        await tom.send(chat, TextMessage("one"))
        await tom.send(chat, TextMessage("two"))
        assert trio.current_time() - start == (10 if hang else 0)
        assert [m.text async for m in tom.history(chat, oldest_first=True)] == ["one", "two"]


async def test_order_is_kept_while_the_application_thinks(autojump_clock):
    async def slow(message):
        await trio.sleep(2 if "0" in message.body else 0.1)

    async with served(Hooks(message_received=slow), "Tom", "Jerry") as (_s, _l, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        events = jerry.events(MessageReceived)
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(tom.send, chat, TextMessage(str(number)))
                await trio.testing.wait_all_tasks_blocked()
        texts = [(await anext(events)).message.text for _ in range(5)]
        assert texts == list("01234")


async def test_a_mute_can_be_turned_into_its_opposite(autojump_clock):
    async def never_mute(_about):
        return Amend(mute=False)

    async with served(Hooks(conversation_update=never_mute), "Tom") as (server, _l, tom):
        chat = await tom.create_conversation(["Jerry"])
        await tom.mute(chat)
        store = server.server.gateway.store
        assert await store.read(server.app_id, lambda tx: tx.muted_by(chat.id)) == []


@pytest.mark.parametrize("end", [4111, 4115])
async def test_a_command_is_answered_though_its_session_ended_meanwhile(end, clock):
    async def think(_about):
        await trio.sleep(3)

    hooks = Hooks(message_received=think)
    async with world(hooks=hooks) as server, peer_of(server) as tom, peer_of(server) as rival:
        await tom.login("Tom", tag="phone", device_id="old")
        cid = await conversation_of(tom, "Jerry", "Tom", unique=False)
        asked = tom.number(direct(cid, "too late"))
        await tom.send(asked)
        await trio.sleep(1)
        if end == 4115:
            await server.kick("Tom")
        else:
            await rival.login("Tom", tag="phone", device_id="new")
        assert (await tom.reply_to(asked.i)).ack_message.code == 4105
        assert (await tom.push(CommandType.SESSION)).session_message.code == end
        await tom.login("Tom")
        assert (await tom.call(logs(cid))).logs_message.logs == []
