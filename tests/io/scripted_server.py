"""A server whose every move is written in the test."""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager

import trio
from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from trio_realtime.testing import memory_streams
from trio_realtime.wire import (
    AckCommand,
    CommandType,
    DirectCommand,
    GenericCommand,
    OpType,
    SessionCommand,
    decode,
    encode,
)

URL = "ws://scripted.test/"


class Link:
    """One connection, seen from the server."""

    def __init__(self, stream):
        self.stream = stream
        self.protocol = ServerProtocol(subprotocols=["lc.protobuf2.3"])
        self.protocol.extensions = []
        self.commands = deque()
        self.login = None
        self.closed_with = None

    async def _feed(self):
        data = await self.stream.receive_some()
        if data:
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
        for event in self.protocol.events_received():
            if isinstance(event, Request):
                self.protocol.send_response(self.protocol.accept(event))
            elif event.opcode is Opcode.BINARY:
                self.commands.append(decode(event.data))
            elif event.opcode is Opcode.CLOSE:
                self.closed_with = self.protocol.close_code
        await self._flush()
        return bool(data)

    async def _flush(self):
        for data in self.protocol.data_to_send():
            if data:
                await self.stream.send_all(data)

    async def receive(self):
        """The next command that is no acknowledgement or heartbeat, or None at the end."""
        while True:
            command = await self.receive_any()
            if command is None or command.cmd not in {CommandType.ACK, CommandType.ECHO}:
                return command

    async def receive_any(self):
        while not self.commands:
            try:
                if not await self._feed():
                    return None
            except trio.BrokenResourceError:
                return None
        return self.commands.popleft()

    async def send(self, command):
        self.protocol.send_binary(command if isinstance(command, bytes) else encode(command))
        await self._flush()

    async def close(self, code, reason=""):
        self.protocol.send_close(code, reason)
        await self._flush()
        await self.abort()

    async def abort(self):
        await self.stream.aclose()

    # The usual answers.

    async def welcome(self, *, token="st", ttl=3600, at=1000):
        """Answer the login; the client's command is kept as `login`, and returned."""
        command = self.login = await self.receive()
        assert (command.cmd, command.op) == (CommandType.SESSION, OpType.OPEN), command
        await self.send(
            GenericCommand(
                cmd=CommandType.SESSION,
                op=OpType.OPENED,
                peer_id=command.peer_id or "invented",
                i=command.i,
                server_ts=at,
                session_message=SessionCommand(st=token, st_ttl=ttl),
            )
        )
        return command

    async def acknowledge(self, command, mid, timestamp):
        await self.send(
            GenericCommand(
                cmd=CommandType.ACK, i=command.i, ack_message=AckCommand(uid=mid, t=timestamp)
            )
        )

    async def serve_goodbye(self):
        """Read until the client leaves, answering its logout."""
        while (command := await self.receive()) is not None:
            if command.op == OpType.CLOSE:
                await self.send(
                    GenericCommand(
                        cmd=CommandType.SESSION,
                        op=OpType.CLOSED,
                        i=command.i,
                        session_message=SessionCommand(),
                    )
                )


def push(cid="c", mid="m", timestamp=2000, text="hi", sender="Jerry", peer="Tom", **fields):
    return GenericCommand(
        cmd=CommandType.DIRECT,
        peer_id=peer,
        service=2,
        direct_message=DirectCommand(
            cid=cid, id=mid, timestamp=timestamp, msg=text, from_peer_id=sender, **fields
        ),
    )


class ScriptedServer:
    def __init__(self):
        self._send, self._receive = trio.open_memory_channel(100)
        self.refusing = False
        self.hosts = []

    async def open_stream(self, host, port):  # noqa: ARG002 - every port leads here
        await trio.lowlevel.checkpoint()
        self.hosts.append(host)
        if self.refusing:
            raise ConnectionRefusedError("refused by the script")
        ours, theirs = memory_streams()
        self._send.send_nowait(Link(theirs))
        return ours

    async def accept(self):
        """The next connection of a client."""
        return await self._receive.receive()

    async def log_in(self, **welcome):
        """The next connection of a client, once its login was answered; see `Link.welcome`."""
        link = await self.accept()
        await link.welcome(**welcome)
        return link

    @property
    def options(self):
        return {
            "app_id": "app",
            "app_key": "key",
            "rtm_servers": [URL],
            "open_stream": self.open_stream,
        }


@asynccontextmanager
async def in_background(function, *args):
    """Run the server's side beside the test's."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(function, *args)
        yield
        nursery.cancel_scope.cancel()
