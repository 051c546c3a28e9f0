"""Where a workload runs: over real sockets to a real process, or in memory and virtual time."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from tests.ledger.fault_plan import Climate
from tests.ledger.fault_proxy import FaultProxy
from trio_realtime.testing import open_server

PATIENCE = 60


@attrs.frozen
class World:
    """A server behind a proxy."""

    proxy: FaultProxy
    options: dict
    """How clients reach it."""
    crash: Callable[[], Awaitable[None]]
    """Let the server die, and start again with what it had stored."""
    pid: Callable[[], int] = os.getpid
    """The process that serves."""


@asynccontextmanager
async def in_memory(seed: int, climate: Climate) -> AsyncIterator[World]:
    """No sockets, no threads, no real time."""
    async with open_server(memory=True) as server, trio.open_nursery() as nursery:
        proxy = FaultProxy(nursery, server.connect, seed=seed, climate=climate)
        options = {
            "app_id": server.app_id,
            "app_key": server.app_key,
            "server": server.url,
            "open_stream": proxy.open_stream,
        }
        yield World(proxy, options, server.restart)
        nursery.cancel_scope.cancel()


class Program:
    """``trio-realtime serve`` on a directory and a port that stay."""

    def __init__(self, data: Path, port: int, public_url: str) -> None:
        self._command = [sys.executable, "-m", "trio_realtime", "serve", "--ready-json"]
        self._command += ["--port", str(port), "--data", str(data), "--app", "app:key:master"]
        self._command += ["--public-url", public_url]
        self._process: trio.Process | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        return self._process.pid

    async def start(self) -> None:
        """Start it; returns when it serves."""
        self._process = await trio.lowlevel.open_process(self._command, stdout=subprocess.PIPE)
        with trio.fail_after(PATIENCE):
            line = await self._process.stdout.receive_some()
        assert "url" in json.loads(line), line

    async def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        with trio.CancelScope(shield=True):
            await self._process.wait()
            await self._process.stdout.aclose()

    async def crash(self) -> None:
        """SIGKILL, and start again."""
        await self.kill()
        await self.start()


@asynccontextmanager
async def on_sockets(seed: int, climate: Climate, data: Path) -> AsyncIterator[World]:
    """A process of its own behind a TCP proxy."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with trio.open_nursery() as nursery:

        async def connect() -> trio.SocketStream:
            return await trio.open_tcp_stream("127.0.0.1", port)

        proxy = FaultProxy(nursery, connect, seed=seed, climate=climate)
        url = f"http://127.0.0.1:{await proxy.listen()}"
        program = Program(data, port, url)
        await program.start()
        try:
            options = {"app_id": "app", "app_key": "key", "server": url}
            yield World(proxy, options, program.crash, lambda: program.pid)
        finally:
            await program.kill()
        nursery.cancel_scope.cancel()
