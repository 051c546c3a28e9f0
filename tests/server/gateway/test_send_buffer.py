from __future__ import annotations

from itertools import pairwise

import pytest
import trio

from trio_realtime.server.gateway.send_buffer import (
    ASKED,
    FLUSHED_AT_ONCE,
    HIGH,
    LOW,
    NORMAL,
    Flusher,
    SendBuffer,
)
from trio_realtime.testing import memory_streams


class Recorder:
    """A stream that notes each write, and stalls on demand."""

    def __init__(self):
        self.writes = []
        self.open = trio.Event()
        self.open.set()

    async def send_all(self, data):
        await self.open.wait()
        self.writes.append(bytes(data))

    @property
    def received(self):
        return b"".join(self.writes)


@pytest.fixture
async def box(nursery):
    flusher = Flusher()
    nursery.start_soon(flusher.run)
    stream = Recorder()
    events = []
    buffer = SendBuffer(
        stream,
        limit=100,
        flusher=flusher,
        spawn=nursery.start_soon,
        on_overflow=lambda: events.append("overflow"),
        on_broken=lambda: events.append("broken"),
    )
    buffer.stream, buffer.events = stream, events
    return buffer


async def settle():
    await trio.testing.wait_all_tasks_blocked()


async def stalled(box):
    """Let the receiver stop after one byte was taken in hand."""
    box.stream.open = trio.Event()
    box.put(b"!")
    await settle()


async def test_what_one_pass_queues_leaves_in_one_write(box):
    for n in range(10):
        box.put(b"%d" % n)
    await settle()
    assert box.stream.writes == [b"0123456789"]
    assert box.size == 0


async def test_the_bound_counts_what_is_in_flight(box):
    await stalled(box)
    box.put(b"x" * 99)
    assert box.events == []
    box.put(b"y")
    assert box.events == ["overflow"]


async def test_one_frame_larger_than_the_bound_passes_when_nothing_waits(box):
    box.put(b"x" * 1000)
    assert box.events == []
    await settle()
    assert box.stream.received == b"x" * 1000


async def test_what_was_asked_for_is_no_backlog(box):
    await stalled(box)
    for _ in range(3):
        box.put(b"a" * 1000, ASKED)
    box.put(b"p" * 98)
    assert (box.events, box.size, box.unasked) == ([], 3099, 99)
    box.put(b"ppp")
    assert box.events == ["overflow"]


async def test_what_was_asked_for_is_never_shed(box):
    await stalled(box)
    box.put(b"a" * 1000, ASKED)
    for _ in range(20):
        box.put(b"l" * 10, LOW)
    assert box.events == []
    box.stream.open.set()
    await settle()
    assert box.stream.received.count(b"a") == 1000
    assert box.stream.received.count(b"l") == 200 - 10 * box.shed
    assert (box.size, box.unasked) == (0, 0)


async def test_low_frames_go_first_then_normal_ones_never_high_ones(box):
    await stalled(box)
    for letter, priority in ((b"h", HIGH), (b"n", NORMAL), (b"l", LOW)) * 3:
        box.put(letter * 11, priority)
    assert box.size == 100
    box.put(b"H" * 11)  # sheds low ones
    assert (box.events, box.shed) == ([], 3)
    for _ in range(3):
        box.put(b"H" * 11)
    assert (box.events, box.shed) == ([], 6)
    for _ in range(3):
        box.put(b"H" * 11)
    assert box.events == ["overflow"]
    assert box.shed == 6
    box.stream.open.set()
    await settle()
    assert set(box.stream.received) == set(b"!hH")


async def test_an_arriving_low_frame_gives_way_itself(box):
    await stalled(box)
    for _ in range(9):
        box.put(b"h" * 11)
    box.put(b"l" * 11, LOW)
    assert (box.events, box.shed, box.size) == ([], 1, 100)


async def test_a_pause_holds_back_what_comes_later(box, autojump_clock):
    began = trio.current_time()
    box.put(b"1")
    box.pause(1)
    box.put(b"2")
    box.put(b"3")
    box.pause(1)
    box.put(b"4")
    await trio.sleep(0.9)
    assert box.stream.received == b"1"
    await trio.sleep(0.2)
    assert box.stream.received == b"123"
    assert trio.current_time() - began == pytest.approx(1.1)
    await trio.sleep(1)
    assert box.stream.received == b"1234"
    box.put(b"5")
    await settle()
    assert box.stream.received == b"12345"


async def test_what_is_paused_counts_too(box):
    box.pause(1)
    box.put(b"x" * 60)
    box.put(b"y" * 60)
    assert box.events == ["overflow"]


async def test_discarding_keeps_only_what_was_begun(box):
    await stalled(box)
    box.put(b"later")
    box.pause(1)
    box.put(b"later still")
    box.discard()
    box.put(b"close")
    box.stream.open.set()
    await settle()
    assert box.stream.received == b"!close"
    assert box.size == 0


async def test_waiting_for_room(box):
    await stalled(box)
    box.put(b"x" * 50)
    done = []

    async def wait():
        await box.wait_below(0)
        done.append(box.size)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await settle()
        assert done == []
        box.stream.open.set()
    assert done == [0]


async def test_a_broken_stream_is_reported_once_and_forgets_everything(nursery):
    flusher = Flusher()
    nursery.start_soon(flusher.run)
    ours, theirs = memory_streams()
    events = []
    box = SendBuffer(
        ours,
        limit=100,
        flusher=flusher,
        spawn=nursery.start_soon,
        on_overflow=lambda: events.append("overflow"),
        on_broken=lambda: events.append("broken"),
    )
    theirs.close()
    box.put(b"x")
    await settle()
    box.put(b"y" * 1000)
    await settle()
    assert events == ["broken"]
    assert box.size == 0
    with trio.fail_after(1):
        await box.wait_below(0)


@pytest.mark.skipif("os.name != 'posix'")
async def test_a_socket_is_written_to_directly_and_keeps_a_backlog(nursery):
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    client = await trio.testing.open_stream_to_socket_listener(listeners[0])
    server = await listeners[0].accept()
    flusher = Flusher()
    nursery.start_soon(flusher.run)
    events = []
    box = SendBuffer(
        server,
        limit=50_000_000,
        flusher=flusher,
        spawn=nursery.start_soon,
        on_overflow=lambda: events.append("overflow"),
        on_broken=lambda: events.append("broken"),
    )
    expected = b""
    for n in range(2000):
        frame = b"%08d" % n * 1000
        expected += frame
        box.put(frame, HIGH if n % 2 else ASKED)
    await settle()
    assert box.size > 0  # no socket buffers sixteen megabytes
    received = bytearray()
    while len(received) < len(expected):
        received += await client.receive_some()
        assert 0 <= box.unasked <= box.size
        # Every other frame, whatever part of one has left.
        assert abs(2 * box.unasked - box.size) <= 2 * 8000
    assert bytes(received) == expected
    await box.wait_below(0)
    assert (box.size, box.unasked) == (0, 0)
    await client.aclose()
    for stream in (server, *listeners):
        await stream.aclose()
    box.put(b"x")
    await settle()
    assert events == ["broken"]


async def test_others_have_a_turn_while_very_many_are_written_to(nursery):
    """And who is written to meanwhile does not wait for all of them."""
    flusher, flushed = Flusher(), []

    class Buffer:
        def __init__(self, name):
            self.name = name

        def flush(self):
            flushed.append(self.name)

    nursery.start_soon(flusher.run)
    await settle()
    many = 20 * FLUSHED_AT_ONCE
    for number in range(many):
        flusher.touch(Buffer(number))
    seen = [0]
    while seen[-1] < many:
        await trio.lowlevel.checkpoint()
        seen.append(len(flushed))
        if seen[-1] >= FLUSHED_AT_ONCE and "late" not in flushed and len(seen) < 50:
            flusher.touch(Buffer("late"))
    assert max(later - before for before, later in pairwise(seen)) <= 2 * FLUSHED_AT_ONCE
    assert flushed.index("late") <= 5 * FLUSHED_AT_ONCE
    assert [name for name in flushed if name != "late"] == list(range(many))
