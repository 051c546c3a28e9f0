"""A server with an upstream behind it that a test writes."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import h11
import trio

from trio_realtime.server import App, Limits, ServerConfig, open_server

APP = App("test-app", "test-key", "test-master")


class Backend:
    """An upstream that a test writes: it is given each request and the stream to answer on."""

    def __init__(self, answer):
        self.answer = answer
        self.requests = []
        self.hung_up = trio.Event()
        self.port = 0

    async def serve(self, stream):
        connection = h11.Connection(h11.SERVER)
        try:
            while True:
                request, body = None, b""
                while not isinstance(event := connection.next_event(), h11.EndOfMessage):
                    if event is h11.NEED_DATA:
                        connection.receive_data(await stream.receive_some())
                    elif isinstance(event, h11.Request):
                        request = event
                    elif isinstance(event, h11.Data):
                        body += event.data
                    elif isinstance(event, h11.ConnectionClosed):
                        return
                self.requests.append((request, body))
                if await self.answer(self, stream, request, body):
                    return
                connection = h11.Connection(h11.SERVER)
        except (h11.RemoteProtocolError, trio.BrokenResourceError):
            self.hung_up.set()
        finally:
            with trio.move_on_after(1, shield=True):
                await stream.aclose()

    def fields(self, index=-1):
        return [(bytes(n), bytes(v)) for n, v in self.requests[index][0].headers]


def saying(raw, *, close=False):
    async def answer(_backend, stream, _request, _body):
        await stream.send_all(raw)
        return close

    return answer


HELLO = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"


@asynccontextmanager
async def passing(answer, **limits):
    """A server in front of a backend; and the backend."""
    async with trio.open_nursery() as nursery:
        backend = Backend(answer)
        listeners = await nursery.start(trio.serve_tcp, backend.serve, 0)
        backend.port = listeners[0].socket.getsockname()[1]
        config = ServerConfig(
            apps=[APP],
            port=0,
            upstream=f"http://localhost:{backend.port}",
            limits=Limits(**limits),
        )
        async with open_server(config) as server:
            yield server, backend
        nursery.cancel_scope.cancel()


async def exchange(server, raw):
    """Everything that comes back until the server closes."""
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(raw)
        received = b""
        with trio.fail_after(30):
            while data := await stream.receive_some():
                received += data
        return received


def request(method, target, *headers, body=b"", close=True):
    lines = [f"{method} {target} HTTP/1.1", "Host: im.example.com", *headers]
    if close:
        lines.append("Connection: close")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def status_of(raw):
    return int(raw.split()[1])


def json_of(raw):
    return json.loads(raw.partition(b"\r\n\r\n")[2])
