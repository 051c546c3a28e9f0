"""Load for a server: python -m benchmarks.generator PORT SCENARIO [NAME=VALUE ...].

It speaks as little of the protocol as it has to, on picows and uvloop, so that it is not the one
who is measured. It says "ready" when everybody is logged in, begins with the next line that it
reads, and answers with a line of JSON: how much was done in how many seconds, how late, and how
busy it was itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import pairwise

import attrs
import picows
import uvloop

from benchmarks.wire import field, varint
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    GenericCommand,
    LogsCommand,
    OpType,
    SessionCommand,
    decode,
    encode,
)

APP = "benchmark"
BODY = json.dumps({"_lctype": -1, "_lctext": "y" * 170}, separators=(",", ":")).encode()
"""A message of 200 bytes."""
WARM_UP = 1.0
"""Seconds at the beginning that do not count."""

ACK, DIRECT, LOGS = b"\x08\x03", b"\x08\x02", b"\x08\x06"
"""How a server's frames begin: the number of the command."""


class Client(picows.WSListener):
    """One connection with one client."""

    def __init__(self, load: Load, name: str) -> None:
        self.name = name
        self.load = load
        self.transport: picows.WSTransport | None = None
        self.serial = 0
        self.sent: deque[float] = deque()
        """When that was due which is not acknowledged."""
        self._calls: dict[int, asyncio.Future[GenericCommand]] = {}
        self.message = b""
        self.answered: Callable[[], None] = lambda: None

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type != picows.WSMsgType.BINARY:
            if frame.msg_type == picows.WSMsgType.CLOSE:
                transport.disconnect()
            return
        payload = frame.get_payload_as_bytes()
        kind = payload[:2]
        if kind == DIRECT:
            self.load.received()
        elif kind in {ACK, LOGS} and self.sent:
            self.load.acknowledged(self.sent.popleft())
            self.answered()
        else:
            command = decode(payload)
            call = self._calls.pop(command.i or 0, None)
            if call is not None:
                call.set_result(command)

    def on_ws_disconnected(self, _transport: picows.WSTransport) -> None:
        for call in self._calls.values():
            call.set_exception(ConnectionError(f"{self.name} was disconnected"))

    async def call(self, command: GenericCommand) -> GenericCommand:
        """Send a command and wait for its answer."""
        self.serial += 1
        command.i = self.serial
        answer = asyncio.get_running_loop().create_future()
        self._calls[self.serial] = answer
        assert self.transport is not None
        self.transport.send(picows.WSMsgType.BINARY, encode(command))
        return await answer

    async def log_in(self) -> None:
        message = SessionCommand()
        kind = {"cmd": CommandType.SESSION, "op": OpType.OPEN}
        await self.call(
            GenericCommand(**kind, app_id=APP, peer_id=self.name, session_message=message)
        )

    async def converse(self, members: list[str]) -> str:
        """Make a conversation, and be ready to send there."""
        message = ConvCommand(m=members, unique=False)
        kind = {"cmd": CommandType.CONV, "op": OpType.START}
        answer = await self.call(GenericCommand(**kind, conv_message=message))
        assert answer.conv_message is not None
        cid = answer.conv_message.cid
        assert cid is not None
        self.message = field(104, field(1, BODY) + field(11, cid.encode()))
        return cid

    def send(self, due: float) -> None:
        """Send the message, which was due then."""
        self.serial += 1
        self.sent.append(due)
        assert self.transport is not None
        self.transport.send(
            picows.WSMsgType.BINARY, b"\x08\x02\x28" + varint(self.serial) + self.message
        )


@attrs.define
class Load:
    """What is counted."""

    begin: float = float("inf")
    done: int = 0
    deliveries: int = 0
    late: list[float] = attrs.field(factory=list)

    def acknowledged(self, due: float) -> None:
        if due >= self.begin:
            self.done += 1
            self.late.append(time.perf_counter() - due)

    def received(self) -> None:
        self.deliveries += 1


async def connected(port: int, load: Load, name: str) -> Client:
    """A client that is logged in."""
    _, client = await picows.ws_connect(
        lambda: Client(load, name),
        f"ws://127.0.0.1:{port}/",
        extra_headers={"Sec-WebSocket-Protocol": "lc.protobuf2.3"},
        use_aiofastnet=False,
    )
    assert isinstance(client, Client)
    await client.log_in()
    return client


async def everybody(port: int, load: Load, number: int) -> list[Client]:
    return [await connected(port, load, f"c{n}") for n in range(number)]


async def report(load: Load, seconds: float) -> None:
    """Wait for the sign to begin, let it warm up, count, and say what was counted."""
    load.begin = time.perf_counter() + WARM_UP
    await asyncio.sleep(WARM_UP)
    began, busy, deliveries = time.perf_counter(), time.process_time(), load.deliveries
    load.done = 0
    load.late.clear()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - began
    late = sorted(load.late)
    row = {
        "seconds": took,
        "done": load.done,
        "deliveries": load.deliveries - deliveries,
        "p50": late[len(late) // 2] if late else None,
        "p99": late[len(late) * 99 // 100] if late else None,
        "busy": (time.process_time() - busy) / took,
    }
    print(json.dumps(row), flush=True)


async def told_to_begin() -> None:
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def send(port: int, *, clients: int, window: int, seconds: float) -> None:
    """Everybody sends to a neighbour, with so many unacknowledged."""
    load = Load()
    all_of_them = await everybody(port, load, clients)
    for one, other in pairwise([*all_of_them, all_of_them[0]]):
        await one.converse([one.name, other.name])
        one.answered = lambda one=one: one.send(time.perf_counter())
    await told_to_begin()
    for one in all_of_them:
        for _ in range(window):
            one.send(time.perf_counter())
    await report(load, seconds)


async def send_at_rate(port: int, *, clients: int, rate: int, seconds: float) -> None:
    """So many messages a second, whether or not those before are acknowledged."""
    load = Load()
    all_of_them = await everybody(port, load, clients)
    for one, other in pairwise([*all_of_them, all_of_them[0]]):
        await one.converse([one.name, other.name])
    await told_to_begin()

    async def keep_sending() -> None:
        began, sent = time.perf_counter(), 0
        while True:
            while (due := began + sent / rate) <= time.perf_counter():
                all_of_them[sent % clients].send(due)
                sent += 1
            await asyncio.sleep(0.001)

    sending = asyncio.create_task(keep_sending())
    await report(load, seconds)
    sending.cancel()


async def fan_out(port: int, *, members: int, window: int, seconds: float) -> None:
    """One sends to all the others."""
    load = Load()
    all_of_them = await everybody(port, load, members)
    first = all_of_them[0]
    await first.converse([one.name for one in all_of_them])
    first.answered = lambda: first.send(time.perf_counter())
    await told_to_begin()
    for _ in range(window):
        first.send(time.perf_counter())
    await report(load, seconds)


async def history(port: int, *, clients: int, page: int, seconds: float) -> None:
    """Everybody asks for a page of an own conversation, again and again."""
    load = Load()
    all_of_them = await everybody(port, load, clients)
    asked: dict[str, bytes] = {}
    for one in all_of_them:
        cid = await one.converse([one.name, "nobody"])
        filled = asyncio.Event()
        one.answered = lambda one=one, filled=filled: None if one.sent else filled.set()
        for _ in range(page):
            one.send(0.0)
        await filled.wait()
        message = LogsCommand(cid=cid, limit=page)
        asked[one.name] = encode(GenericCommand(cmd=CommandType.LOGS, logs_message=message))

    def ask(one: Client) -> None:
        one.serial += 1
        one.sent.append(time.perf_counter())
        assert one.transport is not None
        question = asked[one.name] + b"\x28" + varint(one.serial)
        one.transport.send(picows.WSMsgType.BINARY, question)

    await told_to_begin()
    for one in all_of_them:
        one.answered = lambda one=one: ask(one)
        ask(one)
    await report(load, seconds)


async def idle(port: int, *, clients: int) -> None:
    """Everybody logs in and says nothing, until there is nothing more to read."""
    await told_to_begin()
    began = time.perf_counter()
    busy = time.process_time()
    load = Load()
    await asyncio.gather(*(connected(port, load, f"c{n}") for n in range(clients)))
    took = time.perf_counter() - began
    row = {"seconds": took, "done": clients, "busy": (time.process_time() - busy) / took}
    print(json.dumps(row), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


SCENARIOS: dict[str, Callable[..., Awaitable[None]]] = {
    "send": send,
    "send_at_rate": send_at_rate,
    "fan_out": fan_out,
    "history": history,
    "idle": idle,
}

if __name__ == "__main__":
    options = dict(argument.split("=") for argument in sys.argv[3:])
    numbers = {name: float(text) if "." in text else int(text) for name, text in options.items()}
    uvloop.run(SCENARIOS[sys.argv[2]](int(sys.argv[1]), **numbers))
