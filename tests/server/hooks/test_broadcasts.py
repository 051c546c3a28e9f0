"""The application is asked and told about what the operator says, too."""

from __future__ import annotations

import json

import pytest
import trio
import trio.testing

from tests.security.test_conversations import logs
from tests.security.test_identity import conv, settle
from tests.server.gateway.world import peer_of, world
from trio_realtime.server import Hooks, IncomingMessage, OfflineDecision, Refusal, Reject, Rewrite
from trio_realtime.server.hooks.runner import HookRunner
from trio_realtime.server.http import Request
from trio_realtime.server.store.sqlite.store import open_store
from trio_realtime.wire import CommandType, OpType


class Application:
    """Answers, and keeps what it was asked and told."""

    def __init__(self):
        self.said = None
        self.asked = []
        self.sent = []
        self.absent = []
        self.hooks = Hooks(
            message_received=self.received, message_sent=self.told, receivers_offline=self.missed
        )

    async def received(self, message):
        self.asked.append(message)
        if isinstance(self.said, Exception):
            raise self.said
        return self.said

    async def told(self, message):
        self.sent.append(message)

    async def missed(self, about):
        self.absent.append(about)
        return OfflineDecision(skip=True)


async def news_of(server, *subscribers):
    cid = await server.server.create_service_conversation(server.app_id, name="News")
    for peer, name in subscribers:
        assert (await peer.call(conv(OpType.ADD, cid, m=[name]))).op == OpType.ADDED
    await settle(*(peer for peer, _ in subscribers))
    return cid


async def test_a_broadcast_is_asked_about_and_told(clock):
    app = Application()
    async with world(hooks=app.hooks) as server, peer_of(server) as tom, peer_of(server) as jerry:
        await tom.login("Tom")
        await jerry.login("Jerry")
        cid = await news_of(server, (tom, "Tom"), (jerry, "Jerry"))
        await jerry.transport.aclose()
        await trio.testing.wait_all_tasks_blocked()
        app.said = Rewrite(body="**** weather")
        sent = await server.server.broadcast(server.app_id, cid, "damn weather", sender="editor")
        await trio.testing.wait_all_tasks_blocked()
        (asked,), (told,), (absent,) = app.asked, app.sent, app.absent
        assert (asked.sender, asked.body, asked.service) == ("editor", "damn weather", True)
        assert (asked.conversation_id, asked.receivers, asked.transient) == (cid, [], False)
        assert (told.message_id, told.body, told.timestamp) == (
            sent.id,
            "**** weather",
            sent.timestamp,
        )
        assert (told.online, told.offline, told.service) == (["Tom"], ["Jerry"], True)
        assert (absent.offline, absent.body) == (["Jerry"], "**** weather")
        pushed = (await tom.push(CommandType.DIRECT)).direct_message
        assert (pushed.id, pushed.msg) == (sent.id, "**** weather")
        (item,) = (await tom.call(logs(cid))).logs_message.logs
        assert item.data == "**** weather"


async def test_a_broadcast_can_be_refused(clock):
    app = Application()
    async with world(hooks=app.hooks) as server, peer_of(server) as tom:
        await tom.login("Tom")
        cid = await news_of(server, (tom, "Tom"))
        app.said = Reject(7, "not that word")
        with pytest.raises(Refusal) as caught:
            await server.server.broadcast(server.app_id, cid, "damn", sender="editor")
        assert (caught.value.code, caught.value.app_code) == (4402, 7)
        body = json.dumps({"from_client": "editor", "message": "damn"}).encode()
        answer = await server.server.answer(
            Request(
                "POST",
                f"/1.2/rtm/service-conversations/{cid}/broadcasts",
                {},
                {"x-lc-id": server.app_id, "x-lc-key": f"{server.master_key},master"},
                body,
                address="10.1.2.3",
            )
        )
        assert answer.status == 400
        assert json.loads(answer.body) == {"code": 4402, "error": "not that word"}
        assert app.asked[-1].address == "10.1.2.3"
        await tom.nothing_more()
        assert (await tom.call(logs(cid))).logs_message.logs == []
        assert app.sent == []


async def test_a_broadcast_can_be_narrowed(clock):
    app = Application()
    app.said = Rewrite(receivers=["Jerry", "nobody"])
    async with world(hooks=app.hooks) as server, peer_of(server) as tom, peer_of(server) as jerry:
        await tom.login("Tom")
        await jerry.login("Jerry")
        cid = await news_of(server, (tom, "Tom"), (jerry, "Jerry"))
        await server.server.broadcast(server.app_id, cid, "psst", sender="editor")
        assert (await jerry.push(CommandType.DIRECT)).direct_message.msg == "psst"
        await tom.nothing_more()


@pytest.mark.parametrize(
    ("sender", "body", "code"), [("", "x", 4301), ("editor", "\ud800", 4114), ("editor", "x", 4303)]
)
async def test_what_is_refused_anyway_is_not_asked_about(sender, body, code, clock):
    app = Application()
    async with world(hooks=app.hooks) as server:
        cid = await news_of(server) if code != 4303 else "0" * 24
        with pytest.raises(Refusal) as caught:
            await server.server.broadcast(server.app_id, cid, body, sender=sender)
        assert caught.value.code == code
        assert app.asked == []


async def test_an_application_that_fails_is_as_for_clients(clock):
    app = Application()
    app.said = RuntimeError("down")
    async with world(hooks=app.hooks) as server:
        cid = await news_of(server)
        await server.server.broadcast(server.app_id, cid, "go ahead", sender="editor")
    async with open_store(None, inline=True) as store:
        runner = HookRunner(app.hooks, store, on_failure="refuse")
        message = IncomingMessage(
            sender="editor", conversation_id="c", receivers=[], body="stop", timestamp=5
        )
        with pytest.raises(Refusal) as caught:
            await runner.approve(message)
        assert caught.value.code == 4402


async def test_an_application_that_answers_a_broadcast_with_another_comes_to_an_end(clock):
    refused = []

    async def received(message):
        try:
            await server.server.broadcast(server.app_id, cid, message.body, sender="echo")
        except Refusal as refusal:
            refused.append(refusal.code)

    async with world(hooks=Hooks(message_received=received)) as server:
        cid = await news_of(server)
        with trio.fail_after(1000):
            await server.server.broadcast(server.app_id, cid, "echo", sender="editor")
        assert refused == [4116]
        rows = await server.server.gateway.store.read(
            server.app_id, lambda tx: tx.history(cid, limit=1000)
        )
        assert len(rows) == 64
