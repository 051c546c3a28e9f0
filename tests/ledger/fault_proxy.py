"""A proxy that does to connections what networks do.

`FaultProxy.relay` carries bytes between two streams as the connection's fate wills. It is
used in two ways: behind a TCP listener between real clients and a real server process, and
around the in-memory streams of ``open_server(memory=True)``, where time is virtual.
"""

from __future__ import annotations

import random
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable

import attrs
import trio

from tests.ledger.fault_plan import CALM, Climate, End, Fate, Weather, fate
from trio_realtime.testing import memory_streams

CHUNK = 64 * 1024
GONE = (trio.BrokenResourceError, trio.ClosedResourceError)

Connect = Callable[[], Awaitable[trio.abc.HalfCloseableStream]]


@attrs.define(eq=False)
class Line:
    """One connection through the proxy."""

    fate: Fate
    client: trio.abc.HalfCloseableStream
    server: trio.abc.HalfCloseableStream
    weather: Weather = CALM
    mute: bool = False
    """The client is heard no longer; what it says is kept."""
    deaf: bool = False
    """What the server says is swallowed."""
    unsaid: bytearray = attrs.field(factory=bytearray)
    speaking: trio.Lock = attrs.field(factory=trio.Lock)
    """Held while something is said to the server."""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


class FaultProxy:
    """Carries connections to a server, well while it is `calm`, badly otherwise."""

    def __init__(
        self, nursery: trio.Nursery, connect: Connect, *, seed: int, climate: Climate
    ) -> None:
        self.calm = True
        self.ends: Counter[End] = Counter()
        """How connections have ended by fate."""
        self.connections = 0
        self._nursery = nursery
        self._connect = connect
        self._seed = seed
        self._climate = climate
        self._lines: set[Line] = set()

    def storm(self) -> None:
        """From now on fate strikes; it also befalls the connections that exist."""
        self.calm = False
        for line in self._lines:
            self._nursery.start_soon(self._befall, line)

    def clear(self) -> None:
        """The weather is fine again. Connections that are already lost stay lost."""
        self.calm = True
        for line in self._lines:
            line.weather = CALM

    async def cut(self, share: float, rng: random.Random) -> int:
        """Reset this share of the connections now; returns how many."""
        unlucky = [line for line in self._lines if rng.random() < share]
        for line in unlucky:
            await abort(line.client)
            await abort(line.server)
        return len(unlucky)

    # The two ways in.

    async def listen(self) -> int:
        """Listen on a free port of the loopback; returns it."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self._nursery.start_soon(trio.serve_listeners, self.carry, [listener])
        return int(listener.socket.getsockname()[1])

    async def open_stream(self, _host: str, _port: int) -> trio.abc.Stream:
        """An in-memory connection through the proxy; fits ``open_client(open_stream=...)``."""
        server = await self._connect()
        ours, theirs = memory_streams()
        self._nursery.start_soon(self.relay, theirs, server)
        return ours

    async def carry(self, client: trio.abc.HalfCloseableStream) -> None:
        """Carry what was accepted to the server; without a server it is reset."""
        try:
            server = await self._connect()
        except OSError:
            await abort(client)
            return
        await self.relay(client, server)

    async def relay(
        self, client: trio.abc.HalfCloseableStream, server: trio.abc.HalfCloseableStream
    ) -> None:
        """Carry bytes until the connection ends, by itself or by fate."""
        self.connections += 1
        line = Line(fate(self._seed, self.connections, self._climate), client, server)
        self._lines.add(line)
        try:
            with line.scope:
                async with trio.open_nursery() as both:
                    if not self.calm:
                        both.start_soon(self._befall, line)
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._pump, line, client, server, True)
                        nursery.start_soon(self._pump, line, server, client, False)
                    both.cancel_scope.cancel()
        finally:
            self._lines.discard(line)
            with trio.CancelScope(shield=True):
                await abort(client)
                await abort(server)

    # Carrying.

    async def _pump(
        self,
        line: Line,
        source: trio.abc.HalfCloseableStream,
        sink: trio.abc.HalfCloseableStream,
        from_client: bool,
    ) -> None:
        try:
            while data := await source.receive_some(CHUNK):
                await self._pass(line, data, sink, from_client)
            if not from_client:
                await sink.send_eof()
            elif not line.mute:
                async with line.speaking:
                    await sink.send_eof()
        except GONE:
            if not line.mute:
                line.scope.cancel()

    async def _pass(
        self, line: Line, data: bytes, sink: trio.abc.HalfCloseableStream, from_client: bool
    ) -> None:
        rest = memoryview(data)
        while rest:
            weather = line.weather
            size = weather.slice or len(rest)
            piece, rest = bytes(rest[:size]), rest[size:]
            delay = weather.latency + len(piece) / weather.bandwidth
            if delay:
                await trio.sleep(delay)
            if from_client and line.mute:
                line.unsaid += piece
            elif from_client:
                async with line.speaking:
                    await sink.send_all(piece)
            elif not line.deaf:
                await sink.send_all(piece)

    # Fate.

    async def _befall(self, line: Line) -> None:
        """Let the fate of a connection take its course."""
        with trio.move_on_after(line.fate.lives):
            for weather in line.fate.weathers:
                if self.calm:
                    return
                line.weather = weather
                await trio.sleep(weather.lasts)
        if self.calm or line not in self._lines:
            return
        line.weather = CALM
        self.ends[line.fate.end] += 1
        await self._end(line)

    async def _end(self, line: Line) -> None:
        linger = line.fate.lingers
        match line.fate.end:
            case End.RESET:
                await abort(line.client)
                await abort(line.server)
            case End.CLOSE:
                await line.client.aclose()
                await line.server.aclose()
            case End.HALF_CLOSE:
                line.mute = True
                try:
                    async with line.speaking:
                        await line.server.send_eof()
                except GONE:
                    return
                await trio.sleep(linger)
            case End.BLACK_HOLE:
                line.mute = line.deaf = True
                await trio.sleep(linger)
            case End.STALE | End.LATE:
                line.mute = line.deaf = True
                if line.fate.end is End.LATE:
                    # What is said now will arrive, later.
                    await trio.sleep(linger / 10)
                await abort(line.client)
                await trio.sleep(linger)
                if line.fate.end is End.LATE and line.unsaid:
                    try:
                        async with line.speaking:
                            await line.server.send_all(line.unsaid)
                    except GONE:
                        return
                    await trio.sleep(linger / 10)
        line.scope.cancel()


async def abort(stream: trio.abc.HalfCloseableStream) -> None:
    """Close without a word: a socket says RST."""
    if isinstance(stream, trio.SocketStream) and stream.socket.fileno() >= 0:
        now = struct.pack("ii", 1, 0)
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
    await trio.aclose_forcefully(stream)
