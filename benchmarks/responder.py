"""A neutral peer: answers as little as the protocol allows, as fast as Python can.

It runs in a process of its own on picows and uvloop, so that clients are compared and not
servers. It understands just the commands of the scenarios; a message ``flood:N`` is
answered with N messages of another client, all written at once.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys

import picows
import uvloop

from benchmarks.wire import field, serial_and_kind, varint

CID = b"5f0000000000000000000001"
BODY = b'{"_lctext":"' + b"y" * 120 + b'","_lctype":-1}'
FLOOD = re.compile(rb"flood:(\d+)")
FIRST_TIME = 1_700_000_000_000


class Responder(picows.WSListener):
    def __init__(self) -> None:
        self.time = FIRST_TIME

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
            return
        if frame.msg_type != picows.WSMsgType.BINARY:
            return
        payload = frame.get_payload_as_bytes()
        cmd, op, serial = serial_and_kind(payload)
        if not serial:
            return
        reply = self.reply(cmd, op, serial)
        if reply is not None:
            transport.send(picows.WSMsgType.BINARY, reply)
        if cmd == 2 and (flood := FLOOD.search(payload)):
            self.flood(int(flood[1]))

    def reply(self, cmd: int, op: int, serial: int) -> bytes | None:
        i = b"\x28" + varint(serial)
        self.time += 1
        if cmd == 2:
            ack = field(5, self.time) + field(6, b"%022d" % self.time)
            return b"\x08\x03" + i + field(105, ack)
        if cmd == 0 and op == 1:
            token = field(10, b"token") + field(11, 3600)
            return (
                b"\x08\x00\x10\x05" + field(4, b"Tom") + i + field(9, self.time) + field(102, token)
            )
        if cmd == 0 and op == 4:
            return b"\x08\x00\x10\x06" + i + field(102, b"")
        if cmd == 1 and op == 30:
            started = field(4, CID) + field(5, b"2026-01-01T00:00:00.000Z")
            return b"\x08\x01\x10\x1f" + i + field(110, started)
        if cmd == 1 and op == 7:
            row = b'[{"objectId":"' + CID + b'","m":["Tom","Jerry"],"c":"Tom"}]'
            return b"\x08\x01\x10\x2a" + i + field(110, field(100, field(1, row)))
        if cmd == 14:
            return b"\x08\x0e" + i
        return None

    def flood(self, count: int) -> None:
        common = field(3, b"Jerry")
        frames = []
        for _ in range(count):
            self.time += 1
            direct = (
                field(1, BODY)
                + common
                + field(4, self.time)
                + field(11, CID)
                + field(12, b"%022d" % self.time)
                + field(22, 1)
            )
            message = b"\x08\x02" + field(4, b"Tom") + b"\x40\x02" + field(104, direct)
            frames.append(b"\x82\x7e" + len(message).to_bytes(2, "big") + message)
        self.transport.underlying_transport.write(b"".join(frames))


def accept(_request: picows.WSUpgradeRequest) -> picows.WSUpgradeResponseWithListener:
    response = picows.WSUpgradeResponse.create_101_response(
        {"Sec-WebSocket-Protocol": "lc.protobuf2.3"}
    )
    return picows.WSUpgradeResponseWithListener(response, Responder())


async def main() -> None:
    # A flood crosses the high-water mark by design.
    logging.getLogger("picows").setLevel(logging.ERROR)
    server = await picows.ws_create_server(accept, "127.0.0.1", 0, use_aiofastnet=False)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main())
