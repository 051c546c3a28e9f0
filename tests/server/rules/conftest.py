from __future__ import annotations

import pytest

from .world import World


@pytest.fixture
def world():
    world = World()
    yield world
    world.close()
