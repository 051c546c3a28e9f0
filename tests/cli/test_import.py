"""``import``, ``verify`` and ``export`` as programs, with the server as one, too."""

from __future__ import annotations

import json
import os
import random
import subprocess
from functools import partial

import httpx2
import pytest
import trio

from tests.archive.service import Service
from tests.archive.test_importing import KINDS, sorted_rows
from tests.archive.world import by_place, rows
from tests.archive.world import pull as pull_from
from tests.cli import archive_commands
from tests.cli.archive_commands import command
from tests.cli.program import APP, Program
from trio_realtime._archive.archive import open_archive
from trio_realtime.rest import open_rest

APP_ID, _, MASTER_KEY = APP.split(":")


environ = partial(archive_commands.environ, MASTER_KEY)
run = partial(archive_commands.run, key=MASTER_KEY)


async def made(path, *, conversations=20, messages=2000, days=9.0, files=None, body=None):
    """An archive of the app that the program serves."""
    service = Service()
    service.fill(conversations=conversations, messages=messages, days=days)
    cids = [row["objectId"] for row in service.conversations]
    for row in service.conversations:
        row.pop("m") if row.get("m") is None else None
    if files is not None:
        service.files = files
        service.say(body=body)
    service.silenced = {cids[0]: ["eve"]}
    service.subscribers[cids[2]] = ["ann", "bob"]
    service.infos = [{"objectId": "1" * 24, "cid": cids[0], "clientId": "bob", "role": "Manager"}]
    async with open_archive(path, app_id="shop-production"):
        pass
    await pull_from(service, path)
    manifest = path / "manifest.json"
    fields = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**fields, "app_id": APP_ID}))
    return service


async def test_there_and_back(tmp_path):
    archive, exported, again = (tmp_path / name for name in ("archive", "exported", "again"))
    await made(archive)
    async with Program("--data", tmp_path / "one", "--app", APP) as program:
        given = ("--server", program.url)
        status, out, errors = await run("import", archive, *given, "--dry-run")
        assert (status, errors) == (0, "")
        assert f"Would be imported into {program.url}:" in out
        assert "  messages: 2,000 new, 0 changed, 0 known" in out
        status, out, _ = await run("verify", archive, *given)
        assert status == 1
        status, out, errors = await run("import", archive, *given)
        assert (status, errors) == (0, "")
        assert "  messages: 2,000 new, 0 changed, 0 known" in out
        status, out, errors = await run("verify", archive, *given)
        assert (status, errors) == (0, "")
        assert out == (
            f"No difference: 2,000 messages in 20 conversations are on {program.url} as they are "
            f"in {archive}.\n"
        )
        status, out, _ = await run("import", archive, *given)
        assert (status, "  messages: 0 new, 0 changed, 2,000 known" in out) == (0, True)
        assert (await run("export", exported, *given, "--app-id", APP_ID))[0] == 0
        assert (await run("pull", exported, "--check"))[0] == 0
    async with Program("--data", tmp_path / "two", "--app", APP) as program:
        given = ("--server", program.url)
        assert (await run("import", exported, *given))[0] == 0
        assert (await run("verify", exported, *given))[0] == 0
        assert (await run("verify", archive, *given))[0] == 0
        assert (await run("export", again, *given, "--app-id", APP_ID))[0] == 0
    assert by_place(rows(again, "messages")) == by_place(rows(exported, "messages"))
    for kind in KINDS:
        assert sorted_rows(again, kind) == sorted_rows(exported, kind), kind


@pytest.mark.parametrize("most", [4, pytest.param(20, marks=pytest.mark.slow)])
async def test_killed_at_random_points(most, tmp_path):
    """Either side: the import, or the server."""
    chance = random.Random(3)
    archive, data = tmp_path / "archive", tmp_path / "data"
    await made(archive, messages=6000)
    for number in range(most):
        async with Program("--data", data, "--app", APP) as program:
            with subprocess.Popen(  # noqa: ASYNC220 - it starts at once
                command("import", archive, "--server", program.url),
                env=environ(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ) as process:
                await trio.sleep(chance.uniform(0.5, 2.5))
                (program.process if number % 2 else process).kill()
                process.kill()
                await trio.to_thread.run_sync(process.wait)
    async with Program("--data", data, "--app", APP) as program:
        assert (await run("import", archive, "--server", program.url))[0] == 0
        status, out, _ = await run("verify", archive, "--server", program.url)
        assert status == 0, out


async def test_files_come_along(tmp_path):
    archive = tmp_path / "archive"
    picture = os.urandom(70_000)
    body = json.dumps({"_lctype": -2, "_lcfile": {"url": "http://endpoint.test/file/a.png"}})
    await made(archive, conversations=3, messages=5, files={"/file/a.png": picture}, body=body)
    async with Program("--data", tmp_path / "data", "--app", APP) as program:
        status, out, errors = await run("import", archive, "--server", program.url)
        assert (status, errors) == (0, "")
        assert "  files: 1 new, 0 changed, 0 known" in out
        async with httpx2.AsyncClient() as client:
            reply = await client.get(f"{program.url}/file/a.png")
        assert (reply.status_code, reply.content) == (200, picture)
        status, out, _ = await run("import", archive, "--server", program.url, "--no-files")
        assert (status, "files" in out) == (0, False)


async def test_exports_of_the_console(tmp_path):
    good = {"objectId": "5" * 24, "createdAt": "2026-03-01T08:00:00.123Z", "m": ["ann", "bob"]}
    lines = [
        '#filetype:JSON-streaming {"type":"Class","class":"_Conversation"}',
        json.dumps(good),
        "{broken",
        json.dumps({**good, "objectId": "6" * 24, "createdAt": "2999-01-01T00:00:00.000Z"}),
    ]
    export, report = tmp_path / "_Conversation.0.jsonl", tmp_path / "report.txt"
    export.write_text("\n".join(lines))
    async with Program("--data", tmp_path / "data", "--app", APP) as program:
        given = ("--server", program.url, "--app-id", APP_ID)
        status, out, errors = await run("import", export, *given, "--report", report)
        assert status == 1
        assert "  conversations: 1 new, 0 changed, 0 known, 2 not taken" in out
        assert errors.splitlines() == [
            f"{export}:3: it is no JSON object",
            f"{export}:4: createdAt is in the future: 2999-01-01T00:00:00.000Z",
        ]
        assert report.read_text().splitlines() == errors.splitlines()
        opening = open_rest(app_id=APP_ID, master_key=MASTER_KEY, server=program.url)
        async with opening as rest:
            found = await rest.conversation("5" * 24)
        assert found.members == ("ann", "bob")


async def test_what_cannot_be_meant(tmp_path):
    archive = tmp_path / "archive"
    await made(archive, messages=5, conversations=3)
    nowhere = ("--server", "http://127.0.0.1:9")
    for arguments, said in (
        (("import", archive), "--server is needed"),
        (("import", tmp_path / "none", *nowhere, "--app-id", "x"), "There is no"),
        (("import", archive, *nowhere, "--app-id", "other-app"), "archive of the app demo"),
        (("verify", archive, *nowhere, "--app-id", "other-app"), "archive of the app demo"),
        (("import", archive, *nowhere), "GET http://127.0.0.1:9/1.1/date failed"),
        (("import", archive, "--server", "nowhere"), "server is a URL"),
        (("verify", tmp_path / "none", *nowhere), "There is no archive"),
        (("verify", archive), "--server is needed"),
    ):
        status, out, errors = await run(*arguments)
        assert (status, out) == (2, ""), arguments
        assert said in errors
        assert len(errors.splitlines()) == 1
    async with Program("--data", tmp_path / "data", "--app", APP) as program:
        for name in ("import", "verify"):
            env = environ(TRIO_REALTIME_MASTER_KEY="wrong")
            status, _, errors = await run(name, archive, "--server", program.url, env=env)
            assert (status, "does not accept the key" in errors) == (2, True)


async def test_a_damaged_archive_is_not_half_imported_in_silence(tmp_path):
    archive = tmp_path / "archive"
    await made(archive)
    (victim, *_) = sorted((archive / "messages").iterdir())
    victim.write_bytes(victim.read_bytes()[:-100])
    async with Program("--data", tmp_path / "data", "--app", APP) as program:
        status, out, errors = await run("import", archive, "--server", program.url)
        assert (status, out) == (2, "")
        assert f"{victim} is damaged" in errors
