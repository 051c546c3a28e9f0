from __future__ import annotations

from contextlib import suppress

import pytest
import trio

from trio_realtime.server.files.blobs import BlobMissing, DiskBlobs, MemoryBlobs, NoRoom

NAME = "0123-abcd-00ff"


@pytest.fixture(params=["disk", "memory"])
def blobs(request, tmp_path):
    return DiskBlobs(tmp_path / "files") if request.param == "disk" else MemoryBlobs(10_000_000)


async def written(blobs, name, content):
    async with blobs.write(name) as writer:
        for start in range(0, len(content), 50_000):
            await writer.write(content[start : start + 50_000])
        await writer.finish()


async def read(blobs, name):
    blob = await blobs.open(name)
    try:
        content = b""
        while part := await blob.read(len(content), 70_000):
            content += part
        return content
    finally:
        blob.close()


@pytest.mark.parametrize("size", [0, 1, 700_001])
async def test_a_blob_can_be_read_wherever_it_lies(blobs, size):
    content = bytes(n % 251 for n in range(size))
    await written(blobs, NAME, content)
    assert await read(blobs, NAME) == content
    for move in (blobs.keep, blobs.keep, blobs.withdraw, blobs.withdraw, blobs.keep):
        await move(NAME)
        assert await read(blobs, NAME) == content
    await blobs.discard(NAME)
    await blobs.discard(NAME)
    with pytest.raises(BlobMissing):
        await blobs.open(NAME)
    # What is gone does not come back.
    await blobs.keep(NAME)
    await blobs.withdraw(NAME)
    with pytest.raises(BlobMissing):
        await blobs.open(NAME)


async def test_what_is_withdrawn_can_be_discarded(blobs):
    await written(blobs, NAME, b"x")
    await blobs.keep(NAME)
    await blobs.withdraw(NAME)
    await blobs.discard(NAME)
    with pytest.raises(BlobMissing):
        await blobs.open(NAME)


async def test_an_open_blob_outlives_its_removal(blobs):
    await written(blobs, NAME, b"hello")
    await blobs.keep(NAME)
    blob = await blobs.open(NAME)
    await blobs.discard(NAME)
    assert await blob.read(1, 3) == b"ell"
    assert await blob.read(5, 3) == b""
    blob.close()


@pytest.mark.parametrize("end", ["nothing", "error", "cancel"])
async def test_what_is_not_finished_vanishes(blobs, end):
    with trio.CancelScope() as scope, suppress(ZeroDivisionError):
        async with blobs.write(NAME) as writer:
            await writer.write(b"x" * 300_000)
            if end == "error":
                raise ZeroDivisionError
            if end == "cancel":
                scope.cancel()
                await trio.lowlevel.checkpoint()
    with pytest.raises(BlobMissing):
        await blobs.open(NAME)
    assert await blobs.in_transit() == []


async def test_what_lies_in_transit_is_known(tmp_path):
    blobs = DiskBlobs(tmp_path)
    await written(blobs, "a-1-00", b"")
    await written(blobs, "b-1-01", b"")
    await blobs.keep("b-1-01")
    assert await DiskBlobs(tmp_path).in_transit() == ["a-1-00"]
    await blobs.withdraw("b-1-01")
    assert await DiskBlobs(tmp_path).in_transit() == ["a-1-00", "b-1-01"]


async def test_memory_is_counted():
    blobs = MemoryBlobs(100)
    await written(blobs, "a", b"x" * 60)
    with pytest.raises(NoRoom):
        await written(blobs, "b", b"x" * 41)
    assert blobs.size == 60
    async with blobs.write("c") as writer:
        await writer.write(b"x" * 40)
        assert blobs.size == 100
        with pytest.raises(NoRoom):
            await writer.write(b"x")
    assert blobs.size == 60
    await blobs.discard("a")
    assert blobs.size == 0


async def test_only_a_full_disk_means_no_room(tmp_path):
    blobs = DiskBlobs(tmp_path)
    await written(blobs, NAME, b"x")
    with pytest.raises(FileExistsError):
        await written(blobs, NAME, b"y")
    assert await read(blobs, NAME) == b"x"
