"""2,000 conversations and 200,000 messages of every sort, there and back."""

from __future__ import annotations

import json
import os
import random
import sys

import pytest
import trio

from tests.archive.service import START, conversation, iso, message
from tests.archive.world import by_place, rows
from tests.cli.program import APP, Program
from trio_realtime._archive.archive import open_archive

pytestmark = pytest.mark.slow

APP_ID, _, MASTER_KEY = APP.split(":")
CONVERSATIONS = int(os.environ.get("ARCHIVE_CONVERSATIONS", "2000"))
MESSAGES = int(os.environ.get("ARCHIVE_MESSAGES", "200000"))


def body(chance, number):
    match number % 6:
        case 0:
            return f"plain {number} \u2028 \U0001f600"
        case 1:
            return '{"_lctype":-127}'
        case 2:
            file = {"url": f"https://files.example.com/{number}", "objId": "x"}
            return json.dumps({"_lctype": -2, "_lcfile": file})
        case 3:
            return json.dumps({"_lctype": 7, "custom": [number, None, {"a": chance.random()}]})
        case _:
            return json.dumps({"_lctype": -1, "_lctext": "x" * chance.randrange(200)})


async def made(path):
    chance = random.Random(1)
    async with open_archive(path, app_id=APP_ID) as archive:
        part = archive.manifest.new_part("conversations", complete=True)
        made = []
        for number in range(CONVERSATIONS):
            kind = {7: {"tr": True}, 8: {"sys": True}}.get(number % 10, {})
            row = conversation(number, START + number, **kind)
            if kind:
                row.pop("m")
            else:
                row["m"] = [f"u{chance.randrange(500)}", *(f"v{n}" for n in range(number % 9))]
                row["attr"] = {"n": number}
            made.append(row)
        await archive.append(part, made)
        part = archive.manifest.new_part("messages", complete=True)
        at = START + 10_000_000
        for start in range(0, MESSAGES, 1000):
            batch = []
            for number in range(start, min(start + 1000, MESSAGES)):
                at += chance.choice([0, 0, 1, 50, 900])
                row = made[chance.randrange(len(made))]
                part.first = part.first or at
                batch.append(
                    message(
                        number, at, row["objectId"], body=body(chance, number),
                        sender=f"u{chance.randrange(500)}", room=row.get("tr") is True,
                    )
                )  # fmt: skip
            await archive.append(part, batch)
        part.low, part.high, part.last = 0, at + 1, at
        archive.note(round=1, complete=True, until=at + 1, started_at=iso(at))


async def run(*arguments):
    with trio.fail_after(1800):
        done = await trio.run_process(
            [sys.executable, "-m", "trio_realtime", *map(str, arguments)],
            capture_stdout=True, capture_stderr=True, check=False,
            env={**os.environ, "TRIO_REALTIME_MASTER_KEY": MASTER_KEY},
        )  # fmt: skip
    print(done.stdout.decode())
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


async def test_there_and_back(tmp_path):
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    await made(first)
    fast = ("--per-minute", 1_000_000, "--no-files")
    async with Program("--data", tmp_path / "one", "--app", APP) as program:
        await run("import", first, "--server", program.url)
        await run("verify", first, "--server", program.url)
        await run("pull", second, "--server", program.url, "--app-id", APP_ID, *fast)
        await run("pull", second, "--check")
    async with Program("--data", tmp_path / "two", "--app", APP) as program:
        await run("import", second, "--server", program.url)
        await run("verify", second, "--server", program.url)
        await run("verify", first, "--server", program.url)
        await run("pull", third, "--server", program.url, "--app-id", APP_ID, *fast)
    assert by_place(rows(third, "messages")) == by_place(rows(second, "messages"))
    assert len(rows(third, "messages")) == MESSAGES
    for kind in ("conversations", "lists", "subscribers"):
        assert rows(third, kind) == rows(second, kind)
