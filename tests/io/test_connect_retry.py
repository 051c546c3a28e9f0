"""A first connection that is told to wait for its server."""

from __future__ import annotations

import pytest
import trio

from tests.io.scripted_server import in_background, push
from tests.io.test_refusals import refuse
from trio_realtime import (
    CommandError,
    CommandTimeout,
    ConnectFailed,
    LoginError,
    Retry,
    RoutingError,
    open_client,
    open_connection,
)
from trio_realtime.testing import memory_streams, open_server


async def test_without_being_told_nobody_waits(scripted, autojump_clock):
    scripted.refusing = True
    with pytest.raises(ConnectFailed) as caught:
        async with open_client("Tom", **scripted.options):
            pytest.fail("must not be entered")
    assert caught.value.retry is Retry.LATER
    assert len(scripted.hosts) == 1


@pytest.mark.parametrize("connect_retry", [True, 60])
async def test_a_server_that_comes_later_is_waited_for_by_the_schedule(
    connect_retry, scripted, autojump_clock
):
    async def server():
        await trio.sleep(20)
        scripted.refusing = False
        await (await scripted.log_in()).serve_goodbye()

    scripted.refusing = True
    start = trio.current_time()
    async with (
        in_background(server),
        open_client("Tom", **scripted.options, connect_retry=connect_retry) as tom,
    ):
        assert 20 <= trio.current_time() - start <= 32
        assert tom.client_id == "Tom"
    # 1, 2, 4, 8 and 16 seconds, each shortened by up to a fifth.
    assert 5 <= len(scripted.hosts) <= 7


async def test_the_seconds_are_a_bound(scripted, autojump_clock):
    scripted.refusing = True
    start = trio.current_time()
    with pytest.raises(ConnectFailed):
        async with open_connection(**scripted.options, connect_retry=30):
            pytest.fail("must not be entered")
    assert trio.current_time() - start == 30


async def test_the_wait_can_be_cancelled(scripted, autojump_clock):
    scripted.refusing = True
    with trio.move_on_after(100) as scope:
        async with open_client("Tom", **scripted.options, connect_retry=True):
            pytest.fail("must not be entered")
    assert scope.cancelled_caught


@pytest.mark.parametrize("code", [4100, 4103, 4111])
async def test_a_refusal_that_stays_is_raised_at_once(code, scripted, autojump_clock):
    async def server():
        link = await scripted.accept()
        await refuse(link, await link.receive(), code)
        await link.serve_goodbye()

    async with in_background(server):
        with pytest.raises(CommandError) as caught:
            async with open_client("Tom", **scripted.options, connect_retry=True):
                pytest.fail("must not be entered")
        assert caught.value.code == code
    assert len(scripted.hosts) == 1


async def test_a_fatal_close_is_raised_at_once(scripted, autojump_clock):
    async def server():
        link = await scripted.accept()
        await link.receive()
        await link.close(4100, "NO")

    async with in_background(server):
        with pytest.raises(LoginError):
            async with open_client("Tom", **scripted.options, connect_retry=True):
                pytest.fail("must not be entered")


async def test_a_refusal_that_passes_and_links_that_break_are_waited_out(scripted, autojump_clock):
    async def server():
        link = await scripted.accept()
        for _ in range(2):
            await refuse(link, await link.receive(), 4200)
        await link.receive()
        await link.abort()
        await (await scripted.accept()).abort()
        link = await scripted.accept()
        await link.receive()
        await link.close(4108, "LOGIN_TIMEOUT")
        link = await scripted.log_in()
        assert link.login.session_message.r is False
        await link.serve_goodbye()

    async with (
        in_background(server),
        open_client("Tom", **scripted.options, connect_retry=600) as tom,
    ):
        assert tom.state.name == "CONNECTED"
        assert len(scripted.hosts) == 4


@pytest.mark.parametrize("alive", [False, True])
async def test_a_login_that_is_not_answered_is_waited_for(alive, scripted, autojump_clock):
    async def server():
        link = await scripted.accept()
        for _ in range(2):
            await link.receive()
            if not alive:
                link = await scripted.accept()
                continue
            await trio.sleep(10)
            await link.send(push(peer="somebody"))
        await link.welcome()
        await link.serve_goodbye()

    async with (
        in_background(server),
        open_client("Tom", **scripted.options, connect_retry=True) as tom,
    ):
        assert tom.state.name == "CONNECTED"
        # A link on which nothing at all is heard is given up.
        assert len(scripted.hosts) == (1 if alive else 3)


async def test_an_answer_that_does_not_come_in_time_is_said(scripted, autojump_clock):
    async def server():
        async with trio.open_nursery() as nursery:
            while True:
                link = await scripted.accept()
                nursery.start_soon(link.receive_any)

    start = trio.current_time()
    async with in_background(server):
        with pytest.raises(CommandTimeout):
            async with open_client("Tom", **scripted.options, connect_retry=30):
                pytest.fail("must not be entered")
    # No attempt is begun after the thirty seconds.
    assert 30 <= trio.current_time() - start <= 50


async def test_a_refusal_that_does_not_pass_in_time_is_raised(scripted, autojump_clock):
    async def server():
        link = await scripted.accept()
        while (command := await link.receive()) is not None:
            await refuse(link, command, 4200)

    start = trio.current_time()
    async with in_background(server):
        with pytest.raises(CommandError) as caught:
            async with open_client("Tom", **scripted.options, connect_retry=30):
                pytest.fail("must not be entered")
    assert caught.value.code == 4200
    assert trio.current_time() - start == 30


def options_of(server):
    return {
        "app_id": server.app_id,
        "app_key": server.app_key,
        "server": server.url,
        "open_stream": server.open_stream,
    }


async def test_a_router_that_comes_later_is_waited_for(autojump_clock):
    async with open_server(memory=True) as server, trio.open_nursery() as nursery:
        await server.stop()

        async def start_later():
            await trio.sleep(10)
            await server.start()

        nursery.start_soon(start_later)
        async with open_client("Tom", **options_of(server), connect_retry=True) as tom:
            assert await tom.online(["Tom"]) == ["Tom"]


async def test_an_app_that_the_router_does_not_know_is_no_matter_of_time(autojump_clock):
    async with open_server(memory=True) as server:
        start = trio.current_time()
        with pytest.raises((RoutingError, LoginError)):
            async with open_client(
                "Tom", **(options_of(server) | {"app_id": "unknown"}), connect_retry=True
            ):
                pytest.fail("must not be entered")
        assert trio.current_time() - start < 1


async def test_tls_with_a_server_that_speaks_none_is_no_matter_of_time(autojump_clock):
    async def open_stream(host, port):
        ours, theirs = memory_streams()
        await theirs.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        return ours

    with trio.move_on_after(1) as scope, pytest.raises(ConnectFailed):
        async with open_client(
            "Tom",
            app_id="app",
            app_key="key",
            rtm_servers=["wss://x.test/"],
            open_stream=open_stream,
            connect_retry=True,
        ):
            pytest.fail("must not be entered")
    assert not scope.cancelled_caught


async def test_tls_with_a_router_that_speaks_none_is_no_matter_of_time():
    async with open_server() as server:
        options = {"app_id": server.app_id, "app_key": server.app_key}
        with trio.move_on_after(20) as scope, pytest.raises(RoutingError):
            async with open_client(
                "Tom", **options, server=server.url.replace("http", "https"), connect_retry=True
            ):
                pytest.fail("must not be entered")
        assert not scope.cancelled_caught


@pytest.mark.parametrize("value", ["yes", None, -1, 0, float("nan")])
async def test_what_is_no_time_is_said(value, scripted):
    with pytest.raises((TypeError, ValueError), match="connect_retry"):
        async with open_client("Tom", **scripted.options, connect_retry=value):
            pytest.fail("must not be entered")
