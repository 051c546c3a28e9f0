"""Attacks by those who have not logged in."""

from __future__ import annotations

import secrets
from contextlib import suppress
from itertools import repeat

import trio

from trio_realtime.transport import TransportClosed, connect
from trio_realtime.wire import CommandType, GenericCommand, encode

from .attacker import (
    GONE,
    HANDSHAKE,
    PIECE,
    Attacker,
    attacker,
    frame,
    opening,
    ready,
    send_for_ever,
)

HALF = b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "


async def garbage(port: int) -> None:
    """Frames that are no commands, on a new connection each, a hundred a second."""
    ready()
    while True:
        async with connect(f"ws://127.0.0.1:{port}", subprotocol="lc.protobuf2.3") as link:
            with suppress(TransportClosed):
                await link.send(secrets.token_bytes(1000))
                await link.receive()
        await trio.sleep(0.01)


async def slow_loris(port: int) -> None:
    """Five hundred connections that send a head one byte at a time."""

    async def drip() -> None:
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                await stream.send_all(HALF)
                while True:
                    await trio.sleep(1)
                    await stream.send_all(b"x")
            except GONE:
                await trio.sleep(0.5)

    async with trio.open_nursery() as nursery:
        for _ in range(500):
            nursery.start_soon(drip)
            await trio.sleep(0.002)
        ready()


async def idle(port: int) -> None:
    """A thousand connections that log in and say nothing."""

    async def stay(number: int) -> None:
        async with attacker(port, f"idle{number}"):
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for number in range(1000):
            nursery.start_soon(stay, number)
            await trio.sleep(0.002)
        ready()


PING = frame(0x9, b"")
ECHO = frame(0x2, encode(GenericCommand(cmd=CommandType.ECHO, i=1)))


async def barrage(port: int, *, of: bytes, connections: int) -> None:
    """Frames in pieces of 64 KiB before any login, with all answers taken."""
    await _flood(port, HANDSHAKE % b"lc.protobuf2.3", of * (PIECE // len(of)), connections)


async def odd_targets(port: int) -> None:
    """Requests with targets that are no URLs."""
    ready()
    while True:
        with suppress(*GONE):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(b"GET //[x HTTP/1.1\r\nHost: x\r\n\r\n")
                await stream.receive_some(PIECE)


CHUNKS = b"1\r\nx\r\n"
FRAGMENTS = b"\x00\x81\0\0\0\0x"
"""One letter each: of the body of a request, and of a message."""
NESTED = b'{"a":' * 800
"""As much as one frame may have."""
POST = (
    b"POST /1.1/rtm/messages HTTP/1.1\r\nHost: x\r\nX-LC-Id: app\r\nX-LC-Key: wrong\r\n"
    b"Content-Type: application/json\r\n%s\r\n"
)
LARGE = 60_000


async def tiny_chunks(port: int) -> None:
    """Ten requests whose bodies come in chunks of one letter, again and again."""
    piece = CHUNKS * (PIECE // len(CHUNKS))
    await _flood(port, POST % b"Transfer-Encoding: chunked\r\n", piece)


async def tiny_fragments(port: int) -> None:
    """Ten messages in fragments of one letter, again and again, before any login."""
    piece = FRAGMENTS * (PIECE // len(FRAGMENTS))
    await _flood(port, HANDSHAKE % b"lc.protobuf2.3" + b"\x02\x80\0\0\0\0", piece)


async def nested_json(port: int) -> None:
    """Commands in JSON that nest as deep as they can, on ten connections before any login."""
    piece = frame(0x1, NESTED) * (PIECE // len(NESTED))
    await _flood(port, HANDSHAKE % b"lc.json.3", piece)


async def large_bodies(port: int) -> None:
    """Requests with a large body that nests, and a wrong key, on ten connections."""
    body = b"[" * LARGE
    request = POST % b"Content-Length: %d\r\n" % len(body) + body
    await _flood(port, request, request)


async def _flood(port: int, greeting: bytes, piece: bytes, connections: int = 10) -> None:
    async def one() -> None:
        while True:
            with suppress(*GONE):
                await send_for_ever(port, greeting, repeat(piece))
            await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        for _ in range(connections):
            nursery.start_soon(one)
        ready()


async def failed_logins(port: int) -> None:
    """Logins in the name of the bystander, with a token that is none."""
    ready()
    while True:
        with suppress(TransportClosed):
            async with connect(f"ws://127.0.0.1:{port}", subprotocol="lc.protobuf2.3") as link:
                await Attacker(link, "").pipeline(opening("bystander", "x") for _ in repeat(None))
