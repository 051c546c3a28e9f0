"""What a connection held is given back when it ends, without the garbage collector."""

from __future__ import annotations

import gc
import weakref

import pytest
import trio

from tests.server.gateway.world import peer_of, world
from trio_realtime.server.gateway.connection import GatewayConnection
from trio_realtime.server.gateway.session import GatewaySession


@pytest.fixture
def made(monkeypatch):
    """Weak references to every connection and session that is made."""
    references = []
    for cls in (GatewayConnection, GatewaySession):
        original = cls.__init__

        def noted(self, *args, original=original, **kwargs):
            original(self, *args, **kwargs)
            references.append(weakref.ref(self))

        monkeypatch.setattr(cls, "__init__", noted)
    return references


@pytest.fixture
def uncollected():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("how", ["closed", "cut", "logged out", "taken over"])
@pytest.mark.usefixtures("uncollected")
async def test_a_connection_that_is_over_is_no_garbage(made, how, autojump_clock):
    async with world() as server:
        async with peer_of(server) as peer:
            await peer.login("Tom", tag="phone", device_id="a")
            if how == "cut":
                server.drop_connections("Tom")
            elif how == "logged out":
                await peer.transport.aclose(1000, "bye")
            elif how == "taken over":
                async with peer_of(server) as other:
                    await other.login("Tom", tag="phone", device_id="b")
        await trio.sleep(30)
        assert len(made) >= 2
        assert [reference() for reference in made if reference() is not None] == []
