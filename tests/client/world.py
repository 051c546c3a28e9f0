"""Several clients of one in-memory server, and what each of them sees."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager

import trio

from trio_realtime import ConversationEvent, open_client
from trio_realtime.testing import open_server

DIALECT = "protobuf"
"""What the clients speak if a test says nothing."""


class World:
    def __init__(self, server, stack):
        self.server = server
        self._stack = stack
        self.inboxes = {}

    def open(self, name, **options):
        """A client to be opened by the test itself."""
        return open_client(
            name,
            app_id=self.server.app_id,
            app_key=self.server.app_key,
            server=self.server.url,
            open_stream=self.server.open_stream,
            **{"dialect": DIALECT, **options},
        )

    async def client(self, name, **options):
        client = await self._stack.enter_async_context(self.open(name, **options))
        self.inboxes[name] = client.events(ConversationEvent)
        return client

    async def seen(self, name):
        """The events a client has received since it was last asked, once all is quiet."""
        await trio.sleep(1)
        events = []
        with trio.move_on_after(0.5):
            async for event in self.inboxes[name]:
                events.append(event)  # noqa: PERF401 - the loop may be cut short
        return events

    async def forget(self):
        for name in self.inboxes:
            await self.seen(name)


@asynccontextmanager
async def world(*names, **options):
    async with open_server(memory=True) as server, AsyncExitStack() as stack:
        built = World(server, stack)
        clients = [await built.client(name, **options) for name in names]
        yield (built, *clients)


def kinds(events):
    return [type(event).__name__ for event in events]
