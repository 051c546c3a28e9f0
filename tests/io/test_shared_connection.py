"""Several clients on one connection: they come, fail and go without harming each other."""

from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing

from tests.io.scripted_server import in_background, push
from tests.io.test_cancellation import CancelAtStep
from tests.io.test_ending import kick
from tests.io.test_refusals import refuse
from trio_realtime import (
    ClientAlreadyOpen,
    CommandTimeout,
    Disconnected,
    KickedError,
    Message,
    MessageReceived,
    Reconnected,
    ReconnectFailed,
    ReconnectScheduled,
    TextMessage,
    open_connection,
)
from trio_realtime.testing import open_server
from trio_realtime.wire import CommandType, ErrorCommand, GenericCommand, OpType


def options_of(server):
    return {
        "app_id": server.app_id,
        "app_key": server.app_key,
        "server": server.url,
        "open_stream": server.open_stream,
    }


async def test_an_id_that_is_open_already_is_refused_at_once(autojump_clock):
    async with (
        open_server(memory=True) as server,
        open_connection(**options_of(server)) as connection,
        connection.open_client("Tom") as tom,
    ):
        with pytest.raises(ClientAlreadyOpen, match="'Tom' is open on this connection already"):
            async with connection.open_client("Tom", tag="other"):
                pytest.fail("must not be entered")
        # The first one has noticed nothing.
        async with connection.open_client("Jerry") as jerry:
            chat = await jerry.create_conversation(["Tom"])
            await jerry.send(chat, TextMessage("hi"))
            assert (await anext(tom.events(MessageReceived))).message.text == "hi"
            assert (await tom.send(chat, TextMessage("hello"))).id


async def test_an_id_is_refused_while_its_login_is_under_way_and_free_when_it_has_left(
    scripted, autojump_clock
):
    async def server():
        link = await scripted.accept()
        await trio.sleep(5)
        await link.welcome()
        while (command := await link.receive()) is not None:
            if command.op == OpType.OPEN:
                link.commands.appendleft(command)
                await link.welcome()
            else:
                await link.send(
                    GenericCommand(cmd=CommandType.SESSION, op=OpType.CLOSED, i=command.i)
                )

    async def first():
        async with connection.open_client("Tom"):
            await trio.sleep(1)

    async with in_background(server), open_connection(**scripted.options) as connection:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await trio.sleep(1)
            with pytest.raises(ClientAlreadyOpen):
                async with connection.open_client("Tom"):
                    pytest.fail("must not be entered")
        async with connection.open_client("Tom"):
            pass


@pytest.mark.parametrize("client_id", ["Guest", None])
async def test_a_login_that_is_cancelled_at_any_step_leaves_no_session(client_id, autojump_clock):
    async with (
        open_server(memory=True) as server,
        open_connection(**options_of(server)) as connection,
        connection.open_client("Tom") as tom,
    ):
        await trio.sleep(30)
        sessions = server.stats().sessions

        async def visit():
            async with connection.open_client(client_id):
                pass

        steps, finished = 0, False
        while not finished:
            steps += 1
            with trio.CancelScope() as scope:
                instrument = CancelAtStep(trio.lowlevel.current_task(), steps, scope)
                trio.lowlevel.add_instrument(instrument)
                try:
                    await visit()
                    finished = True
                finally:
                    trio.lowlevel.remove_instrument(instrument)
            # The very next login of this id is not thrown out by the farewell of this one.
            if client_id is not None:
                async with connection.open_client(client_id) as again:
                    await trio.sleep(10)
                    assert (await again.online([client_id])) == [client_id]
            await trio.sleep(10)
            assert server.stats().sessions == sessions, steps
            assert steps < 100
        assert steps > 2
        assert tom.state.name == "CONNECTED"


async def test_a_login_that_was_cancelled_is_taken_back_without_waiting(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        asked = await link.receive()
        assert (asked.op, asked.peer_id) == (OpType.OPEN, "Guest")
        farewell = await link.receive()
        assert (farewell.op, farewell.peer_id) == (OpType.CLOSE, "Guest")
        done.set()
        await link.serve_goodbye()

    done = trio.Event()
    async with (
        in_background(server),
        open_connection(**scripted.options) as connection,
        connection.open_client("Tom"),
    ):
        start = trio.current_time()
        with trio.move_on_after(5):
            async with connection.open_client("Guest"):
                pytest.fail("must not be entered")
        assert trio.current_time() == start + 5
        await done.wait()


async def test_a_login_that_is_not_answered_in_time_is_taken_back(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.receive()
        assert (await link.receive()).op == OpType.CLOSE
        done.set()
        await link.serve_goodbye()

    done = trio.Event()
    async with (
        in_background(server),
        open_connection(**scripted.options) as connection,
        connection.open_client("Tom"),
    ):
        with pytest.raises(CommandTimeout):
            async with connection.open_client("Guest"):
                pytest.fail("must not be entered")
        await done.wait()


async def log_in_both(link):
    """Answer the logins of two clients that return; they come in any order."""
    for _ in range(2):
        await link.welcome()


@pytest.mark.parametrize("code", [4116, 4200, 429])
async def test_a_passing_refusal_is_the_matter_of_one_client(code, scripted, autojump_clock):
    refused = []

    async def server():
        link = await scripted.log_in()
        await link.welcome()
        await link.abort()
        link = await scripted.accept()
        while (command := await link.receive()) is not None:
            if command.op == OpType.OPEN and command.peer_id == "Tom" and len(refused) < 4:
                refused.append(trio.current_time())
                await refuse(link, command, code)
            elif command.op == OpType.OPEN:
                link.commands.appendleft(command)
                await link.welcome()
                await link.send(push(peer=command.peer_id, mid=command.peer_id, timestamp=9000))
            elif command.op == OpType.CLOSE:
                await link.send(
                    GenericCommand(cmd=CommandType.SESSION, op=OpType.CLOSED, i=command.i)
                )

    async with (
        in_background(server),
        open_connection(**scripted.options) as connection,
        connection.open_client("Tom", catch_up=False) as tom,
        connection.open_client("Jerry", catch_up=False) as jerry,
    ):
        back = tom.events(Reconnected)
        failed = tom.events(ReconnectFailed)
        waits = tom.events(ReconnectScheduled)
        others = jerry.events(Disconnected)
        at_last = tom.events(MessageReceived)
        assert (await anext(jerry.events(MessageReceived))).message.id == "Jerry"
        assert await anext(back) == Reconnected()
        assert (await anext(at_last)).message.id == "Tom"
        assert [(await anext(failed)).error.code for _ in range(4)] == [code] * 4
        assert [(await anext(waits)).attempt for _ in range(5)] == [0, 0, 1, 2, 3]
        assert len(scripted.hosts) == 2, "one break, and no other"
        await anext(others)
        with pytest.raises(trio.WouldBlock):
            others.receive_nowait()
        pauses = [b - a for a, b in itertools.pairwise(refused)]
        assert pauses == sorted(pauses)
        assert pauses[0] >= 0.8


async def test_who_leaves_while_returning_leaves_nothing_and_harms_nobody(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.welcome()
        await link.abort()
        link = await scripted.accept()
        while (command := await link.receive()) is not None:
            told.append((command.op, command.peer_id))
            if command.op == OpType.OPEN and command.peer_id == "Jerry":
                link.commands.appendleft(command)
                await link.welcome()

    told = []
    async with (
        in_background(server),
        open_connection(**scripted.options) as connection,
        connection.open_client("Jerry") as jerry,
    ):
        async with connection.open_client("Tom"):
            await anext(jerry.events(Reconnected))
            await trio.sleep(5)
        await trio.sleep(5)
        assert (OpType.OPEN, "Tom") in told
        assert told[-1] == (OpType.CLOSE, "Tom")
        assert len(scripted.hosts) == 2
        assert connection.state.name == "CONNECTED"


@pytest.mark.parametrize("named", [True, False])
async def test_no_session_in_answer_to_what_has_no_serial_id_is_healed(
    named, scripted, autojump_clock
):
    async def server():
        link = await scripted.log_in()
        await link.send(push())
        while (await link.receive_any()).cmd != CommandType.ACK:
            pass
        await link.send(
            GenericCommand(
                cmd=CommandType.ERROR,
                peer_id="Tom" if named else None,
                error_message=ErrorCommand(code=4105, reason="SESSION_REQUIRED"),
            )
        )
        await link.welcome()
        await link.serve_goodbye()

    async with (
        in_background(server),
        open_connection(**scripted.options) as connection,
        connection.open_client("Tom", catch_up=False) as tom,
    ):
        events = tom.events(MessageReceived, Reconnected)
        assert isinstance(await anext(events), MessageReceived)
        assert await anext(events) == Reconnected()
        assert len(scripted.hosts) == 1


async def test_a_server_that_always_forgets_is_not_asked_all_the_time(scripted, autojump_clock):
    logins = []

    async def server():
        link = await scripted.log_in()
        await link.send(push())
        while (command := await link.receive_any()) is not None:
            if command.cmd == CommandType.ACK:
                await link.send(
                    GenericCommand(
                        cmd=CommandType.ERROR,
                        peer_id="Tom",
                        error_message=ErrorCommand(code=4105, reason="SESSION_REQUIRED"),
                    )
                )
            elif command.op == OpType.OPEN:
                logins.append(trio.current_time())
                link.commands.appendleft(command)
                await link.welcome()
                await link.send(push(mid=str(len(logins)), timestamp=3000 + len(logins)))

    async with (
        in_background(server),
        open_connection(**scripted.options) as connection,
        connection.open_client("Tom", catch_up=False) as tom,
    ):
        events = tom.events(MessageReceived)
        with trio.move_on_after(55):
            async for _ in events:
                pass
    assert 3 <= len(logins) < 9


async def test_a_crowd_that_comes_and_goes_leaves_nothing(autojump_clock):
    async with (
        open_server(memory=True) as server,
        open_connection(**options_of(server)) as connection,
    ):

        async def come_and_go(name, patience):
            for _ in range(5):
                with trio.move_on_after(patience):
                    async with connection.open_client(name) as client:
                        await client.online([name])

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(come_and_go, f"c{number}", number / 1000)
        await trio.sleep(5)
        assert server.stats().sessions == 0


async def return_of_two(scripted):
    """Tom and Jerry log in, the link breaks; the link on which they return."""
    link = await scripted.log_in()
    await link.welcome()
    await link.abort()
    return await scripted.accept()


async def test_a_kick_while_a_client_waits_for_its_turn_ends_it_alone(scripted, autojump_clock):
    async def server():
        link = await return_of_two(scripted)
        while (command := await link.receive()) is not None:
            if command.op == OpType.OPEN and command.peer_id == "Tom":
                await refuse(link, command, 4116)
                await kick(link, "Tom")
            elif command.op == OpType.OPEN:
                link.commands.appendleft(command)
                await link.welcome()

    async with (
        in_background(server),
        open_connection(**scripted.options) as connection,
        connection.open_client("Jerry") as jerry,
    ):
        with pytest.raises(KickedError):
            async with connection.open_client("Tom"):
                await trio.sleep(60)
        await trio.sleep(30)
        assert jerry.error is None
        assert connection.state.name == "CONNECTED"


async def test_a_link_that_breaks_ends_the_wait_and_loses_nothing(scripted, autojump_clock):
    async def server():
        link = await return_of_two(scripted)
        while (command := await link.receive()).peer_id != "Tom":
            link.commands.appendleft(command)
            await link.welcome()
        await refuse(link, command, 4200)
        await link.abort()
        link = await scripted.accept()
        while (command := await link.receive()) is not None:
            if command.op == OpType.OPEN:
                link.commands.appendleft(command)
                await link.welcome()
            elif command.cmd == CommandType.DIRECT:
                received.append(command.direct_message.msg)
                await link.acknowledge(command, "m", 7000)

    received = []
    async with (
        in_background(server),
        open_connection(**scripted.options) as connection,
        connection.open_client("Jerry"),
        connection.open_client("Tom") as tom,
    ):
        await anext(tom.events(Disconnected))
        with trio.fail_after(200):
            await tom.send("c", Message("once"))
        assert received == ["once"]


async def test_retry_ends_the_wait(scripted, autojump_clock):
    refusals = []

    async def server():
        link = await return_of_two(scripted)
        while (command := await link.receive()) is not None:
            if command.op == OpType.OPEN and command.peer_id == "Tom" and len(refusals) < 8:
                refusals.append(command)
                await refuse(link, command, 4116)
            elif command.op == OpType.OPEN:
                link.commands.appendleft(command)
                await link.welcome()

    async with (
        in_background(server),
        open_connection(**scripted.options) as connection,
        connection.open_client("Jerry"),
        connection.open_client("Tom") as tom,
    ):
        events = tom.events(ReconnectScheduled, Reconnected)
        start = trio.current_time()
        while await anext(events) != Reconnected():
            tom.retry()
        assert len(refusals) == 8
        assert trio.current_time() - start < 10
