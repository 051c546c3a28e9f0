"""Messages in both directions, and what batching, limits and cancellation do to them."""

from __future__ import annotations

import pytest
import trio
from websockets.frames import Opcode

from tests.transport.peer import binary, collect, frame, linked, text
from trio_realtime.transport import TransportClosed
from trio_realtime.transport._inbox import HIGH_WATER as INBOX
from trio_realtime.transport._outbox import HIGH_WATER as OUTBOX

SIZES = [0, 1, 125, 126, 127, 65535, 65536, 1_000_000]


async def test_messages_of_any_size_arrive(implementation, wire):
    payloads = [bytes([n]) * size for n, size in enumerate(SIZES)]
    async with linked(implementation, wire=wire) as (transport, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.say, *map(binary, payloads))
            assert await collect(transport, len(payloads)) == payloads

        heard = []

        async def hear():
            heard.extend(await peer.hear_messages(len(payloads)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hear)
            for payload in payloads:
                await transport.send(payload)
        assert heard == payloads


async def test_text_and_binary_keep_their_kind_and_order(implementation, wire):
    payloads = ["{}", b"\x00\xff", "汤姆和杰瑞", b"", "", "eA=="]
    async with linked(implementation, wire=wire) as (transport, peer):
        for payload in payloads:
            await transport.send(payload)
        assert await peer.hear_messages(len(payloads)) == payloads
        await peer.say(*(text(p) if isinstance(p, str) else binary(p) for p in payloads))
        received = await collect(transport, len(payloads))
        assert received == payloads
        assert [type(p) for p in received] == [type(p) for p in payloads]


async def test_what_many_tasks_send_in_one_pass_is_one_write(implementation):
    async with linked(implementation) as (transport, peer):
        await trio.testing.wait_all_tasks_blocked()
        before = len(peer.wire.writes)
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(transport.send, b"%d" % number)
        assert sorted(map(int, await peer.hear_messages(50))) == list(range(50))
        assert len(peer.wire.writes) == before + 1


async def test_sending_with_room_is_no_checkpoint(implementation):
    async with linked(implementation) as (transport, _peer):
        with trio.testing.assert_no_checkpoints():
            await transport.send(b"x")


async def test_what_arrives_together_is_received_together(implementation):
    async with linked(implementation) as (transport, peer):
        payloads = [b"%d" % n for n in range(300)]
        await peer.say(*map(binary, payloads))
        assert await transport.receive() == payloads
        await peer.say(*map(binary, payloads), binary(b"cut")[:2])
        assert await transport.receive() == payloads
        await peer.say(binary(b"cut")[2:])
        assert await transport.receive() == [b"cut"]


async def test_frames_in_the_packet_of_the_handshake(implementation):
    async with linked(implementation, trailing=binary(b"early") + text("bird")) as (transport, _):
        assert await collect(transport, 2) == [b"early", "bird"]


async def test_fragments_are_joined_with_control_frames_between_them(implementation):
    whole = "😀" * 3
    raw = whole.encode()
    async with linked(implementation) as (transport, peer):
        await peer.say(
            text(raw[:2], fin=False),
            frame(Opcode.PING, b"one"),
            frame(Opcode.CONT, raw[2:5], fin=False),
            frame(Opcode.CONT, b"", fin=False),
            frame(Opcode.PONG, b"nobody asked"),
            frame(Opcode.CONT, raw[5:]),
            binary(b"a", fin=False),
            frame(Opcode.CONT, b"b"),
            binary(b"c"),
        )
        assert await collect(transport, 3) == [whole, b"ab", b"c"]
        (pong,) = await peer.hear(1)
        assert (pong.opcode, pong.data) == (Opcode.PONG, b"one")


async def test_pings_are_answered_though_nobody_receives(implementation):
    async with linked(implementation) as (_transport, peer):
        await peer.say(frame(Opcode.PING, b"1"), frame(Opcode.PING, b"2"))
        assert await peer.hear_messages(2) == [b"1", b"2"]


async def test_pings_of_a_peer_that_does_not_read_are_not_hoarded(implementation):
    async with linked(implementation) as (transport, peer):
        peer.wire.gate = trio.Event()
        ping = frame(Opcode.PING, b"x" * 100)
        await peer.say(*[ping] * 20_000, binary(b"after"))
        await trio.testing.wait_all_tasks_blocked()
        assert peer.wire.bytes_read < 400_000
        peer.wire.gate.set()
        assert await transport.receive() == [b"after"]
        assert len(await peer.hear(20_000)) == 20_000


async def test_last_received_follows_messages_and_pongs(implementation, autojump_clock):
    async with linked(implementation) as (transport, peer):
        opened = transport.last_received
        assert opened == trio.current_time()
        await trio.sleep(10)
        await transport.send(b"from us")
        await trio.testing.wait_all_tasks_blocked()
        assert transport.last_received == opened
        await peer.say(frame(Opcode.PONG))
        await trio.testing.wait_all_tasks_blocked()
        assert transport.last_received == opened + 10
        await trio.sleep(5)
        await peer.say(binary(b"x"))
        await transport.receive()
        assert transport.last_received == opened + 15


async def test_senders_wait_beyond_high_water_and_keep_their_order(implementation):
    big = OUTBOX // 4
    async with linked(implementation) as (transport, peer):
        peer.wire.gate = trio.Event()
        await transport.send(b"in flight")
        await trio.testing.wait_all_tasks_blocked()
        for number in range(4):
            with trio.testing.assert_no_checkpoints():
                await transport.send(bytes([number]) * big)
        done = []

        async def send(number):
            await transport.send(bytes([number]) * big)
            done.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(4, 12):
                nursery.start_soon(send, number)
                await trio.testing.wait_all_tasks_blocked()
            assert done == []
            peer.wire.gate.set()
            heard = await peer.hear_messages(13)
        assert [h[0] for h in heard[1:]] == list(range(12))
        assert sorted(done) == list(range(4, 12))


async def test_cancelling_a_waiting_sender_loses_only_its_own_message(implementation):
    async with linked(implementation) as (transport, peer):
        peer.wire.gate = trio.Event()
        await transport.send(b"in flight")
        await trio.testing.wait_all_tasks_blocked()
        await transport.send(b"f" * OUTBOX)
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def give_up():
                with scope:
                    await transport.send(b"never")

            nursery.start_soon(transport.send, b"first")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(give_up)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(transport.send, b"second")
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert scope.cancelled_caught
            peer.wire.gate.set()
        await transport.send(b"third")
        assert await peer.hear_messages(5) == [
            b"in flight",
            b"f" * OUTBOX,
            b"first",
            b"second",
            b"third",
        ]


async def test_a_cancelled_sender_leaves_no_half_frame(implementation, wire):
    payload = b"z" * 3_000_000  # more than the socket's buffers take at once
    async with linked(implementation, wire=wire) as (transport, peer):
        with trio.CancelScope() as scope:
            await transport.send(payload)
            scope.cancel()
            await transport.send(b"waits")
            await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        await transport.send(b"whole")
        assert await peer.hear_messages(2) == [payload, b"whole"]


async def test_cancelling_receive_loses_nothing(implementation, wire):
    async with linked(implementation, wire=wire) as (transport, peer):
        received = []
        for number in range(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.say, binary(b"%d" % number))
                with trio.CancelScope() as scope:
                    nursery.start_soon(_cancel_after_passes, scope, number % 6)
                    received += await transport.receive()
        await peer.say(binary(b"end"))
        while received[-1:] != [b"end"]:
            received += await transport.receive()
        assert received == [b"%d" % number for number in range(30)] + [b"end"]


async def _cancel_after_passes(scope, passes):
    for _ in range(passes):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def test_reading_stops_until_somebody_receives(implementation):
    message = b"m" * 10_000
    count = 3 * INBOX // len(message)
    async with linked(implementation) as (transport, peer):
        await peer.say(*[binary(message)] * count)
        await trio.testing.wait_all_tasks_blocked()
        assert INBOX <= peer.wire.bytes_read < 1.5 * INBOX
        assert await collect(transport, count) == [message] * count


async def test_the_limit_counts_messages_not_frames(implementation):
    async with linked(implementation, max_message_size=1000) as (transport, peer):
        await peer.say(binary(b"x" * 1000), binary(b"y" * 600, fin=False))
        await peer.say(frame(Opcode.CONT, b"y" * 400))
        assert await collect(transport, 2) == [b"x" * 1000, b"y" * 600 + b"y" * 400]
        await peer.say(binary(b"z" * 600, fin=False), frame(Opcode.CONT, b"z" * 401))
        with pytest.raises(TransportClosed, match="1009"):
            await transport.receive()
