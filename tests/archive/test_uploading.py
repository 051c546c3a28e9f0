"""The files of an archive, on a server under the URLs that messages bear."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.archive.service import Service
from tests.archive.test_importing import bring
from tests.archive.test_media import attach
from tests.archive.world import pull
from tests.rest.test_keys import asked
from tests.rest.world import backend
from trio_realtime._archive.archive import blob_path
from trio_realtime._archive.errors import UnexpectedAnswer
from trio_realtime._archive.uploading import FileImporter
from trio_realtime.rest import Refused
from trio_realtime.server import Limits
from trio_realtime.server.http import Request


@pytest.fixture
def service():
    service = Service()
    service.fill(messages=20)
    return service


async def get(server, path, **headers):
    request = Request("GET", path, {}, {"host": "files.example.com", **headers})
    response = await server.server.answer(request)
    content = b""
    if response.content is not None:
        while part := await response.content.read():
            content += part
        await response.content.aclose()
    return response.status, content


async def upload(rest, path, **options):
    importer, _ = await bring(rest, path)
    notes = []
    importer.note = notes.append
    await FileImporter(rest, importer, **options).run(path)
    return importer.counts["files"], notes


async def test_old_paths_lead_to_the_files(service, tmp_path, clock):
    attach(service, "a.jpg", b"picture", times=2)
    attach(service, "%E7%8C%AB%20cat.png", b"cat")
    attach(service, "gone.jpg", None)
    service.files["/file/\u732b cat.png"] = b"cat"
    await pull(service, tmp_path)
    async with backend() as (server, rest):
        assert (await get(server, "/file/a.jpg"))[0] == 404
        counts, notes = await upload(rest, tmp_path, dry_run=True)
        assert (counts.new, notes) == (2, [])
        assert (await get(server, "/file/a.jpg"))[0] == 404
        counts, notes = await upload(rest, tmp_path)
        assert (counts.new, counts.known, notes) == (2, 0, [])
        assert await get(server, "/file/a.jpg") == (200, b"picture")
        assert await get(server, "/file/%E7%8C%AB%20cat.png") == (200, b"cat")
        assert await get(server, "/file/a.jpg", range="bytes=1-3") == (206, b"ict")
        assert (await get(server, "/file/gone.jpg"))[0] == 404
        counts, _ = await upload(rest, tmp_path)
        assert (counts.new, counts.known) == (0, 2)


async def test_bytes_that_are_missing_or_damaged_are_told(service, tmp_path, clock):
    attach(service, "a.jpg", b"picture")
    attach(service, "b.jpg", b"other")
    await pull(service, tmp_path)
    blob_path(tmp_path, hashlib.sha256(b"picture").hexdigest()).unlink()
    blob_path(tmp_path, hashlib.sha256(b"other").hexdigest()).write_bytes(b"othes")
    async with backend() as (server, rest):
        counts, notes = await upload(rest, tmp_path)
        assert (counts.new, counts.skipped) == (0, 2)
        reasons = " ".join(note.reason for note in notes)
        assert "cannot be read" in reasons
        assert "another SHA-256" in reasons
        assert (await get(server, "/file/b.jpg"))[0] == 404


async def test_a_file_that_the_server_does_not_take(service, tmp_path, clock):
    attach(service, "a.jpg", b"x" * 5000)
    attach(service, "b.jpg", b"x" * 50)
    await pull(service, tmp_path)
    async with backend(limits=Limits(file_bytes=1000)) as (_server, rest):
        counts, notes = await upload(rest, tmp_path)
        assert (counts.new, counts.skipped) == (1, 1)
        assert "too large" in notes[0].reason


async def test_only_the_operator_brings_files(clock):
    async with backend() as (server, rest):
        for method, path in (
            ("POST", "/trio-realtime/missing-files"),
            ("PUT", "/trio-realtime/import-file"),
            ("POST", "/trio-realtime/import/messages"),
        ):
            assert (await asked(server, method, path, server.app_key))[0] == 401
        for url in ("", "file:///etc/passwd", "http://", "http://x", "http://x/\0", "http://[::1"):
            with pytest.raises(Refused):
                await rest.call("POST", "/trio-realtime/missing-files", body={"urls": [url]})


@pytest.mark.parametrize("path", ["/nothing", "/%00", "/%ff%fe", "/a/../b", "/" + "x" * 9000])
async def test_what_is_nowhere_is_not_found(path, clock):
    async with backend() as (server, _rest):
        status, _ = await get(server, path)
        assert status == 404
        assert server.stats().metrics.internal_errors_total == 0


async def test_a_server_that_takes_no_files(service, tmp_path, clock):
    attach(service, "a.jpg", b"picture")
    await pull(service, tmp_path)
    async with backend() as (_server, rest):
        importer, _ = await bring(rest, tmp_path)

        async def other(*_arguments, **_options):
            return json.loads("[]")

        rest.call = other
        with pytest.raises(UnexpectedAnswer, match="does not take files"):
            await FileImporter(rest, importer).run(tmp_path)
