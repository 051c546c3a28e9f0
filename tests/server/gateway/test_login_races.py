"""Messages and edits that are committed while a client logs in."""

from __future__ import annotations

from threading import Event

import pytest
import trio

from tests.server.gateway.test_slow_bus import SECOND, SlowBus
from tests.server.gateway.world import (
    HANDSHAKE,
    conversation_of,
    direct,
    masked,
    opening,
    peer_of,
    world,
)
from trio_realtime.server.gateway import backlog
from trio_realtime.server.gateway.unfinished import PRUNED_AT, Unfinished
from trio_realtime.server.store.sqlite.runner import Runner
from trio_realtime.testing import memory_streams, open_server
from trio_realtime.wire import (
    CommandType,
    GenericCommand,
    OpType,
    PatchCommand,
    PatchItem,
    encode,
)

OFFLINE, COUNTED = "lc.protobuf2.1", "lc.protobuf2.3"
PATIENCE = 20


async def heard(peer):
    """What has been pushed, when nothing more is on its way."""
    await peer.call(GenericCommand(cmd=CommandType.ECHO))
    return peer.pushed


def texts(pushes):
    return [push.direct_message.msg for push in pushes if push.cmd == CommandType.DIRECT]


@pytest.mark.parametrize("subprotocol", [OFFLINE, COUNTED])
async def test_a_message_between_grant_and_arrival_comes_once(
    subprotocol, autojump_clock, monkeypatch
):
    monkeypatch.setattr("trio_realtime.server.server.LocalBus", SlowBus)
    async with (
        world() as server,
        peer_of(server) as tom,
        peer_of(server, subprotocol=subprotocol) as jerry,
    ):
        await tom.login("Tom")
        cid = await conversation_of(tom, "Tom", "Jerry")
        login = jerry.number(opening(server.app_id, "Jerry"))
        await jerry.send(login)
        await trio.sleep(SECOND * 1.5)  # granted, and not yet among those who are online
        assert server.stats().sessions == 1
        await tom.call(direct(cid, "between"))
        await jerry.reply_to(login.i)
        await trio.sleep(SECOND)
        pushes = await heard(jerry)
        if subprotocol == OFFLINE:
            assert texts(pushes) == ["between"]
        else:
            (unread,) = (p.unread_message for p in pushes if p.cmd == CommandType.UNREAD)
            assert (unread.convs[0].unread, texts(pushes)) == (1, [])


async def test_a_message_found_before_its_commit_is_reported_comes_once(monkeypatch):
    committed, found, late = Event(), Event(), Event()
    write, read = Runner.write, Runner.read

    def write_and_wait(runner, batch):
        results = write(runner, batch)
        if late.is_set():
            committed.set()
            assert found.wait(PATIENCE)
        return results

    def wait_and_read(runner, job):
        assert committed.wait(PATIENCE)
        return read(runner, job)

    async with open_server() as server, peer_of(server) as tom:
        await tom.login("Tom")
        cid = await conversation_of(tom, "Tom", "Jerry")
        monkeypatch.setattr(Runner, "write", write_and_wait)
        monkeypatch.setattr(Runner, "read", wait_and_read)
        async with peer_of(server, subprotocol=OFFLINE) as jerry:
            with trio.fail_after(PATIENCE):
                await jerry.login("Jerry")
                late.set()
                said = tom.number(direct(cid, "early"))
                await tom.send(said)
                pushes = [await jerry.push(CommandType.DIRECT)]
                assert pushes[0].direct_message.offline
                late.clear()
                found.set()
                await tom.reply_to(said.i)
                await tom.call(direct(cid, "later"))
                while texts(pushes)[-1] != "later":
                    pushes.append(await jerry.push(CommandType.DIRECT))
        assert texts(pushes) == ["early", "later"]


async def test_an_edit_beside_a_login_follows_the_older_one(monkeypatch):
    async with open_server() as server, peer_of(server) as tom:
        await tom.login("Tom")
        cid = await conversation_of(tom, "Tom", "Jerry")
        ack = (await tom.call(direct(cid, "x"))).ack_message

        async def edit(text):
            item = PatchItem(cid=cid, mid=ack.uid, timestamp=ack.t, recall=False, data=text)
            message = PatchCommand(patches=[item])
            command = GenericCommand(cmd=CommandType.PATCH, op=OpType.MODIFY, patch_message=message)
            assert (await tom.call(command)).op == OpType.MODIFIED

        await trio.sleep(0.01)
        await edit("old")
        looked, told = Event(), Event()
        find = backlog.find_backlog

        def find_and_wait(tx, login):
            found = find(tx, login)
            looked.set()
            assert told.wait(PATIENCE)
            return found

        monkeypatch.setattr(backlog, "find_backlog", find_and_wait)
        async with peer_of(server) as jerry:
            with trio.fail_after(PATIENCE):
                await jerry.login("Jerry", last_patch_time=ack.t)
                await trio.to_thread.run_sync(looked.wait, PATIENCE)
                await edit("new")
                told.set()
                said = []
                while "old" not in said or "new" not in said:
                    push = await jerry.push(CommandType.PATCH)
                    said.append(push.patch_message.patches[0].data)
        assert said == ["old", "new"]


async def test_who_hangs_up_before_the_answer_is_not_online(autojump_clock, monkeypatch):
    monkeypatch.setattr("trio_realtime.server.server.LocalBus", SlowBus)
    async with world() as server:
        ours, theirs = memory_streams()
        server.server.accept(theirs)
        await ours.send_all(HANDSHAKE)
        await ours.receive_some()
        send_all = theirs.send_all

        async def send_slowly(data):
            await trio.sleep(SECOND * 1.5)
            await send_all(data)

        # The login is granted while the answer to the goodbye is still being written.
        theirs.send_all = send_slowly
        login = opening(server.app_id, "Jerry")
        login.i = 1
        await ours.send_all(masked(encode(login)) + masked(b"\x03\xe8", opcode=0x88))
        await trio.sleep(60)
        assert server.stats().sessions == 0


async def test_what_was_said_before_a_return_is_no_news_from_another_device(monkeypatch):
    free, busy = Event(), Event()
    write = Runner.write

    def wait_and_write(runner, batch):
        busy.set()
        assert free.wait(PATIENCE)
        return write(runner, batch)

    async with open_server() as server, peer_of(server) as tom, peer_of(server) as jerry:
        await tom.login("Tom")
        await jerry.login("Jerry")
        cid = await conversation_of(tom, "Tom", "Jerry")
        monkeypatch.setattr(Runner, "write", wait_and_write)
        with trio.fail_after(PATIENCE):
            first = jerry.number(direct(cid, "first in the queue"))
            await jerry.send(first)
            await trio.to_thread.run_sync(busy.wait, PATIENCE)
            for text in ("one", "two", "three"):
                await tom.send(tom.number(direct(cid, text)))
            await heard(tom)
            async with peer_of(server) as again:
                login = again.number(opening(server.app_id, "Tom"))
                await again.send(login)
                await heard(again)
                free.set()
                await again.reply_to(login.i)
                await jerry.reply_to(first.i)
                for _ in range(3):
                    await jerry.push(CommandType.DIRECT)
                assert texts(await heard(again)) in ([], ["first in the queue"])


def test_clients_that_have_left_are_forgotten():
    class Connection:
        busy = True

    unfinished, kept = Unfinished(), Connection()
    unfinished.arrived("Tom", kept)
    for number in range(PRUNED_AT + 2):
        connection = Connection()
        unfinished.arrived(f"c{number}", connection)
        unfinished.gone(f"c{number}", connection)
        del connection
    assert len(unfinished._connections) < 5
    assert unfinished.busy("Tom", Connection()) == [kept]
    assert unfinished.busy("Tom", kept) == []
    kept.busy = False
    unfinished.gone("Tom", kept)
    assert "Tom" not in unfinished._connections
