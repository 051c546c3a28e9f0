"""The server's side of one connection, driven by hand, and the streams in between."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from functools import partial

import trio
import trio.testing
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from trio_realtime.transport import connect

NAME = "lc.protobuf2.3"
IMPLEMENTATIONS = ["websockets", "trio-websocket"]


def frame(opcode, data=b"", *, fin=True, mask=False, rsv1=False):
    """The bytes of one frame, as a server would send it unless told otherwise."""
    made = Frame(opcode, data, fin)
    raw = bytearray(made.serialize(mask=mask))
    if rsv1:
        raw[0] |= 0x40
    return bytes(raw)


def binary(data, **how):
    return frame(Opcode.BINARY, data, **how)


def text(data, **how):
    return frame(Opcode.TEXT, data.encode() if isinstance(data, str) else data, **how)


def close(code, reason=""):
    return frame(Opcode.CLOSE, Close(code, reason).serialize())


class Wire(trio.abc.HalfCloseableStream):
    """The client's stream: counts, and holds up writes while `gate` is closed."""

    def __init__(self, stream):
        self.stream = stream
        self.writes = []
        self.bytes_read = 0
        self.closed = False
        self.gate = trio.Event()
        self.gate.set()

    async def send_all(self, data):
        await self.gate.wait()
        self.writes.append(bytes(data))
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self):
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes=None):
        data = await self.stream.receive_some(max_bytes)
        self.bytes_read += len(data)
        return data

    async def send_eof(self):
        await self.stream.send_eof()

    async def aclose(self):
        self.closed = True
        await self.stream.aclose()


class Peer:
    """Reads with the core of `websockets`; writes whatever bytes it is given, and only those."""

    def __init__(self, stream, offered=NAME):
        self.stream = stream
        self.wire = None
        self.request = None
        self.accepted = trio.Event()
        self._protocol = ServerProtocol(subprotocols=offered and [offered], max_size=None)
        self._events = []

    async def accept(self, *, trailing=b""):
        """Take the upgrade; `trailing` goes out in the same write as the answer."""
        (self.request,) = await self.hear(1)
        assert isinstance(self.request, Request)
        response = self._protocol.accept(self.request)
        assert response.status_code == 101, response.body
        self._protocol.send_response(response)
        await self.stream.send_all(b"".join(self._protocol.data_to_send()) + trailing)
        self.accepted.set()

    async def hear(self, count):
        """The next `count` frames from the client."""
        while len(self._events) < count:
            data = await self.stream.receive_some(65536)
            assert data, f"the client hung up after {self._events}"
            self._protocol.receive_data(data)
            assert self._protocol.parser_exc is None
            self._events += self._protocol.events_received()
        heard, self._events = self._events[:count], self._events[count:]
        return heard

    async def hear_messages(self, count):
        """The payloads of the next `count` frames, text as text."""
        return [
            bytes(f.data).decode() if f.opcode is Opcode.TEXT else bytes(f.data)
            for f in await self.hear(count)
        ]

    async def hear_close(self):
        """Skip to the client's close frame."""
        while True:
            (heard,) = await self.hear(1)
            if heard.opcode is Opcode.CLOSE:
                return Close.parse(heard.data)

    async def say(self, *frames):
        await self.stream.send_all(b"".join(frames))

    async def serve(self):
        """Answer the client's close frame; ignore all else."""
        code = (await self.hear_close()).code
        await self.say(close(code))
        await self.stream.aclose()


async def memory_wire():
    client, server = trio.testing.memory_stream_pair()
    return client, server


async def tcp_wire():
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        client = await trio.testing.open_stream_to_socket_listener(listener)
        return client, await listener.accept()


WIRES = {"memory": memory_wire, "tcp": tcp_wire}


@asynccontextmanager
async def linked(implementation, *, wire="memory", trailing=b"", url="ws://server/", **options):
    """A transport and its peer, handshake done. The peer answers a close after the block."""
    client_end, server_end = await WIRES[wire]()
    peer = Peer(server_end)
    peer.wire = Wire(client_end)

    async def open_stream(host, port):
        del host, port
        return peer.wire

    options.setdefault("subprotocol", NAME)
    async with server_end, trio.open_nursery() as nursery:
        nursery.start_soon(partial(peer.accept, trailing=trailing))
        async with connect(
            url, implementation=implementation, open_stream=open_stream, **options
        ) as transport:
            await peer.accepted.wait()
            yield transport, peer
            nursery.start_soon(serve_quietly, peer)
        assert peer.wire.closed
        nursery.cancel_scope.cancel()


async def serve_quietly(peer):
    with suppress(AssertionError, trio.BrokenResourceError, trio.ClosedResourceError):
        await peer.serve()


async def collect(transport, count):
    """`count` messages, in however many batches."""
    received = []
    while len(received) < count:
        received += await transport.receive()
    return received
