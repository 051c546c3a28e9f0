"""Files that messages refer to: copied once, whole, and from nowhere they should not be."""

from __future__ import annotations

import hashlib
import json

import pytest
import trio

from tests.archive.service import Service
from tests.archive.world import content, pull, puller, rows
from tests.rest.endpoint import Broken
from trio_realtime._archive.check import check, repair
from trio_realtime._archive.media import file_of, public_only
from trio_realtime._archive.pulling import Scope

HOST = "http://endpoint.test"


def body(url, **more):
    return json.dumps({"_lctype": -2, "_lcfile": {"url": url, "objId": "f1", **more}})


@pytest.fixture
def service():
    service = Service()
    service.fill(messages=20)
    return service


def attach(service, name, data, *, times=1):
    if data is not None:
        service.files[f"/file/{name}"] = data
    for _ in range(times):
        service.say(body=body(f"{HOST}/file/{name}"))


def blobs(path):
    return {file.name: file.read_bytes() for file in (path / "blobs").glob("*/*")}


def digest(data):
    return hashlib.sha256(data).hexdigest()


async def test_files_are_copied_once(service, tmp_path, clock):
    attach(service, "a.jpg", b"picture", times=3)
    attach(service, "b.jpg", b"picture")
    attach(service, "c.bin", bytes(range(256)) * 100)
    progress = await pull(service, tmp_path)
    found = {row["url"].rpartition("/")[2]: row for row in rows(tmp_path, "files")}
    assert set(found) == {"a.jpg", "b.jpg", "c.bin"}
    assert found["a.jpg"]["sha256"] == found["b.jpg"]["sha256"] == digest(b"picture")
    assert (found["a.jpg"]["id"], found["a.jpg"]["size"]) == ("f1", 7)
    assert set(blobs(tmp_path).values()) == set(service.files.values())
    assert (progress.files, progress.files_failed) == (3, 0)
    report = check(tmp_path)
    assert report.whole
    assert report.blobs == 2
    asked = sum(one.path.startswith("/file/") for one in service.requests)
    assert asked == 3
    attach(service, "d.jpg", b"later")
    await pull(service, tmp_path)
    assert sum(one.path.startswith("/file/") for one in service.requests) == 4
    assert check(tmp_path).whole


async def test_the_key_is_not_sent_to_where_files_are(service, tmp_path, clock):
    attach(service, "a.jpg", b"picture")
    await pull(service, tmp_path)
    (asked,) = [one for one in service.requests if one.path.startswith("/file/")]
    assert not any(name.startswith("x-lc") for name in asked.headers)


async def test_what_cannot_be_had_is_told_and_asked_for_again(service, tmp_path, clock):
    attach(service, "gone.jpg", None)
    attach(service, "later.jpg", Broken())
    progress = await pull(service, tmp_path)
    assert progress.files_failed == 2
    found = {row["url"].rpartition("/")[2]: row for row in rows(tmp_path, "files")}
    assert (found["gone.jpg"]["error"], found["gone.jpg"]["lasting"]) == ("status 404", True)
    assert found["later.jpg"]["lasting"] is False
    report = check(tmp_path)
    assert report.whole
    assert report.failed_files == 2
    service.files["/file/later.jpg"] = b"now"
    service.requests.clear()
    await pull(service, tmp_path)
    assert [one.path for one in service.requests if "file" in one.path] == ["/file/later.jpg"]
    assert set(blobs(tmp_path).values()) == {b"now"}
    assert check(tmp_path).failed_files == 1


async def test_a_file_that_is_too_large(service, tmp_path, clock):
    attach(service, "big.bin", b"x" * 5000)
    attach(service, "small.bin", b"x" * 500)
    async with puller(service, tmp_path) as one:
        one.files.largest = 1000
        await one.round(Scope())
    assert set(blobs(tmp_path).values()) == {b"x" * 500}
    assert not list((tmp_path / "blobs").glob(".incoming*"))


async def test_files_can_be_left_out_and_come_later(service, tmp_path, clock):
    attach(service, "a.jpg", b"picture")
    await pull(service, tmp_path, Scope(files=False))
    assert blobs(tmp_path) == {}
    await pull(service, tmp_path)
    assert set(blobs(tmp_path).values()) == {b"picture"}


@pytest.mark.parametrize("stop", [1.0, 3.0, 6.0, 9.0])
async def test_cancelled_and_resumed(stop, service, tmp_path, clock):
    for number in range(60):
        attach(service, f"{number}.jpg", b"%d" % number)
    answer = service.answer_request

    async def slowly(request):
        await trio.sleep(0.5)
        return answer(request)

    service.answer_request = slowly
    await pull(service, tmp_path / "whole")
    with trio.move_on_after(stop) as scope:
        await pull(service, tmp_path / "parted")
    assert scope.cancelled_caught
    await pull(service, tmp_path / "parted")
    assert content(tmp_path / "parted") == content(tmp_path / "whole")


async def test_a_damaged_file_is_fetched_again(service, tmp_path, clock):
    attach(service, "a.jpg", b"picture")
    attach(service, "b.jpg", b"other")
    await pull(service, tmp_path)
    before = blobs(tmp_path)
    (victim,) = (tmp_path / "blobs").glob(f"*/{digest(b'picture')}")
    victim.write_bytes(b"pictura")
    assert "damaged" in check(tmp_path).problems[0]
    repair(tmp_path)
    service.requests.clear()
    await pull(service, tmp_path)
    assert blobs(tmp_path) == before
    assert [one.path for one in service.requests if "file" in one.path] == ["/file/a.jpg"]
    assert check(tmp_path).whole


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::1]",
        "10.0.0.5",
        "192.168.1.1",
        "169.254.169.254",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
        "0.0.0.0",
        "[fd00::1]",
        "100.64.0.1",
    ],
)
async def test_no_message_leads_into_the_network_of_its_reader(host, service, tmp_path, clock):
    opened = []

    async def stream(name, port):
        opened.append(name)
        return await service.open_stream(name, port)

    service.say(body=body(f"http://{host}/file/secret"))
    service.files["/file/secret"] = b"secret"
    async with puller(service, tmp_path) as one:
        one.files.open_stream = stream
        await one.round(Scope())
    assert opened == []
    (row,) = rows(tmp_path, "files")
    assert "not a public address" in row["error"]
    assert row["lasting"] is True


async def test_a_redirect_leads_no_further(service, tmp_path, clock):
    from tests.rest.endpoint import Reply

    answer = service.answer_request
    service.answer_request = lambda request: (
        Reply({}, 302, (("location", "http://127.0.0.1/file/secret"),))
        if request.path == "/file/moved"
        else answer(request)
    )
    service.files["/file/secret"] = b"secret"
    service.say(body=body(f"{HOST}/file/moved"))
    await pull(service, tmp_path)
    assert blobs(tmp_path) == {}
    assert "not a public address" in rows(tmp_path, "files")[0]["error"]


async def test_the_address_that_was_looked_at_is_the_one_that_is_asked():
    opened = []

    async def stream(name, port):
        opened.append((name, port))

    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *_args, **_kwargs):
            return [(2, 1, 6, "", ("93.184.215.14", 443))]

        async def getnameinfo(self, *_args):
            raise AssertionError

    trio.socket.set_custom_hostname_resolver(Resolver())
    try:
        await public_only(stream, ())("files.example.com", 443)
    finally:
        trio.socket.set_custom_hostname_resolver(None)
    assert opened == [("93.184.215.14", 443)]


@pytest.mark.parametrize(
    "data",
    [
        None,
        5,
        'text with "_lcfile"',
        '{"_lcfile": null}',
        '{"_lcfile": []}',
        '{"_lcfile": {}}',
        '{"_lcfile": {"url": 5}}',
        '{"_lcfile": {"url": "file:///etc/passwd"}}',
        '{"_lcfile": {"url": "ftp://host/x"}}',
        '{"_lcfile": {"url": "http://"}}',
        '{"_lcfile": {"url": "http://[::1"}}',
        "[" * 5000 + '"_lcfile"',
    ],
)
def test_what_is_no_file(data):
    assert file_of({"data": data}) is None


async def test_urls_of_all_sorts_harm_nobody(service, tmp_path, clock):
    for url in (
        "http://x\u0000y/",
        "http://ex ample/",
        "http://\ud800/",
        "http://a" * 3000,
        "http://xn--/",
    ):
        service.say(body=body(url))
    service.say(body=body(f"{HOST}/file/good"))
    service.files["/file/good"] = b"good"
    await pull(service, tmp_path)
    assert set(blobs(tmp_path).values()) == {b"good"}
    assert check(tmp_path).whole
