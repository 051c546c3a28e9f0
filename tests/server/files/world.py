"""A storage SDK in a few lines: what it asks for, in the order in which it asks."""

from __future__ import annotations

from contextlib import asynccontextmanager

import httpx2

from trio_realtime.server import App
from trio_realtime.server import open_server as serve
from trio_realtime.testing import open_server

APPS = [App("test-app", "test-key", "test-master-key"), App("other/app", "o-key", "o-master")]
KEYS = {"X-LC-Id": "test-app", "X-LC-Key": "test-key"}
MASTER = {"X-LC-Id": "test-app", "X-LC-Key": "test-master-key,master"}
OTHER = {"X-LC-Id": "other/app", "X-LC-Key": "o-key"}


class Storage:
    def __init__(self, server, http):
        self.server = server
        self.http = http

    async def announce(self, name="x.png", *, keys=KEYS, **fields):
        return await self.http.post("/1.1/fileTokens", headers=keys, json={"name": name, **fields})

    async def token(self, name="x.png", **fields):
        reply = await self.announce(name, **fields)
        assert reply.status_code == 201, reply.text
        return reply.json()

    async def put(self, upload, content=b"bytes", **options):
        options.setdefault("headers", {"Cache-Control": "public, max-age=31536000"})
        return await self.http.put(upload["upload_url"], content=content, **options)

    async def callback(self, token, result, *, keys=KEYS):
        body = {"token": token, "result": result}
        return await self.http.post("/1.1/fileCallback", headers=keys, json=body)

    async def saved(self, name="x.png", content=b"bytes", **fields):
        """Everything at once; the reply to the announcement."""
        upload = await self.token(name, **fields)
        reply = await self.put(upload, content)
        assert (reply.status_code, reply.json()) == (200, {})
        reply = await self.callback(upload["token"], True, keys=fields.get("keys", KEYS))
        assert (reply.status_code, reply.json()) == (200, {})
        return upload

    async def row(self, file_id, *, keys=KEYS):
        return await self.http.get(f"/1.1/files/{file_id}", headers=keys)

    async def delete(self, file_id, *, keys=MASTER):
        return await self.http.delete(f"/1.1/files/{file_id}", headers=keys)


@asynccontextmanager
async def storage_world(**options):
    """A server on loopback and a client of it."""
    async with (
        open_server(apps=APPS, **options) as server,
        httpx2.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as http,
    ):
        yield Storage(server, http)


@asynccontextmanager
async def storage_of(config):
    """A server with everything in memory but its port, as its configuration says."""
    async with (
        serve(config) as server,
        httpx2.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as http,
    ):
        yield Storage(server, http)


def error(reply):
    """Status and code of a refusal, which always has a sentence."""
    body = reply.json()
    assert body.keys() == {"code", "error"}, body
    assert body["error"]
    return reply.status_code, body["code"]


def blobs_on_disk(data):
    """Names of every blob, those in transit included."""
    return sorted(path.name for path in (data / "files").rglob("*") if path.is_file())
