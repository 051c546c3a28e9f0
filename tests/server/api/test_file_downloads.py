from __future__ import annotations

import json
import os

import pytest
import trio

from tests.server.files.world import APPS, KEYS, storage_world
from trio_realtime.server import Limits
from trio_realtime.testing import open_server

CONTENT = bytes(range(256)) * 4
SIZE = len(CONTENT)


# Ranges and conditions.


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=1000-", 1000, SIZE),
        ("bytes=1000-99999", 1000, SIZE),
        ("bytes=-24", SIZE - 24, SIZE),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
    ],
)
async def test_a_range_is_sent_alone(wanted, start, stop):
    async with storage_world() as storage:
        upload = await storage.saved(content=CONTENT)
        got = await storage.http.get(upload["url"], headers={"Range": wanted})
        assert got.status_code == 206
        assert got.content == CONTENT[start:stop]
        assert got.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
        assert got.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize(
    "wanted",
    [
        "bytes=0-",
        f"bytes=-{SIZE}",
        "bytes=-99999",
        "bytes=0-1,5-6",
        "bytes=5-4",
        "bytes=-",
        "bytes=a-b",
        "bytes=" + "9" * 100 + "-",
        "pages=1-2",
        "",
    ],
)
async def test_what_is_no_range_gets_the_whole(wanted):
    async with storage_world() as storage:
        upload = await storage.saved(content=CONTENT)
        got = await storage.http.get(upload["url"], headers={"Range": wanted})
        assert (got.status_code, got.content) == (200, CONTENT)
        assert "content-range" not in got.headers


@pytest.mark.parametrize("wanted", [f"bytes={SIZE}-", "bytes=5000-6000", "bytes=-0"])
async def test_a_range_outside_cannot_be_satisfied(wanted):
    async with storage_world() as storage:
        upload = await storage.saved(content=CONTENT)
        got = await storage.http.get(upload["url"], headers={"Range": wanted})
        assert (got.status_code, got.content) == (416, b"")
        assert got.headers["content-range"] == f"bytes */{SIZE}"


async def test_conditions_compare_the_tag():
    async with storage_world() as storage:
        upload = await storage.saved(content=CONTENT)
        tag = (await storage.http.get(upload["url"])).headers["etag"]
        for name, value, status in (
            ("If-None-Match", tag, 304),
            ("If-None-Match", f'"x", W/{tag}', 304),
            ("If-None-Match", "*", 304),
            ("If-None-Match", '"x"', 200),
            ("If-Match", tag, 200),
            ("If-Match", f"W/{tag}", 412),
            ("If-Match", '"x"', 412),
        ):
            got = await storage.http.get(upload["url"], headers={name: value})
            assert got.status_code == status, (name, value)
            assert got.content == (CONTENT if status == 200 else b"")
            assert got.headers["etag"] == tag
        # A 304 speaks of no body at all.
        got = await storage.http.get(upload["url"], headers={"If-None-Match": tag})
        assert "content-length" not in got.headers
        for condition, status in ((tag, 206), ('"x"', 200), (f"W/{tag}", 200)):
            headers = {"Range": "bytes=0-1", "If-Range": condition}
            got = await storage.http.get(upload["url"], headers=headers)
            assert got.status_code == status


async def test_equal_bytes_have_equal_tags():
    async with storage_world() as storage:
        tags = []
        for content in (b"a", b"a", b"b"):
            upload = await storage.saved(content=content)
            tags.append((await storage.http.get(upload["url"])).headers["etag"])
        assert tags[0] == tags[1] != tags[2]


async def test_head_tells_without_sending():
    async with storage_world() as storage:
        upload = await storage.saved(content=CONTENT)
        got = await storage.http.head(upload["url"])
        assert (got.status_code, got.content) == (200, b"")
        assert got.headers["content-length"] == str(SIZE)
        assert got.headers["content-type"] == "image/png"
        assert got.headers["accept-ranges"] == "bytes"
        got = await storage.http.head(upload["url"], headers={"Range": "bytes=0-9"})
        assert (got.status_code, got.headers["content-length"]) == (206, "10")
        # The connection serves on.
        assert (await storage.http.get(upload["url"])).content == CONTENT


# What a browser does with it.


@pytest.mark.parametrize(
    ("name", "mime_type", "shown"),
    [
        ("x.png", None, "inline"),
        ("x.mp3", None, "inline"),
        ("x.mp4", None, "inline"),
        ("x.txt", None, "inline"),
        ("x.html", None, "attachment"),
        ("x.svg", None, "attachment"),
        ("x.js", None, "attachment"),
        ("x.pdf", None, "attachment"),
        ("x.png", "text/html", "attachment"),
        ("x.png", "TEXT/HTML; charset=utf-8", "attachment"),
        ("x.png", "application/xhtml+xml", "attachment"),
        ("x.xml", "text/xml", "attachment"),
        ("x", None, "attachment"),
    ],
)
async def test_nothing_runs_from_this_origin(name, mime_type, shown):
    async with storage_world() as storage:
        upload = await storage.saved(name, b"<script>alert(1)</script>", mime_type=mime_type)
        headers = (await storage.http.get(upload["url"])).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in headers["content-security-policy"]
        assert headers["content-disposition"].startswith(f"{shown}; ")
        assert headers["content-type"] == upload["mime_type"]


async def test_the_type_is_fixed_before_the_upload():
    async with storage_world() as storage:
        upload = await storage.token("x.png")
        await storage.put(upload, headers={"Content-Type": "text/html"})
        assert (await storage.http.get(upload["url"])).headers["content-type"] == "image/png"


async def test_a_name_is_kept_in_every_script():
    async with storage_world() as storage:
        upload = await storage.saved('报告 "1"%.pdf', keep_file_name=True)
        assert upload["url"].endswith("/%E6%8A%A5%E5%91%8A%20%221%22%25.pdf")
        headers = (await storage.http.get(upload["url"])).headers
        assert headers["content-disposition"] == (
            'attachment; filename="__ _1__.pdf"; '
            "filename*=UTF-8''%E6%8A%A5%E5%91%8A%20%221%22%25.pdf"
        )


async def test_pages_of_any_origin_may_upload_and_read():
    async with storage_world() as storage:
        upload = await storage.saved()
        for url in (upload["upload_url"], upload["url"], "/1.1/fileTokens"):
            reply = await storage.http.options(url, headers={"Origin": "https://chat.example.com"})
            assert reply.status_code == 204
            assert reply.headers["access-control-allow-origin"] == "*"
            assert "PUT" in reply.headers["access-control-allow-methods"]
            allowed = reply.headers["access-control-allow-headers"].lower()
            assert {"content-type", "cache-control", "range"} <= set(allowed.split(", "))
        got = await storage.http.get(upload["url"], headers={"Origin": "https://chat.example.com"})
        exposed = got.headers["access-control-expose-headers"]
        assert {"ETag", "Content-Range", "Accept-Ranges"} <= set(exposed.split(", "))
        assert got.headers["access-control-allow-origin"] == "*"
        assert got.headers["cross-origin-resource-policy"] == "cross-origin"


# Slow and vanishing clients.


async def saved_in_memory(server, content):
    """A file on a server without sockets; the path of its URL."""
    announcement = b'{"name": "x.bin"}'
    keys = "".join(f"{name}: {value}\r\n" for name, value in KEYS.items())
    head = f"POST /1.1/fileTokens HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{keys}"
    head += f"Content-Length: {len(announcement)}\r\n\r\n"
    reply = await exchanged(server, head.encode() + announcement)
    upload = json.loads(reply.partition(b"\r\n\r\n")[2])
    path = upload["upload_url"].removeprefix("http://h")
    head = f"PUT {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
    head += f"Content-Length: {len(content)}\r\n\r\n"
    if content:
        assert b" 200 " in await exchanged(server, head.encode() + content)
    return upload["url"].removeprefix("http://h"), path


async def exchanged(server, request):
    stream = await server.connect()
    await stream.send_all(request)
    received = b""
    while part := await stream.receive_some():
        received += part
    return received


async def test_an_upload_that_stalls_ends(clock):
    async with open_server(memory=True, apps=APPS) as server:
        _, path = await saved_in_memory(server, b"")
        began = trio.current_time()
        head = f"PUT {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc".encode()
        assert b" 408 " in await exchanged(server, head)
        assert 30 <= trio.current_time() - began < 40


async def test_an_upload_may_take_longer_than_a_body(clock):
    async with open_server(memory=True, apps=APPS) as server:
        _, path = await saved_in_memory(server, b"")
        stream = await server.connect()
        began = trio.current_time()
        head = f"PUT {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n".encode()
        await stream.send_all(head)
        for _ in range(10):
            await trio.sleep(20)
            await stream.send_all(b"x")
        assert b" 200 " in await stream.receive_some()
        assert trio.current_time() - began == pytest.approx(200)


async def test_an_upload_that_drips_ends(clock):
    async with open_server(memory=True, apps=APPS, limits=Limits(transfer_timeout=100)) as server:
        _, path = await saved_in_memory(server, b"")
        stream = await server.connect()
        began = trio.current_time()
        head = f"PUT {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n".encode()
        await stream.send_all(head)

        async def drip():
            while True:
                await stream.send_all(b"x")
                await trio.sleep(20)

        with pytest.raises(trio.BrokenResourceError):
            await drip()
        assert trio.current_time() - began < 140


@pytest.mark.parametrize("pause", [1000, 20])
async def test_a_download_that_is_not_taken_ends(clock, pause):
    limits = Limits(transfer_timeout=100)
    async with open_server(memory=True, apps=APPS, limits=limits) as server:
        path, _ = await saved_in_memory(server, os.urandom(4_000_000))
        stream = await server.connect()
        await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        received = 0
        while True:
            await trio.sleep(pause)
            part = await stream.receive_some()
            if not part:
                break
            received += len(part)
        assert 0 < received < 4_000_000


async def test_a_download_survives_the_removal_of_its_file(tmp_path):
    content = os.urandom(8_000_000)
    async with storage_world(data=tmp_path) as storage:
        upload = await storage.saved(content=content)
        async with storage.http.stream("GET", upload["url"]) as response:
            assert (await storage.delete(upload["objectId"])).status_code == 200
            assert await response.aread() == content
        assert (await storage.http.get(upload["url"])).status_code == 404


async def test_a_reader_that_leaves_harms_nobody(tmp_path):
    async with storage_world(data=tmp_path) as storage:
        upload = await storage.saved(content=os.urandom(8_000_000))
        async with storage.http.stream("GET", upload["url"]) as response:
            assert response.status_code == 200
        assert (await storage.http.get(upload["url"])).status_code == 200
        assert storage.server.stats().metrics.internal_errors_total == 0
