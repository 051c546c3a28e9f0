"""How fast archives are imported, and in how much memory: python -m benchmarks.importing.

A generated archive is imported into a server, checked, pulled from there and verified, each by the
command, in processes of their own. The columns are messages a second, and the most memory that
the command and the server have had so far; --messages 2000000 against 4000000 shows whether that grows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trio_realtime._archive.manifest import Manifest, Part

APP_ID = "benchmark"
CONVERSATIONS = 2_000
CLIENTS = 5_000
PART = 500_000
START = 1_750_000_000_000
EVERY = 1_500
"""Milliseconds between two messages."""


def main(messages: int, directory: Path) -> None:
    archive = directory / "archive"
    make(archive, messages)
    print(f"{messages:,} messages, {CONVERSATIONS:,} conversations")
    print(f"{'':10}{'messages/s':>12}{'command MiB':>14}{'server MiB':>14}")
    with serving(directory / "data") as (url, server):
        target = ("--server", url, "--app-id", APP_ID)
        for name, arguments in (
            ("import", (archive, *target)),
            ("again", (archive, *target)),
            ("pull", (directory / "copy", *target, "--per-minute", "1000000")),
            ("check", (directory / "copy", "--check")),
            ("verify", (archive, *target)),
        ):
            command = {"again": "import", "check": "pull"}.get(name, name)
            began = time.perf_counter()
            peak = run(command, *arguments)
            speed = messages / (time.perf_counter() - began)
            print(f"{name:10}{speed:12,.0f}{peak:14,.0f}{peak_of(server):14,.0f}", flush=True)


def make(path: Path, messages: int) -> None:
    """An archive with texts, pictures, recalled and binary messages."""
    manifest = Manifest(app_id=APP_ID, server="", created_at="", updated_at="", complete=True)
    manifest.round = 1
    ids = [f"{number:024x}" for number in range(CONVERSATIONS)]
    part = manifest.new_part("conversations", complete=True)
    write(path, part, (row for row in conversations(ids)))
    chance = random.Random(1)
    for start in range(0, messages, PART):
        part = manifest.new_part("messages", complete=True)
        part.low, part.high = START + start * EVERY, START + (start + PART) * EVERY
        write(path, part, history(chance, ids, start, min(start + PART, messages)))
    manifest.until = part.high
    (path / "manifest.json").write_text(manifest.to_json())


def conversations(ids: list[str]) -> Iterator[dict[str, object]]:
    at = "2025-01-01T00:00:00.000Z"
    for number, cid in enumerate(ids):
        members = [f"user{(number * 7 + n) % CLIENTS}" for n in range(2 + number % 9)]
        yield {"objectId": cid, "createdAt": at, "updatedAt": at, "m": members, "c": members[0]}


def history(
    chance: random.Random, ids: list[str], start: int, end: int
) -> Iterator[dict[str, object]]:
    for number in range(start, end):
        at = START + number * EVERY
        body = json.dumps({"_lctype": -1, "_lctext": "x" * chance.randrange(150)})
        binary = number % 50 == 0
        row: dict[str, object] = {
            "msg-id": f"{number:022x}",
            "timestamp": at,
            "to": ids[chance.randrange(CONVERSATIONS)],
            "from": f"user{chance.randrange(CLIENTS)}",
            "data": "aGVsbG8=" if binary else body,
            "bin": binary,
            "is-conv": True,
            "is-room": False,
            "from-ip": "198.51.100.7",
        }
        if number % 3 == 0:
            row["ack-at"] = at + 900
        yield row


def write(path: Path, part: Part, rows: Iterator[dict[str, object]]) -> None:
    file = path / part.file
    file.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with file.open("wb") as opened:
        for row in rows:
            line = json.dumps(row, separators=(",", ":")).encode() + b"\n"
            opened.write(line)
            digest.update(line)
            part.rows += 1
            part.bytes += len(line)
    part.sha256 = digest.hexdigest()


def run(*arguments: object) -> float:
    """Run a command; its peak memory in MiB."""
    command = [sys.executable, "-m", "trio_realtime", *map(str, arguments)]
    environ = {**os.environ, "TRIO_REALTIME_MASTER_KEY": "master"}
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return usage.ru_maxrss / 1024


@contextmanager
def serving(data: Path) -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-m", "trio_realtime", "serve", "--port", "0", "--ready-json"]
    command += ["--data", str(data), "--app", f"{APP_ID}:key:master"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"], process.pid
    finally:
        process.terminate()
        process.communicate()


def peak_of(pid: int) -> float:
    """The most memory a process has had so far, in MiB; on Linux."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--directory", type=Path, help="instead of a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        main(options.messages, options.directory or Path(temporary))
