"""What costs much to hold open or to unpack: it ends in time, and nobody else notices."""

from __future__ import annotations

import gzip
import re
import zlib
from contextlib import asynccontextmanager

import httpx2
import pytest
import trio

from tests.server.gateway.world import (
    HANDSHAKE,
    PATIENCE,
    conversation_of,
    direct,
    masked,
    opening,
    peer_of,
    world,
)
from tests.server.serve_process import free_port, serving
from trio_realtime.server import Limits
from trio_realtime.testing import open_server
from trio_realtime.wire import CommandType, GenericCommand, encode


@asynccontextmanager
async def bystanders(server):
    """Two who keep talking, at a server that is in this process."""
    async with talking(server):
        yield
    assert server.stats().metrics.internal_errors_total == 0


@asynccontextmanager
async def talking(server):
    """Two who keep talking from the beginning to the end."""
    async with peer_of(server) as tom, peer_of(server) as jerry:
        await tom.login("Tom")
        await jerry.login("Jerry")
        cid = await conversation_of(tom, "Tom", "Jerry")
        heard = 0

        async def talk():
            nonlocal heard
            while True:
                assert (await tom.call(direct(cid, "x"))).ack_message.code is None
                await jerry.push(CommandType.DIRECT)
                await jerry.call(GenericCommand(cmd=CommandType.ECHO))
                heard += 1
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            await trio.sleep(1.5)
            before = heard
            yield
            await trio.sleep(3)
            assert heard >= before + 2
            nursery.cancel_scope.cancel()


async def until_closed(stream):
    """What the server says, and when it has closed, in seconds."""
    began, said = trio.current_time(), b""
    with trio.fail_after(PATIENCE):
        try:
            while data := await stream.receive_some():
                said += data
        except trio.BrokenResourceError:
            pass
    return said, trio.current_time() - began


LIMITS = Limits(
    head_timeout=5, body_timeout=6, login_timeout=7, read_timeout=300, keep_alive=8, close_timeout=1
)
POST = b"POST /1.1/rtm/sign HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"

LORIS = {
    "nothing at all": (b"", 5),
    "half a head": (b"GET / HTTP/1.1\r\nHost:", 5),
    "half a head of a handshake": (HANDSHAKE[:60], 5),
    "a body that never ends": (POST + b"{", 6),
    "a handshake and no login": (HANDSHAKE, 7),
    "half a frame": (HANDSHAKE + masked(b"x" * 100)[:20], 7),
    "nothing after an answer": (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 8),
}


@pytest.mark.parametrize("start", LORIS)
async def test_who_stops_half_way_is_closed_in_time(start, clock):
    data, limit = LORIS[start]
    async with world(limits=LIMITS) as server, bystanders(server):
        stream = await server.connect()
        if data:
            await stream.send_all(data)
        _, seconds = await until_closed(stream)
        assert seconds <= limit + LIMITS.close_timeout + 1


@pytest.mark.parametrize("start", ["half a head", "a body that never ends", "half a frame"])
async def test_dripping_buys_no_time(start, clock):
    data, limit = LORIS[start]
    async with world(limits=LIMITS) as server, bystanders(server):
        stream = await server.connect()
        await stream.send_all(data)

        async def drip():
            while True:
                await trio.sleep(1)
                try:
                    await stream.send_all(b"x")
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            _, seconds = await until_closed(stream)
            nursery.cancel_scope.cancel()
        assert seconds <= limit + LIMITS.close_timeout + 1


async def test_a_logged_in_client_that_drips_half_a_frame_is_silent(clock):
    async with world(limits=LIMITS) as server, bystanders(server):
        stream = await server.connect()
        await stream.send_all(HANDSHAKE + masked(encode(opening(server.app_id, "Loris"))))
        await stream.send_all(masked(b"x" * 1000)[:10])
        said, seconds = await until_closed(stream)
        assert seconds <= LIMITS.read_timeout + LIMITS.close_timeout + 1
        assert b"READ_TIMEOUT" in said


async def test_compression_is_not_negotiated(clock):
    offer = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    async with world() as server, bystanders(server):
        stream = await server.connect()
        await stream.send_all(HANDSHAKE[:-2] + offer)
        answer = await stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"extensions" not in answer.lower()
        await stream.aclose()


@pytest.mark.parametrize("reserved", [0x40, 0x20, 0x10])
async def test_a_frame_marked_as_compressed_is_a_violation(reserved, clock):
    bomb = zlib.compress(bytes(10_000_000))[2:4000]
    async with world() as server, bystanders(server):
        stream = await server.connect()
        await stream.send_all(HANDSHAKE)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")
        await stream.send_all(masked(bomb, opcode=0x82 | reserved))
        said, _ = await until_closed(stream)
        assert said[:2] == b"\x88" + said[1:2]
        assert int.from_bytes(said[2:4], "big") == 1002


async def test_a_compressed_body_is_not_unpacked(clock):
    bomb = gzip.compress(b'{"session_token":"' + b"x" * 10_000_000 + b'"}')
    async with world() as server, bystanders(server):
        head = (
            b"POST /1.1/rtm/sign HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n"
            b"X-LC-Id: %s\r\nX-LC-Key: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        ) % (server.app_id.encode(), server.app_key.encode(), len(bomb))
        stream = await server.connect()
        await stream.send_all(head + bomb)
        said, _ = await until_closed(stream)
        assert said.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "line",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        b"GET /heal\tthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /%0d%0aSet-Cookie:x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://x/v1/route?appId=%0d%0aX:y HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_no_header_can_be_smuggled(line, clock):
    async with world(limits=LIMITS) as server, bystanders(server):
        stream = await server.connect()
        await stream.send_all(line)
        said, _ = await until_closed(stream)
        assert said.startswith(b"HTTP/1.1 4")
        assert said.count(b"HTTP/1.1 ") == 1
        assert b"Set-Cookie" not in said.partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize("host", [b"evil\r\nX-Injected: 1", b"x\0y", b"a b"])
async def test_a_host_header_cannot_break_out_of_an_answer(host, clock):
    async with world(limits=LIMITS) as server, bystanders(server):
        stream = await server.connect()
        path = b"/v1/route?appId=" + server.app_id.encode()
        await stream.send_all(b"GET " + path + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        said, _ = await until_closed(stream)
        assert b"X-Injected" not in said.partition(b"\r\n\r\n")[0]


async def hold(server, count):
    """Many connections that shook hands, logged in and say nothing."""
    streams = []
    for number in range(count):
        stream = await trio.open_tcp_stream("127.0.0.1", server.server.port)
        await stream.send_all(HANDSHAKE + masked(encode(opening(server.app_id, f"idle{number}"))))
        streams.append(stream)
    return streams


async def idle(count):
    async with open_server() as server, bystanders(server):
        streams = await hold(server, count)
        with trio.fail_after(120):
            while server.stats().sessions < count + 2:  # noqa: ASYNC110 - no event tells
                await trio.sleep(0.05)
        assert server.stats().connections == count + 2
        await trio.sleep(2)
        assert server.stats().sessions == count + 2
        for stream in streams:
            await trio.aclose_forcefully(stream)


async def test_idle_connections_harm_nobody():
    await idle(300)


class Elsewhere:
    """The real program in a process of its own, as far as the tests here need it."""

    app_id, open_stream = "app", None

    def __init__(self, port):
        self.port = port
        self.ws_url = f"ws://127.0.0.1:{port}"

    async def metric(self, name):
        # While thousands log in at once the answer may take its time.
        async with httpx2.AsyncClient(timeout=120) as client:
            text = (await client.get(f"http://127.0.0.1:{self.port}/metrics")).text
        return int(re.search(rf"^trio_realtime_{name} (\d+)$", text, re.MULTILINE)[1])


@pytest.mark.slow
async def test_ten_thousand_idle_connections_harm_nobody(tmp_path):
    count = 10_000
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + 500:
        pytest.skip(f"this machine allows {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 500, hard))
    port = free_port()
    streams = []
    try:
        async with serving(tmp_path, port):
            server = Elsewhere(port)
            async with talking(server):
                for number in range(count):
                    stream = await trio.open_tcp_stream("127.0.0.1", port)
                    await stream.send_all(
                        HANDSHAKE + masked(encode(opening(server.app_id, f"idle{number}")))
                    )
                    streams.append(stream)
                with trio.fail_after(240):
                    while await server.metric("sessions") < count + 2:  # noqa: ASYNC110
                        await trio.sleep(0.5)
                await trio.sleep(5)
                assert await server.metric("sessions") == count + 2
                assert await server.metric("internal_errors_total") == 0
    finally:
        for stream in streams:
            await trio.aclose_forcefully(stream)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_body_in_crumbs_is_read_slowly(clock):
    async with world(limits=Limits(body_timeout=100)) as server, bystanders(server):
        stream = await server.connect()
        head = b"POST /1.1/rtm/sign HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        crumbs = b"1\r\n{\r\n" * 2000 + b"0\r\n\r\n"
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, head + b"Connection: close\r\n\r\n" + crumbs)
            assert b" 40" in await stream.receive_some()
        assert 25 < trio.current_time() - began < 60
        await stream.aclose()


async def test_a_body_in_few_crumbs_is_not(clock):
    async with world() as server:
        stream = await server.connect()
        head = b"POST /1.1/rtm/sign HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        began = trio.current_time()
        await stream.send_all(head + b"1\r\n \r\n" * 400 + b"0\r\n\r\n")
        assert b" 40" in await stream.receive_some()
        assert trio.current_time() == began
        await stream.aclose()


@pytest.mark.parametrize("size", [0, 1])
async def test_a_message_in_crumbs_is_read_slowly(size, clock):
    async with world() as server, bystanders(server):
        stream = await server.connect()
        await stream.send_all(HANDSHAKE)
        await stream.receive_some()
        payload = encode(GenericCommand(cmd=CommandType.ECHO))
        crumbs = masked(payload[:1], 0x02) + masked(b"\0"[:size], 0) * 1000
        began = trio.current_time()
        await stream.send_all(crumbs + masked(b"", 0x80) + masked(b"", 0x89))
        assert await stream.receive_some()
        assert trio.current_time() - began > 20
        await stream.aclose()
