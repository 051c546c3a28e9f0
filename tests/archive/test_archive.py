"""The directory: what is committed is there, whatever happens; what is not, is not."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest
import trio

from trio_realtime._archive import archive as archive_module
from trio_realtime._archive.archive import open_archive, read_manifest, rows_of
from trio_realtime._archive.check import check, repair
from trio_realtime._archive.errors import (
    ArchiveDamaged,
    ArchiveError,
    ArchiveInUse,
    NoRoom,
)

APP = "shop-production"


def opened(path, app=APP):
    return open_archive(path, app_id=app, server="https://api.example.com")


async def filled(path, count=3):
    async with opened(path) as archive:
        part = archive.manifest.new_part("conversations")
        await archive.append(part, [{"objectId": str(n)} for n in range(count)], cursor="x")
        archive.note(round=1, complete=True)
        part.complete = True
    return path / part.file


def ids(path):
    manifest = read_manifest(path)
    return [row["objectId"] for part in manifest.parts for row, _ in rows_of(path, part)]


async def test_what_is_added_is_there_again(tmp_path):
    await filled(tmp_path)
    assert ids(tmp_path) == ["0", "1", "2"]
    async with opened(tmp_path) as archive:
        (part,) = archive.manifest.parts
        assert (part.rows, part.cursor, part.complete) == (3, "x", True)
        await archive.append(part, [{"objectId": "3"}])
    assert ids(tmp_path) == ["0", "1", "2", "3"]
    assert check(tmp_path).whole


async def test_what_was_not_committed_is_cut_off(tmp_path):
    file = await filled(tmp_path)
    with file.open("ab") as opened_file:
        opened_file.write(b'{"objectId": "half')
    (tmp_path / "conversations" / "000002.jsonl").write_bytes(b"begun, not counted")
    (tmp_path / "manifest.json.new").write_text("half a manif")
    assert ids(tmp_path) == ["0", "1", "2"]
    async with opened(tmp_path) as archive:
        await archive.append(archive.manifest.parts[0], [{"objectId": "3"}])
        await archive.append(archive.manifest.new_part("conversations"), [{"objectId": "4"}])
    assert ids(tmp_path) == ["0", "1", "2", "3", "4"]
    assert check(tmp_path).whole


async def test_killed_between_any_two_steps(tmp_path):
    """After each system call that changes the disk: the old state or the new one."""
    program = """
import os, signal, sys, trio
from pathlib import Path
from trio_realtime._archive.archive import open_archive

left = int(sys.argv[2])
def dying(name, function):
    def call(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return call

os.fsync = dying("fsync", os.fsync)
os.open = dying("open", os.open)
Path.replace = dying("replace", Path.replace)

async def main():
    async with open_archive(Path(sys.argv[1]), app_id="shop-production") as archive:
        while len(archive.manifest.parts) < 2:
            archive.manifest.new_part("conversations")
        for number in range(2):
            for part in archive.manifest.parts:
                rows = [{"objectId": f"{part.rows}", "pad": "x" * 100}]
                await archive.append(part, rows, cursor=part.rows + 1)
            await archive.commit()
        print("done", flush=True)

trio.run(main)
"""
    done, step, seen = False, 0, 0
    while not done:
        step += 1
        result = await trio.run_process(
            [sys.executable, "-c", program, str(tmp_path), str(step)],
            capture_stdout=True, capture_stderr=True, check=False,
        )  # fmt: skip
        done = b"done" in result.stdout
        assert done or result.returncode == -9, result.stderr
        if (tmp_path / "manifest.json").exists():
            assert check(tmp_path).problems == []
            rows = [(part.rows, part.cursor) for part in read_manifest(tmp_path).parts]
            assert all(cursor == (count or None) for count, cursor in rows)
            assert len({count for count, _ in rows}) <= 1
            seen = max([seen, *(count for count, _ in rows)])
    assert step > 8
    assert seen >= 2


async def test_one_program_at_a_time(tmp_path):
    async with opened(tmp_path):
        with pytest.raises(ArchiveInUse, match="in use"):
            async with opened(tmp_path):
                pass
        with pytest.raises(ArchiveInUse):
            repair(tmp_path)
    async with opened(tmp_path):
        pass


async def test_of_another_app(tmp_path):
    await filled(tmp_path)
    with pytest.raises(ArchiveError, match="app shop-production, not of shop-staging"):
        async with opened(tmp_path, "shop-staging"):
            pass


async def test_a_directory_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("Dear Ann")
    with pytest.raises(ArchiveDamaged, match="neither empty nor an archive"):
        async with opened(tmp_path):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    with pytest.raises(ArchiveError, match="cannot be used"):
        async with opened(tmp_path / "letter.txt"):
            pass


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "not json",
        lambda _: "[]",
        lambda _: "[" * 5000,
        lambda fields: json.dumps({**fields, "format": "zip"}),
        lambda fields: json.dumps({**fields, "version": 2}),
        lambda fields: json.dumps({**fields, "app_id": 5}),
        lambda fields: json.dumps({**fields, "round": True}),
        lambda fields: json.dumps({**fields, "parts": {}}),
        lambda fields: json.dumps({**fields, "parts": [5]}),
        lambda fields: json.dumps({**fields, "parts": fields["parts"] * 2}),
        lambda fields: json.dumps(
            {**fields, "parts": [{**fields["parts"][0], "file": "../../etc/passwd"}]}
        ),
        lambda fields: json.dumps({**fields, "parts": [{**fields["parts"][0], "bytes": -1}]}),
        lambda fields: json.dumps({**fields, "parts": [{**fields["parts"][0], "kind": "x"}]}),
        lambda fields: json.dumps({key: fields[key] for key in fields if key != "app_id"}),
    ],
)
async def test_a_manifest_that_cannot_be_meant(change, tmp_path):
    await filled(tmp_path)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(change(json.loads(manifest.read_text())))
    for attempt in (check, read_manifest):
        with pytest.raises(ArchiveDamaged, match="manifest"):
            attempt(tmp_path)


async def test_what_a_later_version_adds_is_passed_over(tmp_path):
    await filled(tmp_path)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "new": 1}))
    assert check(tmp_path).whole


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
async def test_a_full_disk_is_said_and_survived(number, tmp_path, monkeypatch):
    await filled(tmp_path)

    def full(_file, _data):
        raise OSError(number, os.strerror(number))

    async def add():
        async with opened(tmp_path) as archive:
            part = archive.manifest.parts[0]
            await archive.append(part, [{"objectId": "3"}])
            await archive.commit()

    with monkeypatch.context() as patched:
        patched.setattr(archive_module, "_write_all", full)
        with pytest.raises(NoRoom, match="no room left"):
            await add()
    assert ids(tmp_path) == ["0", "1", "2"]
    assert check(tmp_path).whole
    await add()
    assert ids(tmp_path) == ["0", "1", "2", "3"]


async def test_after_a_failure_nothing_is_counted(tmp_path, monkeypatch):
    """The rows that failed are not there, so that nothing may be committed behind them."""
    async with opened(tmp_path) as archive:
        part = archive.manifest.new_part("conversations")
        with monkeypatch.context() as patched:
            patched.setattr(archive_module.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(5)))
            await archive.append(part, [{"objectId": "1"}])
            with pytest.raises(ArchiveError):
                await archive.commit()
        await archive.append(part, [{"objectId": "2"}])
        with pytest.raises(ArchiveError):
            await archive.commit()
    assert ids(tmp_path) == []


async def test_much_at_once_waits_for_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_module, "COMMIT_BYTES", 1000)
    async with opened(tmp_path) as archive:
        part = archive.manifest.new_part("conversations")
        for number in range(100):
            await archive.append(part, [{"objectId": str(number), "pad": "x" * 500}])
            assert archive._pending < 2000


# Damage.


async def test_damage_is_found(tmp_path):
    file = await filled(tmp_path)
    whole = file.read_bytes()
    for damaged, said in (
        (whole[:-1], "missing at its end"),
        (whole.replace(b'"1"', b'"7"'), "SHA-256"),
        (b"", "missing"),
    ):
        file.write_bytes(damaged)
        found = check(tmp_path)
        assert not found.whole
        assert said in found.problems[0]
    file.unlink()
    assert "missing" in check(tmp_path).problems[0]
    with pytest.raises(ArchiveDamaged, match="--repair"):
        async with opened(tmp_path):
            pass
    assert repair(tmp_path).broken
    async with opened(tmp_path) as archive:
        assert not archive.manifest.complete
        assert [part.rows for part in archive.manifest.parts] == [0]


def test_there_is_no_archive(tmp_path):
    for attempt in (check, repair):
        with pytest.raises(ArchiveDamaged, match="no archive"):
            attempt(tmp_path / "nowhere")


def test_the_import_of_the_client_does_not_need_it():
    program = "import sys, trio_realtime; print('trio_realtime._archive' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
