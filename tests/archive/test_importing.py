"""Into a running server, and out again: the same."""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager

import pytest

from tests.archive.service import APP, conversation, message
from tests.archive.test_own_server import pulling
from tests.archive.world import by_place, rows
from tests.rest.world import backend, client_of
from trio_realtime import Role, TextMessage
from trio_realtime._archive.archive import open_archive, read_manifest
from trio_realtime._archive.check import check
from trio_realtime._archive.errors import ArchiveDamaged
from trio_realtime._archive.importing import Counts, Importer
from trio_realtime._archive.pulling import Scope
from trio_realtime._archive.sources import read_sources
from trio_realtime._archive.verifying import Comparison, verify
from trio_realtime.rest import NotFound

START = 1_700_000_000_000


async def bring(rest, *paths, **options):
    """Import; the importer, and what it had to say."""
    notes = []
    importer = Importer(rest, note=notes.append, **options)
    await importer.run(read_sources(list(paths)))
    return importer, notes


async def differences(path, rest):
    told = []
    comparison = Comparison()
    await verify(path, rest, comparison, told.append)
    assert told == comparison.differences
    return comparison


async def talk(server, rest, tom):
    """Something of everything."""
    chats = [
        await tom.create_conversation([name], name=f"with {name}", attributes={"n": number})
        for number, name in enumerate(["Jerry", "Spike", "Butch"])
    ]
    room, news = await rest.create_chat_room(name="hall"), await rest.create_service_conversation()
    texts = [TextMessage(f"\u2028 {number} \U0001f600") for number in range(60)]
    sent = [await tom.send(chats[number % 3], text) for number, text in enumerate(texts)]
    await tom.recall(sent[4])
    await rest.send(room, "in the hall", sender="Stranger")
    for name in ("Tom", "Jerry"):
        await rest.subscribe(news, name)
    await rest.broadcast(news, "an offer", sender="shop")
    await tom.send(news.id, TextMessage("an answer"))
    await rest.set_role(chats[0], "Jerry", Role.MANAGER)
    await rest.silence(chats[1], ["Spike"])
    await rest.block(room, ["Eve"])
    await rest.mute(chats[2], ["Butch"])
    return chats, room, news


KINDS = ("conversations", "member-infos", "lists", "subscribers", "service-messages")


def sorted_rows(path, kind):
    texts = [json.dumps(row, sort_keys=True) for row in rows(path, kind)]
    return sorted(texts)


async def test_a_round_trip(tmp_path, clock):
    first, second = tmp_path / "first", tmp_path / "second"
    async with backend() as (server, rest), client_of(server, "Tom") as tom:
        chats, _, _ = await talk(server, rest, tom)
        async with pulling(server, rest, first) as one:
            await one.round(Scope())
    assert check(first).whole
    async with backend() as (server, rest):
        importer, notes = await bring(rest, first)
        assert notes == []
        assert importer.counts["messages"].new == 62
        found = await differences(first, rest)
        assert (found.differences, found.messages) == ([], 62)
        async with pulling(server, rest, second) as one:
            await one.round(Scope())
        assert by_place(rows(second, "messages")) == by_place(rows(first, "messages"))
        for kind in KINDS:
            assert sorted_rows(second, kind) == sorted_rows(first, kind), kind
        # Once more, and nothing changes.
        importer, notes = await bring(rest, first)
        assert notes == []
        assert all(not one.new and not one.changed for one in importer.counts.values())
        assert (await differences(first, rest)).differences == []
        # It lives on.
        async with client_of(server, "Jerry") as jerry, client_of(server, "Tom") as tom:
            assert await rest.unread_count("Jerry") == 0
            history = [message async for message in jerry.history(chats[0].id)]
            assert len(history) == 20
            await tom.send(chats[0].id, TextMessage("after the move"))
            assert await rest.unread_count("Jerry") == 1
            again = await tom.create_conversation(["Jerry"])
            assert again.id == chats[0].id
        found = await differences(first, rest)
        assert (found.differences, found.newer) == ([], 1)


async def test_a_dry_run_changes_nothing(tmp_path, clock):
    async with backend() as (server, rest), client_of(server, "Tom") as tom:
        await talk(server, rest, tom)
        async with pulling(server, rest, tmp_path) as one:
            await one.round(Scope())
    async with backend() as (_server, rest):
        importer, _ = await bring(rest, tmp_path, dry_run=True)
        assert importer.counts["messages"].new == 62
        assert await rest.count() == 0
        assert await rest.history_page() == []


async def test_differences_are_found(tmp_path, clock):
    async with backend() as (server, rest), client_of(server, "Tom") as tom:
        chats, room, _ = await talk(server, rest, tom)
        async with pulling(server, rest, tmp_path) as one:
            await one.round(Scope())
        stored = [one async for one in rest.history(chats[0])]
        await rest.delete_message(stored[0])
        await rest.edit(stored[1], "edited")
        await rest.remove_members(chats[1], ["Spike"])
        await rest.update_conversation(chats[2], {"name": "renamed"})
        await rest.delete_conversation(room)
        found = await differences(tmp_path, rest)
        text = "\n".join(found.differences)
        assert f"message {stored[0].id}: it is not on the server" in text
        assert f"message {stored[1].id}: data is" in text
        assert f"{chats[1].id}: not members there: Spike" in text
        assert f"{chats[2].id}: name is 'with Butch' in the archive, 'renamed' there" in text
        assert f"conversation {room.id}: it is not on the server" in text


# Rows that cannot be taken.


def line(**fields):
    row = {
        "msg-id": "m1",
        "timestamp": START,
        "to": "5" * 24,
        "from": "ann",
        "data": "hello",
        "bin": False,
    }
    return json.dumps({**row, **fields}).encode()


@asynccontextmanager
async def sending(kind):
    async with backend() as (_server, rest):

        async def send(*lines, **params):
            path = f"/trio-realtime/import/{kind}"
            return await rest.call("POST", path, params=params, content=b"\n".join(lines))

        yield rest, send


BAD = [
    b"",
    b"{",
    b"5",
    b"null",
    b"[" * 100_000,
    b"\xff\xfe",
    line(**{"msg-id": ""}),
    line(**{"msg-id": 5}),
    line(**{"msg-id": "x" * 200}),
    line(to=None),
    line(to="_tmp:abc"),
    line(timestamp="now"),
    line(timestamp=True),
    line(timestamp=5),
    line(timestamp=2**60),
    line(timestamp=1e20),
    line(data=None),
    line(data={"a": 1}),
    line(data="x" * 100_000),
    line(data="no base64!", bin=True),
    line(**{"from": "x" * 100}),
    line(**{"from": ""}),
    line(**{"from": None}),
]


async def test_a_bad_row_is_skipped_and_the_others_are_taken(clock):
    async with sending("messages") as (rest, send):
        lines = [one for bad in BAD for one in (bad, line(**{"msg-id": f"good{id(bad)}"}))]
        answer = await send(*lines)
        assert [number for number, _ in answer["skipped"]] == list(range(0, len(lines), 2))
        assert all(reason for _, reason in answer["skipped"])
        assert (answer["new"], answer["placeholders"]) == (len(BAD), 1)
        assert len(await rest.history_page()) == len(BAD)


async def test_a_time_in_the_future_is_said(clock):
    async with sending("messages") as (_rest, send):
        answer = await send(line(timestamp=START * 3))
        assert "in the future" in answer["skipped"][0][1]


async def test_odd_texts_are_kept_as_far_as_they_can_be(clock):
    async with sending("messages") as (rest, send):
        binary = base64.b64encode(b"\0\xff").decode()
        answer = await send(
            line(data="half \ud800"),
            line(**{"msg-id": "m2", "data": binary, "bin": True, "timestamp": START + 1}),
        )
        assert answer["new"] == 2
        second, first = await rest.history_page()
        assert first.row["data"] == "half ?"
        assert (second.row["data"], second.row["bin"]) == (binary, True)


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("conversations", {"objectId": "x"}),
        ("conversations", {"objectId": "x", "createdAt": "yesterday"}),
        ("conversations", {"objectId": "x", "createdAt": "2023-01-01T00:00:00Z", "m": "ann"}),
        ("conversations", {"objectId": "x", "createdAt": "2023-01-01T00:00:00Z", "m": [5]}),
        ("conversations", {"objectId": "x", "createdAt": "2999-01-01T00:00:00Z"}),
        ("conversations", {"objectId": "_tmp:x", "createdAt": "2023-01-01T00:00:00Z"}),
        ("conversations", {"objectId": "x", "createdAt": "2023-01-01T00:00:00Z", "a": "\ud800"}),
        ("member-infos", {"objectId": "x", "cid": "none", "clientId": "ann", "role": "Manager"}),
        ("member-infos", {"objectId": "x", "cid": "none", "clientId": "ann", "role": "King"}),
        ("lists", {"conv_id": "none", "silenced": ["ann"]}),
        ("lists", {"conv_id": "none", "silenced": {"a": 1}}),
        ("subscribers", {"conv_id": "none", "subscriber": "ann", "timestamp": START}),
        ("service-messages", {"msgId": "x", "from": "ann", "timestamp": START, "data": "x"}),
        ("client-blocks", {"conv_id": "none", "client_id": "ann"}),
    ],
)
async def test_rows_of_other_kinds(kind, row, clock):
    async with sending(kind) as (rest, send):
        answer = await send(json.dumps(row).encode())
        assert len(answer["skipped"]) == 1, answer
        assert (answer["new"], answer["changed"]) == (0, 0)
        assert await rest.count() == 0


async def test_a_kind_that_is_none(clock):
    async with sending("users") as (_rest, send):
        with pytest.raises(NotFound):
            await send(b"{}")


def said(number, body):
    return message(number, START + number, ROOM, body=body)


ROOM = conversation(1, START)["objectId"]


async def versions(path):
    """An archive of which some messages were read a second and a third time."""
    async with open_archive(path, app_id=APP) as archive:
        part = archive.manifest.new_part("conversations", complete=True)
        await archive.append(part, [conversation(1, START)])
        first = archive.manifest.new_part("messages", complete=True)
        await archive.append(first, [said(number, "first") for number in range(4)])
        for number in (1, 2):
            again = archive.manifest.new_part("messages", complete=True, again=True)
            changed = [said(n, f"version {number}") for n in range(4 - number)]
            await archive.append(again, changed)
        archive.note(complete=True, until=START + 100)


async def test_only_the_last_version_of_a_message_is_brought(tmp_path, clock):
    """An import again and again, beside clients who read, never shows what was edited since."""
    await versions(tmp_path / "archive")
    items = list(read_sources([tmp_path / "archive"]))
    lines = [
        json.loads(line) for batch in items if batch.kind == "messages" for line in batch.lines
    ]
    assert [(row["msg-id"][-1], row["data"]) for row in lines] == [
        ("3", "first"),
        ("2", "version 1"),
        ("0", "version 2"),
        ("1", "version 2"),
    ]
    async with backend() as (_, rest):
        importer, notes = await bring(rest, tmp_path / "archive")
        assert (notes, importer.counts["messages"].new) == ([], 4)
        assert not (await differences(tmp_path / "archive", rest)).differences
        importer, _ = await bring(rest, tmp_path / "archive")
        assert importer.counts["messages"] == Counts(known=4)


async def test_bytes_that_have_changed_on_the_disk_are_told(tmp_path, clock):
    path = tmp_path / "archive"
    await versions(path)
    (first, *_) = read_manifest(path).of("messages")
    file = path / first.file
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"first", b"worst", 1))
    async with backend() as (_, rest):
        with pytest.raises(
            ArchiveDamaged, match=r"000001.jsonl is damaged: its SHA-256 .* --repair"
        ):
            await bring(rest, path)
        with pytest.raises(ArchiveDamaged, match="is damaged: its SHA-256"):
            await differences(path, rest)
        # Once repaired, what was wrong is mended.
        file.write_bytes(whole)
        await bring(rest, path)
        assert not (await differences(path, rest)).differences
