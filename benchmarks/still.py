"""Work that needs no peer, so many times: python -m benchmarks.still NAME URL COUNT TRANSPORT."""

from __future__ import annotations

import sys
from collections.abc import Callable

import attrs

from trio_realtime.wire import (
    AckCommand,
    CommandType,
    DirectCommand,
    GenericCommand,
    LogItem,
    LogsCommand,
    decode,
    encode,
)

MESSAGE = GenericCommand(
    cmd=CommandType.DIRECT,
    peer_id="Tom",
    service=2,
    direct_message=DirectCommand(
        cid="5f0000000000000000000001",
        from_peer_id="Jerry",
        id="0123456789012345678901",
        timestamp=1_700_000_000_000,
        msg='{"_lctype":-1,"_lctext":"' + "y" * 120 + '"}',
    ),
)
ACK = GenericCommand(
    cmd=CommandType.ACK,
    i=7,
    ack_message=AckCommand(t=1_700_000_000_000, uid="0123456789012345678901"),
)
PAGE = GenericCommand(
    cmd=CommandType.LOGS,
    i=7,
    logs_message=LogsCommand(
        cid="5f0000000000000000000001",
        logs=[
            LogItem(
                from_="Jerry",
                data='{"_lctype":-1,"_lctext":"' + "y" * 120 + '"}',
                timestamp=1_700_000_000_000 + n,
                msg_id=f"{n:022}",
            )
            for n in range(100)
        ],
    ),
)


@attrs.frozen
class Thing:
    name: str
    number: int


def reference() -> None:
    """What Python does all day: the measure of how much an instruction of this Python is worth."""
    things = {str(n): Thing(str(n), n) for n in range(20)}
    text = ",".join(f"{thing.name}={thing.number}" for thing in things.values()).encode()
    assert sum(map(int, text.replace(b"=", b",").split(b","))) == 380


def encoder(command: GenericCommand) -> Callable[[], object]:
    return lambda: encode(command)


def decoder(command: GenericCommand) -> Callable[[], object]:
    data = encode(command)
    return lambda: decode(data)


WORK: dict[str, Callable[[], object]] = {
    "reference": reference,
    "encode_ack": encoder(ACK),
    "encode_message": encoder(MESSAGE),
    "encode_page": encoder(PAGE),
    "decode_message": decoder(MESSAGE),
    "decode_page": decoder(PAGE),
}

if __name__ == "__main__":
    work = WORK[sys.argv[1]]
    for _ in range(int(sys.argv[3])):
        work()
