"""Any bytes may arrive. Whatever they are, only their own connection may suffer."""

from __future__ import annotations

from contextlib import asynccontextmanager

import betterproto2
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.gateway.world import HANDSHAKE, Peer, conversation_of, masked, peer_of, world
from trio_realtime.server.rules import HANDLERS
from trio_realtime.transport import TransportClosed
from trio_realtime.wire import CommandType, GenericCommand, OpType

relaxed = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@asynccontextmanager
async def bystander_world():
    async with world() as server, peer_of(server) as bystander:
        await bystander.login("Bystander")
        yield server
        await bystander.nothing_more()
        assert server.stats().metrics.internal_errors_total == 0


@asynccontextmanager
async def closed_with_one_of(codes):
    """The connection may be closed, but only with one of these codes."""
    code = None
    try:
        yield
    except TransportClosed as closed:
        code = closed.code
    assert code in {None, *codes}


async def pour(server, data):
    """Send all of it; read until the server closes or has nothing to say."""
    stream = await server.connect()
    async with trio.open_nursery() as nursery:

        async def send():
            try:
                await stream.send_all(data)
                await stream.send_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

        nursery.start_soon(send)
        with trio.fail_after(3600):
            while await stream.receive_some():
                pass
        nursery.cancel_scope.cancel()
    await stream.aclose()


@relaxed
@given(data=st.binary(max_size=300))
async def test_any_bytes_instead_of_a_request(data, autojump_clock):
    async with bystander_world() as server:
        await pour(server, data)


@relaxed
@given(data=st.binary(max_size=300))
async def test_any_bytes_behind_a_handshake(data, autojump_clock):
    async with bystander_world() as server:
        await pour(server, HANDSHAKE + data)


@relaxed
@given(at=st.integers(0, len(HANDSHAKE) - 1), byte=st.integers(0, 255))
async def test_a_handshake_with_one_wrong_byte(at, byte, autojump_clock):
    damaged = HANDSHAKE[:at] + bytes([byte]) + HANDSHAKE[at + 1 :]
    async with bystander_world() as server:
        await pour(server, damaged)


@relaxed
@given(payloads=st.lists(st.binary(max_size=60), max_size=5))
async def test_any_payload_in_a_frame(payloads):
    async with bystander_world() as server, peer_of(server) as peer:
        await peer.login("Tom")
        async with closed_with_one_of({4114}):
            for payload in payloads:
                await peer.transport.send(payload)
            await peer.call(GenericCommand(cmd=CommandType.ECHO))


# Commands that are well formed and make no sense.

TEXTS = st.sampled_from(
    [
        "",
        "Tom",
        "x" * 65,
        "\0",
        "日本",
        "{}",
        "[]",
        "null",
        "[" * 500,
        '{"name": ',
        '{"$or": 1}',
        '{"m": {"$in": "x"}}',
        '{"a": {"__op": "Increment", "amount": "x"}}',
        '{"_lctype": 1e400}',
        "5f0000000000000000000001",
        "_tmp:x",
    ]
)
NUMBERS = st.sampled_from([0, 1, -1, 2, 20, 2**31 - 1, -(2**31)])
LARGE = st.sampled_from([0, 1, -1, 10**12, 2**63 - 1, -(2**63)])
SCALARS = {
    betterproto2.TYPE_STRING: TEXTS,
    betterproto2.TYPE_BYTES: st.sampled_from([b"", b"\0\xff"]),
    betterproto2.TYPE_BOOL: st.booleans(),
    betterproto2.TYPE_INT32: NUMBERS,
    betterproto2.TYPE_INT64: LARGE,
}


REQUIRED = {
    ("JsonObjectMessage", "data"),
    ("UnreadTuple", "cid"),
    ("UnreadTuple", "unread"),
    ("ErrorCommand", "code"),
    ("ErrorCommand", "reason"),
    ("ReadTuple", "cid"),
}
"""Fields without which a message is not even decodable."""


def messages(cls, depth=0):
    """Instances of a generated class with some of its fields set."""
    always, sometimes = {}, {}
    for name, meta in cls._betterproto.meta_by_field_name.items():
        if meta.proto_type == betterproto2.TYPE_ENUM:
            value = st.sampled_from([1, 2, 7, 99])
        elif meta.proto_type == betterproto2.TYPE_MESSAGE:
            if depth > 2:
                continue
            value = messages(cls._betterproto.cls_by_field[name], depth + 1)
        else:
            value = SCALARS[meta.proto_type]
        fields = always if (cls.__name__, name) in REQUIRED else sometimes
        fields[name] = st.lists(value, max_size=3) if meta.repeated else value
    return st.fixed_dictionaries(always, optional=sometimes).map(lambda given: cls(**given))


PAYLOAD_OF = {
    cmd: f"{cmd.name.lower()}_message"
    for cmd in CommandType
    if f"{cmd.name.lower()}_message" in GenericCommand.__annotations__
}
KEYS = [
    *HANDLERS,
    *((CommandType.SESSION, op) for op in (OpType.OPEN, OpType.CLOSE, OpType.REFRESH)),
    *((cmd, op) for cmd in CommandType for op in (None, OpType.QUERY) if cmd != CommandType.ECHO),
]


@st.composite
def commands(draw):
    cmd, op = draw(st.sampled_from(KEYS))
    command = GenericCommand(cmd=cmd, op=op, peer_id="Tom", i=draw(st.sampled_from([None, 99])))
    name = PAYLOAD_OF.get(cmd)
    if name is not None:
        cls = GenericCommand._betterproto.cls_by_field[name]
        setattr(command, name, draw(st.none() | messages(cls)))
    return command


def placed(command, cid):
    """Have the command speak of a conversation that exists."""
    payload = getattr(command, PAYLOAD_OF.get(command.cmd, ""), None)
    parts = [payload, *(getattr(payload, "patches", None) or ())]
    for part in parts:
        for name in ("cid", "src_cid"):
            if hasattr(part, name):
                setattr(part, name, cid)


@settings(relaxed, max_examples=400)
@given(command=commands(), real=st.booleans())
async def test_any_well_formed_command(command, real):
    async with bystander_world() as server, peer_of(server) as peer:
        await peer.login("Tom")
        if real:
            placed(command, await conversation_of(peer, "Tom", "Jerry"))
        async with closed_with_one_of({4100, 4103, 4109, 4114}):
            await peer.send(command)
            await peer_is_served(peer)


async def peer_is_served(peer: Peer):
    await peer.send(GenericCommand(cmd=CommandType.ECHO, i=12345))
    while (await peer.receive()).i != 12345:
        pass


@pytest.mark.parametrize("size", [0x7E, 0x7F])
async def test_a_frame_that_promises_gigabytes_is_refused_at_once(size, autojump_clock):
    async with bystander_world() as server:
        stream = await server.connect()
        length = b"\xff\xff" if size == 0x7E else (2**62).to_bytes(8, "big")
        await stream.send_all(HANDSHAKE + bytes([0x82, 0x80 | size]) + length + b"\0\0\0\0")
        received = b""
        while data := await stream.receive_some():
            received += data
        assert received.endswith(b"\x88\x10\x10\x0dFRAME_TOO_LONG")


@pytest.mark.parametrize("target", ["//[x", "//[x?subprotocol=lc.json.3", "http://[x/", "/%zz?%zz"])
async def test_an_odd_target_of_an_upgrade_is_no_noise(target, caplog):
    async with world() as server:
        stream = await server.connect()
        await stream.send_all(HANDSHAKE.replace(b"GET / ", f"GET {target} ".encode()))
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 ")
        assert not [record for record in caplog.records if record.levelname != "DEBUG"]
        assert server.stats().metrics.internal_errors_total == 0


async def test_close_codes_that_nobody_knows_are_counted_as_one():
    async with world() as server:
        for code in (1000, 3777, 4242, 4999):
            stream = await server.connect()
            await stream.send_all(HANDSHAKE + masked(code.to_bytes(2, "big"), 0x88))
            while await stream.receive_some():
                pass
        assert dict(server.stats().metrics.closes) == {1000: 1, 0: 3}
        text = server.server.gateway.metrics.exposition(queue_bytes=0)
        assert 'closes_total{code="other"} 3\n' in text
