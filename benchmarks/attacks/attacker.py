"""What clients and strangers do, without an SDK that would slow them down."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from itertools import count

import trio

from trio_realtime.transport import Transport, connect
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    DirectCommand,
    GenericCommand,
    JsonObjectMessage,
    OpType,
    SessionCommand,
    decode,
    encode,
)

IN_FLIGHT = 64
PIECE = 64 * 1024
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: %s\r\n\r\n"
)
UNANSWERED = {CommandType.ACK, CommandType.READ}
GONE = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


def ready() -> None:
    print("ready", flush=True)


class Attacker:
    """One client on one connection, which does not wait for answers."""

    def __init__(self, link: Transport, name: str) -> None:
        self.name = name
        self._link = link
        self._numbers = count(1)

    async def pipeline(self, commands: Iterable[GenericCommand]) -> list[GenericCommand]:
        """Send them with at most `IN_FLIGHT` unanswered; the last answers."""
        waiting = 0
        answers: list[GenericCommand] = []
        for command in commands:
            command.i = next(self._numbers)
            await self._link.send(encode(command))
            waiting += command.cmd not in UNANSWERED
            while waiting >= IN_FLIGHT:
                answers = await self._answers()
                waiting -= len(answers)
        while waiting:
            answers = await self._answers()
            waiting -= len(answers)
        return answers

    async def call(self, command: GenericCommand) -> GenericCommand:
        """Send one and wait for its answer."""
        return (await self.pipeline([command]))[-1]

    async def _answers(self) -> list[GenericCommand]:
        received = [decode(payload) for payload in await self._link.receive()]
        return [command for command in received if command.i is not None]


@asynccontextmanager
async def attacker(
    port: int, name: str, subprotocol: str = "lc.protobuf2.3"
) -> AsyncIterator[Attacker]:
    async with connect(f"ws://127.0.0.1:{port}", subprotocol=subprotocol) as link:
        me = Attacker(link, name)
        await me.call(opening(name))
        yield me


def opening(name: str, token: str | None = None) -> GenericCommand:
    message = SessionCommand(config_bitmap=187, st=token)
    return GenericCommand(
        cmd=CommandType.SESSION,
        op=OpType.OPEN,
        app_id="app",
        peer_id=name,
        session_message=message,
    )


def start(members: list[str], name: str) -> GenericCommand:
    attr = JsonObjectMessage(data=json.dumps({"name": name}))
    message = ConvCommand(m=members, attr=attr, unique=False)
    return GenericCommand(cmd=CommandType.CONV, op=OpType.START, conv_message=message)


def query(where: dict[str, object]) -> GenericCommand:
    text = json.dumps(where, separators=(",", ":"))
    message = ConvCommand(where=JsonObjectMessage(data=text), limit=1000)
    return GenericCommand(cmd=CommandType.CONV, op=OpType.QUERY, conv_message=message)


def direct(cid: str, text: str, *, receipt: bool = False) -> GenericCommand:
    message = DirectCommand(cid=cid, msg=text, r=receipt or None)
    return GenericCommand(cmd=CommandType.DIRECT, direct_message=message)


async def conversations(me: Attacker, number: int, *members: str) -> str:
    """Make as many; the id of the last."""
    who = [me.name, *members]
    answers = await me.pipeline(start(who, f"{n}" + "ab" * 500) for n in range(number))
    made = answers[-1].conv_message
    assert made is not None
    return made.cid or ""


def frame(opcode: int, payload: bytes) -> bytes:
    """A masked frame of a client; the mask is zero."""
    size = len(payload)
    head = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    if size >= 1 << 16:
        head = b"\xff" + size.to_bytes(8, "big")
    return bytes([0x80 | opcode]) + head + b"\0\0\0\0" + payload


async def send_for_ever(port: int, greeting: bytes, pieces: Iterable[bytes]) -> None:
    """Say this and take whatever is answered, until the server closes."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream, trio.open_nursery() as nursery:

        async def listen() -> None:
            with suppress(*GONE):
                while await stream.receive_some(PIECE):
                    pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(listen)
        with suppress(*GONE):
            await stream.send_all(greeting)
            for piece in pieces:
                await stream.send_all(piece)
