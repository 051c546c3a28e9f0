"""The application is asked about what backends send and edit, and told of it."""

from __future__ import annotations

import pytest
import trio.testing

from tests.rest.world import backend, client_of
from trio_realtime import ErrorCode, MessageReceived
from trio_realtime.rest import Refused
from trio_realtime.server import Hooks, Reject, Rewrite


class Application:
    def __init__(self):
        self.said = None
        self.asked = []
        self.told = []
        self.hooks = Hooks(
            message_received=self.answer, message_update=self.answer, message_sent=self.hear
        )

    async def answer(self, about):
        self.asked.append(about)
        return self.said

    async def hear(self, about):
        self.told.append(about)


async def test_the_application_is_asked_and_told(clock):
    app = Application()
    async with backend(hooks=app.hooks) as (server, rest), client_of(server, "Jerry") as jerry:
        chat = await rest.create_conversation(["Tom", "Jerry", "Spike"])
        app.said = Rewrite(body="polite", receivers=["Jerry"])
        with jerry.events(MessageReceived) as events:
            sent = await rest.send(chat, "rude", sender="Tom")
            assert (await anext(events)).message.body == "polite"
        await trio.testing.wait_all_tasks_blocked()
        (asked,), (told,) = app.asked, app.told
        assert (asked.sender, asked.body, asked.receivers) == ("Tom", "rude", ["Jerry", "Spike"])
        assert (told.message_id, told.body, told.online, told.offline) == (
            sent.id,
            "polite",
            ["Jerry"],
            [],
        )


async def test_the_application_refuses(clock):
    app = Application()
    async with backend(hooks=app.hooks) as (_server, rest):
        chat = await rest.create_conversation(["Tom", "Jerry"])
        await rest.send(chat, "first", sender="Tom")
        (stored,) = await rest.history_page(chat)
        app.said = Reject(code=7, detail="not here")
        with pytest.raises(Refused) as refused:
            await rest.send(chat, "second", sender="Tom")
        assert refused.value.code is ErrorCode.MESSAGE_REJECTED_BY_APP
        for attempt in (rest.recall(stored), rest.edit(stored, "other")):
            with pytest.raises(Refused) as refused:
                await attempt
            assert refused.value.code is ErrorCode.MESSAGE_UPDATE_REJECTED_BY_APP
        assert [one.message.body for one in await rest.history_page(chat)] == ["first"]
        app.said = Rewrite(body="mild")
        await rest.edit(stored, "harsh")
        assert [one.message.body for one in await rest.history_page(chat)] == ["mild"]


async def test_nothing_is_asked_about_what_is_refused_anyway(clock):
    app = Application()
    async with backend(hooks=app.hooks) as (_server, rest):
        for attempt in (
            rest.send("5" * 24, "x", sender="Tom"),
            rest.broadcast("5" * 24, "x", sender="Tom"),
        ):
            with pytest.raises(Refused):
                await attempt
        assert app.asked == []
