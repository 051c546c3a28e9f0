"""Pulling from our own server gives what its clients have said and done."""

from __future__ import annotations

from contextlib import asynccontextmanager

import trio

from tests.archive.world import rows
from tests.rest.world import backend, client_of
from tests.server.api.caller import Caller
from trio_realtime import Role, TextMessage
from trio_realtime._archive.archive import open_archive, read_manifest
from trio_realtime._archive.check import check
from trio_realtime._archive.importing import Importer
from trio_realtime._archive.media import FileReader
from trio_realtime._archive.progress import Progress
from trio_realtime._archive.pulling import Puller, Scope
from trio_realtime._archive.sources import read_sources
from trio_realtime._archive.verifying import Comparison, verify


@asynccontextmanager
async def pulling(server, rest, path):
    async with open_archive(path, app_id=server.app_id, server=server.url) as archive:
        files = FileReader(archive, Progress(), {"server.test"}, server.open_stream)
        yield Puller(rest, archive, files, files.progress)


async def test_everything_of_our_server(tmp_path, clock):
    async with backend() as (server, rest), client_of(server, "Tom") as tom:
        chat = await tom.create_conversation(["Jerry", "Spike"], name="Lunch", attributes={"n": 1})
        room, news = (
            await rest.create_chat_room(name="hall"),
            await rest.create_service_conversation(),
        )
        said = [await tom.send(chat, TextMessage(str(number))) for number in range(250)]
        await tom.recall(said[3])
        await rest.send(room, "in the hall", sender="Tom")
        await rest.subscribe(news, "Tom")
        await rest.broadcast(news, "an offer", sender="shop")
        await tom.send(news.id, TextMessage("an answer"))
        await rest.set_role(chat, "Jerry", Role.MANAGER)
        await rest.silence(chat, ["Spike"])
        await rest.block(room, ["Eve"])
        async with pulling(server, rest, tmp_path) as one:
            await one.round(Scope())
            assert check(tmp_path).whole
            assert read_manifest(tmp_path).unanswered == {}
            messages = rows(tmp_path, "messages")
            everything = [stored.row async for stored in rest.history()]
            assert {row["msg-id"] for row in messages} == {row["msg-id"] for row in everything}
            assert len(messages) == 252
            assert next(row for row in messages if row["msg-id"] == said[3].id)["data"] == (
                '{"_lctype":-127}'
            )
            found = {row["objectId"]: row for row in rows(tmp_path, "conversations")}
            assert found[chat.id]["m"] == list((await rest.conversation(chat)).members)
            assert (found[room.id]["tr"], found[news.id]["sys"]) == (True, True)
            (filed,) = rows(tmp_path, "service-messages")
            assert filed["from"] == "Tom"
            assert [row["clientId"] for row in rows(tmp_path, "member-infos")] == ["Jerry"]
            lists = {row["conv_id"]: row for row in rows(tmp_path, "lists")}
            assert lists[chat.id]["silenced"] == ["Spike"]
            assert lists[room.id]["blocked"] == ["Eve"]
            assert [row["subscriber"] for row in rows(tmp_path, "subscribers")] == ["Tom"]
            before = {
                kind: len(rows(tmp_path, kind)) for kind in ("member-infos", "service-messages")
            }
            await trio.sleep(3600)
            await tom.send(chat, TextMessage("later"))
            await tom.send(news.id, TextMessage("another answer"))
            await one.round(Scope())
        assert len(rows(tmp_path, "messages")) == 253
        assert len(rows(tmp_path, "service-messages")) == before["service-messages"] + 1
        assert len(rows(tmp_path, "member-infos")) == before["member-infos"]
        assert check(tmp_path).whole


async def test_what_a_service_said_to_clients_alone_stays_theirs(tmp_path, clock):
    async with backend() as (server, rest):
        news = await rest.create_service_conversation()
        await rest.subscribe(news, "Spike")
        await rest.broadcast(news, "to all", sender="shop")
        call = Caller(server)
        path = f"/1.2/rtm/service-conversations/{news.id}"
        for number in range(3):
            said = {"message": str(number), "from_client": "shop", "to_clients": ["Tom", "Jerry"]}
            assert (await call("POST", f"{path}/messages", said)).status == 200
        async with pulling(server, rest, tmp_path) as one:
            await one.round(Scope())
        assert len(rows(tmp_path, "messages")) == 7
        told = {
            name: (await call("GET", f"{path}/subscribers/{name}/messages")).value
            for name in ("Tom", "Jerry", "Spike")
        }
    assert [len(told[name]) for name in ("Tom", "Jerry", "Spike")] == [3, 3, 1]
    async with backend() as (server, rest):
        importer = Importer(rest)
        await importer.run(read_sources([tmp_path]))
        assert importer.counts["messages"].new == 7
        call = Caller(server)
        for name, before in told.items():
            assert (await call("GET", f"{path}/subscribers/{name}/messages")).value == before
            count = await call("GET", f"/1.2/rtm/clients/{name}/unread-count")
            assert count.value == {"count": 0}
        comparison = Comparison()
        await verify(tmp_path, rest, comparison, lambda _: None)
        assert comparison.differences == []
