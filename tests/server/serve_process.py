"""The real program, serving a directory on a port of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import asynccontextmanager

import trio

from trio_realtime import open_client

APP = "app:key:master"
PATIENCE = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def serving(data, port, program=None):
    """The real program, or another that takes its arguments; yields its process."""
    command = [sys.executable, *(program or ["-m", "trio_realtime"]), "serve", "--ready-json"]
    command += ["--port", str(port), "--data", str(data), "--app", APP]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    try:
        with trio.fail_after(PATIENCE):
            line = await process.stdout.receive_some()
        assert json.loads(line)["url"].endswith(str(port)), line
        yield process
    finally:
        process.kill()
        await process.wait()
        await process.stdout.aclose()


def log_in(name, port):
    return open_client(
        name, app_id="app", app_key="key", server=f"http://127.0.0.1:{port}", history_quota=None
    )
