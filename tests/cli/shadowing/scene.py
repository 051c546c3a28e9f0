"""Clients that use everything, and servers that are told what they said."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress

import trio

from tests.cli.test_tap import APP, PATIENCE, tapping
from trio_realtime import MessageReceived, TextMessage, open_client
from trio_realtime._cli.shadowing.performance import Performance
from trio_realtime._cli.shadowing.rehearsal import Rehearsal
from trio_realtime._cli.shadowing.report import Report
from trio_realtime._engine.dialect import DIALECTS
from trio_realtime.testing import open_server
from trio_realtime.transport import TransportClosed, connect


async def play(url, dialect="protobuf"):
    """Tom and Jerry use what there is."""

    def log_in(name):
        return open_client(name, app_id=APP.id, app_key=APP.key, server=url, dialect=dialect)

    with trio.fail_after(PATIENCE):
        async with log_in("Tom") as tom, log_in("Jerry") as jerry:
            inbox = jerry.events(MessageReceived)
            chat = await tom.create_conversation(["Jerry"], name="Two", attributes={"id": "x"})
            first = await tom.send(chat, TextMessage("Wake up!"))
            assert (await anext(inbox)).message.text == "Wake up!"
            await jerry.read(chat)
            await jerry.send(chat, TextMessage("No."))
            await tom.send(chat, TextMessage("Please."))
            await tom.edit(first, TextMessage("Get up!"))
            await tom.update_conversation(chat, name="Three")
            await tom.add_members(chat, ["Spike"])
            assert len([m async for m in jerry.history(chat)]) >= 3
            assert [c.id async for c in jerry.query().equal_to("objectId", chat.id)] == [chat.id]
            await tom.remove_members(chat, ["Spike"])
            room = await tom.create_chat_room(name="Kitchen")
            await jerry.join(room)
            await jerry.send(room, TextMessage("Hello, all"))
            await tom.block_members(chat, ["Butch"])
            assert [name async for name in tom.blocked_members(chat)] == ["Butch"]
            assert await tom.online(["Jerry", "Spike"]) == ["Jerry"]
        async with log_in("Jerry") as jerry:
            await jerry.history_page(chat, limit=2)
            await jerry.fetch_receipts(chat)


async def recorded(dialect="protobuf"):
    """What a tap has recorded of the play."""
    async with open_server(apps=[APP]) as server, tapping(server.url) as tap:
        await play(tap.url, dialect)
        for number in (1, 2, 3):
            await tap.heard(f"[{number}] closed by")
        return tap.lines()


async def performed(happenings, url, patience=1.0):
    """The report on what a server said to them."""

    async def one_by_one():
        for happening in happenings:
            yield happening

    report = Report()
    performance = Performance(url.replace("http", "ws", 1), Rehearsal(report, patience))
    with trio.fail_after(PATIENCE):
        await performance.run(one_by_one())
    return report


@asynccontextmanager
async def spoiling(url, spoil, dialect="protobuf"):
    """A server that says what another one says, but for what ``spoil`` makes of it."""
    from trio_websocket import ConnectionClosed, serve_websocket

    encode, decode = DIALECTS[dialect].encode, DIALECTS[dialect].decode

    async def serve(request):
        name = request.proposed_subprotocols[0]
        ours = await request.accept(subprotocol=name)
        async with (
            ours,
            connect(url.replace("http", "ws", 1), subprotocol=name) as server,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(answers, server, ours, nursery.cancel_scope)
            try:
                while True:
                    await server.send(await ours.get_message())
            except (ConnectionClosed, TransportClosed):
                nursery.cancel_scope.cancel()

    async def answers(server, ours, scope):
        with suppress(TransportClosed):
            while True:
                for payload in await server.receive():
                    command = spoil(decode(payload))
                    if command is not None:
                        await ours.send_message(encode(command))
        scope.cancel()

    async with trio.open_nursery() as nursery:
        listener = await nursery.start(serve_websocket, serve, "127.0.0.1", 0, None)
        yield f"http://127.0.0.1:{listener.port}"
        nursery.cancel_scope.cancel()


def table(report):
    return "\n".join(report.table())
