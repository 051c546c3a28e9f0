"""Cloud code for LeanEngine, unmodified, is asked and told by our server."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import asynccontextmanager

import attrs
import httpx2
import pytest
import trio

from tests.interop.js_peer import HERE, PATIENCE
from trio_realtime import (
    BinaryMessage,
    MessageReceived,
    MessageUpdated,
    RejectedByApp,
    SendOptions,
    TextMessage,
    open_client,
)
from trio_realtime.server import App, leanengine_hooks, service_web_hook
from trio_realtime.testing import open_server

pytestmark = pytest.mark.interop

APP = App("engine-app", "engine-key", "engine-master-key")
HOOK_KEY = "engine-hook-key"
HERE_ADDRESS = "127.0.0.1"


class Program:
    """cloud.js, and what it was told."""

    def __init__(self, process, port):
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.told = []
        self._more = trio.Condition()

    async def listen(self, lines):
        async for line in lines:
            async with self._more:
                self.told.append(line)
                self._more.notify_all()

    def calls(self, hook):
        return [one["params"] for one in self.told if one["hook"] == hook]

    async def wait_for(self, hook, count=1):
        """The parameters of the last call, once there were so many."""
        with trio.fail_after(PATIENCE):
            async with self._more:
                while len(self.calls(hook)) < count:
                    await self._more.wait()
        return self.calls(hook)[count - 1]


async def objects(stream):
    rest = b""
    async for chunk in stream:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield json.loads(line)


@asynccontextmanager
async def cloud_code():
    environ = {
        **os.environ,
        "LEANCLOUD_APP_ID": APP.id,
        "LEANCLOUD_APP_KEY": APP.key,
        "LEANCLOUD_APP_MASTER_KEY": APP.master_key,
        "LEANCLOUD_APP_HOOK_KEY": HOOK_KEY,
        # Hooks ask for nothing there.
        "LEANCLOUD_API_SERVER": "http://127.0.0.1:9",
    }
    process = await trio.lowlevel.open_process(
        ["node", str(HERE / "cloud.js")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environ,
    )
    try:
        lines = objects(process.stdout)
        with trio.fail_after(PATIENCE):
            program = Program(process, (await anext(lines))["port"])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(program.listen, lines)
            yield program
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


@attrs.frozen
class World:
    program: Program
    server: object
    pushed: trio.MemoryReceiveChannel | None

    @asynccontextmanager
    async def log_in(self, name, **options):
        async with open_client(
            name, app_id=APP.id, app_key=APP.key, server=self.server.url, **options
        ) as client:
            yield client


@pytest.fixture
async def world():
    pushing, pushed = trio.open_memory_channel(100)

    async def send_push(push):
        await pushing.send(push)

    async def who(_app, token):
        return token.removeprefix("token-of-")

    async with cloud_code() as program, httpx2.AsyncClient() as client:
        hooks = attrs.evolve(
            leanengine_hooks(program.url, client, app=APP, hook_key=HOOK_KEY),
            send_push=send_push,
            service_messages=service_web_hook(f"{program.url}/service", client),
        )
        async with open_server(apps=[APP], hooks=hooks, user_lookup=who) as server:
            yield World(program, server, pushed)
            assert server.server.gateway.apps[APP.id].hooks.failures.total <= 1


async def refused(awaitable):
    with pytest.raises(RejectedByApp) as caught:
        await awaitable
    return caught.value.code, caught.value.app_code, caught.value.app_message


async def test_messages(world):
    program = world.program
    async with world.log_in("Tom") as tom, world.log_in("Jerry") as jerry:
        chat = await tom.create_conversation(["Jerry", "Mary", "Spike"])
        assert await refused(tom.send(chat, TextMessage("shout"))) == (4402, 7, "do not shout")
        asked = await program.wait_for("_messageReceived")
        content = asked.pop("content")
        assert json.loads(content)["_lctext"] == "shout"
        assert asked.pop("timestamp") > 1_600_000_000_000
        assert asked == {
            "fromPeer": "Tom",
            "convId": chat.id,
            "toPeers": ["Jerry", "Mary", "Spike"],
            "transient": False,
            "bin": False,
            "receipt": False,
            "system": False,
            "sourceIP": HERE_ADDRESS,
        }

        events = jerry.events(MessageReceived)
        sent = await tom.send(chat, TextMessage("damn cat"), SendOptions(receipt=True))
        heard = await next_of(events)
        assert heard.message.text == "**** cat"
        about = await program.wait_for("_messageSent")
        assert json.loads(about.pop("content"))["_lctext"] == "**** cat"
        assert about == {
            "fromPeer": "Tom",
            "convId": chat.id,
            "msgId": sent.id,
            "onlinePeers": ["Jerry"],
            "offlinePeers": ["Mary", "Spike"],
            "transient": False,
            "system": False,
            "bin": False,
            "receipt": True,
            "timestamp": sent.timestamp_ms,
            "sourceIP": HERE_ADDRESS,
        }
        about = await program.wait_for("_receiversOffline")
        assert json.loads(about.pop("content"))["_lctext"] == "**** cat"
        assert about.pop("timestamp")
        assert about == {
            "fromPeer": "Tom",
            "convId": chat.id,
            "offlinePeers": ["Mary", "Spike"],
            "mentionAll": False,
            "mentionOfflinePeers": [],
        }
        with trio.fail_after(PATIENCE):
            push = await world.pushed.receive()
        assert (list(push.receivers), push.data) == (["Mary"], '{"alert":"**** cat"}')

        # Receivers are narrowed, what throws is ignored, and so is silence.
        async with world.log_in("Mary") as mary:
            overheard = mary.events(MessageReceived)
            for text in ("whisper", "crash", "nothing"):
                await tom.send(chat, TextMessage(text))
            assert [(await next_of(events)).message.text for _ in range(3)] == [
                "whisper",
                "crash",
                "nothing",
            ]
            assert (await next_of(overheard)).message.text == "crash"
        await tom.send(chat, BinaryMessage(b"\x00\x01\xff"))
        assert (await next_of(events)).message.data == b"\xff\x01\x00"
        assert world.program.calls("_messageReceived")[-1]["bin"] is True

        updates = jerry.events(MessageUpdated)
        await tom.edit(sent, TextMessage("damn dog"))
        assert (await next_of(updates)).message.text == "**** dog"
        assert await refused(tom.edit(sent, TextMessage("shout"))) == (
            4405,
            8,
            "still no shouting",
        )
        asked = program.calls("_messageUpdate")[-1]
        assert json.loads(asked.pop("content"))["_lctext"] == "shout"
        assert asked.pop("timestamp")
        assert asked == {
            "fromPeer": "Tom",
            "convId": chat.id,
            "toPeers": ["Jerry", "Mary", "Spike"],
            "bin": False,
            "msgId": sent.id,
            "sourceIP": HERE_ADDRESS,
            "recall": False,
            "system": False,
        }
    failures = world.server.server.gateway.apps[APP.id].hooks.failures
    assert failures.total == 1


async def next_of(events):
    with trio.fail_after(PATIENCE):
        return await anext(events)


async def test_conversations(world):
    program = world.program
    async with world.log_in("Tom") as tom:
        no = await refused(tom.create_conversation(["Jerry"], name="forbidden"))
        assert no == (4305, 9, "no such name")
        assert program.calls("_conversationStart") == [
            {"initBy": "Tom", "members": ["Jerry", "Tom"], "attr": {"name": "forbidden"}}
        ]
        chat = await tom.create_conversation(["Jerry"], name="fine")
        assert await program.wait_for("_conversationStarted") == {"convId": chat.id}

        assert await refused(tom.add_members(chat, ["Stranger"])) == (4305, 10, None)
        await tom.add_members(chat, ["Mary"])
        change = {"initBy": "Tom", "convId": chat.id, "members": ["Mary"]}
        assert program.calls("_conversationAdd")[-1] == change
        assert await program.wait_for("_conversationAdded") == change
        assert await refused(tom.remove_members(chat, ["Jerry"])) == (4305, None, None)
        await tom.remove_members(chat, ["Mary"])
        assert program.calls("_conversationRemove")[-1] == change
        assert await program.wait_for("_conversationRemoved") == change

        await tom.update_conversation(chat, {"topic": "cheese"})
        assert program.calls("_conversationUpdate") == [
            {"initBy": "Tom", "convId": chat.id, "attr": {"topic": "cheese"}}
        ]
        changed = await tom.get_conversation(chat.id, refresh=True)
        assert changed.attributes == {"topic": "cheese", "seen": True}
        await tom.mute(chat)
        assert program.calls("_conversationUpdate")[-1] == {
            "initBy": "Tom",
            "convId": chat.id,
            "mute": True,
        }


async def test_clients_and_services(world):
    program = world.program
    desk = await world.server.server.create_service_conversation(APP.id, name="Help desk")
    async with world.log_in("Tom", tag="phone") as tom:
        assert await program.wait_for("_clientOnline") == {
            "peerId": "Tom",
            "sourceIP": HERE_ADDRESS,
            "tag": "phone",
            "reconnect": 0,
        }
        sent = await tom.send(desk, TextMessage("help"))
        (row,) = await program.wait_for("service")
        assert json.loads(row["data"])["_lctext"] == "help"
        assert (row["msgId"], row["from"], row["fromIp"]) == (sent.id, "Tom", HERE_ADDRESS)
        assert (row["bin"], row["conv"]["objectId"]) == (False, desk)
        assert row["createdAt"]["__type"] == row["updatedAt"]["__type"] == "Date"
        assert program.calls("_messageReceived")[-1]["system"] is True
        assert (await program.wait_for("_messageSent"))["system"] is True
    assert await program.wait_for("_clientOffline") == {
        "peerId": "Tom",
        "closeCode": 1,
        "sourceIP": HERE_ADDRESS,
        "tag": "phone",
    }
    async with world.log_in("Jerry"):
        assert (await program.wait_for("_clientOnline", 2))["tag"] == "default"
        world.server.drop_connections("Jerry")
        lost = await program.wait_for("_clientOffline", 2)
        assert lost == {"peerId": "Jerry", "closeCode": 2, "tag": "default"}
        await program.wait_for("_clientOnline", 3)
    async with httpx2.AsyncClient(
        base_url=world.server.url, headers={"X-LC-Id": APP.id, "X-LC-Key": APP.key}
    ) as rest:
        for name, status in (("Tom", 200), ("Spike", 403)):
            token = {"session_token": f"token-of-{name}"}
            reply = await rest.post("/1.1/rtm/sign", json=token)
            assert reply.status_code == status
        assert "banned" in reply.text
    assert [call["objectId"] for call in program.calls("_rtmClientSign")] == ["Tom", "Spike"]


async def test_a_wrong_hook_key_is_a_failure():
    async with cloud_code() as program, httpx2.AsyncClient() as client:
        hooks = leanengine_hooks(program.url, client, app=APP, hook_key="wrong")
        async with open_server(apps=[APP], hooks=hooks) as server:
            world = World(program, server, None)
            async with world.log_in("Tom") as tom:
                chat = await tom.create_conversation(["Jerry"])
                await tom.send(chat, TextMessage("shout"))
            assert server.server.gateway.apps[APP.id].hooks.failures.total >= 1
        assert program.told == []
