"""Clients and a server of awesome-im on streams in memory, in virtual time."""

from __future__ import annotations

from contextlib import asynccontextmanager

import trio
from trio_websocket import wrap_server_stream

from trio_realtime import awesome
from trio_realtime.testing import memory_streams

URL = "ws://awesome.test:8088"


class World:
    """A server that can be unreachable."""

    def __init__(self, server, nursery):
        self.server = server
        self.refusing = False
        self.attempts = 0
        self._nursery = nursery
        self.streams = []

    async def open_stream(self, host, port):
        await trio.lowlevel.checkpoint()
        assert (host, port) == ("awesome.test", 8088)
        self.attempts += 1
        if self.refusing:
            raise ConnectionRefusedError("refused by the test")
        ours, theirs = memory_streams()
        self.streams.append(theirs)
        self._nursery.start_soon(self._serve, theirs)
        return ours

    async def _serve(self, stream):
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream)
            await self.server.serve(request)
            nursery.cancel_scope.cancel()

    async def cut(self):
        """Break every connection, as a network does."""
        streams, self.streams = self.streams, []
        for stream in streams:
            await trio.aclose_forcefully(stream)

    def client(self, user_id, **options):
        return awesome.open_client(URL, user_id=user_id, open_stream=self.open_stream, **options)


@asynccontextmanager
async def world(**options):
    async with awesome.open_server(**options) as server, trio.open_nursery() as nursery:
        yield World(server, nursery)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def scripted(behave):
    """A server whose every move is the test's: ``behave(socket)`` for each connection."""

    class Script:
        async def serve(self, request):
            socket = await request.accept()
            await behave(socket)

    async with trio.open_nursery() as nursery:
        yield World(Script(), nursery)
        nursery.cancel_scope.cancel()
