"""Writes the seeds of the corpus: ``python -m tests.fuzz.seeds``."""

from __future__ import annotations

import base64
from pathlib import Path

from tests.fuzz.targets import TARGETS
from trio_realtime import awesome
from trio_realtime.awesome._codec import encode_message as encode_message_of_awesome
from trio_realtime.server.rules import HANDLERS
from trio_realtime.wire import (
    AckCommand,
    BlacklistCommand,
    CommandType,
    ConvCommand,
    ConvMemberInfo,
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
    UnreadCommand,
    UnreadTuple,
    encode,
    encode_json,
)

CORPUS = Path(__file__).parent / "corpus"
OURS, THEIRS = "5" * 24, "6" * 24

CONV = ConvCommand(
    cid=OURS,
    m=["Jerry", "Mary"],
    cids=[OURS],
    limit=5,
    sort="-lm",
    attr=JsonObjectMessage(data='{"name":"n","attr.deep":{"__op":"Increment","amount":1}}'),
    where=JsonObjectMessage(data='{"$or":[{"name":{"$regex":"a.*"}},{"m":{"$all":["Tom"]}}]}'),
    target_client_id="Jerry",
    info=ConvMemberInfo(pid="Jerry", role="Manager"),
)

PAYLOADS = {
    CommandType.CONV: {"conv_message": CONV},
    CommandType.DIRECT: {
        "direct_message": DirectCommand(
            cid=OURS, msg='{"_lctype":-1}', r=True, dt="1", mention_pids=["Jerry"]
        )
    },
    CommandType.ACK: {"ack_message": AckCommand(cid=OURS, fromts=1, tots=2)},
    CommandType.LOGS: {"logs_message": LogsCommand(cid=OURS, t=1, mid="x", l=3, tt=9)},
    CommandType.READ: {
        "read_message": ReadCommand(convs=[ReadTuple(cid=OURS, timestamp=5, mid="x")])
    },
    CommandType.PATCH: {
        "patch_message": PatchCommand(
            patches=[PatchItem(cid=OURS, mid="x", timestamp=1, data="y", recall=True)]
        )
    },
    CommandType.BLACKLIST: {
        "blacklist_message": BlacklistCommand(src_cid=OURS, to_pids=["Jerry"], limit=5)
    },
}

PUSHES = [
    GenericCommand(
        cmd=CommandType.DIRECT,
        peer_id="Tom",
        direct_message=DirectCommand(
            cid=OURS, id="m", timestamp=5, from_peer_id="Jerry", msg='{"_lctype":-1,"_lctext":"x"}'
        ),
    ),
    GenericCommand(
        cmd=CommandType.UNREAD,
        unread_message=UnreadCommand(
            convs=[UnreadTuple(cid=OURS, unread=3, mid="m", timestamp=5, data="x")], notif_time=5
        ),
    ),
    GenericCommand(
        cmd=CommandType.SESSION, op=OpType.CLOSED, session_message=SessionCommand(code=4111)
    ),
    *(
        GenericCommand(cmd=CommandType.CONV, op=op, server_ts=7, conv_message=CONV)
        for op in (OpType.JOINED, OpType.MEMBERS_LEFT, OpType.UPDATED, OpType.MEMBER_INFO_CHANGED)
    ),
]

AWESOME = [
    awesome.TextMessage({"a": [1, 2.5, None, b"x"]}, sender="a", message_id="m", extra={"time": 5}),
    awesome.ImageMessage(b"\x89PNG", to="b", conversation_type=awesome.ConversationType.PRIVATE),
    awesome.FileMessage("file", message_uid="CBE5-1922-F8C9-730B", sent_time_ms=1681900543414),
    awesome.SignalMessage("start", direction=awesome.MessageDirection.SEND),
    awesome.CustomMessage("PingMsg", {"deep": [[[[]]]]}),
]

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: lc.protobuf2.3\r\n\r\n"
)

REQUESTS = [
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/route?appId=a&secure=1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b'POST /1.1/fileTokens HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n{"name":"x"}',
    b"PUT /upload/app/t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    HANDSHAKE + b"\x82\x82\0\0\0\0\x08\x02",
]


def commands():
    for cmd, op in HANDLERS:
        yield GenericCommand(cmd=cmd, op=op, i=1, peer_id="Tom", **PAYLOADS.get(cmd, {}))


def seeds():
    binary = [encode(command) for command in (*commands(), *PUSHES)]
    json = [encode_json(command) for command in (*commands(), *PUSHES)]
    yield "wire", binary
    yield "rules", binary
    yield "client", binary
    yield "flat_json", [text if isinstance(text, bytes) else text.encode() for text in json]
    yield (
        "dialects",
        [b"\0" + base64.b64encode(data) for data in binary]
        + [b"\1" + (text if isinstance(text, bytes) else text.encode()) for text in json],
    )
    yield "server", REQUESTS
    yield "awesome", [encode_message_of_awesome(message) for message in AWESOME]


if __name__ == "__main__":
    for target, inputs in seeds():
        assert target in TARGETS
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(inputs):
            (CORPUS / target / f"seed-{number:02}").write_bytes(data)
