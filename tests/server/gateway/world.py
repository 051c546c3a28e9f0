"""A client that does exactly what a test tells it to."""

from __future__ import annotations

from contextlib import asynccontextmanager

import trio

from trio_realtime.testing import open_server
from trio_realtime.transport import TransportClosed, connect
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    DirectCommand,
    GenericCommand,
    OpType,
    SessionCommand,
    decode,
    encode,
)

PROTOBUF = "lc.protobuf2.3"
PATIENCE = 3600

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: lc.protobuf2.3\r\n\r\n"
)


def masked(payload, opcode=0x82):
    size = len(payload)
    header = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([opcode]) + header + b"\0\0\0\0" + payload


class Peer:
    """One connection: numbered calls, and whatever else arrives in ``pushed``."""

    def __init__(self, transport, app_id):
        self.transport = transport
        self.app_id = app_id
        self.pushed = []
        self._arrived = []
        self._i = 0

    def number(self, command):
        self._i += 1
        command.i = self._i
        return command

    async def send(self, command):
        await self.transport.send(encode(command))

    async def receive(self):
        """The next command, pushed or not."""
        if not self._arrived:
            with trio.fail_after(PATIENCE):
                self._arrived = [decode(payload) for payload in await self.transport.receive()]
        return self._arrived.pop(0)

    async def call(self, command):
        """The reply to a command; pushes that come before it are kept."""
        await self.send(self.number(command))
        return await self.reply_to(command.i)

    async def reply_to(self, i):
        while True:
            command = await self.receive()
            if command.i == i:
                return command
            assert command.i is None
            self.pushed.append(command)

    async def push(self, cmd, op=None):
        """The next push of this kind."""
        while True:
            for position, command in enumerate(self.pushed):
                if command.cmd == cmd and (op is None or command.op == op):
                    return self.pushed.pop(position)
            command = await self.receive()
            assert command.i is None, command
            self.pushed.append(command)

    async def nothing_more(self):
        """Nothing else was sent: an echo comes back next."""
        reply = await self.call(GenericCommand(cmd=CommandType.ECHO))
        assert reply.cmd == CommandType.ECHO
        assert self.pushed == []

    async def closed(self):
        """The code and reason with which the server closes; pushes before it are kept."""
        try:
            while True:
                self.pushed.append(await self.receive())
        except TransportClosed as closed:
            return closed.code, closed.reason

    async def open(self, client_id, **fields):
        """``session/open``; the whole reply."""
        return await self.call(opening(self.app_id, client_id, **fields))

    async def login(self, client_id, **fields):
        """A login that must succeed; its token."""
        reply = await self.open(client_id, **fields)
        assert (reply.cmd, reply.op) == (CommandType.SESSION, OpType.OPENED), reply
        return reply.session_message.st


def opening(app_id, client_id, **fields):
    fields.setdefault("config_bitmap", 187)
    return GenericCommand(
        cmd=CommandType.SESSION,
        op=OpType.OPEN,
        app_id=app_id,
        peer_id=client_id,
        session_message=SessionCommand(**fields),
    )


def session(op, client_id=None, **fields):
    return GenericCommand(
        cmd=CommandType.SESSION,
        op=op,
        peer_id=client_id,
        session_message=SessionCommand(**fields) if fields else None,
    )


def start(members, client_id=None, **fields):
    return GenericCommand(
        cmd=CommandType.CONV,
        op=OpType.START,
        peer_id=client_id,
        conv_message=ConvCommand(m=list(members), **fields),
    )


def direct(cid, text, client_id=None, *, priority=None, **fields):
    return GenericCommand(
        cmd=CommandType.DIRECT,
        peer_id=client_id,
        priority=priority,
        direct_message=DirectCommand(cid=cid, msg=text, **fields),
    )


def error_of(reply):
    assert reply.cmd == CommandType.ERROR, reply
    return reply.error_message.code, reply.error_message.reason


@asynccontextmanager
async def world(**options):
    """A server in memory and a way to connect to it."""
    async with open_server(memory=True, **options) as server:
        yield server


@asynccontextmanager
async def peer_of(server, *, subprotocol=PROTOBUF, path="", headers=(), app_id=None):
    async with connect(
        server.ws_url + path,
        subprotocol=subprotocol,
        open_stream=server.open_stream,
        extra_headers=headers,
    ) as transport:
        yield Peer(transport, app_id or server.app_id)


async def conversation_of(peer, *members, client_id=None, **fields):
    reply = await peer.call(start(members, client_id, **fields))
    assert reply.op == OpType.STARTED, reply
    return reply.conv_message.cid
