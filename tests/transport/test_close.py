"""Every way in which a connection ends."""

from __future__ import annotations

import socket
import struct

import pytest
import trio
from trio_websocket import WebSocketConnection
from websockets.frames import Opcode

from tests.transport.peer import binary, close, collect, frame, linked, text
from trio_realtime.transport import MessageTooBig, TransportClosed
from trio_realtime.transport._inbox import HIGH_WATER as INBOX
from trio_realtime.transport._outbox import HIGH_WATER as OUTBOX


async def assert_closed(transport, code, reason=None):
    for _ in range(2):
        with pytest.raises(TransportClosed) as receiving:
            await transport.receive()
        with pytest.raises(TransportClosed) as sending:
            await transport.send(b"too late")
        for caught in (receiving.value, sending.value):
            assert caught.code == code
            if reason is not None:
                assert caught.reason == reason


# The peer closes.


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4100, 4103, 4107, 4110, 4999])
async def test_close_codes_of_the_peer(implementation, wire, code):
    async with linked(implementation, wire=wire) as (transport, peer):
        await peer.say(binary(b"last"), close(code, "原因"), binary(b"beyond"))
        assert await transport.receive() == [b"last"]
        await assert_closed(transport, code, "原因")
        assert (await peer.hear_close()).code == code


async def test_a_close_without_a_code(implementation):
    async with linked(implementation) as (transport, peer):
        await peer.say(frame(Opcode.CLOSE))
        await assert_closed(transport, 1005, "")
        (answer,) = await peer.hear(1)
        assert (answer.opcode, answer.data) == (Opcode.CLOSE, b"")


async def test_the_peers_close_wakes_whoever_waits(implementation):
    async with linked(implementation) as (transport, peer):
        peer.wire.gate = trio.Event()
        await transport.send(b"in flight")
        await trio.testing.wait_all_tasks_blocked()
        await transport.send(b"f" * OUTBOX)
        ends = []

        async def wait(method, *args):
            with pytest.raises(TransportClosed) as caught:
                await method(*args)
            ends.append(caught.value.code)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, transport.send, b"x")
            nursery.start_soon(wait, transport.send, b"y")
            nursery.start_soon(wait, transport.receive)
            await trio.testing.wait_all_tasks_blocked()
            assert ends == []
            await peer.say(close(4200))
        assert ends == [4200] * 3
        peer.wire.gate.set()


async def test_many_messages_before_the_close_are_delivered(implementation, wire):
    payloads = [b"%d" % n for n in range(5000)]
    async with linked(implementation, wire=wire) as (transport, peer):
        await peer.say(*map(binary, payloads), close(4114))
        assert await collect(transport, len(payloads)) == payloads
        await assert_closed(transport, 4114)


async def test_closing_waits_until_the_peers_close_is_answered(implementation, autojump_clock):
    async with linked(implementation) as (transport, peer):
        peer.wire.gate = trio.Event()
        await transport.send(b"in flight")
        await trio.testing.wait_all_tasks_blocked()
        await peer.say(close(4100))
        await assert_closed(transport, 4100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.aclose)
            await trio.sleep(1)
            peer.wire.gate.set()
            assert await peer.hear_messages(1) == [b"in flight"]
            assert (await peer.hear_close()).code == 4100
        assert trio.current_time() == 1


# The link breaks.


async def test_the_end_of_the_stream_is_abnormal(implementation, wire):
    async with linked(implementation, wire=wire) as (transport, peer):
        await peer.say(binary(b"last"), binary(b"torn")[:3])
        await peer.stream.aclose()
        assert await transport.receive() == [b"last"]
        await assert_closed(transport, 1006, "")


async def test_a_half_closed_peer_is_gone(implementation, wire):
    async with linked(implementation, wire=wire) as (transport, peer):
        await peer.stream.send_eof()
        await assert_closed(transport, 1006)


async def test_a_reset_is_abnormal(implementation):
    async with linked(implementation, wire="tcp") as (transport, peer):
        peer.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await peer.stream.aclose()
        await assert_closed(transport, 1006)


async def test_a_stream_that_breaks_only_for_writing(implementation, autojump_clock):
    async with linked(implementation) as (transport, peer):

        async def broken(_data):
            raise trio.BrokenResourceError

        peer.wire.send_all = broken
        await transport.send(b"x")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(TransportClosed, match="1006"):
            await transport.send(b"y")
        await peer.say(binary(b"still readable"))
        assert await transport.receive() == [b"still readable"]
        await assert_closed(transport, 1006)


# The peer breaks the rules.

VIOLATIONS = {
    "reserved opcode": (frame(Opcode.BINARY).replace(b"\x82", b"\x83"), 1002),
    "reserved bit": (binary(b"x", rsv1=True), 1002),
    "masked": (binary(b"x", mask=True), 1002),
    "continuation of nothing": (frame(Opcode.CONT, b"x"), 1002),
    "message within a message": (binary(b"x", fin=False) + binary(b"y"), 1002),
    "fragmented ping": (b"\x09\x00", 1002),
    "long ping": (b"\x89\x7e\x00\x7e" + b"x" * 126, 1002),
    "close of one byte": (b"\x88\x01\x03", 1002),
    "close with a forbidden code": (b"\x88\x02" + struct.pack("!H", 1006), 1002),
    "close reason not UTF-8": (b"\x88\x03\x03\xe8\xff", 1007),
    "text not UTF-8": (text(b"\xff\xfe"), 1007),
    "fragmented text not UTF-8": (text(b"\xe6", fin=False) + frame(Opcode.CONT, b"x"), 1007),
    "too big": (binary(b"x" * 2001), 1009),
    "too big a header": (b"\x82\x7f" + struct.pack("!Q", 2**62) + b"x" * 5000, 1009),
    "too big in pieces": (text("x" * 1500, fin=False) + frame(Opcode.CONT, b"x" * 501), 1009),
}


@pytest.mark.parametrize("violation", VIOLATIONS)
async def test_violations_close_with_the_right_code(implementation, violation):
    raw, code = VIOLATIONS[violation]
    async with linked(implementation, max_message_size=2000) as (transport, peer):
        await peer.say(binary(b"fine"), raw, binary(b"behind"), frame(Opcode.PING))
        assert await transport.receive() == [b"fine"]
        await assert_closed(transport, code)
        assert (await peer.hear_close()).code == code
        with pytest.raises(TransportClosed) as caught:
            await transport.receive()
        assert isinstance(caught.value, MessageTooBig) == (code == 1009)
        await peer.stream.aclose()


async def test_a_complaint_survives_unread_data(implementation):
    async with linked(implementation, wire="tcp", max_message_size=100) as (transport, peer):
        await peer.say(binary(b"x" * 500_000))
        await assert_closed(transport, 1009)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.aclose)
            assert (await peer.hear_close()).code == 1009
            await peer.stream.aclose()


async def test_a_failure_of_trio_websocket_is_a_lost_connection(monkeypatch, caplog):
    async def fail(_connection, _event):
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(WebSocketConnection, "_handle_ping_event", fail)
    async with linked("trio-websocket") as (transport, peer):
        await peer.say(binary(b"before"), frame(Opcode.PING))
        assert await transport.receive() == [b"before"]
        await assert_closed(transport, 1006)
    assert "unforeseen" in caplog.text


# We close.


async def test_queued_messages_leave_before_the_close(implementation, wire):
    async with linked(implementation, wire=wire) as (transport, peer):
        async with trio.open_nursery() as nursery:
            for number in range(5):
                await transport.send(b"%d" % number)
            nursery.start_soon(transport.aclose, 4321, "done")
            assert await peer.hear_messages(5) == [b"%d" % n for n in range(5)]
            goodbye = await peer.hear_close()
            assert (goodbye.code, goodbye.reason) == (4321, "done")
            await peer.say(binary(b"crossing"), close(4321))
        assert peer.wire.closed
        await assert_closed(transport, 4321, "done")


async def test_what_arrived_before_our_close_can_still_be_received(implementation):
    async with linked(implementation) as (transport, peer):
        await peer.say(binary(b"x"))
        await trio.testing.wait_all_tasks_blocked()
        await peer.say(close(1000))
        await transport.aclose()
        assert await transport.receive() == [b"x"]


async def test_closing_twice_and_at_the_same_time(implementation, autojump_clock):
    async with linked(implementation) as (transport, peer):
        async with trio.open_nursery() as nursery:
            for code in (1000, 1001, 3000):
                nursery.start_soon(transport.aclose, code)
            await peer.serve()
        started = trio.current_time()
        await transport.aclose(4000)
        assert trio.current_time() == started


async def test_a_waiting_receiver_learns_that_we_closed(implementation):
    async with linked(implementation) as (transport, peer), trio.open_nursery() as nursery:
        nursery.start_soon(assert_closed, transport, 3001)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(transport.aclose, 3001)
        await peer.serve()


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 5000])
async def test_codes_that_may_not_be_sent(implementation, code):
    async with linked(implementation) as (transport, peer):
        with pytest.raises(ValueError, match=str(code)):
            await transport.aclose(code)
        await transport.send(b"still open")
        assert await peer.hear_messages(1) == [b"still open"]


async def test_a_long_reason_is_cut_between_characters(implementation):
    async with linked(implementation) as (transport, peer), trio.open_nursery() as nursery:
        nursery.start_soon(transport.aclose, 3000, "长" * 100)
        assert (await peer.hear_close()).reason == "长" * 41
        await peer.say(close(3000))


async def test_closing_with_unread_data_is_prompt(implementation, autojump_clock):
    async with linked(implementation) as (transport, peer):
        await peer.say(*[binary(b"u" * 10_000)] * (3 * INBOX // 10_000))
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.aclose)
            await peer.serve()
        assert trio.current_time() == started


async def test_nothing_follows_our_close_whatever_the_peer_says(implementation, autojump_clock):
    async with linked(implementation) as (transport, peer), trio.open_nursery() as nursery:
        nursery.start_soon(transport.aclose)
        await peer.hear_close()
        ping = frame(Opcode.PING, b"x" * 100)
        for _ in range(30):
            await peer.say(*[ping] * 100, binary(b"behind"))
            await trio.testing.wait_all_tasks_blocked()
        written = len(peer.wire.writes)
        await peer.say(close(1000))
        await trio.testing.wait_all_tasks_blocked()
        assert peer.wire.closed
        assert len(peer.wire.writes) == written
        assert peer.wire.writes[-1][:2] == b"\x88\x82"
        assert trio.current_time() == 0


async def test_a_silent_peer_gets_two_seconds(implementation, autojump_clock):
    async with linked(implementation) as (transport, peer):
        started = trio.current_time()
        await transport.aclose()
        assert trio.current_time() == started + 2
        assert peer.wire.closed


async def test_a_peer_that_does_not_read_gets_two_seconds(implementation, autojump_clock):
    async with linked(implementation) as (transport, peer):
        peer.wire.gate = trio.Event()
        await transport.send(b"stuck")
        started = trio.current_time()
        await transport.aclose()
        assert trio.current_time() == started + 2
        assert peer.wire.closed


async def test_closing_after_the_peer_is_gone_is_prompt(implementation, autojump_clock):
    async with linked(implementation) as (transport, peer):
        await peer.stream.aclose()
        await assert_closed(transport, 1006)
        started = trio.current_time()
        await transport.aclose()
        assert trio.current_time() == started


async def test_a_cancelled_close_still_says_goodbye(implementation, autojump_clock):
    async with linked(implementation) as (transport, peer), trio.open_nursery() as nursery:
        nursery.start_soon(peer.serve)
        with trio.CancelScope() as scope:
            scope.cancel()
            await transport.send(b"queued")
            await transport.aclose(3333)
        assert peer.wire.closed


async def test_cancelling_the_block_closes_properly(implementation, autojump_clock):
    heard = []
    async with trio.open_nursery() as nursery:

        async def hear(peer):
            heard.append((await peer.hear_close()).code)
            await peer.say(close(1000))

        with trio.CancelScope() as scope:
            async with linked(implementation) as (transport, peer):
                nursery.start_soon(hear, peer)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
                await transport.receive()
        assert scope.cancelled_caught
    assert heard == [1000]
    assert trio.current_time() == 0
