"""Attacks on a server, for ``benchmarks/bystander.py``: python -m benchmarks.attacks NAME PORT.

Each prepares what it needs, says "ready", and goes on until it is killed.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import count, cycle, repeat

import trio

from trio_realtime.transport import Transport, TransportClosed, connect
from trio_realtime.wire import (
    AckCommand,
    BlacklistCommand,
    CommandType,
    ConvCommand,
    DirectCommand,
    GenericCommand,
    JsonObjectMessage,
    LogsCommand,
    OpType,
    ReadCommand,
    ReadTuple,
    SessionCommand,
    decode,
    encode,
)

IN_FLIGHT = 64
PIECE = 64 * 1024
HALF = b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: %s\r\n\r\n"
)
UNANSWERED = {CommandType.ACK, CommandType.READ}
GONE = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


def ready() -> None:
    print("ready", flush=True)


# What clients do, without an SDK that would slow them down.


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


# Strangers.


async def garbage(port: int) -> None:
    """Frames that are no commands, on a new connection each, a hundred a second."""
    ready()
    while True:
        async with connect(f"ws://127.0.0.1:{port}", subprotocol="lc.protobuf2.3") as link:
            with suppress(TransportClosed):
                await link.send(secrets.token_bytes(1000))
                await link.receive()
        await trio.sleep(0.01)


async def slow_loris(port: int) -> None:
    """Five hundred connections that send a head one byte at a time."""

    async def drip() -> None:
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                await stream.send_all(HALF)
                while True:
                    await trio.sleep(1)
                    await stream.send_all(b"x")
            except GONE:
                await trio.sleep(0.5)

    async with trio.open_nursery() as nursery:
        for _ in range(500):
            nursery.start_soon(drip)
            await trio.sleep(0.002)
        ready()


async def idle(port: int) -> None:
    """A thousand connections that log in and say nothing."""

    async def stay(number: int) -> None:
        async with attacker(port, f"idle{number}"):
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for number in range(1000):
            nursery.start_soon(stay, number)
            await trio.sleep(0.002)
        ready()


def frame(opcode: int, payload: bytes) -> bytes:
    """A masked frame of a client; the mask is zero."""
    size = len(payload)
    head = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    if size >= 1 << 16:
        head = b"\xff" + size.to_bytes(8, "big")
    return bytes([0x80 | opcode]) + head + b"\0\0\0\0" + payload


PING = frame(0x9, b"")
ECHO = frame(0x2, encode(GenericCommand(cmd=CommandType.ECHO, i=1)))


async def barrage(port: int, *, of: bytes, connections: int) -> None:
    """Frames in pieces of 64 KiB before any login, with all answers taken."""
    piece = of * (PIECE // len(of))

    async def one() -> None:
        while True:
            with suppress(*GONE):
                await send_for_ever(port, b"lc.protobuf2.3", repeat(piece))
            await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        for _ in range(connections):
            nursery.start_soon(one)
        ready()


async def send_for_ever(port: int, subprotocol: bytes, pieces: Iterable[bytes]) -> None:
    """Say this after a handshake and take whatever is answered, until the server closes."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream, trio.open_nursery() as nursery:

        async def listen() -> None:
            with suppress(*GONE):
                while await stream.receive_some(PIECE):
                    pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(listen)
        with suppress(*GONE):
            await stream.send_all(HANDSHAKE % subprotocol)
            for piece in pieces:
                await stream.send_all(piece)


async def odd_targets(port: int) -> None:
    """Requests with targets that are no URLs."""
    ready()
    while True:
        with suppress(*GONE):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(b"GET //[x HTTP/1.1\r\nHost: x\r\n\r\n")
                await stream.receive_some(PIECE)


async def failed_logins(port: int) -> None:
    """Logins in the name of the bystander, with a token that is none."""
    ready()
    while True:
        with suppress(TransportClosed):
            async with connect(f"ws://127.0.0.1:{port}", subprotocol="lc.protobuf2.3") as link:
                await Attacker(link, "").pipeline(opening("bystander", "x") for _ in repeat(None))


# Users.


async def queries(port: int, *, own: int, regex: bool) -> None:
    """Queries over the attacker's own conversations, 64 at once."""
    name = f"queries{own}{regex}"
    async with attacker(port, name) as me:
        await conversations(me, own)
        condition: dict[str, object] = {"$regex": "a.*b.*c"} if regex else {"$ne": "x"}
        ready()
        while True:
            await me.pipeline(query({"m": name, "name": condition}) for _ in range(1000))


async def large_messages(port: int) -> None:
    """Messages of 30 KB in JSON, again and again, while a victim logs in."""
    async with attacker(port, "large") as me:
        cid = await conversations(me, 1, "victim")
        for _ in range(45):  # what the victim has not read
            await me.call(direct(cid, "x" * 4000))
    fields = {"cmd": "session", "op": "open", "appId": "app", "peerId": "large", "i": 1}
    login = frame(0x1, json.dumps(fields).encode())
    fields = {"cmd": "direct", "cid": cid, "peerId": "large", "msg": "x" * 30_000, "i": 2}
    message = frame(0x1, json.dumps(fields).encode())

    async def send() -> None:
        while True:
            with suppress(*GONE):
                await send_for_ever(port, b"lc.json.3", [login, *repeat(message, 45)])
            await trio.sleep(0.01)

    async def log_in() -> None:
        while True:
            async with attacker(port, "victim"):
                await trio.sleep(0.05)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        nursery.start_soon(log_in)
        ready()


async def silent_readers(port: int) -> None:
    """Twelve who ask for the largest pages and take none."""
    async with attacker(port, "pages") as me:
        cid = await conversations(me, 1)
        await me.pipeline(direct(cid, "x" * 4000) for _ in range(1000))
    logs = GenericCommand(cmd=CommandType.LOGS, logs_message=LogsCommand(cid=cid, limit=1000), i=2)
    asked = frame(0x2, encode(opening("pages"))) + frame(0x2, encode(logs)) * IN_FLIGHT

    async def ask() -> None:
        while True:
            with suppress(*GONE):
                async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                    await stream.send_all(HANDSHAKE % b"lc.protobuf2.3" + asked)
                    await trio.sleep(5)

    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(ask)
        ready()


async def range_acks(port: int) -> None:
    """Acknowledging all of 15,000 messages that asked for a receipt."""
    async with attacker(port, "receives") as other:
        async with attacker(port, "asks") as me:
            cid = await conversations(me, 1, "receives")
            await me.pipeline(direct(cid, "x", receipt=True) for _ in range(15_000))
        whole = AckCommand(cid=cid, fromts=0, tots=2**62)
        ack = GenericCommand(cmd=CommandType.ACK, ack_message=whole)
        ready()
        while True:
            echo = GenericCommand(cmd=CommandType.ECHO)
            await other.pipeline([*repeat(ack, IN_FLIGHT - 1), echo])


async def logins(port: int, *, subprotocol: str, silent: bool) -> None:
    """Logins, one after another, of somebody in 10,000 conversations."""
    if silent:
        victim = "put into many"
        async with attacker(port, "puts into many") as me:
            await conversations(me, 10_000, victim)
    else:
        victim = "owner of many"
        async with attacker(port, victim) as me:
            await conversations(me, 10_000)
    ready()
    while True:
        async with connect(f"ws://127.0.0.1:{port}", subprotocol=subprotocol) as link:
            await Attacker(link, victim).call(opening(victim))


CLIENTS_NAMED = 490
"""In one command: with ids of 8 characters as many as fit into the largest."""
SHORT_NAMED = 900
"""With ids of 3 characters."""
QUERIED = 800
CONVERSATIONS_NAMED = 170
OWN = 64
NAMING = ("start", "add", "silence", "check", "remove", "block", "query", "unblock", "read")


async def many_ids(port: int, *, of: Sequence[str], connections: int) -> None:
    """Commands on many own conversations, each of which names hundreds of ids."""

    async def one(number: int) -> None:
        async with attacker(port, f"names many {number}") as me:
            cids = [await conversations(me, 1) for _ in range(OWN)]
            prepared.append(number)
            if len(prepared) == connections:
                ready()
            await me.pipeline(naming_many(number, cids, of))

    prepared: list[int] = []
    async with trio.open_nursery() as nursery:
        for number in range(connections):
            nursery.start_soon(one, number)


def naming_many(number: int, cids: Sequence[str], of: Sequence[str]) -> Iterator[GenericCommand]:
    """Without end: each kind of command on each conversation, then the next."""
    many = [f"{number:02}{n:06}" for n in range(CLIENTS_NAMED)]
    short = [f"{n:03x}" for n in range(SHORT_NAMED)]
    for kind, cid in cycle([(kind, cid) for kind in of for cid in cids]):
        match kind:
            case "start":
                yield start(many, "many")
            case "add":
                yield change(OpType.ADD, cid, many)
            case "remove":
                yield change(OpType.REMOVE, cid, many)
            case "silence":
                yield change(OpType.ADD_SHUTUP, cid, many)
            case "check":
                yield change(OpType.CHECK_SHUTUP, cid, many)
            case "block":
                yield listed(OpType.BLOCK, cid, short)
            case "unblock":
                yield listed(OpType.UNBLOCK, cid, short)
            case "query":
                yield query({"objectId": {"$in": short[:QUERIED]}})
            case "read":
                named = [ReadTuple(cid=each) for each in (*cids, *cids, *cids)]
                read = ReadCommand(convs=named[:CONVERSATIONS_NAMED])
                yield GenericCommand(cmd=CommandType.READ, read_message=read)


def change(op: OpType, cid: str, clients: list[str]) -> GenericCommand:
    message = ConvCommand(cid=cid, m=clients)
    return GenericCommand(cmd=CommandType.CONV, op=op, conv_message=message)


def listed(op: OpType, cid: str, clients: list[str]) -> GenericCommand:
    message = BlacklistCommand(src_cid=cid, to_pids=clients)
    return GenericCommand(cmd=CommandType.BLACKLIST, op=op, blacklist_message=message)


async def refresh(port: int) -> None:
    """Renewing a token without end."""
    async with attacker(port, "renews") as me:
        ready()
        renew = GenericCommand(cmd=CommandType.SESSION, op=OpType.REFRESH)
        await me.pipeline(repeat(renew))


ATTACKS: dict[str, Callable[[int], Awaitable[None]]] = {
    "garbage, a hundred connections a second": garbage,
    "slow-loris, 500 connections": slow_loris,
    "1,000 connections that log in and idle": idle,
    "pings before login, one connection": partial(barrage, of=PING, connections=1),
    "pings before login, ten connections": partial(barrage, of=PING, connections=10),
    "echoes before login, one connection": partial(barrage, of=ECHO, connections=1),
    "echoes before login, ten connections": partial(barrage, of=ECHO, connections=10),
    "odd request targets": odd_targets,
    "failed logins in the bystander's name": failed_logins,
    "regex queries over 60 own conversations": partial(queries, own=60, regex=True),
    "regex queries over 1,500": partial(queries, own=1500, regex=True),
    "plain queries over 1,500": partial(queries, own=1500, regex=False),
    "messages of 30 KB and a victim's logins": large_messages,
    "large pages for twelve silent readers": silent_readers,
    "acknowledging 15,000 receipts": range_acks,
    "logins with 10,000 own conversations": partial(
        logins, subprotocol="lc.protobuf2.3", silent=False
    ),
    "logins in mode 1, 10,000 silent ones": partial(
        logins, subprotocol="lc.protobuf2.1", silent=True
    ),
    "refresh without end": refresh,
    "creating with 490 members": partial(many_ids, of=["start"], connections=1),
    "adding and removing 490": partial(many_ids, of=["add", "remove"], connections=1),
    "silencing 490": partial(many_ids, of=["add", "silence", "check"], connections=1),
    "blocking and unblocking 900": partial(many_ids, of=["block", "unblock"], connections=1),
    "queries that name 800": partial(many_ids, of=["query"], connections=1),
    "reading 170 conversations": partial(many_ids, of=["read"], connections=1),
    "all of these": partial(many_ids, of=NAMING, connections=1),
    "all of these, ten connections": partial(many_ids, of=NAMING, connections=10),
}

if __name__ == "__main__":
    trio.run(ATTACKS[sys.argv[1]], int(sys.argv[2]))
