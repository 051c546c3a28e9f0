"""What ends a client is told to somebody: a loop, an operation of the user, or the block."""

from __future__ import annotations

import pytest
import trio

from tests.io.scripted_server import in_background, push
from trio_realtime import (
    KickedError,
    LinkState,
    MessageReceived,
    RealtimeError,
    SessionClosed,
    TextMessage,
    open_client,
    open_connection,
)
from trio_realtime.wire import CommandType, GenericCommand, OpType, SessionCommand


async def kick(link, client_id="Tom"):
    await link.send(
        GenericCommand(
            cmd=CommandType.SESSION,
            op=OpType.CLOSED,
            peer_id=client_id,
            session_message=SessionCommand(code=4115, reason="enough"),
        )
    )


async def test_an_error_that_only_catch_up_would_hear_ends_the_body(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.send(push())
        await link.abort()
        link = await scripted.log_in(at=3000)
        asked = await link.receive()
        assert asked.cmd == CommandType.LOGS
        await kick(link)
        await link.serve_goodbye()

    start = trio.current_time()
    async with in_background(server):
        with pytest.raises(KickedError):  # noqa: PT012 - the block is what raises
            async with open_client("Tom", **scripted.options) as tom:
                with tom.events(MessageReceived) as events:
                    await anext(events)
                await trio.sleep_forever()
        assert trio.current_time() - start < 10


async def test_an_error_that_only_a_renewal_would_hear_ends_the_body(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in(ttl=100)
        while (command := await link.receive()).op != OpType.REFRESH:
            pass
        assert command.op == OpType.REFRESH
        await kick(link)
        await link.serve_goodbye()

    start = trio.current_time()
    async with in_background(server):
        with pytest.raises(KickedError):
            async with open_client("Tom", **scripted.options):
                await trio.sleep_forever()
        assert trio.current_time() - start < 60


async def test_a_subscription_that_nobody_takes_up_has_heard_nothing(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await kick(link)
        await link.serve_goodbye()

    async with in_background(server):
        with pytest.raises(KickedError) as caught:  # noqa: PT012 - the block is what raises
            async with open_client("Tom", **scripted.options) as tom:
                events = tom.events()
                await trio.sleep(1)
                assert tom.closed
                assert isinstance(tom.error, KickedError)
                assert tom.state is LinkState.FAILED
                with trio.fail_after(60):
                    await trio.sleep_forever()
        assert tom.error is caught.value
        assert isinstance(await anext(events), SessionClosed)


async def test_a_loop_that_is_busy_is_told_when_it_comes_back(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.send(push(mid="1"))
        await link.send(push(mid="2"))
        await trio.sleep(1)
        await kick(link)
        await link.serve_goodbye()

    handled = []
    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        with pytest.raises(KickedError):  # noqa: PT012 - the loop is what raises
            async for event in tom.events():
                await trio.sleep(5)
                handled.append(type(event).__name__)
        assert handled == ["MessageReceived", "MessageReceived", "SessionClosed"]
        # It is known now: nothing else is ended.
        await trio.sleep(100)
    assert isinstance(tom.error, KickedError)


async def test_an_operation_of_the_user_that_waits_is_told(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.receive()
        await kick(link)
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        with pytest.raises(KickedError):
            await tom.send("c", TextMessage("hi"))
        await trio.sleep(100)
        with pytest.raises(KickedError):
            await tom.send("c", TextMessage("hi"))


async def test_an_end_in_the_moment_of_the_login_ends_the_body(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await kick(link)
        await link.serve_goodbye()

    async with in_background(server):
        with pytest.raises(KickedError):
            async with open_client("Tom", **scripted.options):
                await trio.sleep_forever()


async def test_clients_of_one_connection_end_for_themselves(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in()
        await link.welcome()
        await kick(link, "Tom")
        await link.serve_goodbye()

    async with in_background(server), open_connection(**scripted.options) as connection:
        with pytest.raises(KickedError):
            async with connection.open_client("Tom"), connection.open_client("Jerry") as jerry:
                await trio.sleep_forever()
        assert jerry.error is None
        assert jerry.closed
        assert connection.state is LinkState.CONNECTED


async def test_a_client_that_was_left_is_closed_without_an_error(scripted, autojump_clock):
    async def server():
        await (await scripted.log_in()).serve_goodbye()

    async with in_background(server):
        async with open_client("Tom", **scripted.options) as tom:
            assert not tom.closed
            assert tom.error is None
            await tom.close()
            assert tom.closed
        assert tom.error is None
        assert tom.state is LinkState.CLOSED
        with pytest.raises(RealtimeError):
            await tom.online(["Jerry"])
