"""Files that are too large, break off, do not fit or make no sense."""

from __future__ import annotations

import httpx2
import pytest
import trio

from tests.server.files.world import (
    APPS,
    KEYS,
    blobs_on_disk,
    error,
    storage_of,
    storage_world,
)
from trio_realtime.server import Limits, ServerConfig

SMALL = Limits(file_bytes=1000)


async def broken_off(server, head, body):
    """Begin a request, break off, and wait until the server has noticed."""
    stream = await trio.open_tcp_stream("127.0.0.1", server.server.port)
    await stream.send_all(head + body)
    await stream.send_eof()
    reply = b""
    while part := await stream.receive_some():
        reply += part
    await stream.aclose()
    return reply


def path_of(url):
    return httpx2.URL(url).raw_path.decode()


# What is too large, breaks off or does not fit.


async def test_a_file_is_bounded(tmp_path):
    async with storage_world(data=tmp_path, limits=SMALL) as storage:
        assert (await storage.saved(content=b"x" * 1000))["objectId"]
        assert error(await storage.announce(metaData={"size": 1001})) == (413, 413)
        upload = await storage.token()
        assert error(await storage.put(upload, b"x" * 1001)) == (413, 413)

        async def unannounced():
            for _ in range(300):
                yield b"x" * 10_000

        # Without a length it shows while the bytes arrive; the client still gets the answer.
        assert error(await storage.put(upload, unannounced())) == (413, 413)
        assert error(await storage.put(upload, b"x" * 3_000_000)) == (413, 413)
        assert len(blobs_on_disk(tmp_path)) == 1
        # The token is not spent.
        assert (await storage.put(upload, b"x")).status_code == 200


async def test_an_upload_that_breaks_off_leaves_nothing(tmp_path):
    async with storage_world(data=tmp_path) as storage:
        upload = await storage.token()
        path = path_of(upload["upload_url"])
        for framing, body in (
            ("Content-Length: 900000", b"x" * 600_000),
            ("Transfer-Encoding: chunked", b"5\r\nhello\r\n"),
            ("Transfer-Encoding: chunked", b"5\r\nhello\r\nzz\r\n"),
        ):
            head = f"PUT {path} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode()
            reply = await broken_off(storage.server, head, body)
            assert reply.startswith(b"HTTP/1.1 400")
            assert blobs_on_disk(tmp_path) == []
        assert (await storage.http.get(upload["url"])).status_code == 404
        assert (await storage.put(upload, b"again")).status_code == 200
        assert storage.server.stats().metrics.internal_errors_total == 0


async def test_an_upload_that_is_cancelled_leaves_nothing(tmp_path):
    started = trio.Event()

    async def endless():
        yield b"x" * 300_000
        started.set()
        await trio.sleep_forever()

    async with storage_world(data=tmp_path) as storage:
        upload = await storage.token()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(storage.put, upload, endless())
            await started.wait()
            while not blobs_on_disk(tmp_path):  # noqa: ASYNC110 - the disk has no events
                await trio.sleep(0.01)
            await storage.server.stop()
            assert blobs_on_disk(tmp_path) == []
            nursery.cancel_scope.cancel()


async def test_a_full_disk_is_an_answer(tmp_path, monkeypatch, caplog):
    async with storage_world(data=tmp_path) as storage:
        upload = await storage.token()

        def full(*_args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("trio_realtime.server.files.blobs.os.fsync", full)
        with caplog.at_level("CRITICAL", "trio_realtime"):
            assert error(await storage.put(upload)) == (507, 507)
        monkeypatch.undo()
        assert blobs_on_disk(tmp_path) == []
        assert (await storage.put(upload)).status_code == 200


async def test_memory_for_files_is_bounded(caplog):
    config = ServerConfig(apps=APPS, port=0, limits=Limits(file_memory_bytes=1000))
    async with storage_of(config) as storage:
        first = await storage.saved(content=b"x" * 600)
        upload = await storage.token()
        with caplog.at_level("CRITICAL", "trio_realtime"):
            assert error(await storage.put(upload, b"y" * 600)) == (507, 507)
        await storage.delete(first["objectId"])
        assert (await storage.put(upload, b"y" * 1000)).status_code == 200
        assert (await storage.http.get(upload["url"])).content == b"y" * 1000


# Malformed.


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"name": null}',
        b'{"name": 1}',
        b'{"name": ""}',
        b'{"name": "\\ud800"}',
        b'{"name": "n", "metaData": []}',
        b'{"name": "n", "metaData": {"a": NaN}}',
        b'{"name": "n", "metaData": {"a": "\\ud800"}}',
        b'{"name": "n", "metaData": {"a": ' + b"[" * 30_000 + b"]" * 30_000 + b"}}",
        b'{"name": "n", "metaData": {"a": "' + b"x" * 20_000 + b'"}}',
        b'{"name": "' + b"x" * 2000 + b'"}',
    ],
)
async def test_malformed_announcements_are_refused(body):
    async with storage_world() as storage:
        reply = await storage.http.post("/1.1/fileTokens", headers=KEYS, content=body)
        assert error(reply) == (400, 107)


@pytest.mark.parametrize(
    "name",
    [
        "../../../../etc/passwd",
        "..",
        ".",
        "/etc/passwd",
        "..\\..\\boot.ini",
        "a\x00b.png",
        "a\r\nSet-Cookie: a=b\r\n\r\n<html>",
        'a"; filename="evil.html',
        "名字 😀.png",
        "%2e%2e%2f.png",
        "a?b#c.png",
        "~" * 1000,
    ],
)
@pytest.mark.parametrize("keep", [False, True])
async def test_any_name_is_only_a_name(tmp_path, name, keep):
    async with storage_world(data=tmp_path / "data") as storage:
        upload = await storage.saved(name, keep_file_name=keep)
        got = await storage.http.get(upload["url"])
        assert (got.status_code, got.content) == (200, b"bytes")
        assert "set-cookie" not in got.headers
        assert upload["name"] == name
        assert (await storage.row(upload["objectId"])).json()["name"] == name
        (blob,) = blobs_on_disk(tmp_path / "data")
        assert set(blob) <= set("0123456789abcdef-")
        assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    "mime_type",
    ["image/png\r\nX-Evil: 1", "text/html\n", "png", 'a/b; c="\r\n"', "图/片", "x/" + "y" * 200, 7],
)
async def test_a_malformed_type_is_replaced(mime_type):
    async with storage_world() as storage:
        upload = await storage.saved("x.gif", mime_type=mime_type)
        assert upload["mime_type"] == "image/gif"
        got = await storage.http.get(upload["url"])
        assert got.headers["content-type"] == "image/gif"
        assert "x-evil" not in got.headers


@pytest.mark.parametrize(
    "path",
    [
        "/files/test-app/../../etc/passwd",
        "/files/test-app/%2e%2e%2f%2e%2e%2fetc%2fpasswd/x",
        "/files/test-app/{id}/%2e%2e",
        "/files/test-app/{id}/other.png",
        "/files/test-app/{id}/",
        "/files/test-app/{id}",
        "/files/test-app//x",
    ],
)
async def test_no_path_leads_anywhere_else(path):
    async with storage_world() as storage:
        upload = await storage.saved()
        head = f"GET {path.format(id=upload['objectId'])} HTTP/1.1\r\nHost: x\r\n\r\n"
        assert (await broken_off(storage.server, head.encode(), b"")).startswith(b"HTTP/1.1 404")
