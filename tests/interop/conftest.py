from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from tests.interop.js_peer import HERE, open_js
from trio_realtime import open_client
from trio_realtime.testing import open_server

collect_ignore = ["python_modules"]
"""What pip installs beside npm's: the tests of others are not ours."""


@pytest.fixture(scope="session", autouse=True)
def _npm_sdk():
    assert (HERE / "node_modules" / "leancloud-realtime").is_dir(), (
        "the npm SDK is missing; `nox -s interop` installs it"
    )


@pytest.fixture
async def server():
    async with open_server() as server:
        yield server


@pytest.fixture
async def js(server):
    """A node process with a ``Realtime``."""
    async with open_js(server) as js:
        yield js


@pytest.fixture
def log_in(server):
    """Logs a client of ours in: ``async with log_in("Jerry") as jerry``."""

    @asynccontextmanager
    async def log_in(name, **options):
        keys = {"app_id": server.app_id, "app_key": server.app_key, "server": server.url}
        async with open_client(name, **keys, **options) as client:
            yield client

    return log_in
