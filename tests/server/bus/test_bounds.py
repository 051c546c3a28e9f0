"""What strangers cannot make grow without bound."""

from __future__ import annotations

import pytest

from tests.server.bus.world import LIMITS, Cluster
from trio_realtime.server.bus import local
from trio_realtime.server.bus.local import LocalBus
from trio_realtime.server.metrics import Metrics
from trio_realtime.server.rules.types import EnterRoom, Room

MANY = 500


@pytest.fixture
def bus(monkeypatch):
    monkeypatch.setattr(local, "REMEMBERED", 100)
    return LocalBus(LIMITS, Metrics())


async def test_rates_of_endlessly_many_ids(bus, autojump_clock):
    for number in range(MANY):
        assert bus.over_rate(f"stranger{number}", "commands_per_minute") is None
        # Who goes on is not forgotten for the others' sake.
        refused = bus.over_rate("somebody", "commands_per_minute") is not None
        assert refused == (number > 0)
    assert len(bus._rates) <= 100


async def test_places_in_rooms_of_endlessly_many_ids(bus, autojump_clock):
    cluster = Cluster(bus)
    for number in range(MANY):
        session = await cluster.login(f"client{number}")
        await bus.perform(session, EnterRoom("room"))
        bus.lose(session)
    assert len(bus._returning) == 100
    await cluster.login(f"client{MANY - 1}", returning=True)
    await cluster.login("client0", returning=True)
    assert await bus.present(Room("room")) == [f"client{MANY - 1}"]
