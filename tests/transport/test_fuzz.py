"""However the bytes come, and whatever they are."""

from __future__ import annotations

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.frames import Opcode

from tests.transport.peer import IMPLEMENTATIONS, binary, close, collect, frame, linked, text
from trio_realtime.transport import ConnectError, TransportClosed, connect

relaxed = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

payloads = st.lists(st.binary(max_size=300) | st.text(max_size=100), min_size=1, max_size=20)


def fragmented(payload, cuts):
    """The frames of one message, cut where `cuts` says, with a ping between any two."""
    opcode, raw = (
        (Opcode.TEXT, payload.encode()) if isinstance(payload, str) else (Opcode.BINARY, payload)
    )
    ends = [*sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    out, start = b"", 0
    for end in ends:
        out += frame(opcode, raw[start:end], fin=end is ends[-1])
        opcode, start = Opcode.CONT, end
    return out


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@relaxed
@given(data=st.data(), sent=payloads)
async def test_slicing_the_stream_changes_nothing(implementation, data, sent):
    stream = b""
    for payload in sent:
        cuts = data.draw(st.lists(st.integers(0, 300), max_size=3, unique=True))
        size = len(payload.encode() if isinstance(payload, str) else payload)
        stream += fragmented(payload, {cut for cut in cuts if cut < size})
        stream += data.draw(st.sampled_from([b"", frame(Opcode.PING, b"p")]))
    stream += close(4100)
    slices = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=30))
    async with linked(implementation) as (transport, peer):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def trickle():
                rest, turn = stream, 0
                while rest:
                    size = slices[turn % len(slices)]
                    await peer.say(rest[:size])
                    rest, turn = rest[size:], turn + 1

            assert await collect(transport, len(sent)) == sent
        with pytest.raises(TransportClosed, match="4100"):
            await transport.receive()


frames = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=50),
        st.binary(max_size=50).map(binary),
        st.binary(max_size=50).map(text),
        st.tuples(
            st.sampled_from(list(Opcode)), st.binary(max_size=125), st.booleans(), st.booleans()
        ).map(lambda t: frame(t[0], t[1], fin=t[2] or t[0] >= 8, mask=t[3])),
        st.tuples(st.integers(1000, 4999), st.text(max_size=20)).map(
            lambda t: frame(Opcode.CLOSE, t[0].to_bytes(2) + t[1].encode())
        ),
    ),
    max_size=12,
).map(b"".join)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@relaxed
@given(garbage=frames)
async def test_garbage_ends_in_one_way_only(implementation, garbage):
    async with linked(implementation, max_message_size=200) as (transport, peer):
        await peer.say(garbage)
        await peer.stream.aclose()
        with pytest.raises(TransportClosed):
            await _drain(transport)


async def _drain(transport):
    while True:
        batch = await transport.receive()
        assert batch
        assert all(type(payload) in {bytes, str} for payload in batch)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@relaxed
@given(
    garbage=st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.sampled_from(
                [
                    b"HTTP/1.1 101 Switching Protocols\r\n",
                    b"HTTP/1.1 503 x\r\n",
                    b"HTTP/1.0 101 x\r\n",
                    b"HTTP/1.1 ",
                    b"Upgrade: websocket\r\n",
                    b"Connection: Upgrade\r\n",
                    b"Sec-WebSocket-Accept: x\r\n",
                    b"Sec-WebSocket-Accept: \xff\xff\r\n",
                    b"Sec-WebSocket-Protocol: a, b\r\n",
                    b"Transfer-Encoding: chunked\r\n",
                    b"Content-Length: -1\r\n",
                    b"\r\n",
                    b"\x82\x01x",
                ]
            ),
            max_size=8,
        ).map(b"".join),
    )
)
async def test_garbage_for_a_handshake(implementation, garbage):
    client, server = trio.testing.memory_stream_pair()

    async def open_stream(_host, _port):
        return client

    await server.send_all(garbage)
    await server.send_eof()
    with pytest.raises(ConnectError):
        async with connect(
            "ws://h", subprotocol="x", implementation=implementation, open_stream=open_stream
        ):
            pytest.fail("connected")
