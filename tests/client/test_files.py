"""Files: up through every provider's way, and down again."""

from __future__ import annotations

import gc
import io
import json
import wave

import attrs
import httpx2
import pytest
import trio

from tests.client.world import world
from trio_realtime import (
    File,
    FileMessage,
    FileUploadError,
    ImageMessage,
    LocalFile,
    MessageStatus,
    RealtimeError,
    TypedMessage,
    UploadProgress,
    message_type,
    open_client,
)
from trio_realtime.testing import open_server


def picture():
    image = pytest.importorskip("PIL.Image")
    out = io.BytesIO()
    image.new("RGB", (31, 17), "red").save(out, "PNG")
    return out.getvalue()


def recording(seconds):
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\0\0" * int(8000 * seconds))
    return out.getvalue()


async def fetched(client, file):
    async with client.download(file) as pieces:
        return b"".join([piece async for piece in pieces])


async def test_an_image_travels_through_the_server_with_its_measures(tmp_path):
    path = tmp_path / "猫.png"
    path.write_bytes(picture())
    async with (
        open_server() as server,
        open_client("Tom", app_id=server.app_id, app_key=server.app_key, server=server.url) as tom,
        open_client(
            "Jerry", app_id=server.app_id, app_key=server.app_key, server=server.url
        ) as jerry,
    ):
        file = await tom.upload(File.from_path(path))
        assert (file.name, file.mime_type) == ("猫.png", "image/png")
        assert file.size == path.stat().st_size
        assert (file.width, file.height) == (31, 17)
        chat = await tom.create_conversation(["Jerry"])
        await tom.send(chat, ImageMessage(file, text="look"))
        (message,) = await jerry.history_page(chat)
        assert message.file == file
        assert await fetched(jerry, message.file) == path.read_bytes()


async def test_the_length_of_a_recording_is_measured():
    async with (
        open_server() as server,
        open_client("Tom", app_id=server.app_id, app_key=server.app_key, server=server.url) as tom,
    ):
        pytest.importorskip("mutagen")
        file = await tom.upload(LocalFile.from_bytes("voice.wav", recording(1.5)))
        assert file.duration == pytest.approx(1.5)
        damaged = await tom.upload(LocalFile.from_bytes("voice.wav", b"no recording"))
        assert damaged.duration is None


class Provider:
    """Stands in for a storage provider and the REST API before it."""

    def __init__(self, token, refuse=None):
        self.token = {
            "url": "https://files.test/x",
            "objectId": "file-id",
            "token": "secret",
            "key": "the-key",
            "bucket": "pail",
            "mime_type": "text/plain",
            **token,
        }
        self.refuse = refuse
        self.requests = []

    async def __call__(self, request):
        body = await request.aread()
        self.requests.append((request.method, str(request.url), request.headers, body))
        path = request.url.path
        if path == "/1.1/fileTokens":
            return httpx2.Response(201, json=self.token)
        if path == "/1.1/fileCallback":
            return httpx2.Response(200, json={})
        if self.refuse is not None:
            return httpx2.Response(self.refuse)
        if path.endswith("/uploads"):
            return httpx2.Response(200, json={"uploadId": "u1"})
        return httpx2.Response(200, json={"etag": f"etag-{path.rsplit('/', 1)[-1]}"})

    @property
    def callback(self):
        (body,) = [body for _m, url, _h, body in self.requests if url.endswith("fileCallback")]
        return json.loads(body)


def through(client, provider):
    client._session.connection.http._client = httpx2.AsyncClient(
        transport=httpx2.MockTransport(provider)
    )
    return client


async def test_s3_takes_the_bytes_as_they_are(autojump_clock):
    async with world("Tom") as (_w, tom):
        provider = Provider({"provider": "s3", "upload_url": "https://s3.test/put"})
        through(tom, provider)
        file = await tom.upload(LocalFile.from_bytes("a.txt", b"x" * 200_000))
        assert file == File(
            "https://files.test/x",
            id="file-id",
            name="a.txt",
            mime_type="text/plain",
            size=200_000,
        )
        method, url, headers, body = provider.requests[1]
        assert (method, url, len(body)) == ("PUT", "https://s3.test/put", 200_000)
        assert headers["content-type"] == "text/plain"
        assert headers["content-length"] == "200000"
        assert headers["cache-control"] == "public, max-age=31536000"
        assert provider.callback == {"token": "secret", "result": True}


async def test_qiniu_takes_a_form(autojump_clock):
    async with world("Tom") as (_w, tom):
        provider = Provider({"provider": "qiniu", "upload_url": "https://up.test"})
        through(tom, provider)
        await tom.upload(LocalFile.from_bytes('a"\n.txt', b"content"))
        method, _url, headers, body = provider.requests[1]
        assert method == "POST"
        assert headers["content-type"].startswith("multipart/form-data; boundary=")
        assert int(headers["content-length"]) == len(body)
        for piece in (b'name="key"\r\n\r\nthe-key\r\n', b'name="token"\r\n\r\nsecret\r\n'):
            assert piece in body
        assert b'name="file"; filename="a__.txt"' in body
        assert b"\r\n\r\ncontent\r\n--" in body


async def test_qiniu_takes_large_files_in_parts(autojump_clock, monkeypatch):
    monkeypatch.setattr("trio_realtime._io.upload.SHARDED_FROM", 100)
    monkeypatch.setattr("trio_realtime._io.upload.SHARD", 64)
    async with world("Tom") as (_w, tom):
        provider = Provider({"provider": "qiniu", "upload_url": "https://up.test"})
        through(tom, provider)
        data = bytes(range(150))
        await tom.upload(LocalFile.from_bytes("a.bin", data))
        start, *parts, finish, _callback = provider.requests[1:]
        base = "https://up.test/buckets/pail/objects/dGhlLWtleQ==/uploads"
        assert start[:2] == ("POST", base)
        assert [url for _m, url, _h, _b in parts] == [f"{base}/u1/{n}" for n in (1, 2, 3)]
        assert b"".join(body for _m, _u, _h, body in parts) == data
        assert all(headers["authorization"] == "UpToken secret" for _m, _u, headers, _b in parts)
        assert json.loads(finish[3])["parts"] == [
            {"partNumber": n, "etag": f"etag-{n}"} for n in (1, 2, 3)
        ]


@pytest.mark.parametrize("broken", ["PUT", "etag", "uploadId"])
async def test_parts_of_a_failed_upload_are_dropped(broken, autojump_clock, monkeypatch):
    monkeypatch.setattr("trio_realtime._io.upload.SHARDED_FROM", 100)
    monkeypatch.setattr("trio_realtime._io.upload.SHARD", 64)

    class Broken(Provider):
        async def __call__(self, request):
            answer = await super().__call__(request)
            if request.method == broken:
                return httpx2.Response(500)
            if answer.content and broken in answer.json():
                return httpx2.Response(200, json={})
            return answer

    async with world("Tom") as (_w, tom):
        provider = Broken({"provider": "qiniu", "upload_url": "https://up.test"})
        through(tom, provider)
        with pytest.raises(FileUploadError):
            await tom.upload(LocalFile.from_bytes("a.bin", bytes(150)))
        dropped = [url for method, url, _h, _b in provider.requests if method == "DELETE"]
        base = "https://up.test/buckets/pail/objects/dGhlLWtleQ==/uploads"
        assert dropped == ([] if broken == "uploadId" else [f"{base}/u1"])
        assert provider.callback == {"token": "secret", "result": False}


async def test_a_download_can_be_left_early_and_says_what_went_wrong(autojump_clock):
    async with world("Tom") as (_w, tom):
        file = await tom.upload(LocalFile.from_bytes("a.bin", b"x" * 200_000))
        async with tom.download(file) as pieces:
            async for piece in pieces:
                assert piece
                break
        for url in (f"{file.url}x", "http://nobody.test:1/", "http://[", "no url"):
            with pytest.raises(RealtimeError):
                await fetched(tom, File.from_url(url))
        gc.collect()


async def test_qcloud_takes_a_form_with_the_token_in_the_url(autojump_clock):
    async with world("Tom") as (_w, tom):
        provider = Provider({"provider": "qcloud", "upload_url": "https://q.test/up"})
        through(tom, provider)
        await tom.upload(LocalFile.from_bytes("a.txt", b"content"))
        method, url, _headers, body = provider.requests[1]
        assert (method, url) == ("POST", "https://q.test/up?sign=secret")
        assert b'name="op"\r\n\r\nupload\r\n' in body
        assert b'name="fileContent"' in body


@pytest.mark.parametrize(
    ("token", "refuse"),
    [
        ({"provider": "s3", "upload_url": "https://s3.test/put"}, 403),
        ({"provider": "elsewhere"}, None),
        ({"provider": "s3"}, None),
    ],
)
async def test_a_failed_upload_is_taken_back(autojump_clock, token, refuse):
    async with world("Tom") as (_w, tom):
        provider = Provider(token, refuse)
        through(tom, provider)
        with pytest.raises(FileUploadError):
            await tom.upload(LocalFile.from_bytes("a.txt", b"content"))
        assert provider.callback == {"token": "secret", "result": False}


async def test_a_cancelled_upload_is_taken_back(autojump_clock):
    class Stuck(Provider):
        async def __call__(self, request):
            if request.method == "PUT":
                await trio.sleep_forever()
            return await super().__call__(request)

    async with world("Tom") as (_w, tom):
        provider = Stuck({"provider": "s3", "upload_url": "https://s3.test/put"})
        through(tom, provider)
        with trio.move_on_after(5) as scope:
            await tom.upload(LocalFile.from_bytes("a.txt", b"content"))
        assert scope.cancelled_caught
        assert provider.callback == {"token": "secret", "result": False}


async def test_progress_can_be_followed(autojump_clock):
    async with world("Tom") as (_w, tom):
        through(tom, Provider({"provider": "s3", "upload_url": "https://s3.test/put"}))
        send, receive = trio.open_memory_channel(100)
        await tom.upload(LocalFile.from_bytes("a.bin", b"x" * 200_000), progress=send)
        send.close()
        steps = [step async for step in receive]
        assert steps[0] == UploadProgress(0, 200_000)
        assert steps[-1] == UploadProgress(200_000, 200_000)
        assert [s.sent for s in steps] == sorted(s.sent for s in steps)


async def test_a_file_elsewhere_needs_no_upload(autojump_clock):
    async with world("Tom", "Jerry") as (_w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        await tom.send(chat, FileMessage(File.from_url("https://example.test/a.pdf", name="a.pdf")))
        (message,) = await jerry.history_page(chat)
        assert (message.file.url, message.summary) == ("https://example.test/a.pdf", "[文件] a.pdf")
        known = await tom.register_file("https://example.test/a.pdf", name="a.pdf")
        assert known.id


@message_type(3)
@attrs.frozen
class Album(TypedMessage):
    cover: File
    back: File | None = None


async def test_a_message_brings_its_files_along(tmp_path):
    path = tmp_path / "cat.bin"
    path.write_bytes(b"miau" * 1000)
    async with world("Tom", "Jerry", message_types=[Album]) as (_w, tom, jerry):
        chat = await tom.create_conversation(["Jerry"])
        send, receive = trio.open_memory_channel(100)
        sent = await tom.send(chat, FileMessage(File.from_path(path)), progress=send)
        assert receive.receive_nowait().total == 4000
        assert sent.file.local is None
        assert sent.file.id
        assert await jerry.history_page(chat) == [sent]
        assert await fetched(jerry, sent.file) == b"miau" * 1000

        edited = await tom.edit(sent, FileMessage(File.from_bytes("dog", b"wau")))
        assert await fetched(jerry, edited.file) == b"wau"

        bare = ImageMessage(File.from_bytes("a.bin", b"a")).file
        album = await tom.send(chat, Album(bare, back=File("http://elsewhere/b")))
        assert await fetched(jerry, album.cover) == b"a"
        assert album.back == File("http://elsewhere/b")


async def test_a_message_whose_file_is_lost_is_not_sent(tmp_path):
    path = tmp_path / "cat.bin"
    path.write_bytes(b"miau")
    async with world("Tom") as (_w, tom):
        chat = await tom.create_conversation(["Jerry"])
        sending = tom.sending(chat, FileMessage(File.from_path(path)))
        path.unlink()
        with pytest.raises(OSError, match=r"cat\.bin"):
            await sending.send()
        assert sending.message.status is MessageStatus.FAILED
        assert await tom.history_page(chat) == []
        path.write_bytes(b"miau")
        sent = await sending.send()
        assert await tom.history_page(chat) == [sent]
