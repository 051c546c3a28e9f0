"""Twenty thousand bad frames at the server, while two clients go on talking."""

from __future__ import annotations

import random

import pytest
import trio
from websockets.frames import Frame, Opcode

from trio_realtime import MessageReceived, TextMessage, open_client
from trio_realtime.testing import open_server
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
    PatchCommand,
    PatchItem,
    ReadCommand,
    ReadTuple,
    SessionCommand,
    encode,
)

FRAMES = 10_000
A_CONNECTION = 4
"""Frames on one connection, if the server lets it live so long."""

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: lc.protobuf2.3\r\n\r\n"
)

VALID = [
    encode(command)
    for command in (
        GenericCommand(
            cmd=CommandType.DIRECT, i=1, direct_message=DirectCommand(cid="c", msg="x", dt="d")
        ),
        GenericCommand(
            cmd=CommandType.CONV,
            op=OpType.START,
            i=2,
            conv_message=ConvCommand(m=["a"], attr=JsonObjectMessage(data='{"name":"n"}')),
        ),
        GenericCommand(
            cmd=CommandType.CONV,
            op=OpType.QUERY,
            i=3,
            conv_message=ConvCommand(where=JsonObjectMessage(data='{"m":{"$in":["a"]}}')),
        ),
        GenericCommand(cmd=CommandType.LOGS, i=4, logs_message=LogsCommand(cid="c", l=5)),
        GenericCommand(cmd=CommandType.ACK, ack_message=AckCommand(cid="c", fromts=1, tots=2)),
        GenericCommand(
            cmd=CommandType.READ, read_message=ReadCommand(convs=[ReadTuple(cid="c", timestamp=1)])
        ),
        GenericCommand(
            cmd=CommandType.PATCH,
            op=OpType.MODIFY,
            i=5,
            patch_message=PatchCommand(patches=[PatchItem(cid="c", mid="m", recall=True)]),
        ),
        GenericCommand(
            cmd=CommandType.BLACKLIST,
            op=OpType.BLOCK,
            i=6,
            blacklist_message=BlacklistCommand(src_cid="c", to_pids=["a"]),
        ),
        GenericCommand(
            cmd=CommandType.SESSION,
            op=OpType.QUERY,
            i=7,
            session_message=SessionCommand(session_peer_ids=["a"]),
        ),
    )
]


def framed(payload):
    return Frame(Opcode.BINARY, payload).serialize(mask=True)


def mutated(rng):
    frame = bytearray(rng.choice(VALID))
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(frame)) if frame else 0
        if rng.random() < 0.5 and frame:
            frame[at] = rng.randrange(256)
        else:
            frame.insert(at, rng.randrange(256))
    return bytes(frame)


def login(app_id):
    return encode(
        GenericCommand(
            cmd=CommandType.SESSION,
            op=OpType.OPEN,
            app_id=app_id,
            peer_id="Attacker",
            i=1,
            session_message=SessionCommand(),
        )
    )


async def throw(server, frames):
    """Log in, throw, and see the server close or answer in its own words."""
    stream = await server.connect()
    async with stream:
        data = HANDSHAKE + framed(login(server.app_id)) + b"".join(map(framed, frames))
        try:
            await stream.send_all(data)
            await stream.send_eof()
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass  # it was closed while we were still throwing


@pytest.mark.parametrize("kind", ["random", "mutated"])
async def test_a_barrage_of_bad_frames_harms_nobody(kind, autojump_clock, caplog):
    rng = random.Random(20_261_120)
    async with open_server(memory=True) as server:
        options = {
            "app_id": server.app_id,
            "app_key": server.app_key,
            "server": server.url,
            "open_stream": server.open_stream,
        }
        async with open_client("Tom", **options) as tom, open_client("Jerry", **options) as jerry:
            chat = await tom.create_conversation(["Jerry"])
            inbox = jerry.events(MessageReceived)
            thrown = 0
            while thrown < FRAMES:
                count = 1 if kind == "random" else A_CONNECTION
                for _ in range(20):
                    frames = [
                        rng.randbytes(rng.randint(0, 80)) if kind == "random" else mutated(rng)
                        for _ in range(count)
                    ]
                    await throw(server, frames)
                    thrown += count
                await tom.send(chat, TextMessage(str(thrown)))
                assert (await anext(inbox)).message.text == str(thrown)
        assert server.stats().metrics.internal_errors_total == 0
