"""The storage SDK keeps its files on our server."""

from __future__ import annotations

import json

import pytest
import trio

from tests.interop.js_peer import HERE, PATIENCE
from trio_realtime.server import Limits
from trio_realtime.testing import open_server

pytestmark = pytest.mark.interop


@pytest.fixture(params=["leancloud-storage", "storage-4.8", "storage-4.5", "storage-3.15"])
async def seen(request):
    """What files.js saw."""
    async with open_server(limits=Limits(file_bytes=4_000_000)) as server:
        keys = [request.param, server.url, server.app_id, server.app_key, server.master_key]
        with trio.fail_after(PATIENCE):
            done = await trio.run_process(
                ["node", str(HERE / "files.js"), *keys], capture_stdout=True
            )
        assert server.stats().metrics.internal_errors_total == 0
    return {**json.loads(done.stdout), "version": request.param}


async def test_the_life_of_a_file(seen):
    for kind in ("buffer", "base64", "array", "stream", "kept", "keyed"):
        file = seen[kind]
        if file is None:
            continue
        assert file["id"], kind
        assert file["downloaded"] == {
            "status": 200,
            "type": file["type"],
            "digest": file["digest"],
        }, kind
        assert file["fetched"]["url"] == file["url"], kind
        assert file["fetched"]["name"] == file["name"], kind
        assert file["fetched"]["created"], kind
    assert seen["buffer"]["type"] == "image/png"
    assert seen["buffer"]["size"] == seen["buffer"]["fetched"]["size"] == 3_000_000
    assert seen["base64"]["type"] == "text/plain"
    assert seen["array"]["fetched"]["size"] == 3
    if seen["version"] == "leancloud-storage":
        # Early versions send no streams, and keys of their own making only.
        assert seen["stream"]["type"] == "video/mp4"
        assert seen["keyed"]["url"].endswith("/k.gif")
        assert seen["kept"]["url"].endswith("/%E5%90%8D%20%E5%AD%97.txt")
    seen["external"]["metaData"].setdefault("size", 0)
    assert seen["external"] == {
        "url": "https://example.com/logo.jpg",
        "name": "logo.jpg",
        "metaData": {"__source": "external", "owner": "unknown", "size": 0, "width": 3},
    }
    assert seen["tooLarge"]["code"] == 413
    assert seen["destroyRefused"]["code"] == 401
    assert seen["destroyed"] == {}
    assert seen["afterwards"] == 404
