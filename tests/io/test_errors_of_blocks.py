"""What leaves a block of ours: what the body raised, untouched, or one error of the background."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from unittest import mock

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.io.scripted_server import ScriptedServer, push
from trio_realtime import ConnectFailed, ConnectionLost, awesome, open_client, open_connection
from trio_realtime._io import connection as connection_module
from trio_realtime._io.reconnect import LinkKeeper
from trio_realtime.awesome import _server as awesome_server
from trio_realtime.server import App, ServerConfig
from trio_realtime.server import open_server as open_real_server
from trio_realtime.testing import open_server


@attrs.define
class Bombs:
    """Errors that go off at the same moment, each in its place."""

    errors: dict[str, BaseException]
    moment: trio.Event = attrs.field(factory=trio.Event)

    async def wait(self, place):
        await self.moment.wait()
        if place in self.errors:
            raise self.errors[place]
        await trio.sleep_forever()


@asynccontextmanager
async def a_client(bombs, *, shared=False):
    scripted = ScriptedServer()

    async def server():
        link = await scripted.log_in()
        await bombs.moment.wait()
        if "reader" in bombs.errors:
            await link.send(push())
        await link.serve_goodbye()

    async def wait_for_end(keeper, transport):
        await bombs.wait("link")

    async def heartbeat(connection):
        await bombs.wait("heartbeat")

    def receive(connection, payload):
        command = connection._dialect.decode(payload)
        if command.i:
            connection.serials.reply(command)
        else:
            raise bombs.errors["reader"]

    one = connection_module.ClientConnection
    with (
        mock.patch.object(LinkKeeper, "_wait_for_end", wait_for_end),
        mock.patch.object(one, "_heartbeat", heartbeat),
        mock.patch.object(one, "_receive", receive),
    ):
        # Not in a nursery, through which everything would pass.
        trio.lowlevel.spawn_system_task(server)
        if shared:
            async with open_connection(**scripted.options) as connection:
                connection._connection.link.start_soon(bombs.wait, "session")
                async with connection.open_client("Tom"):
                    yield
        else:
            async with open_client("Tom", **scripted.options) as tom:
                tom._session.connection.link.start_soon(bombs.wait, "session")
                yield


@asynccontextmanager
async def a_shared_connection(bombs):
    async with a_client(bombs, shared=True):
        yield


@asynccontextmanager
async def a_client_of_awesome(bombs):
    async def wait_for_end(keeper, transport):
        await bombs.wait("link")

    with mock.patch.object(LinkKeeper, "_wait_for_end", wait_for_end):
        async with (
            awesome.open_server() as server,
            awesome.open_client(server.url, user_id="Tom") as tom,
        ):
            tom._channel.link.start_soon(bombs.wait, "session")
            yield


@asynccontextmanager
async def a_server_of_awesome(bombs):
    listen = awesome_server._listen

    async def failing(*args, task_status):
        async with trio.open_nursery() as nursery:
            task_status.started(await nursery.start(listen, *args))
            nursery.start_soon(bombs.wait, "link")
            nursery.start_soon(bombs.wait, "session")

    with mock.patch.object(awesome_server, "_listen", failing):
        async with awesome.open_server():
            yield


@asynccontextmanager
async def a_server(bombs):
    config = ServerConfig(apps=[App("app", "key", "master")], data=None, port=0)
    async with open_real_server(config, listen=False) as server:
        server._nursery.start_soon(bombs.wait, "link")
        server._nursery.start_soon(bombs.wait, "session")
        yield


@asynccontextmanager
async def a_server_for_tests(bombs):
    async with open_server(memory=True) as local:
        local._nursery.start_soon(bombs.wait, "link")
        local.server._nursery.start_soon(bombs.wait, "session")
        yield


BLOCKS = [
    a_client,
    a_shared_connection,
    a_client_of_awesome,
    a_server_of_awesome,
    a_server,
    a_server_for_tests,
]

WHAT = [
    lambda: ValueError("a bug"),
    KeyboardInterrupt,
    lambda: SystemExit(3),
    lambda: ConnectionLost(1006, "typed"),
    lambda: ExceptionGroup("of the user", [ValueError("in it")]),
    lambda: ExceptionGroup("outer", [ExceptionGroup("inner", [KeyError(1), OSError(2)])]),
    lambda: BaseExceptionGroup("of the user", [KeyboardInterrupt()]),
    lambda: StopAsyncIteration("odd"),
    lambda: GeneratorExit("odder"),
]
SINGLE = WHAT[:4]


def marked(make):
    """An error with everything by which one can see that it was touched."""
    error = make()
    error.add_note("a note")
    error.__context__ = KeyError("its context")
    error.__cause__ = OSError("its cause")
    return error


def seen_of(error):
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else None
    return (error.__notes__, error.__context__, error.__cause__, inner)


def raised_by(bombs, block, body):
    """What leaves the block."""

    async def main():
        try:
            async with block(bombs):
                await body()
        except BaseException as error:  # noqa: BLE001 - this is about all of them
            return error
        return None

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


class Bystanders(logging.Handler):
    """Collects the errors that were logged because another was raised."""

    def __init__(self):
        super().__init__()
        self.errors = []

    def emit(self, record):
        if record.exc_info:
            self.errors.append(record.exc_info[1])


@pytest.fixture(scope="module")
def log():
    handler = Bystanders()
    logger = logging.getLogger("trio_realtime")
    logger.addHandler(handler)
    logger.propagate = False
    yield handler
    logger.propagate = True
    logger.removeHandler(handler)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.__name__)
@settings(max_examples=50)
@given(data=st.data())
def test_one_error_leaves_and_that_of_the_body_untouched(block, log, data):
    errors = data.draw(
        st.fixed_dictionaries(
            {},
            optional={
                "link": st.sampled_from(SINGLE).map(marked),
                "heartbeat": st.sampled_from(SINGLE).map(marked),
                "session": st.sampled_from(SINGLE).map(marked),
                # What else goes wrong with a frame is logged, and the reader goes on.
                "reader": st.just(KeyboardInterrupt).map(marked),
            },
        )
    )
    if block in {a_client_of_awesome, a_server_of_awesome, a_server, a_server_for_tests}:
        errors = {place: errors[place] for place in ("link", "session") if place in errors}
    own = data.draw(st.one_of(st.none(), st.sampled_from(WHAT).map(marked)))
    how = data.draw(st.sampled_from(["awaits", "awaits in tasks"])) if own is None else "raises"
    if own is None and not errors:
        return
    before = {id(error): seen_of(error) for error in (*errors.values(), *filter(None, [own]))}
    bombs = Bombs(errors)
    del log.errors[:]

    async def body():
        await trio.testing.wait_all_tasks_blocked()
        bombs.moment.set()
        if own is not None:
            raise own
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            if how == "awaits":
                nursery.cancel_scope.cancel()
        await trio.sleep_forever()

    raised = raised_by(bombs, block, body)
    final = [error for error in errors.values() if not isinstance(error, Exception)]
    # The reader may not have come so far.
    certain = [errors[place] for place in errors if place != "reader" and errors[place] in final]
    possible = list(errors.values()) if own is None else [own, *final]
    assert any(raised is error for error in (final if certain else possible))
    assert raised is own or not isinstance(raised, BaseExceptionGroup)
    assert seen_of(raised) == before[id(raised)]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.__name__)
@pytest.mark.parametrize("make", WHAT)
def test_a_context_that_is_not_there_is_not_made_up(block, make):
    error = make()

    async def body():
        raise error

    assert raised_by(Bombs({}), block, body) is error
    assert error.__context__ is None
    assert error.__cause__ is None
    assert not hasattr(error, "__notes__")


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.__name__)
def test_cancellation_stays_cancellation(block):
    async def body():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)

    async def main():
        with trio.move_on_after(1) as scope:
            async with block(Bombs({})):
                await body()
        assert scope.cancelled_caught
        with trio.CancelScope() as scope:
            async with block(Bombs({})):
                scope.cancel()
                await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.__name__)
def test_what_the_body_raises_of_being_cancelled_comes_without_the_cancellation(block):
    async def cleanup_that_fails():
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in the cleanup")

    async def body():
        await trio.testing.wait_all_tasks_blocked()
        bombs.moment.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cleanup_that_fails)
            nursery.start_soon(trio.sleep_forever)

    bombs = Bombs({"link": KeyError("first")})
    raised = raised_by(bombs, block, body)
    assert isinstance(raised, ExceptionGroup)
    assert [str(error) for error in raised.exceptions] == ["in the cleanup"]


def test_an_attempt_to_connect_that_is_interrupted_is_interrupted():
    async def open_stream(host, port):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise KeyboardInterrupt

    async def main():
        with pytest.raises(KeyboardInterrupt):
            async with open_client(
                "Tom",
                app_id="app",
                app_key="key",
                rtm_servers=["ws://x.test/"],
                open_stream=open_stream,
            ):
                pytest.fail("must not be entered")

    trio.run(main)


def test_a_first_attempt_that_fails_is_one_error():
    async def main():
        scripted = ScriptedServer()
        scripted.refusing = True
        with pytest.raises(ConnectFailed):
            async with open_client("Tom", **scripted.options):
                pytest.fail("must not be entered")

    trio.run(main)
