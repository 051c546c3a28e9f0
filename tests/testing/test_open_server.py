from __future__ import annotations

import threading

import pytest
import trio

from tests.server.gateway.world import PROTOBUF, Peer, conversation_of, direct, peer_of, world
from trio_realtime.server import App
from trio_realtime.testing import memory_streams, open_server
from trio_realtime.testing._pipe import CAPACITY
from trio_realtime.transport import ConnectError, connect
from trio_realtime.wire import CommandType


@pytest.mark.parametrize("memory", [True, False])
async def test_a_restart_keeps_address_and_data(memory):
    async with open_server(memory=memory) as server:
        url = server.url
        options = {"open_stream": server.open_stream} if memory else {}

        def connected():
            return connect(server.ws_url, subprotocol=PROTOBUF, **options)

        async with connected() as transport:
            tom = Peer(transport, server.app_id)
            await tom.login("Tom")
            cid = await conversation_of(tom, "Tom", "Jerry")
            await tom.call(direct(cid, "hi"))
            await server.stop()
            assert (await tom.closed())[0] == 1006
        with pytest.raises(RuntimeError):
            server.stats()
        with pytest.raises(ConnectError):
            async with connected():
                pytest.fail("accepted")  # pragma: no cover
        await server.start()
        assert server.url == url
        async with connected() as transport:
            jerry = Peer(transport, server.app_id)
            await jerry.login("Jerry")
            push = await jerry.push(CommandType.UNREAD)
            assert push.unread_message.convs[0].cid == cid
            await server.restart(drain=0.1)
            assert await jerry.closed() == (1001, "GOING_AWAY")
            assert jerry.pushed[-1].cmd == CommandType.GOAWAY


async def test_data_may_be_given(tmp_path):
    for expected in (0, 1):
        async with (
            open_server(data=tmp_path) as server,
            connect(server.ws_url, subprotocol=PROTOBUF) as transport,
        ):
            tom = Peer(transport, server.app_id)
            await tom.login("Tom")
            if expected:
                assert (await tom.push(CommandType.UNREAD)).unread_message.convs
            else:
                await tom.login("Jerry")
                cid = await conversation_of(tom, "Tom", "Jerry", client_id="Jerry")
                await tom.call(direct(cid, "hi", "Jerry"))


async def test_in_memory_there_are_no_threads():
    before = threading.active_count()
    async with world() as server, peer_of(server) as peer:
        await peer.login("Tom")
        assert threading.active_count() == before


async def test_time_passes_as_in_trio(autojump_clock):
    async with world() as server:
        before = server.server.config.clock()
        await trio.sleep(1000)
        assert server.server.config.clock() - before == 1_000_000


@pytest.mark.parametrize("client_id", [None, "Tom"])
async def test_connections_can_be_dropped(client_id):
    async with world() as server, peer_of(server) as tom, peer_of(server) as jerry:
        await tom.login("Tom")
        await jerry.login("Jerry")
        assert server.drop_connections(client_id) == (2 if client_id is None else 1)
        assert (await tom.closed())[0] == 1006
        if client_id is None:
            assert (await jerry.closed())[0] == 1006
        else:
            await jerry.nothing_more()


async def test_apps_are_as_given():
    apps = [App("one", "k1", "m1"), App("two", "k2", "m2")]
    async with world(apps=apps) as server, peer_of(server, app_id="two") as peer:
        assert (server.app_id, server.app_key, server.master_key) == ("one", "k1", "m1")
        await peer.login("Tom")


@pytest.mark.parametrize("memory", [True, False])
async def test_an_exception_of_the_block_comes_out_as_it_is(memory):
    with pytest.raises(ZeroDivisionError):
        async with open_server(memory=memory):
            raise ZeroDivisionError


async def test_cancelling_the_block_ends_the_server():
    with trio.move_on_after(5) as scope:
        async with world() as server, peer_of(server) as peer:
            await peer.login("Tom")
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_pipes_behave_like_sockets():
    async def maker():
        return memory_streams()

    async def full_maker():
        one, two = memory_streams()
        await one.send_all(b"x" * CAPACITY)
        await two.send_all(b"x" * CAPACITY)
        return one, two

    await trio.testing.check_half_closeable_stream(maker, full_maker)
