"""The connection of a client: schedule, wishes, fatal ends. Time is virtual."""

from __future__ import annotations

from contextlib import AsyncExitStack
from itertools import pairwise

import pytest
import trio

from tests.io.scripted_server import in_background, push
from trio_realtime import (
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    Disconnected,
    LinkState,
    LoginError,
    MessageReceived,
    Offline,
    Online,
    Reconnected,
    Reconnecting,
    ReconnectScheduled,
    RoutingError,
    SessionClosed,
    SessionConflict,
    SessionConflictError,
    TextMessage,
    open_client,
    open_connection,
)
from trio_realtime.testing import open_server
from trio_realtime.wire import (
    CommandType,
    ErrorCommand,
    GenericCommand,
    OpType,
    SessionCommand,
)


def options_of(server):
    return {
        "app_id": server.app_id,
        "app_key": server.app_key,
        "server": server.url,
        "open_stream": server.open_stream,
    }


def client_of(server, name, **options):
    return open_client(name, **options_of(server), **options)


async def take(events, count):
    return [await anext(events) for _ in range(count)]


async def test_login_and_logout_are_spoken_as_the_protocol_says(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        command = link.login
        assert command.app_id == "app"
        assert command.peer_id == "Tom"
        assert command.session_message.r is False
        assert command.session_message.config_bitmap == 187
        goodbye = await link.receive()
        assert (goodbye.cmd, goodbye.op, goodbye.peer_id) == (
            CommandType.SESSION,
            OpType.CLOSE,
            "Tom",
        )
        await link.abort()
        done.set()

    done = trio.Event()
    async with in_background(server):
        async with open_client("Tom", **scripted.options) as tom:
            assert tom.client_id == "Tom"
            assert tom.state is LinkState.CONNECTED
        await done.wait()


async def test_an_id_invented_by_the_server_is_taken_over(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        command = link.login
        assert command.peer_id is None
        await link.send(push(peer="invented"))
        await link.serve_goodbye()

    async with in_background(server), open_client(**scripted.options) as me:
        assert me.client_id == "invented"
        event = await anext(me.events(MessageReceived))
        assert event.conversation_id == "c"


@pytest.mark.parametrize("code", [4100, 4103])
async def test_a_refused_login_is_a_login_error(scripted, autojump_clock, code):
    async def server():
        link = await scripted.accept()
        command = await link.receive()
        await link.send(
            GenericCommand(
                cmd=CommandType.ERROR,
                i=command.i,
                error_message=ErrorCommand(code=code, reason="NO"),
            )
        )
        await link.close(code, "NO")

    async with in_background(server):
        with pytest.raises(LoginError) as caught:
            async with open_client("Tom", **scripted.options):
                pytest.fail("must not be entered")
        assert caught.value.code == code


async def test_a_fatal_close_code_instead_of_an_answer_is_a_login_error(scripted, autojump_clock):
    async def server():
        link = await scripted.accept()
        await link.receive()
        await link.close(4100, "APP_NOT_AVAILABLE")

    async with in_background(server):
        with pytest.raises(LoginError):
            async with open_client("Tom", **scripted.options):
                pytest.fail("must not be entered")


async def test_a_first_attempt_that_fails_is_not_repeated(scripted, autojump_clock):
    scripted.refusing = True
    with pytest.raises(ConnectFailed):
        async with open_client("Tom", **scripted.options):
            pytest.fail("must not be entered")
    assert len(scripted.hosts) == 1


async def test_without_a_server_the_error_says_what_is_missing(autojump_clock):
    with pytest.raises(ValueError, match="server is required"):
        async with open_client("Tom", app_id="app", app_key="key"):
            pytest.fail("must not be entered")


async def test_an_app_the_router_does_not_know_is_a_routing_error(autojump_clock):
    async with open_server(memory=True) as server:
        with pytest.raises(RoutingError):
            async with open_client(
                "Tom",
                app_id="nobody",
                app_key="key",
                server=server.url,
                open_stream=server.open_stream,
            ):
                pytest.fail("must not be entered")


async def test_a_broken_link_is_restored_with_the_token_and_says_so(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in(token="secret")
        await link.abort()
        link = await scripted.log_in()
        command = link.login
        assert command.session_message.r is True
        assert command.session_message.st == "secret"
        assert command.session_message.device_id is None
        assert command.session_message.last_patch_time == 1000
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        lost, scheduled, trying, back = await take(tom.events(), 4)
        assert isinstance(lost, Disconnected)
        assert isinstance(lost.error, ConnectionLost)
        assert scheduled.attempt == 0
        assert 0.8 <= scheduled.delay <= 1.0
        assert trying == Reconnecting(0)
        assert back == Reconnected()


async def test_delays_double_while_nobody_answers(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        scripted.refusing = True
        await link.abort()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        events = tom.events(ReconnectScheduled)
        schedule = await take(events, 11)
        assert [event.attempt for event in schedule] == list(range(11))
        for event in schedule:
            full = min(2.0**event.attempt, 300)
            assert 0.8 * full <= event.delay <= full


async def test_retry_skips_the_wait_and_starts_the_schedule_over(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        scripted.refusing = True
        await link.abort()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        schedule = tom.events(ReconnectScheduled)
        while (await anext(schedule)).attempt < 6:
            pass
        before = trio.current_time()
        tom.retry()
        again = await anext(schedule)
        assert (again.attempt, again.delay) == (0, 0.0)
        assert (await anext(schedule)).attempt == 1
        assert trio.current_time() == before


async def test_pause_and_resume_follow_the_order_of_the_original(scripted, autojump_clock):
    async def server():
        for _ in range(2):
            link = await scripted.log_in()
            await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        events = tom.events()
        tom.pause()
        tom.pause()
        assert tom.state is LinkState.OFFLINE
        await trio.sleep(3600)
        assert len(scripted.hosts) == 1, "nothing is attempted while paused"
        tom.retry()
        tom.resume()
        tom.resume()
        kinds = [type(event) for event in await take(events, 6)]
        assert kinds == [
            Disconnected,
            Offline,
            Online,
            ReconnectScheduled,
            Reconnecting,
            Reconnected,
        ]


async def test_pausing_during_an_attempt_stops_it(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.abort()
        await scripted.accept()  # never answers the handshake
        attempting.set()
        link = await scripted.log_in()
        await link.serve_goodbye()

    attempting = trio.Event()
    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        events = tom.events(Offline, Reconnected)
        await attempting.wait()
        tom.pause()
        assert tom.state is LinkState.OFFLINE
        tom.resume()
        assert await take(events, 2) == [Offline(), Reconnected()]


async def test_endpoints_take_turns(scripted, autojump_clock):
    async def server():
        for _ in range(4):
            link = await scripted.log_in()
            await link.abort()
        link = await scripted.log_in()
        await link.serve_goodbye()

    options = scripted.options | {"rtm_servers": ["ws://a.test/", "ws://b.test/"]}
    async with in_background(server), open_client("Tom", **options) as tom:
        back = tom.events(Reconnected)
        await take(back, 4)
    assert len(set(scripted.hosts)) == 2
    assert all(one != other for one, other in pairwise(scripted.hosts))


async def test_the_next_endpoint_is_tried_at_once_when_one_refuses(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.serve_goodbye()

    refused = []

    async def open_stream(host, port):
        if not refused:
            refused.append(host)
            raise ConnectionRefusedError(host)
        return await scripted.open_stream(host, port)

    options = scripted.options | {
        "rtm_servers": ["ws://a.test/", "ws://b.test/"],
        "open_stream": open_stream,
    }
    start = trio.current_time()
    async with in_background(server), open_client("Tom", **options):
        assert trio.current_time() == start
        assert {*refused, *scripted.hosts} == {"a.test", "b.test"}


async def test_goaway_leads_to_a_reconnection(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.send(GenericCommand(cmd=CommandType.GOAWAY))
        link = await scripted.log_in()
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        assert await anext(tom.events(Reconnected)) == Reconnected()


async def test_a_heartbeat_leaves_every_three_minutes(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        while (command := await link.receive_any()) is not None:
            if command.cmd == CommandType.ECHO:
                beats.append(trio.current_time() - start)
                await link.send(GenericCommand(cmd=CommandType.ECHO, i=command.i))

    beats = []
    start = trio.current_time()
    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        await trio.sleep(1000)
        assert tom.state is LinkState.CONNECTED
        assert beats == [180, 360, 540, 720, 900]


async def test_a_silent_link_is_given_up_after_380_seconds(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.serve_goodbye)
            link = await scripted.log_in()
            await link.serve_goodbye()

    start = trio.current_time()
    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        lost = await anext(tom.events(Disconnected))
        assert 380 <= trio.current_time() - start <= 383
        assert "380 seconds" in str(lost.error)


@pytest.mark.parametrize("transport", ["trio-websocket", "websockets"])
async def test_a_peer_that_stops_reading_is_given_up_whatever_is_queued(
    transport, scripted, autojump_clock
):
    async def server():
        _stalled = await scripted.log_in()
        link = await scripted.log_in()
        while (command := await link.receive()) is not None:
            if command.cmd == CommandType.DIRECT:
                await link.acknowledge(command, f"m{command.i}", command.i)

    options = scripted.options | {"transport": transport}
    start = trio.current_time()
    async with in_background(server), open_client("Tom", **options) as tom:
        events = tom.events(Disconnected, Reconnected)
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(tom.send, "c", TextMessage("x" * 4000))
            with trio.fail_after(3600):
                assert isinstance(await anext(events), Disconnected)
            assert 380 <= trio.current_time() - start <= 383
            assert await anext(events) == Reconnected()


async def test_a_conflict_ends_loops_operations_and_the_client_with_one_error(
    scripted, autojump_clock
):
    async def server():
        link = await scripted.log_in()
        await link.receive()
        await link.send(
            GenericCommand(
                cmd=CommandType.SESSION,
                op=OpType.CLOSED,
                peer_id="Tom",
                session_message=SessionCommand(code=4111, reason="SESSION_CONFLICT"),
            )
        )
        await link.serve_goodbye()

    errors = []

    async def ask(tom):
        with pytest.raises(SessionConflictError) as caught:
            await tom.send("c", TextMessage("hi"))
        errors.append(caught.value)

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        events = tom.events()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, tom)
        assert await anext(events) == SessionConflict("SESSION_CONFLICT")
        with pytest.raises(SessionConflictError) as caught:
            await anext(events)
        errors.append(caught.value)
        with pytest.raises(SessionConflictError) as caught:
            await tom.online(["Jerry"])
        errors.append(caught.value)
        assert len({id(error) for error in errors}) == 1


async def test_an_end_that_nobody_would_notice_cancels_the_body_and_is_raised(autojump_clock):
    async with open_server(memory=True) as server:
        with pytest.raises(SessionConflictError):  # noqa: PT012 - the block is what raises
            async with client_of(server, "Tom", tag="phone"):
                async with client_of(server, "Tom", tag="phone"):
                    pass
                await trio.sleep_forever()


async def test_a_kick_that_a_loop_has_seen_is_not_raised_again(autojump_clock):
    async with open_server(memory=True) as server, client_of(server, "Tom") as tom:
        events = tom.events()
        await server.kick("Tom", "enough")
        closed = await anext(events)
        assert isinstance(closed, SessionClosed)
        with pytest.raises(type(closed.error)):
            await anext(events)


async def test_an_error_of_the_body_is_raised_as_it_is(autojump_clock):
    async with open_server(memory=True) as server:
        error = RuntimeError("mine")
        with pytest.raises(RuntimeError) as caught:
            async with client_of(server, "Tom"):
                raise error
        assert caught.value is error


async def test_loops_end_and_operations_fail_when_the_client_is_left(autojump_clock):
    async with open_server(memory=True) as server:
        async with client_of(server, "Tom") as tom:
            events = tom.events()
        assert [event async for event in events] == []
        with pytest.raises(ClientClosed):
            await tom.online(["Jerry"])


async def test_close_logs_out_before_the_block_ends(autojump_clock):
    async with (
        open_server(memory=True) as server,
        client_of(server, "Tom") as tom,
        client_of(server, "Jerry") as jerry,
    ):
        assert await tom.online(["Jerry", "Mary"]) == ["Jerry"]
        await jerry.close()
        assert await tom.online(["Jerry"]) == []


async def test_cancelling_the_body_leaves_promptly(scripted, autojump_clock):
    async def server():
        _link = await scripted.log_in()
        await trio.sleep_forever()  # answers nothing any more

    start = trio.current_time()
    async with in_background(server):
        with trio.move_on_after(10) as scope:
            async with open_client("Tom", **scripted.options):
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert trio.current_time() - start <= 10 + 1 + 2


async def test_many_clients_share_one_connection(autojump_clock):
    async with open_server(memory=True) as server:
        async with (
            open_connection(**options_of(server)) as connection,
            connection.open_client("Tom") as tom,
            connection.open_client("Jerry") as jerry,
        ):
            assert server.stats().connections == 1
            chat = await tom.create_conversation(["Jerry"])
            toms, jerrys = tom.events(MessageReceived), jerry.events(MessageReceived)
            await tom.send(chat, TextMessage("one"))
            assert (await anext(jerrys)).message.text == "one"
            await jerry.send(chat, TextMessage("two"))
            assert (await anext(toms)).message.text == "two"
            server.drop_connections()
            back = await anext(tom.events(Reconnected))
            assert back == Reconnected()
            await tom.send(chat, TextMessage("three"))
            assert (await anext(jerrys)).message.text == "three"
        with trio.fail_after(5):
            while server.stats().connections:  # noqa: ASYNC110 - no event tells
                await trio.sleep(0.1)


async def test_a_thousand_bots_share_one_socket_also_over_a_break(autojump_clock):
    async with open_server(memory=True) as server, AsyncExitStack() as stack:
        connection = await stack.enter_async_context(open_connection(**options_of(server)))
        bots = [
            await stack.enter_async_context(connection.open_client(f"bot{n}")) for n in range(1000)
        ]
        assert server.stats().connections == 1
        chat = await bots[0].create_conversation([bot.client_id for bot in bots[1:500]])
        inboxes = [bot.events(MessageReceived) for bot in bots[1:500]]
        server.drop_connections()
        await bots[0].send(chat, TextMessage("everybody back?"))
        await trio.sleep(60)
        assert server.stats().connections == 1
        assert server.stats().sessions == 1000
        for inbox in inboxes:
            assert (await anext(inbox)).message.text == "everybody back?"
        assert await bots[999].online(["bot500"]) == ["bot500"]
