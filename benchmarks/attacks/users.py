"""Attacks by those who have logged in, on what is their own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import cycle, repeat

import trio

from trio_realtime.transport import TransportClosed, connect
from trio_realtime.wire import (
    AckCommand,
    BlacklistCommand,
    CommandType,
    ConvCommand,
    GenericCommand,
    LogsCommand,
    OpType,
    ReadCommand,
    ReadTuple,
    encode,
)

from .attacker import (
    GONE,
    HANDSHAKE,
    IN_FLIGHT,
    Attacker,
    attacker,
    conversations,
    direct,
    frame,
    opening,
    query,
    ready,
    send_for_ever,
    start,
)


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
                await send_for_ever(port, HANDSHAKE % b"lc.json.3", [login, *repeat(message, 45)])
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


CLIENTS = 500
"""On one connection."""


async def leaving(port: int, *, wills: bool) -> None:
    """Five hundred clients of one connection, which is lost, again and again."""
    async with attacker(port, "made for those who leave") as me:
        names = [f"leaves {n}" for n in range(CLIENTS)]
        cid = await conversations(me, 1, *names[:300])
    will = direct(cid, "gone")
    assert will.direct_message is not None
    will.direct_message.will = True
    ready()
    while True:
        with suppress(TransportClosed):
            async with attacker(port, names[0]) as me:
                await me.pipeline(_for(name, opening(name)) for name in names[1:])
                if wills:
                    await me.pipeline(_for(name, will) for name in names[:300])


def _for(name: str, command: GenericCommand) -> GenericCommand:
    return replace(command, peer_id=name)
