"""What a server in Python could do at most: python -m benchmarks.limits picows|websockets FILE.

It stores every message and passes it on, and does nothing else: no rights, no receipts, no
unread counts. Everything that has come is committed at once in a thread of its own, flushed to
the disk, and then acknowledged. The one runs on picows and uvloop, which are written in C; the
other on Trio and the core of ``websockets``, which are not.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import picows
import trio
import uvloop
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from benchmarks.wire import field, serial_and_kind, varint

CID = re.compile(rb"\x5a\x18([0-9a-f]{24})")
"""Field 11 of 24 characters."""
MEMBER = re.compile(rb"\x0a(.)(c\d+)", re.DOTALL)
NAME = re.compile(rb"\x22.(c\d+)", re.DOTALL)

Send = Callable[[bytes], None]


class Store:
    """One table; everything at once."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(
            "CREATE TABLE messages (cid TEXT, at INTEGER, id TEXT, sender TEXT, body BLOB,"
            " PRIMARY KEY (cid, at, id)) WITHOUT ROWID"
        )

    def append(self, rows: list[tuple[Any, ...]]) -> None:
        """Durably."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO messages VALUES (?, ?, ?, ?, ?)", rows)
        self._connection.execute("COMMIT")


class Core:
    """What is answered to whom."""

    def __init__(self) -> None:
        self._members: dict[bytes, list[bytes]] = {}
        self._online: dict[bytes, Send] = {}
        self._ids = count()
        self.rows: list[tuple[Any, ...]] = []
        self._answers: list[tuple[Send, bytes, bytes, bytes, bytes]] = []

    def received(self, payload: bytes, name: bytes | None, send: Send) -> bytes | None:
        """Take a frame; the name of the client, once it is known."""
        command, op, serial = serial_and_kind(payload)
        i = b"\x28" + varint(serial)
        if command == 2:
            found = CID.search(payload)
            assert found is not None
            assert name is not None
            at = time.time_ns() // 1_000_000
            mid = b"%022d" % next(self._ids)
            self.rows.append((found[1], at, mid, name, payload))
            acknowledged = b"\x08\x03" + i + field(105, field(5, at) + field(6, mid))
            self._answers.append((send, acknowledged, found[1], name, payload))
        elif command == 0:
            named = NAME.search(payload)
            assert named is not None
            name = named[1]
            self._online[name] = send
            send(b"\x08\x00\x10\x05" + i + field(102, field(10, b"token") + field(11, 3600)))
        elif command == 1 and op == 30:
            cid = b"%024x" % next(self._ids)
            self._members[cid] = [found[2] for found in MEMBER.finditer(payload)]
            send(b"\x08\x01\x10\x1f" + i + field(110, field(4, cid)))
        return name

    def taken(self) -> tuple[list[tuple[Any, ...]], list[Any]]:
        """What is to be stored, and what is to be answered then."""
        rows, answers = self.rows, self._answers
        self.rows, self._answers = [], []
        return rows, answers

    def stored(self, answers: list[Any]) -> None:
        for send, acknowledged, cid, sender, payload in answers:
            send(acknowledged)
            push = b"\x08\x02" + payload[payload.index(b"\xc2\x06") :]
            for member in self._members[cid]:
                if member != sender and (to := self._online.get(member)) is not None:
                    to(push)


# On picows.


async def on_picows(path: Path) -> None:
    core, store, something = Core(), Store(path), asyncio.Event()

    class Peer(picows.WSListener):
        name: bytes | None = None

        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            if frame.msg_type != picows.WSMsgType.BINARY:
                transport.disconnect()
                return

            def send(payload: bytes) -> None:
                transport.send(picows.WSMsgType.BINARY, payload)

            self.name = core.received(frame.get_payload_as_bytes(), self.name, send)
            if core.rows:
                something.set()

    def accept(_request: picows.WSUpgradeRequest) -> picows.WSUpgradeResponseWithListener:
        headers = {"Sec-WebSocket-Protocol": "lc.protobuf2.3"}
        response = picows.WSUpgradeResponse.create_101_response(headers)
        return picows.WSUpgradeResponseWithListener(response, Peer())

    server = await picows.ws_create_server(accept, "127.0.0.1", 0, use_aiofastnet=False)
    print(server.sockets[0].getsockname()[1], flush=True)
    while True:
        await something.wait()
        something.clear()
        rows, answers = core.taken()
        await asyncio.get_running_loop().run_in_executor(None, store.append, rows)
        core.stored(answers)


# On Trio.


async def on_websockets(path: Path) -> None:
    core, store, waiting = Core(), Store(path), trio.lowlevel.ParkingLot()

    async def serve(stream: trio.SocketStream) -> None:
        protocol = ServerProtocol(subprotocols=["lc.protobuf2.3"], max_size=None)  # type: ignore[list-item]
        name: bytes | None = None
        outgoing = bytearray()
        to_send = trio.Event()

        def flush() -> None:
            for data in protocol.data_to_send():
                outgoing.extend(data)
            to_send.set()

        def send(payload: bytes) -> None:
            if protocol.state is OPEN:
                protocol.send_binary(payload)
                flush()

        async def write() -> None:
            nonlocal to_send
            while True:
                await to_send.wait()
                to_send = trio.Event()
                data = bytes(outgoing)
                outgoing.clear()
                await stream.send_all(data)

        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(write)
            try:
                async for data in stream:
                    protocol.receive_data(bytes(data))
                    for event in protocol.events_received():
                        if hasattr(event, "path"):
                            protocol.send_response(protocol.accept(event))
                        elif event.opcode == 2:
                            name = core.received(bytes(event.data), name, send)
                    flush()
                    if core.rows:
                        waiting.unpark()
            except trio.BrokenResourceError:
                pass
            nursery.cancel_scope.cancel()

    async def commit() -> None:
        while True:
            if not core.rows:
                await waiting.park()
            rows, answers = core.taken()
            await trio.to_thread.run_sync(store.append, rows)
            core.stored(answers)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(commit)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        print(listeners[0].socket.getsockname()[1], flush=True)
        await trio.serve_listeners(serve, listeners)


if __name__ == "__main__":
    if sys.argv[1] == "picows":
        uvloop.run(on_picows(Path(sys.argv[2])))
    else:
        trio.run(on_websockets, Path(sys.argv[2]))
