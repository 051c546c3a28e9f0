"""Service conversations: clients subscribe and write; the operator speaks."""

from __future__ import annotations

import httpx2
import pytest
import trio

from tests.client.world import world
from trio_realtime import (
    ConversationReadOnly,
    KickedError,
    MembershipRequired,
    MessageReceived,
    ServiceConversation,
    TextMessage,
    open_client,
)
from trio_realtime.server import Refusal
from trio_realtime.testing import open_server


async def test_a_service_speaks_to_its_subscribers_and_hears_everybody(autojump_clock):
    async with world("Tom", "Jerry") as (w, tom, jerry):
        server, app = w.server.server, w.server.app_id
        news = await server.create_service_conversation(app, name="News", attributes={"n": 1})
        (found,) = [one async for one in tom.query_service_conversations()]
        assert isinstance(found, ServiceConversation)
        assert (found.id, found.name, found.joined, found.attributes) == (
            news,
            "News",
            False,
            {"n": 1},
        )
        assert (await tom.subscribe(news)).joined
        assert await tom.is_member([news]) == {news: True}
        await w.forget()
        sent = await server.broadcast(app, news, TextMessage("hello").payload(), sender="editor")
        (event,) = await w.seen("Tom")
        assert isinstance(event, MessageReceived)
        assert (event.message.text, event.message.sender) == ("hello", "editor")
        assert event.message.id == sent.id
        assert await w.seen("Jerry") == []
        assert [m.text for m in await tom.history_page(news)] == ["hello"]
        with pytest.raises(MembershipRequired):
            await jerry.history_page(news)
        asked = await jerry.send(news, TextMessage("a question"))
        assert await w.seen("Tom") == [], "subscribers do not see what others write"
        ((_key, row),) = await server.service_messages(app, news)
        assert (row["from"], row["msgId"]) == ("Jerry", asked.id)
        with pytest.raises(ConversationReadOnly):
            await tom.update_conversation(news, {"n": 2})
        assert (await tom.unsubscribe(news)).joined is False
        await server.broadcast(app, news, "unheard", sender="editor")
        assert not [e for e in await w.seen("Tom") if isinstance(e, MessageReceived)]


async def test_only_service_conversations_are_spoken_for(autojump_clock):
    async with world("Tom") as (w, tom):
        chat = await tom.create_conversation([])
        server, app = w.server.server, w.server.app_id
        for cid, code in ((chat.id, 4313), ("0" * 24, 4303)):
            with pytest.raises(Refusal) as caught:
                await server.broadcast(app, cid, "x", sender="editor")
            assert caught.value.code == code


async def test_the_same_over_rest():
    async with (
        open_server() as server,
        httpx2.AsyncClient(base_url=server.url) as http,
        open_client("Tom", app_id=server.app_id, app_key=server.app_key, server=server.url) as tom,
    ):
        master = {"X-LC-Id": server.app_id, "X-LC-Key": f"{server.master_key},master"}
        base = "/1.2/rtm/service-conversations"
        made = await http.post(base, json={"name": "News", "n": 1}, headers=master)
        assert made.status_code == 201
        news = made.json()["objectId"]
        await tom.subscribe(news)
        events = tom.events(MessageReceived)
        count = await http.get(f"{base}/{news}/subscribers/count", headers=master)
        assert count.json() == {"count": 1}
        said = {"from_client": "editor", "message": "hello"}
        answer = await http.post(f"{base}/{news}/broadcasts", json=said, headers=master)
        with trio.fail_after(10):
            message = (await anext(events)).message
        assert answer.json()["msg-id"] == answer.json()["result"]["msg-id"] == message.id
        app_key = {"X-LC-Id": server.app_id, "X-LC-Key": server.app_key}
        for headers, path, body, status in (
            (app_key, base, {"name": "x"}, 401),
            (master, f"{base}/{'0' * 24}/broadcasts", said, 404),
            (master, f"{base}/{news}/broadcasts", {"message": 5}, 400),
            (master, f"{base}/{news}/broadcasts", said | {"message": "x" * 6000}, 400),
        ):
            refused = await http.post(path, json=body, headers=headers)
            assert refused.status_code == status
            assert refused.json()["error"]
        kicks = tom.events()
        await http.post("/1.2/rtm/clients/Tom/kick", json={"reason": "bye"}, headers=master)
        with trio.fail_after(10), pytest.raises(KickedError):
            async for _event in kicks:
                pass
