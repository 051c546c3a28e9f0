"""``serve`` as a program beside the test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import trio

APP = "demo:demo-key:demo-master"


def command(*arguments):
    return [sys.executable, "-m", "trio_realtime", "serve", *map(str, arguments)]


class Program:
    """``serve`` running beside the test."""

    def __init__(self, *arguments):
        self.said = []
        self.process = subprocess.Popen(
            command("--port", 0, "--ready-json", *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    async def __aenter__(self):
        with trio.fail_after(60):
            line = await trio.to_thread.run_sync(self.process.stdout.readline)
        self.ready = json.loads(line)
        self.url = self.ready["url"]
        return self

    async def __aexit__(self, *_):
        self.process.kill()
        self.process.communicate()

    async def signalled(self, number):
        """Send a signal and wait until the program has said something about it."""
        self.process.send_signal(number)
        with trio.fail_after(60):
            line = await trio.to_thread.run_sync(self.process.stderr.readline)
        self.said.append(line)

    async def ended(self):
        """Status and standard error once it has ended by itself."""
        with trio.fail_after(60):
            _, errors = await trio.to_thread.run_sync(self.process.communicate)
        return self.process.returncode, errors

    def highest_descriptor(self):
        """Of those that are open now; on Linux."""
        return max(int(path.name) for path in Path(f"/proc/{self.process.pid}/fd").iterdir())
