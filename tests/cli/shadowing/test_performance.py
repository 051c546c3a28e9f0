from __future__ import annotations

import socket

import attrs
import pytest

from tests.cli.shadowing.scene import APP, performed, recorded, spoiling, table
from tests.cli.test_tap import tapping
from trio_realtime import MessageReceived, Reconnected, TextMessage, open_client
from trio_realtime._cli.recording import Recorded, now
from trio_realtime._engine.dialect import DIALECTS
from trio_realtime.testing import open_server
from trio_realtime.transport import connect
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    GenericCommand,
    LogItem,
    LogsCommand,
    OpType,
    SessionCommand,
)


@pytest.mark.parametrize("dialect", ["protobuf", "base64", "json"])
async def test_our_server_answers_like_our_server(dialect):
    happenings = await recorded(dialect)
    async with open_server(apps=[APP]) as server:
        report = await performed(happenings, server.url)
    assert report.bad == 0, table(report)
    assert report.unreadable == report.lost == 0
    rows = report.rows
    assert rows["connection"].equal == 3
    assert rows["direct"].equal == 4
    assert rows["← direct"].equal >= 3
    assert {"conv/start", "conv/update", "patch/modify", "logs", "session/open"} <= rows.keys()
    # But for a push to Jerry, who leaves at once the second time.
    assert {name for name, row in rows.items() if row.outside} <= {"← unread"}, table(report)


async def test_what_a_wrong_server_says_is_told():
    """A wrong body, a wrong order, a lost push, a command that is not answered, a wrong code."""

    def spoil(command):
        match command:
            case GenericCommand(logs_message=LogsCommand(logs=[_, _, *_]) as logs):
                logs.logs.reverse()
            case GenericCommand(cmd=CommandType.DIRECT):
                if "Please" in command.direct_message.msg:
                    return None
            case GenericCommand(op=OpType.COUNT | OpType.RESULT):
                command.conv_message.count = 7
            case GenericCommand(op=OpType.UPDATED, i=int()):
                return None
            case GenericCommand(
                op=OpType.QUERY_RESULT, session_message=SessionCommand() as session
            ):
                session.online_session_peer_ids.append("Spike")
            case GenericCommand(cmd=CommandType.PATCH, op=OpType.MODIFY):
                command.patch_message.patches[0].data = "something else"
        return command

    happenings = await recorded()
    async with open_server(apps=[APP]) as server, spoiling(server.url, spoil) as url:
        report = await performed(happenings, url, patience=0.5)
    rows, text = report.rows, table(report)
    wrong = {name: (row.different, row.unanswered) for name, row in rows.items() if row.bad}
    assert wrong == {
        "logs": (2, 0),
        "conv/update": (0, 1),
        "session/query": (1, 0),
        "← direct": (0, 1),
        "← patch/modify": (1, 0),
    }, text
    assert report.bad == 6
    assert 'onlineSessionPeerIds: ["Jerry"], ours ["Jerry", "Spike"]' in text
    assert "ours nothing" in text
    assert "logs[0].data" in text
    assert "patches[0].data" in text
    assert "TOKEN" not in text
    ignored = attrs.evolve(report, ignored=frozenset({"logs", "direct", "patch/modify"}))
    assert ignored.bad == 2
    assert ignored.to_json()["different"] == 2


async def test_a_server_that_is_not_there_and_one_without_the_app():
    happenings = await recorded()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        report = await performed(
            happenings, f"http://127.0.0.1:{probe.getsockname()[1]}", patience=0.2
        )
    assert all(not row.equal for row in report.rows.values())
    assert "ours not connected: cannot connect to 127.0.0.1" in table(report)
    assert report.rows["session/open"].unanswered == 3
    async with open_server(apps=[]) as server:
        report = await performed(happenings, server.url, patience=0.2)
    assert report.rows["session/open"].bad == 3


async def test_what_comes_from_others_is_not_counted():
    """Only Tom goes through the tap; Jerry does not."""
    async with open_server(apps=[APP]) as server, tapping(server.url) as tap:
        async with (
            open_client("Tom", app_id=APP.id, app_key=APP.key, server=tap.url) as tom,
            open_client("Jerry", app_id=APP.id, app_key=APP.key, server=server.url) as jerry,
        ):
            inbox = tom.events(MessageReceived)
            chat = await tom.create_conversation(["Jerry"])
            await tom.send(chat, TextMessage("1"))
            await jerry.send(chat.id, TextMessage("2"))
            await jerry.update_conversation(chat.id, name="Jerry's")
            await anext(inbox)
            await tom.read(chat)
            await tom.send(chat, TextMessage("3"))
            assert len([m async for m in tom.history(chat)]) == 3
            assert len(await tom.history_page(chat, limit=2)) == 2
        await tap.heard("[1] closed by")
        happenings = tap.lines()
    async with open_server(apps=[APP]) as server:
        report = await performed(happenings, server.url, patience=0.3)
    assert report.bad == 0, table(report)
    assert report.rows["logs"].equal == 2
    assert report.rows["← direct"].outside == 1
    assert report.rows["← conv/updated"].outside == 1


async def test_history_that_was_imported_has_to_be_the_same():
    """Ids and times from before the rehearsal are nothing that ours may invent."""
    async with open_server(apps=[APP]) as server:
        old = [
            LogItem(from_="Tom", data=str(n), timestamp=1_700_000_000_000 + n, msg_id=f"m{n}")
            for n in (1, 2)
        ]

        def history(items):
            def spoil(command):
                if command.logs_message is not None:
                    command.logs_message.logs = items
                return command

            return spoil

        async with spoiling(server.url, history(old)) as url, tapping(url) as tap:
            # The routers' answers would lead past what spoils.
            async with connect(tap.ws_url, subprotocol="lc.protobuf2.3") as client:
                await converse(client)
            await tap.heard("[1] closed by")
            happenings = tap.lines()
        for change, place in (
            ({"msg_id": "m3"}, "logs[1].msgId"),
            ({"timestamp": 1_700_000_000_009}, "logs[1].timestamp"),
            ({}, None),
        ):
            items = [old[0], LogItem(**{**vars_of(old[1]), **change})]
            async with spoiling(server.url, history(items)) as url:
                report = await performed(happenings, url)
            assert report.bad == bool(change), table(report)
            assert place is None or place in table(report)


def vars_of(item):
    return {name: value for name, value in vars(item).items() if not name.startswith("_")}


@pytest.mark.parametrize("subprotocol", [None, "lc.json.1", "lc.protobuf2.1", "lc.proto2base64.3"])
async def test_ours_is_spoken_to_in_the_sub_protocol_of_the_client(subprotocol):
    """Also in none; and frames that nothing has to change in arrive as they were."""
    dialect = {None: "json", "lc.json.1": "json", "lc.protobuf2.1": "protobuf"}.get(
        subprotocol, "base64"
    )
    async with open_server(apps=[APP]) as server, tapping(server.url) as tap:
        async with connect(tap.ws_url, subprotocol=subprotocol) as client:
            await converse(client, dialect)
        await tap.heard("[1] closed by")
        happenings = tap.lines()
    assert happenings[0].subprotocol == (subprotocol or "")
    async with open_server(apps=[APP]) as server, tapping(server.url) as ours:
        report = await performed(happenings, ours.url)
        await ours.heard("[1] closed by")
        assert ours.lines()[0].subprotocol == (subprotocol or "")
        assert ours.frames()[0].payload == happenings[1].payload
    assert report.bad == 0, table(report)
    assert {"session/open", "conv/start", "logs"} <= report.rows.keys()


async def converse(client, dialect="protobuf"):
    """A conversation is made, and its history read."""
    encode = DIALECTS[dialect].encode
    login = GenericCommand(
        cmd=CommandType.SESSION,
        op=OpType.OPEN,
        app_id=APP.id,
        peer_id="Tom",
        i=1,
        session_message=SessionCommand(ua="test"),
    )
    start = GenericCommand(
        cmd=CommandType.CONV, op=OpType.START, i=2, conv_message=ConvCommand(m=["Tom", "Spike"])
    )
    await client.send(encode(login))
    await answer(client, 1, dialect)
    await client.send(encode(start))
    cid = (await answer(client, 2, dialect)).conv_message.cid
    logs = GenericCommand(cmd=CommandType.LOGS, i=3, logs_message=LogsCommand(cid=cid))
    await client.send(encode(logs))
    await answer(client, 3, dialect)


async def answer(client, number, dialect):
    while True:
        for payload in await client.receive():
            command = DIALECTS[dialect].decode(payload)
            if command.i == number:
                return command


async def test_a_login_again_uses_the_token_that_ours_has_given():
    """Recordings hold no tokens, and those of the old service mean nothing to ours."""
    async with open_server(apps=[APP]) as server, tapping(server.url) as tap:
        async with open_client("Tom", app_id=APP.id, app_key=APP.key, server=tap.url) as tom:
            online = tom.events(Reconnected)
            server.drop_connections()
            await anext(online)
            await tom.create_conversation(["Jerry"])
        await tap.heard("[2] closed by")
        happenings = tap.lines()
    opens = [
        frame.command().session_message.st
        for frame in happenings
        if isinstance(frame, Recorded)
        and frame.direction == "to-server"
        and frame.command().session_message is not None
    ]
    assert "***" in opens
    async with open_server(apps=[APP]) as server:
        report = await performed(happenings, server.url, patience=0.5)
    # That the connection broke is the only thing that ours does not do by itself.
    assert {name for name, row in report.rows.items() if row.bad} == {"connection"}, table(report)
    assert report.rows["session/open"].equal == 2
    assert "is: closed with 1006, ours open" in table(report).replace('"', "")


async def test_frames_that_are_no_commands_are_counted():
    happenings = [
        *(await recorded())[:4],
        Recorded(now(), 1, "to-server", "protobuf", b"***"),
        Recorded(now(), 1, "to-client", "protobuf", b"***"),
    ]
    async with open_server(apps=[APP]) as server:
        report = await performed(happenings, server.url, patience=0.2)
    assert report.unreadable == 2
