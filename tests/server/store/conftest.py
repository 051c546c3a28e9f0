from __future__ import annotations

from functools import partial

import pytest

from tests.server.store.world import STORES, TABLES, worlds


def name_of(implementation):
    return implementation.name


@pytest.fixture(scope="session", params=TABLES, ids=name_of)
def make_world(request, tmp_path_factory):
    """Makes worlds on one implementation of the tables."""
    yield from worlds(request.param, tmp_path_factory.mktemp("worlds"))


@pytest.fixture
def world(make_world):
    return make_world()


@pytest.fixture
def chat(world):
    """A conversation of two."""
    return world.create("tom", "jerry").id


@pytest.fixture(params=STORES, ids=name_of)
def implementation(request):
    return request.param


@pytest.fixture
def open_store(implementation, tmp_path):
    """Opens the same store each time, on one implementation of it."""
    return partial(implementation.opener(tmp_path))
