from __future__ import annotations

import msgspec
import pytest
import trio
from trio_websocket import ConnectionClosed

from tests.awesome.world import scripted, world
from trio_realtime import (
    ClientClosed,
    CommandTimeout,
    ConnectFailed,
    ConnectionLost,
    Disconnected,
    LinkState,
    Reconnecting,
    ReconnectScheduled,
    Retry,
)
from trio_realtime.awesome import (
    Connected,
    ConversationType,
    CustomMessage,
    FileMessage,
    FrameError,
    ImageMessage,
    MessageDirection,
    MessageReceived,
    Notice,
    SignalMessage,
    TextMessage,
    open_client,
    open_server,
)
from trio_realtime.awesome._codec import MAX_FRAME
from trio_realtime.awesome._server import USERS_OF_A_CONNECTION
from trio_realtime.testing import memory_streams
from trio_realtime.transport import TransportClosed, connect

pack = msgspec.msgpack.encode
unpack = msgspec.msgpack.decode


async def test_what_is_sent_comes_back_with_the_servers_id_and_time(autojump_clock):
    async with world() as w, w.client("allen") as me:
        sent = await me.send(SignalMessage("start"))
        assert (sent.signal_name, sent.sender, sent.to) == ("start", "allen", "server")
        assert [len(part) for part in sent.message_uid.split("-")] == [4, 4, 4, 4]
        assert sent.sent_time is not None
        assert sent.direction is MessageDirection.SEND
        content = {"test": 123, "array": [123, 456], "object": {"name": "allen"}}
        assert (await me.send(TextMessage(content))).message == content
        for message in (
            ImageMessage(b"\x89PNG"),
            FileMessage({"name": "a.txt", "url": "https://example.com/a.txt"}),
            CustomMessage("VoiceMsg", {"seconds": 3}),
        ):
            returned = await me.send(message)
            assert type(returned) is type(message)
            assert returned.content() == message.content()


async def test_private_messages_reach_the_other_and_nobody_else(autojump_clock):
    async with (
        world() as w,
        w.client("tom") as tom,
        w.client("jerry") as jerry,
        w.client("spike") as spike,
    ):
        inbox, others = jerry.events(MessageReceived), spike.events(MessageReceived)
        await trio.sleep(1)
        sent = await tom.send(
            TextMessage("cheese?", to="jerry", conversation_type=ConversationType.PRIVATE)
        )
        received = (await anext(inbox)).message
        assert (received.message, received.sender, received.message_uid) == (
            "cheese?",
            "tom",
            sent.message_uid,
        )
        assert received.message_id is None
        assert received.direction is MessageDirection.RECEIVE
        with trio.move_on_after(60) as nothing:
            await anext(others)
        assert nothing.cancelled_caught


async def test_the_handler_answers_what_is_said_to_the_server(autojump_clock):
    async def handler(message):
        if message.message == "crash":
            raise RuntimeError("the application is broken")
        return TextMessage(f"{message.message} yourself") if message.message else None

    async with world(handler=handler) as w, w.client("tom") as tom:
        inbox = tom.events(MessageReceived)
        await tom.send(TextMessage("crash"))
        await tom.send(TextMessage("hello"))
        answer = (await anext(inbox)).message
        assert (answer.message, answer.sender, answer.to) == ("hello yourself", "server", "tom")


async def test_the_server_can_speak_first(autojump_clock):
    async with world() as w, w.client("tom") as tom:
        inbox = tom.events(MessageReceived)
        await trio.sleep(1)
        assert w.server.users == {"tom"}
        assert w.server.push(SignalMessage("end", to="tom")) == 1
        assert w.server.push(SignalMessage("end", to="nobody")) == 0
        message = (await anext(inbox)).message
        assert (message.signal_name, message.sender, message.message_id) == ("end", "server", None)


async def test_broadcasting_is_what_the_sample_server_does(autojump_clock):
    async with world(broadcast=True) as w, w.client("tom") as tom:
        events = tom.events(MessageReceived, Notice)
        async with w.client("jerry") as jerry:
            sent = await jerry.send(TextMessage("hello all"))
            event = await anext(events)
            assert event.message.message == "hello all"
            assert event.message.message_id == sent.message_id
        assert await anext(events) == Notice(4, "close")


async def test_a_lost_link_is_restored_and_said_to_be(autojump_clock):
    async with world() as w, w.client("tom") as tom:
        events = tom.events()
        assert await anext(events) == Connected()
        await w.cut()
        seen = [type(await anext(events)) for _ in range(4)]
        assert seen == [Disconnected, ReconnectScheduled, Reconnecting, Connected]
        assert (await tom.send(TextMessage("back"))).message == "back"


async def test_it_reconnects_without_limit_and_not_less_than_every_30_seconds(autojump_clock):
    async with world() as w, w.client("tom") as tom:
        w.refusing = True
        delays = tom.events(ReconnectScheduled)
        await w.cut()
        await trio.sleep(3600)
        assert w.attempts > 110
        seen = [(await anext(delays)).delay for _ in range(50)]
        assert all(delay <= 30 for delay in seen)
        assert seen[0] <= 1
        w.refusing = False
        assert (await tom.send(TextMessage("after an hour"))).message == "after an hour"
        w.refusing = True
        await w.cut()
        assert (await anext(tom.events(Disconnected))).error is not None


async def test_after_disconnect_there_is_no_reconnection(autojump_clock):
    async with world() as w, w.client("tom") as tom:
        events = tom.events(MessageReceived)
        await tom.disconnect()
        assert [event async for event in events] == []
        attempts = w.attempts
        await trio.sleep(3600)
        assert w.attempts == attempts
        assert tom.state is LinkState.CLOSED
        with pytest.raises(ClientClosed):
            await tom.send(TextMessage("x"))
        await tom.disconnect()


async def test_disconnecting_inside_the_loop_as_a_logout_by_the_server_asks_for(autojump_clock):
    async with world() as w, w.client("tom") as tom:
        inbox = tom.events(MessageReceived)
        await trio.sleep(1)
        w.server.push(SignalMessage("logout", to="tom"))
        async for event in inbox:
            assert event.message.signal_name == "logout"
            await tom.disconnect()


async def test_what_waits_for_an_answer_is_sent_again_with_its_id(autojump_clock):
    seen = []

    async def behave(socket):
        try:
            while True:
                message = unpack(await socket.get_message())
                if message["messageType"] == "PingMsg":
                    continue
                seen.append(message["messageId"])
                if len(seen) == 1:
                    await socket.aclose(1011)
                await socket.send_message(pack({"code": 0, "data": message}))
                await socket.send_message(pack({"code": 0, "data": message}))
        except ConnectionClosed:
            return

    async with scripted(behave) as w, w.client("tom") as tom:
        inbox = tom.events(MessageReceived)
        assert (await tom.send(TextMessage("once"))).message == "once"
        assert len(seen) == 2
        assert len(set(seen)) == 1
        # The second echo of the same message is not news.
        with trio.move_on_after(60) as nothing:
            await anext(inbox)
        assert nothing.cancelled_caught


async def test_what_waits_leaves_in_its_order_and_what_was_given_up_does_not(autojump_clock):
    seen = []

    async def behave(socket):
        try:
            while True:
                message = unpack(await socket.get_message())
                if message["messageType"] != "PingMsg":
                    seen.append(message["content"]["message"])
                await socket.send_message(pack({"code": 0, "data": message}))
        except ConnectionClosed:
            return

    async with scripted(behave) as w, w.client("tom") as tom:
        connected = tom.events(Connected)
        await anext(connected)
        w.refusing = True
        await w.cut()
        await trio.sleep(100)
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(tom.send, TextMessage(number))
                await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(50):
                await tom.send(TextMessage("given up"))
            w.refusing = False
            await anext(connected)
            nursery.start_soon(tom.send, TextMessage("last"))
        assert seen == [0, 1, 2, 3, 4, "last"]


async def test_without_retry_a_broken_link_is_an_error(autojump_clock):
    async def behave(socket):
        try:
            while unpack(await socket.get_message())["messageType"] == "PingMsg":
                pass
            await socket.aclose(1011)
        except ConnectionClosed:
            return

    async with scripted(behave) as w, w.client("tom") as tom:
        with pytest.raises(ConnectionLost):
            await tom.send(TextMessage("x"), retry=False)
        w.refusing = True
        await w.cut()
        await trio.sleep(10)
        with pytest.raises(ConnectionLost):
            await tom.send(TextMessage("x"), retry=False)


async def silent(socket):
    try:
        while True:
            await socket.get_message()
    except ConnectionClosed:
        return


async def test_without_an_answer_a_send_times_out(autojump_clock):
    async with scripted(silent) as w, w.client("tom", answer_timeout=7) as tom:
        began = trio.current_time()
        with pytest.raises(CommandTimeout):
            await tom.send(TextMessage("x"))
        assert trio.current_time() - began == pytest.approx(7)


async def test_cancelling_a_send_leaves_nothing_behind(autojump_clock):
    async with scripted(silent) as w, w.client("tom") as tom:
        with trio.move_on_after(3):
            await tom.send(TextMessage("x"))
        assert tom._channel._pending == {}


async def test_heartbeats_leave_at_once_and_then_by_the_interval(autojump_clock):
    times = []

    async def behave(socket):
        try:
            while True:
                message = unpack(await socket.get_message())
                assert message["messageType"] == "PingMsg"
                assert (message["from"], message["to"]) == ("tom", "server")
                times.append(trio.current_time())
        except ConnectionClosed:
            return

    async with scripted(behave) as w, w.client("tom", ping_interval=6.0):
        began = trio.current_time()
        await trio.sleep(100)
        # A server that never answers pings is not taken for dead.
        assert w.attempts == 1
    assert [round(time - began) for time in times] == list(range(0, 100, 6))


async def test_a_server_that_stops_answering_is_taken_for_dead(autojump_clock):
    async def behave(socket):
        try:
            message = unpack(await socket.get_message())
            await socket.send_message(pack({"code": 0, "data": message}))
            while True:
                await socket.get_message()
        except ConnectionClosed:
            return

    async with scripted(behave) as w, w.client("tom", ping_interval=6.0) as tom:
        events = tom.events(Disconnected)
        began = trio.current_time()
        lost = await anext(events)
        assert trio.current_time() - began == pytest.approx(18)
        assert "nothing heard" in str(lost.error)
        assert w.attempts == 1


async def test_a_server_that_stops_reading_is_taken_for_dead_whatever_is_queued(autojump_clock):
    async def behave(socket):
        try:
            message = unpack(await socket.get_message())
            await socket.send_message(pack({"code": 0, "data": message}))
            while stalled:
                stalled.pop()
                await trio.sleep_forever()
            while True:
                payload = await socket.get_message()
                await socket.send_message(pack({"code": 0, "data": unpack(payload)}))
        except ConnectionClosed:
            return

    stalled = [True]
    async with scripted(behave) as w, w.client("tom", answer_timeout=60) as tom:
        events = tom.events(Disconnected, Connected)
        assert isinstance(await anext(events), Connected)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(tom.send, TextMessage("x" * 20_000))
            with trio.fail_after(3600):
                assert isinstance(await anext(events), Disconnected)
            assert trio.current_time() - began < 18 + 3
            assert isinstance(await anext(events), Connected)


async def test_a_first_attempt_that_fails_is_an_error(autojump_clock):
    async with world() as w:
        w.refusing = True
        with pytest.raises(ConnectFailed):
            async with w.client("tom"):
                pass
        assert w.attempts == 1
        for wrong in ("ping_interval", "answer_timeout", "connect_timeout", "connect_retry"):
            with pytest.raises(ValueError, match=wrong):
                async with w.client("tom", **{wrong: 0}):
                    pass
        assert w.attempts == 1


@pytest.mark.parametrize("connect_retry", [True, 60])
async def test_a_server_that_comes_later_is_waited_for(connect_retry, autojump_clock):
    async with world() as w, trio.open_nursery() as nursery:
        w.refusing = True

        async def come_up():
            await trio.sleep(20)
            w.refusing = False

        nursery.start_soon(come_up)
        async with w.client("tom", connect_retry=connect_retry) as tom:
            assert 20 <= trio.current_time() < 35
            assert (await tom.send(TextMessage("hi"))).message_uid
        # 1, 2, 4, 8 and 16 seconds, each shortened by up to a fifth.
        assert 5 <= w.attempts <= 7


async def test_the_wait_for_a_server_has_a_bound_and_can_be_cancelled(autojump_clock):
    async with world() as w:
        w.refusing = True
        with pytest.raises(ConnectFailed):
            async with w.client("tom", connect_retry=30):
                pass
        assert trio.current_time() == 30
        with trio.move_on_after(100) as scope:
            async with w.client("tom", connect_retry=True):
                pass
        assert scope.cancelled_caught


async def test_what_cannot_pass_is_not_waited_out(autojump_clock):
    async def open_stream(host, port):
        ours, theirs = memory_streams()
        await theirs.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        return ours

    with pytest.raises(ConnectFailed) as caught:
        async with open_client(
            "ws://awesome.test", user_id="tom", open_stream=open_stream, connect_retry=True
        ):
            pass
    assert caught.value.retry is Retry.NEVER
    assert trio.current_time() < 1


async def test_garbage_from_the_server_is_passed_over(autojump_clock):
    async def behave(socket):
        try:
            for payload in (b"", b"\xc1", "text", pack([]), pack({"code": 0}), pack({"code": 9})):
                await socket.send_message(payload)
            await socket.send_message(
                pack({"code": 0, "data": {"messageType": "TxtMsg", "message": 1}})
            )
            await silent(socket)
        except ConnectionClosed:
            return

    async with scripted(behave) as w, w.client("tom") as tom:
        events = tom.events(MessageReceived, Notice)
        assert (await anext(events)).code == 9
        assert (await anext(events)).message.message == 1
        assert w.attempts == 1


async def test_garbage_from_a_client_ends_its_connection_alone(autojump_clock):
    async with world() as w, w.client("tom") as tom:
        for payload in (b"\xc1", "text", pack([1, 2]), pack({"messageType": 7})):
            async with connect(
                "ws://awesome.test:8088", subprotocol=None, open_stream=w.open_stream
            ) as link:
                await link.send(payload)
                with pytest.raises(TransportClosed) as closed:
                    await link.receive()
                assert closed.value.code == 1003
        assert (await tom.send(TextMessage("still here"))).message == "still here"
        with pytest.raises(FrameError):
            await tom.send(TextMessage(object()))


async def test_a_connection_that_takes_endlessly_many_names(autojump_clock):
    async with world() as w, w.client("tom") as tom:
        async with connect(
            "ws://awesome.test:8088", subprotocol=None, open_stream=w.open_stream
        ) as link:
            for number in range(USERS_OF_A_CONNECTION + 50):
                said = {"messageType": "TxtMsg", "from": f"name {number}", "content": {}}
                await link.send(pack(said))
                await link.receive()
            assert len(w.server.users) == USERS_OF_A_CONNECTION + 1
            assert w.server.push(TextMessage("hello", to=f"name {number}")) == 1
            assert w.server.push(TextMessage("hello", to="name 0")) == 0
        assert (await tom.send(TextMessage("still here"))).message == "still here"


def largest_frame():
    """A message that may arrive, and is too large once it has an id and a time."""
    empty = len(pack({"messageType": "TxtMsg", "content": {"message": ""}}))
    # A longer text has 4 more bytes in front of it.
    text = "x" * (MAX_FRAME - empty - 4)
    return pack({"messageType": "TxtMsg", "content": {"message": text}})


@pytest.mark.parametrize("broadcast", [False, True])
@pytest.mark.parametrize(
    "payload",
    [largest_frame(), pack({"messageType": "TxtMsg", "conversationType": 1e300})],
    ids=["too large to return", "too large a number"],
)
async def test_what_cannot_be_returned_ends_its_connection_alone(
    payload, broadcast, autojump_clock
):
    async with world(broadcast=broadcast) as w, w.client("tom") as tom:
        async with connect(
            "ws://awesome.test:8088", subprotocol=None, open_stream=w.open_stream
        ) as link:
            await link.send(payload)
            with pytest.raises(TransportClosed) as closed:
                await link.receive()
            assert closed.value.code == 1003
        assert (await tom.send(TextMessage("still here"))).message == "still here"


async def test_an_answer_that_cannot_be_sent_harms_nobody(autojump_clock):
    async def handler(message):
        return TextMessage(object() if message.message == "odd" else "fine")

    async with world(handler=handler) as w, w.client("tom") as tom:
        inbox = tom.events(MessageReceived)
        await tom.send(TextMessage("odd"))
        await tom.send(TextMessage("even"))
        assert (await anext(inbox)).message.message == "fine"


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def test_a_receiver_that_does_not_read_is_cut_off_alone(autojump_clock):
    async with world() as w, w.client("tom") as tom:
        slow = await w.open_stream("awesome.test", 8088)
        ping = pack({"messageType": "PingMsg", "from": "slow"})
        await slow.send_all(HANDSHAKE)
        assert (await slow.receive_some()).startswith(b"HTTP/1.1 101")
        await slow.send_all(bytes([0x82, 0x80 | len(ping)]) + bytes(4) + ping)
        await trio.sleep(1)
        assert w.server.users == {"tom", "slow"}
        private = ConversationType.PRIVATE
        for _ in range(120):
            await tom.send(TextMessage("x" * 50_000, to="slow", conversation_type=private))
        assert w.server.users == {"tom"}
        assert (await tom.send(TextMessage("still here"))).message == "still here"


async def test_on_real_sockets():
    async with open_server() as server, open_client(server.url, user_id="tom") as tom:
        assert server.url == f"ws://127.0.0.1:{server.port}"
        connected = tom.events(Connected)
        assert (await tom.send(TextMessage("hello"))).message == "hello"
        assert await anext(connected) == Connected()
        server.drop_connections()
        assert await anext(connected) == Connected()
        assert (await tom.send(TextMessage("again"))).message == "again"
