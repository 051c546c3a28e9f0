"""A node process that runs the second version of the npm SDK. See v2_driver.js."""

from __future__ import annotations

import json
import os
import subprocess
from collections import defaultdict, deque
from contextlib import asynccontextmanager

import trio

from tests.interop.js_peer import HERE, PATIENCE


class V2Error(Exception):
    """What a method threw."""


class V2:
    """The process; `open_v2` makes one."""

    def __init__(self, process):
        self._process = process
        self._last_id = 0
        self._replies = {}
        self._changed = trio.Condition()
        self.events = defaultdict(deque)

    async def command(self, op, **fields):
        self._last_id += 1
        mine = self._last_id
        line = json.dumps({"id": mine, "op": op, **fields})
        await self._process.stdin.send_all(line.encode() + b"\n")
        await self._until(lambda: mine in self._replies, line)
        reply = self._replies.pop(mine)
        if "error" in reply:
            raise V2Error(reply["error"])
        return reply["ok"]

    async def call(self, target, method, *args):
        """Call a method; what its callback gets."""
        return await self.command("call", target=target["target"], method=method, args=args)

    async def tell(self, target, method, *args):
        """Call a method that has no callback."""
        await self.command("tell", target=target["target"], method=method, args=args)

    async def room(self, realtime, options):
        return await self.command("room", target=realtime["target"], args=[options])

    async def next_event(self, name):
        waiting = self.events[name]
        await self._until(lambda: bool(waiting), f"the event {name}")
        return waiting.popleft()

    async def _until(self, arrived, what):
        with trio.move_on_after(PATIENCE) as patience:
            async with self._changed:
                while not arrived():
                    await self._changed.wait()
        if patience.cancelled_caught:
            others = {name: list(queue) for name, queue in self.events.items() if queue}
            raise AssertionError(f"waited in vain for {what}; other events: {others}")

    async def read(self):
        rest = b""
        async for data in self._process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            async with self._changed:
                for line in lines:
                    said = json.loads(line)
                    if "id" in said:
                        self._replies[said["id"]] = said
                    else:
                        self.events[said["event"]].append(said.get("data"))
                self._changed.notify_all()


@asynccontextmanager
async def open_v2(server):
    """The process, and the options that its realtime objects need."""
    process = await trio.lowlevel.open_process(
        ["node", "-r", str(HERE / "redirect.js"), str(HERE / "v2_driver.js")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "REDIRECT_TO": server.url},
    )
    peer = V2(process)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.read)
            yield peer
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
            await process.stdin.aclose()
            await process.stdout.aclose()
