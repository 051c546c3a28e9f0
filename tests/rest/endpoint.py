"""An HTTP server that answers as a test says, over memory streams or on a port."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager, contextmanager

import attrs
import trio

from trio_realtime._io.exception_groups import background_nursery
from trio_realtime.server.http import Request, Response
from trio_realtime.server.http_connection import HttpConnection
from trio_realtime.server.limits import Limits
from trio_realtime.testing._pipe import memory_streams

READ_SIZE = 64 * 1024


@attrs.frozen
class Reply:
    """What is answered; the value as JSON unless it is bytes."""

    value: object = attrs.field(factory=dict)
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()

    def response(self):
        content = self.value if isinstance(self.value, bytes) else json.dumps(self.value).encode()
        return Response(self.status, content, headers=self.headers)


class Broken(Exception):
    """The connection ends instead of an answer."""


class Endpoint:
    """Each request is passed to ``answer``, which returns a `Reply` or raises `Broken`."""

    url = "http://endpoint.test"

    def __init__(self, answer):
        self.answer_request = answer
        self.requests: list[Request] = []
        self.times: list[float] = []
        self._nursery = None

    # What HttpConnection wants of a router.

    def streams(self, _method, _path):
        return False

    def passes_on(self, _path):
        return False

    def reached(self, _limit):
        pass

    def from_operator(self, _request):
        return True

    async def answer(self, request):
        self.requests.append(request)
        self.times.append(trio.current_time())
        reply = self.answer_request(request)
        if hasattr(reply, "__await__"):
            reply = await reply
        return reply.response()

    async def serve(self, stream):
        @contextmanager
        def answering():
            yield

        async with stream:
            try:
                head = bytes(await stream.receive_some(READ_SIZE))
                if head:
                    connection = HttpConnection(
                        self, stream, head, limits=Limits(), address="", secure=False,
                        answering=answering,
                    )  # fmt: skip
                    await connection.run()
            except (Broken, trio.BrokenResourceError, trio.ClosedResourceError):
                pass

    async def open_stream(self, _host, _port):
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_streams()
        self._nursery.start_soon(self.serve, theirs)
        return ours

    @asynccontextmanager
    async def running(self):
        """Reachable by `open_stream`."""
        async with background_nursery() as nursery:
            self._nursery = nursery
            try:
                yield self
            finally:
                nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def listening(self):
        """Reachable at ``url``, which is changed."""
        async with background_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            nursery.start_soon(trio.serve_listeners, self.serve, listeners)
            try:
                yield self
            finally:
                nursery.cancel_scope.cancel()
