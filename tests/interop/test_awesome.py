"""awesome-im with programs in node that use the packages its page uses."""

from __future__ import annotations

import json
import subprocess
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from tests.interop.js_peer import HERE, PATIENCE
from trio_realtime.awesome import (
    Connected,
    ConversationType,
    CustomMessage,
    MessageDirection,
    MessageReceived,
    Notice,
    SignalMessage,
    TextMessage,
    open_client,
    open_server,
)

pytestmark = pytest.mark.interop


class Program:
    """A node program that reads and writes lines."""

    def __init__(self, process):
        self._process = process
        self._rest = b""

    async def say(self, value):
        await self._process.stdin.send_all(json.dumps(value).encode() + b"\n")

    async def line(self):
        with trio.fail_after(PATIENCE):
            while b"\n" not in self._rest:
                data = await self._process.stdout.receive_some()
                assert data, "node ended"
                self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)


@asynccontextmanager
async def node(script, *arguments):
    process = await trio.lowlevel.open_process(
        ["node", str(HERE / script), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield Program(process)
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
            await process.stdin.aclose()
            await process.stdout.aclose()


async def next_of(events):
    with trio.fail_after(PATIENCE):
        return await anext(events)


async def test_our_clients_at_a_server_in_node():
    async with node("awesome_server.js") as server:
        url = f"ws://127.0.0.1:{await server.line()}"
        async with (
            open_client(url, user_id="allen", ping_interval=0.2) as allen,
            open_client(url, user_id="tom") as tom,
        ):
            inbox = tom.events(MessageReceived)
            sent = await allen.send(SignalMessage("start"))
            assert (sent.signal_name, sent.sender) == ("start", "allen")
            assert isinstance(sent.extra["time"], int)
            content = {"test": 123, "array": [123, 456], "object": {"name": "allen"}, "汉": "字"}
            assert (await allen.send(TextMessage(content))).message == content
            assert (await next_of(inbox)).message.signal_name == "start"
            assert (await next_of(inbox)).message.message == content
            private = ConversationType.PRIVATE
            await allen.send(TextMessage("psst", to="tom", conversation_type=private))
            received = (await next_of(inbox)).message
            assert (received.message, received.conversation_type) == ("psst", private)
            await allen.send(CustomMessage("VoiceMsg", {"bytes": b"\x00\xff", "n": None}))
            assert (await next_of(inbox)).message.content() == {"bytes": b"\x00\xff", "n": None}
            await server.say(
                {
                    "push": {
                        "messageType": "SignalMsg",
                        "messageUId": "CBE5-1922-F8C9-730B",
                        "conversationType": 0,
                        "to": "allen",
                        "signalName": "login",
                        "from": "server",
                        "messageDirection": 2,
                    }
                }
            )
            pushed = (await next_of(inbox)).message
            assert (pushed.signal_name, pushed.message_uid) == ("login", "CBE5-1922-F8C9-730B")
            assert pushed.direction is MessageDirection.RECEIVE
            assert pushed.message_id is None


async def test_our_client_survives_the_restart_of_a_server_in_node():
    async with AsyncExitStack() as first:
        port = await (await first.enter_async_context(node("awesome_server.js"))).line()
        async with open_client(f"ws://127.0.0.1:{port}", user_id="allen") as allen:
            connected = allen.events(Connected)
            assert await next_of(connected) == Connected()
            await first.aclose()
            async with node("awesome_server.js", port) as server:
                assert await server.line() == port
                assert await next_of(connected) == Connected()
                assert (await allen.send(TextMessage("back"))).message == "back"
                notices = allen.events(Notice)
                async with open_client(f"ws://127.0.0.1:{port}", user_id="tom"):
                    pass
                assert await next_of(notices) == Notice(4, "close")


async def test_a_client_in_node_at_our_server():
    async def handler(message):
        return TextMessage({"answer to": message.message})

    async with open_server(handler=handler) as server, node("awesome_client.js", server.url) as js:
        assert await js.line() == {"open": True}
        message = {
            "messageType": "TxtMsg",
            "messageId": "m1",
            "conversationType": 0,
            "from": "allen",
            "to": "server",
            "content": {"message": {"test": 123}},
        }
        await js.say(message)
        echo = (await js.line())["envelope"]
        assert (echo["code"], echo["errMsg"]) == (0, "success!")
        assert {key: echo["data"][key] for key in message} == message
        assert echo["data"]["messageUId"].count("-") == 3
        assert isinstance(echo["data"]["sentTime"], int)
        answer = (await js.line())["envelope"]["data"]
        assert answer["content"] == {"message": {"answer to": {"test": 123}}}
        assert "messageId" not in answer
        async with open_client(server.url, user_id="tom") as tom:
            await tom.send(
                TextMessage("hi", to="allen", conversation_type=ConversationType.PRIVATE)
            )
            told = (await js.line())["envelope"]["data"]
            assert (told["content"], told["from"]) == ({"message": "hi"}, "tom")
            inbox = tom.events(MessageReceived)
            private = {**message, "messageId": "m2", "to": "tom", "conversationType": 1}
            await js.say(private)
            assert (await js.line())["envelope"]["data"]["messageId"] == "m2"
            assert (await next_of(inbox)).message.sender == "allen"
        await js.say({"messageType": 5})
        assert await js.line() == {"closed": 1003}
