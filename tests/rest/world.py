"""A server in memory, its REST client, and clients of the socket beside it."""

from __future__ import annotations

from contextlib import asynccontextmanager

from tests.server.gateway.world import world
from trio_realtime import open_client
from trio_realtime.rest import open_rest


def rest_of(server, *, master_key=None, **options):
    return open_rest(
        app_id=server.app_id,
        master_key=master_key or server.master_key,
        server=server.url,
        open_stream=server.open_stream,
        **options,
    )


def client_of(server, name, **options):
    return open_client(
        name,
        app_id=server.app_id,
        app_key=server.app_key,
        server=server.url,
        open_stream=server.open_stream,
        **options,
    )


@asynccontextmanager
async def backend(**options):
    async with world(**options) as server, rest_of(server) as rest:
        yield server, rest
