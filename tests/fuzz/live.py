"""A running server for targets that need one: in memory, in a thread of its own."""

from __future__ import annotations

import queue
import threading

import trio

from trio_realtime.server import Limits
from trio_realtime.testing import open_server

PATIENCE = 60
LIMITS = Limits(head_timeout=0.05, body_timeout=0.05, login_timeout=0.05, keep_alive=0.05)


class Live:
    """Started by the first use; its thread ends with the process."""

    def __init__(self) -> None:
        self._token: trio.lowlevel.TrioToken | None = None
        self._server = None

    @property
    def internal_errors(self) -> int:
        return self._server.stats().metrics.internal_errors_total

    def pour(self, data: bytes) -> None:
        """Send it all, then the end; returns when the server has closed."""
        self._start()
        trio.from_thread.run(self._pour, data, trio_token=self._token)

    def run_sync(self, function, *args) -> None:
        """Call a function in the event loop."""
        self._start()
        trio.from_thread.run_sync(function, *args, trio_token=self._token)

    async def _pour(self, data: bytes) -> None:
        stream = await self._server.connect()
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, stream, data)
                try:
                    while await stream.receive_some():
                        pass
                except trio.BrokenResourceError:
                    pass
                nursery.cancel_scope.cancel()
            await stream.aclose()

    async def _send(self, stream, data: bytes) -> None:
        try:
            await stream.send_all(data)
            await stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    def _start(self) -> None:
        if self._token is None:
            started = queue.SimpleQueue()
            threading.Thread(target=trio.run, args=(self._serve, started), daemon=True).start()
            self._token = started.get(timeout=PATIENCE)

    async def _serve(self, started) -> None:
        async with open_server(memory=True, limits=LIMITS) as self._server:
            started.put(trio.lowlevel.current_trio_token())
            await trio.sleep_forever()
