"""A server whose every move is written in the test."""

from __future__ import annotations

import json
from collections import deque
from contextlib import asynccontextmanager

import trio
from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from trio_realtime._values.times import (
    datetime_from_iso,
    datetime_from_ms,
    iso_from_datetime,
    ms_from_datetime,
)
from trio_realtime.testing import memory_streams
from trio_realtime.wire import (
    AckCommand,
    CommandType,
    ConvCommand,
    DirectCommand,
    ErrorCommand,
    GenericCommand,
    JsonObjectMessage,
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
        self.protocol = ServerProtocol(subprotocols=["lc.protobuf2.3", "lc.protobuf2.1"])
        self.protocol.extensions = []
        self.commands = deque()
        self.login = None
        self.closed_with = None
        self.last = None
        self.sending = trio.Lock()
        self.hangs = False
        """Whether the script has stopped to answer."""
        self.sessionless = False
        """Whether it has forgotten the client."""

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
        async with self.sending:
            for data in self.protocol.data_to_send():
                if data:
                    await self.stream.send_all(data)

    async def receive(self):
        """The next command that is no acknowledgement or heartbeat, or None at the end.

        Questions for last messages are answered from `last`; without it they are refused.
        """
        while True:
            command = await self.receive_any()
            if command is None or command.cmd not in {CommandType.ACK, CommandType.ECHO}:
                if command is not None and asks_for_last_messages(command):
                    await self.answer_last_messages(command)
                    continue
                return command

    async def answer_last_messages(self, command):
        if self.last is None:
            await self.refuse(command, 4310, "CONVERSATION_QUERY_FAILED")
            return
        conv = command.conv_message
        where = json.loads(conv.where.data) if conv.where is not None else {}
        wanted = conv.temp_conv_ids or where.get("objectId", {}).get("$in")
        since = iso_ms(where["lm"]["$gte"]) if "lm" in where else None
        found = [
            described(cid, *place)
            for cid, place in self.last.items()
            if (wanted is None or cid in wanted)
            and (since is None or (place[0] is not None and place[0] >= since))
        ]
        found.sort(key=lambda row: row.get("msg_timestamp", 0))
        start = conv.skip or 0
        await self.send(
            GenericCommand(
                cmd=CommandType.CONV,
                op=OpType.RESULTS,
                i=command.i,
                conv_message=ConvCommand(
                    results=JsonObjectMessage(data=json.dumps(found[start : start + conv.limit]))
                ),
            )
        )

    async def refuse(self, command, code, reason="REFUSED"):
        await self.send(
            GenericCommand(
                cmd=CommandType.ERROR,
                i=command.i,
                error_message=ErrorCommand(code=code, reason=reason),
            )
        )

    async def receive_any(self):
        while not self.commands:
            try:
                if not await self._feed():
                    return None
            except (trio.BrokenResourceError, trio.ClosedResourceError):
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


def asks_for_last_messages(command):
    return (
        command.cmd == CommandType.CONV
        and command.op == OpType.QUERY
        and command.conv_message.flag == 3
    )


def described(cid, timestamp=None, mid=None, **more):
    """One element of query results."""
    row = {"objectId": cid, **more}
    if timestamp is not None:
        row["lm"] = {"__type": "Date", "iso": iso_from_datetime(datetime_from_ms(timestamp))}
    if mid is not None:
        row |= {"msg": "", "msg_mid": mid, "msg_from": "x", "msg_timestamp": timestamp}
    return row


def iso_ms(date):
    return ms_from_datetime(datetime_from_iso(date["iso"]))


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

    async def log_in(self, last=None, **welcome):
        """The next connection of a client, once its login was answered; see `Link.welcome`.

        ``last`` gives time and id of the last message of each conversation.
        """
        link = await self.accept()
        link.last = last
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
