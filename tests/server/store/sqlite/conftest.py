from __future__ import annotations

import pytest

from tests.server.store.sqlite.support import SqliteRules
from tests.server.store.world import World


@pytest.fixture
def world():
    """On a database in memory, whose tables can be looked at."""
    with SqliteRules.opened(None) as rules:
        yield World(rules)


@pytest.fixture
def connection(world):
    return world.rules.connection
