"""Pulling from a simulated service, in virtual time."""

from __future__ import annotations

from contextlib import asynccontextmanager

from tests.archive.service import APP, KEY
from trio_realtime._archive.archive import open_archive, read_manifest, rows_of
from trio_realtime._archive.media import FileReader
from trio_realtime._archive.progress import Progress
from trio_realtime._archive.pulling import Puller, Scope
from trio_realtime.rest import open_rest


@asynccontextmanager
async def puller(service, path, *, app=APP, key=KEY, hosts=("endpoint.test",), **options):
    async with (
        service.running(),
        open_rest(
            app_id=app,
            master_key=key,
            server=service.url,
            open_stream=service.open_stream,
            **options,
        ) as rest,
        open_archive(path, app_id=app, server=service.url) as archive,
    ):
        progress = Progress()
        files = FileReader(archive, progress, hosts=hosts, open_stream=service.open_stream)
        yield Puller(rest, archive, files, progress)


async def pull(service, path, scope=None, **options):
    """One round; what was done."""
    async with puller(service, path, **options) as one:
        await one.round(scope or Scope())
        return one.progress


def rows(path, kind):
    """All rows of a kind, in the order of the archive."""
    manifest = read_manifest(path)
    return [row for part in manifest.of(kind) for row, _ in rows_of(path, part)]


def by_place(messages):
    return sorted(messages, key=lambda row: (row["timestamp"], row["to"], row["msg-id"]))


def content(path):
    """Everything in an archive that does not tell when it was made."""
    manifest = read_manifest(path)
    parts = {part.file: (path / part.file).read_bytes() for part in manifest.parts if part.bytes}
    blobs = {file.name: file.read_bytes() for file in (path / "blobs").glob("*/*")}
    states = [
        (part.file, part.rows, part.bytes, part.sha256, part.complete, part.first, part.last)
        for part in manifest.parts
    ]
    return parts, blobs, states, manifest.until, manifest.complete
