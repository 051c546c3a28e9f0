"""The fast way for whole messages gives what the protocol core alone gives, whatever arrives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State

from trio_realtime.transport._frames import FrameReader, Masks, masked_frame

LONGEST = 300


@pytest.fixture(autouse=True)
def no_task_is_left():
    """Nothing here has tasks."""


def core(side: Side) -> Protocol:
    """A core behind its handshake."""
    return Protocol(side, state=State.OPEN, max_size=LONGEST)


def frame(opcode: int, data: bytes, *, fin: bool = True, mask: bool = False) -> bytes:
    try:
        return Frame(Opcode(opcode), data, fin=fin).serialize(mask=mask)
    except ValueError:
        return bytes((0x80 * fin | opcode, len(data))) + data


frames = st.one_of(
    st.tuples(st.sampled_from([1, 2]), st.binary(max_size=140), st.just(True)),
    st.tuples(
        st.sampled_from([0, 1, 2, 8, 9, 10, 3]), st.binary(max_size=LONGEST + 5), st.booleans()
    ),
)


def whole(chunks: list[bytes], side: Side) -> tuple[object, ...]:
    alone = core(side)
    for chunk in chunks:
        alone.receive_data(chunk)
    return told(alone, alone.events_received())


def told(protocol: Protocol, events: object) -> tuple[object, ...]:
    seen = [
        (e[0], Opcode.TEXT if e[1] else Opcode.BINARY, True)
        if isinstance(e, tuple)
        else (bytes(e.data), e.opcode, e.fin)
        for e in events
    ]
    closes = protocol.close_rcvd, protocol.close_sent, protocol.state, protocol.close_expected()
    return seen, [bytes(out) for out in protocol.data_to_send()], closes


@given(
    st.lists(frames, max_size=8),
    st.lists(st.integers(1, 400), max_size=12),
    st.sampled_from(Side),
    st.booleans(),
    st.binary(max_size=6),
)
def test_it_reads_what_the_core_reads(frames, cuts, side, wrongly, junk):
    masked = (side is Side.SERVER) is not wrongly
    data = b""
    for opcode, body, fin in frames:
        control = opcode >= 8
        data += frame(opcode, body[:100] if control else body, fin=fin or control, mask=masked)
    data += junk
    chunks = []
    for cut in cuts:
        chunks.append(data[:cut])
        data = data[cut:]
    chunks.append(data)
    chunks = [chunk for chunk in chunks if chunk]

    protocol = core(side)
    reader = FrameReader(protocol, masked=side is Side.SERVER, longest=LONGEST)
    arrived = [one for chunk in chunks for one in reader.feed(chunk)]

    expected, wrote, closed = whole(chunks, side)
    seen, written, ended = told(protocol, arrived)
    assert seen == expected
    # Masks are random, so of what a client answered only the number counts.
    assert (written == wrote) if side is Side.SERVER else (len(written) == len(wrote))
    assert ended == closed


def test_a_long_message_in_small_pieces_costs_what_one_piece_costs():
    protocol = core(Side.CLIENT)
    reader = FrameReader(protocol, masked=False, longest=1 << 20)
    data = Frame(Opcode.BINARY, b"x" * (1 << 20)).serialize(mask=False)
    arrived = [one for at in range(0, len(data), 64) for one in reader.feed(data[at : at + 64])]
    assert arrived == [(b"x" * (1 << 20), False)]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 0xFFFF, 0x10000])
@pytest.mark.parametrize("text", [True, False])
def test_a_peer_reads_what_a_client_writes(size, text):
    server = Protocol(Side.SERVER, state=State.OPEN, max_size=None)
    data = b"y" * size
    server.receive_data(masked_frame(data, Masks().next(), text=text))
    [event] = server.events_received()
    assert (bytes(event.data), event.opcode, event.fin) == (
        data,
        Opcode.TEXT if text else Opcode.BINARY,
        True,
    )


def test_masks_differ():
    masks = Masks()
    keys = {masks.next() for _ in range(2000)}
    assert len(keys) > 1990
    assert {len(key) for key in keys} == {4}
