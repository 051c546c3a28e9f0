"""Receivers that take what they asked for slowly, or not at all."""

from __future__ import annotations

import pytest
import trio

from tests.server.gateway.world import (
    HANDSHAKE,
    conversation_of,
    direct,
    masked,
    opening,
    peer_of,
    world,
)
from trio_realtime.server import Limits
from trio_realtime.wire import (
    CommandType,
    GenericCommand,
    LogsCommand,
    decode,
    encode,
)

PAGE = 100
BODY = "x" * 4900
"""A hundred of them are one page, complete, of nearly half a MiB."""


def logs(cid, i, limit=PAGE):
    return GenericCommand(cmd=CommandType.LOGS, i=i, logs_message=LogsCommand(cid=cid, limit=limit))


async def filled(peer, *members, count=PAGE):
    cid = await conversation_of(peer, *members)
    for _ in range(count):
        await peer.call(direct(cid, BODY))
    return cid


async def raw(server, *commands, subprotocol=b"lc.protobuf2.3"):
    """A connection of which nothing is read, and what it asks for in one go."""
    stream = await server.connect()
    handshake = HANDSHAKE.replace(b"lc.protobuf2.3", subprotocol)
    await stream.send_all(handshake + b"".join(masked(encode(command)) for command in commands))
    return stream


async def taken(stream, until):
    """The commands that a server has sent, until one of them is what is waited for."""
    data = bytearray()
    while b"\r\n\r\n" not in data:
        data += await stream.receive_some()
    del data[: data.index(b"\r\n\r\n") + 4]
    found = []
    while True:
        size, head = data[1] & 0x7F if len(data) > 1 else 0, 2
        if size == 126:
            size, head = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(data[2:10], "big"), 10
        if len(data) < max(2, head) or len(data) < head + size:
            more = await stream.receive_some()
            assert more, "the server has closed"
            data += more
            continue
        assert data[0] == 0x82, bytes(data[:200])
        found.append(decode(bytes(data[head : head + size])))
        del data[: head + size]
        if until(found[-1]):
            return found


async def test_twelve_silent_readers_of_sixty_four_pages_cost_little(clock):
    limits = Limits(outbound_bytes=1024 * 1024)
    async with world(limits=limits) as server, peer_of(server) as tom:
        await tom.login("Tom")
        cid = await filled(tom, *(f"r{n}" for n in range(12)))
        streams = [
            await raw(
                server,
                opening(server.app_id, f"r{n}"),
                *(logs(cid, i) for i in range(64)),
            )
            for n in range(12)
        ]
        await trio.sleep(30)
        page = PAGE * 5000
        assert server.stats().queue_bytes <= 12 * (limits.outbound_bytes // 2 + page)
        assert server.stats().connections == 13
        for stream in streams:
            replies = await taken(stream, lambda command: command.i == 63)
            pages = [reply for reply in replies if reply.cmd == CommandType.LOGS]
            assert [page.i for page in pages] == list(range(64))
            assert {len(page.logs_message.logs) for page in pages} == {PAGE}
        assert server.stats().metrics.closes[1013] == 0


async def test_a_push_during_a_large_page_closes_nobody(clock):
    limits = Limits(outbound_bytes=200_000)
    async with world(limits=limits) as server, peer_of(server) as tom:
        await tom.login("Tom")
        cid = await filled(tom, "Slow")
        stream = await raw(server, opening(server.app_id, "Slow"), logs(cid, 1))
        await trio.sleep(5)
        assert server.stats().queue_bytes > 2 * limits.outbound_bytes
        for n in range(10):
            await tom.call(direct(cid, f"push {n}"))
        await trio.sleep(5)
        assert server.stats().sessions == 2
        heard = await taken(
            stream, lambda c: c.direct_message is not None and c.direct_message.msg == "push 9"
        )
        assert sum(command.cmd == CommandType.DIRECT for command in heard) == 10
        assert server.stats().metrics.closes[1013] == 0


async def test_what_others_push_is_bounded_beside_a_large_page(clock):
    limits = Limits(outbound_bytes=200_000)
    async with world(limits=limits) as server, peer_of(server) as tom:
        await tom.login("Tom")
        cid = await filled(tom, "Slow")
        stream = await raw(server, opening(server.app_id, "Slow"), logs(cid, 1))
        await trio.sleep(5)
        for _ in range(60):
            await tom.call(direct(cid, BODY))
        await trio.sleep(5)
        assert server.stats().sessions == 1
        await stream.aclose()
        await trio.sleep(5)
        assert server.stats().metrics.closes[1013] + server.stats().metrics.closes[1006] == 1
        assert server.stats().metrics.limits["outbound_bytes"] == 1


@pytest.mark.parametrize("subprotocol", [b"lc.protobuf2.3", b"lc.protobuf2.1"])
async def test_what_a_login_has_missed_closes_nobody(subprotocol, clock):
    limits = Limits(outbound_bytes=50_000)
    async with world(limits=limits) as server, peer_of(server) as tom:
        await tom.login("Tom")
        chats = [await filled(tom, "Slow", f"other{n}", count=1) for n in range(40)]
        stream = await raw(server, opening(server.app_id, "Slow"), subprotocol=subprotocol)
        await trio.sleep(1)
        assert server.stats().queue_bytes > 2 * limits.outbound_bytes
        await tom.call(direct(chats[0], "live"))
        heard = await taken(
            stream, lambda c: c.direct_message is not None and c.direct_message.msg == "live"
        )
        if subprotocol.endswith(b"3"):
            (unread,) = (c.unread_message for c in heard if c.cmd == CommandType.UNREAD)
            assert {counter.cid for counter in unread.convs} == set(chats)
        else:
            assert {c.direct_message.cid for c in heard if c.direct_message} == set(chats)
        assert server.stats().metrics.closes[1013] == 0


async def test_pushes_that_wait_for_a_backlog_are_bounded(clock):
    limits = Limits(outbound_bytes=100_000)
    async with world(limits=limits) as server, peer_of(server) as tom:
        await tom.login("Tom")
        cid = await filled(tom, "Slow")
        # The second login waits for the page to be taken.
        await raw(
            server,
            opening(server.app_id, "Slow"),
            logs(cid, 1),
            logs(cid, 2),
            opening(server.app_id, "Slow"),
            subprotocol=b"lc.protobuf2.1",
        )
        await trio.sleep(5)
        for _ in range(40):
            await tom.call(direct(cid, BODY))
        await trio.sleep(5)
        assert server.stats().sessions == 1
        assert server.stats().metrics.limits["outbound_bytes"] == 1
