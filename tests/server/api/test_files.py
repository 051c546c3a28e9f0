from __future__ import annotations

import json
import os

import pytest
import trio

from tests.server.api.caller import Caller
from tests.server.files.world import (
    APPS,
    KEYS,
    MASTER,
    OTHER,
    blobs_on_disk,
    error,
    storage_of,
    storage_world,
)
from tests.server.gateway.world import world
from trio_realtime.server import App, ServerConfig, ServerStartError, open_server

# The way of a file.


async def test_a_file_is_announced_uploaded_and_handed_out(tmp_path):
    content = os.urandom(700_000)
    async with storage_world(data=tmp_path) as storage:
        upload = await storage.token(
            "x.png",
            mime_type="image/png",
            metaData={"size": len(content), "owner": "unknown", "width": 3},
        )
        assert upload["provider"] == "s3"
        assert upload["url"].startswith(f"{storage.server.url}/files/test-app/")
        assert upload["upload_url"].startswith(storage.server.url)
        assert upload["mime_type"] == "image/png"
        assert upload["key"].endswith(".png")
        assert {"objectId", "token", "bucket"} <= upload.keys()
        assert error(await storage.row(upload["objectId"])) == (404, 101)
        assert (await storage.http.get(upload["url"])).status_code == 404

        reply = await storage.put(upload, content)
        assert (reply.status_code, reply.json()) == (200, {})
        assert (await storage.callback(upload["token"], True)).json() == {}

        got = await storage.http.get(upload["url"])
        assert got.status_code == 200
        assert got.content == content
        assert got.headers["content-type"] == "image/png"
        assert got.headers["content-length"] == str(len(content))
        assert got.headers["etag"] == reply.headers["etag"]
        row = (await storage.row(upload["objectId"])).json()
        assert {"url", "name", "mime_type", "bucket", "objectId", "key"} <= row.keys()
        assert row["url"] == upload["url"]
        assert row["metaData"] == {"size": len(content), "owner": "unknown", "width": 3}
        assert row["createdAt"].endswith("Z")
        assert len(blobs_on_disk(tmp_path)) == 1


async def test_the_true_size_replaces_the_announced_one():
    async with storage_world() as storage:
        upload = await storage.saved(content=b"12345", metaData={"size": 99})
        row = (await storage.row(upload["objectId"])).json()
        assert row["metaData"] == {"size": 5}


async def test_files_may_be_kept_in_memory():
    content = os.urandom(700_000)
    async with storage_of(ServerConfig(apps=APPS, port=0)) as storage:
        upload = await storage.saved(content=content)
        assert (await storage.http.get(upload["url"])).content == content
        assert (await storage.delete(upload["objectId"])).status_code == 200
        assert (await storage.http.get(upload["url"])).status_code == 404


async def test_an_empty_file_is_a_file():
    async with storage_world() as storage:
        upload = await storage.saved("empty.txt", b"")
        got = await storage.http.get(upload["url"])
        assert (got.status_code, got.content) == (200, b"")
        assert got.headers["content-length"] == "0"
        assert got.headers["content-type"] == "text/plain"


async def test_files_survive_a_restart(tmp_path):
    async with storage_world(data=tmp_path) as storage:
        upload = await storage.saved(content=b"durable")
        pending = await storage.token()
        await storage.server.restart()
        assert (await storage.http.get(upload["url"])).content == b"durable"
        assert (await storage.row(upload["objectId"])).status_code == 200
        assert (await storage.put(pending, b"later")).status_code == 200
        assert (await storage.http.get(pending["url"])).content == b"later"


async def test_uploads_do_not_disturb_each_other(tmp_path):
    contents = {f"{number}.bin": os.urandom(400_000 + number) for number in range(12)}
    urls = {}
    async with storage_world(data=tmp_path) as storage:

        async def save(name, content):
            urls[name] = (await storage.saved(name, content))["url"]

        async with trio.open_nursery() as nursery:
            for name, content in contents.items():
                nursery.start_soon(save, name, content)
        assert len(set(urls.values())) == len(contents)
        for name, url in urls.items():
            assert (await storage.http.get(url)).content == contents[name]


async def test_a_file_is_removed_with_the_master_key(tmp_path):
    async with storage_world(data=tmp_path) as storage:
        upload = await storage.saved()
        assert error(await storage.delete(upload["objectId"], keys=KEYS)) == (401, 401)
        assert (await storage.http.get(upload["url"])).status_code == 200
        reply = await storage.delete(upload["objectId"])
        assert (reply.status_code, reply.json()) == (200, {})
        assert error(await storage.delete(upload["objectId"])) == (404, 101)
        assert error(await storage.http.get(upload["url"])) == (404, 101)
        assert error(await storage.row(upload["objectId"])) == (404, 101)
        assert blobs_on_disk(tmp_path) == []


async def test_a_failed_upload_is_removed(tmp_path):
    async with storage_world(data=tmp_path) as storage:
        uploaded, pending = await storage.token(), await storage.token()
        await storage.put(uploaded)
        for upload in (uploaded, pending):
            assert (await storage.callback(upload["token"], False)).json() == {}
            assert (await storage.http.get(upload["url"])).status_code == 404
            assert error(await storage.put(upload)) == (403, 403)
            assert error(await storage.callback(upload["token"], False)) == (403, 403)
        assert blobs_on_disk(tmp_path) == []


# Files elsewhere.


async def test_a_file_may_lie_elsewhere():
    body = {
        "name": "logo.jpg",
        "url": "https://example.com/logo.jpg?a=b",
        "metaData": {"__source": "external", "size": 0},
    }
    async with storage_world() as storage:
        reply = await storage.http.post("/1.1/files", headers=KEYS, json=body)
        assert reply.status_code == 201
        file_id = reply.json()["objectId"]
        assert reply.headers["location"] == f"/1.1/files/{file_id}"
        row = (await storage.row(file_id)).json()
        assert {name: row[name] for name in body} == body
        assert row["mime_type"] == "image/jpeg"
        assert (await storage.http.get(f"/files/test-app/{file_id}/file")).status_code == 404
        assert (await storage.delete(file_id)).json() == {}
        assert error(await storage.row(file_id)) == (404, 101)


@pytest.mark.parametrize(
    "url",
    [
        None,
        1,
        "",
        "x.png",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "http://",
        "http://[",
        "https://e.com/\r\nX: y",
        "https://e.com/a b",
        "https://e.com/" + "x" * 9000,
    ],
)
async def test_only_urls_of_the_web_are_accepted(url):
    async with storage_world() as storage:
        reply = await storage.http.post("/1.1/files", headers=KEYS, json={"name": "n", "url": url})
        assert error(reply) == (400, 107)


async def test_files_are_rows_of_a_class_to_some():
    async with world() as server:
        call = Caller(server)
        path = "/1.1/classes/_File"
        file = {"name": "logo.jpg", "url": "https://example.com/logo.jpg"}
        made = await call("POST", path, file, master=False)
        assert made.status == 201
        one = f"{path}/{made.value['objectId']}"
        assert (await call("GET", one, master=False)).value["url"] == file["url"]
        assert (await call("GET", path)).status == 404
        assert (await call("PUT", one, {})).status == 404
        assert (await call("DELETE", one, master=False)).status == 401
        assert (await call("DELETE", one)).value == {}
        assert (await call("GET", one)).value["code"] == 101


# Permission.


async def test_every_call_needs_a_key():
    async with storage_world() as storage:
        upload = await storage.saved()
        wrong = {"X-LC-Id": "test-app", "X-LC-Key": "wrong"}
        body = {"name": "n", "url": "https://e.com/"}
        assert error(await storage.announce(keys=wrong)) == (401, 401)
        assert error(await storage.callback(upload["token"], False, keys=wrong)) == (401, 401)
        assert error(await storage.http.post("/1.1/files", headers=wrong, json=body)) == (401, 401)
        assert error(await storage.row(upload["objectId"], keys=wrong)) == (401, 401)
        assert error(await storage.delete(upload["objectId"], keys=wrong)) == (401, 401)


async def test_a_token_is_good_for_one_upload():
    async with storage_world() as storage:
        upload = await storage.token()
        assert (await storage.put(upload, b"first")).status_code == 200
        assert error(await storage.put(upload, b"second")) == (403, 403)
        assert (await storage.callback(upload["token"], True)).status_code == 200
        assert error(await storage.put(upload, b"third")) == (403, 403)
        for result in (True, False):
            assert error(await storage.callback(upload["token"], result)) == (403, 403)
        assert (await storage.http.get(upload["url"])).content == b"first"


async def test_of_two_uploads_at_once_one_wins(tmp_path):
    contents = [os.urandom(300_000) for _ in range(4)]
    states = []
    async with storage_world(data=tmp_path) as storage:
        upload = await storage.token()

        async def put(content):
            states.append(((await storage.put(upload, content)).status_code, content))

        async with trio.open_nursery() as nursery:
            for content in contents:
                nursery.start_soon(put, content)
        assert sorted(status for status, _ in states) == [200, 403, 403, 403]
        (winner,) = (content for status, content in states if status == 200)
        assert (await storage.http.get(upload["url"])).content == winner
        assert len(blobs_on_disk(tmp_path)) == 1


async def test_a_token_expires(tmp_path):
    now = 1_700_000_000_000
    config = ServerConfig(apps=APPS, port=0, data=tmp_path, clock=lambda: now)
    async with storage_of(config) as storage:
        upload, spent, kept = [await storage.token() for _ in range(3)]
        await storage.put(spent)
        now += 3_600_000 - 1
        assert (await storage.put(kept)).status_code == 200
        now += 1
        assert error(await storage.put(upload)) == (403, 403)
        # Too late to call off, and too late to spend.
        for result in (True, False):
            assert error(await storage.callback(spent["token"], result)) == (403, 403)
        assert (await storage.http.get(spent["url"])).status_code == 200
        # The next announcement sweeps out what has expired.
        await storage.token()
        store = storage.server.gateway.store
        assert len(await store.read("test-app", lambda tx: tx.documents("uploads"))) == 1


async def test_a_token_cannot_be_made_up_or_changed():
    async with storage_world() as storage:
        upload = await storage.token()
        stamp, _, secret = upload["token"].partition("-")
        base = upload["upload_url"].removesuffix(upload["token"])
        for token in (
            "x",
            f"{int(stamp) + 1}-{secret}",
            f"{stamp}-{secret[:-1]}",
            f"{stamp}-",
            "9" * 13,
            "²" * 13,
            "%00",
        ):
            reply = await storage.http.put(base + token, content=b"x")
            assert error(reply) == (403, 403)
        for token in (None, 1, {}, [], "x", "\ud800" * 20, "9999999999999-\ud800"):
            text = json.dumps({"token": token, "result": True})
            reply = await storage.http.post("/1.1/fileCallback", headers=KEYS, content=text)
            spelled = not isinstance(token, str) or token.isascii()
            assert error(reply) == ((403, 403) if spelled else (400, 107))
        assert error(await storage.callback(upload["token"], "yes")) == (400, 107)
        assert error(await storage.callback(upload["token"], True)) == (400, 400)
        assert (await storage.put(upload)).status_code == 200


async def test_apps_do_not_see_each_other():
    async with storage_world() as storage:
        mine, pending = await storage.saved(content=b"mine"), await storage.token()
        theirs = await storage.saved(content=b"theirs", keys=OTHER)
        assert (await storage.http.get(theirs["url"])).content == b"theirs"
        assert error(await storage.row(mine["objectId"], keys=OTHER)) == (404, 101)
        master = {"X-LC-Id": "other/app", "X-LC-Key": "o-master,master"}
        assert error(await storage.delete(mine["objectId"], keys=master)) == (404, 101)
        assert error(await storage.callback(pending["token"], False, keys=OTHER)) == (403, 403)
        foreign = pending["upload_url"].replace("/test-app/", "/other%2Fapp/")
        assert error(await storage.http.put(foreign, content=b"x")) == (403, 403)
        unknown = pending["upload_url"].replace("/test-app/", "/nobody/")
        assert error(await storage.http.put(unknown, content=b"x")) == (404, 101)
        foreign = mine["url"].replace("/test-app/", "/other%2Fapp/")
        assert (await storage.http.get(foreign)).status_code == 404
        assert (await storage.http.get(mine["url"])).content == b"mine"


async def test_a_key_of_ones_own_needs_the_master_key():
    async with storage_world() as storage:
        # The storage SDK sends one of its own making in several versions.
        unasked = await storage.saved("x.gif", key="gifs/demo.gif")
        assert "demo" not in unasked["key"]
        assert unasked["url"].endswith(".gif")
        upload = await storage.saved("x.gif", key="gifs/demo.gif", keys=MASTER)
        assert upload["key"] == "gifs/demo.gif"
        assert upload["url"].endswith("/demo.gif")
        assert (await storage.http.get(upload["url"])).content == b"bytes"
        for bad in (1, "x" * 2000):
            for keys in (KEYS, MASTER):
                assert error(await storage.announce(key=bad, keys=keys)) == (400, 107)


async def test_an_external_file_may_have_its_name_in_the_path():
    async with storage_world() as storage:
        body = {"name": "logo.jpg", "url": "https://example.com/logo.jpg"}
        made = await storage.http.post("/1.1/files/logo.jpg", headers=KEYS, json=body)
        assert made.status_code == 201
        row = (await storage.row(made.json()["objectId"])).json()
        assert (row["name"], row["url"]) == ("logo.jpg", "https://example.com/logo.jpg")


# Start and crash.


async def test_a_crash_leaves_nothing_undecided(tmp_path):
    async with storage_world(data=tmp_path) as storage:
        upload = await storage.saved(content=b"known")
        await storage.server.stop()
        (blob,) = blobs_on_disk(tmp_path)
        transit = tmp_path / "files" / "transit"
        (tmp_path / "files" / "kept" / blob[-2:] / blob).rename(transit / blob)
        mark = blob.partition("-")[0]
        (transit / f"{mark}-{upload['objectId']}-00ff").write_bytes(b"of a lost race")
        (transit / f"{mark}-{'0' * 24}-00ff").write_bytes(b"never known")
        (transit / "ffff-0-0").write_bytes(b"of an app not served today")
        await storage.server.start()
        assert [path.name for path in transit.iterdir()] == ["ffff-0-0"]
        assert blobs_on_disk(tmp_path) == sorted([blob, "ffff-0-0"])
        assert (await storage.http.get(upload["url"])).content == b"known"


async def test_lost_bytes_are_not_found(tmp_path, caplog):
    async with storage_world(data=tmp_path) as storage:
        upload = await storage.saved()
        (blob,) = blobs_on_disk(tmp_path)
        (tmp_path / "files" / "kept" / blob[-2:] / blob).unlink()
        with caplog.at_level("CRITICAL", "trio_realtime"):
            assert error(await storage.http.get(upload["url"])) == (404, 101)


async def test_a_directory_that_cannot_be_used_is_one_sentence(tmp_path):
    (tmp_path / "files").write_text("in the way")
    with pytest.raises(ServerStartError, match=r"files cannot be used: .*\.$"):
        async with open_server(ServerConfig(apps=[App("a", "k", "m")], port=0, data=tmp_path)):
            pass
