"""What a refusal does to a client that returns, and to one that is logged in."""

from __future__ import annotations

import pytest
import trio

from tests.io.scripted_server import in_background
from trio_realtime import (
    CommandError,
    ErrorCode,
    Reconnected,
    ReconnectFailed,
    SessionRequired,
    TextMessage,
    open_client,
)
from trio_realtime._engine.refusals import Consequence, consequences
from trio_realtime.wire import (
    AckCommand,
    CommandType,
    ErrorCommand,
    GenericCommand,
)

PASSING = [4105, 4107, 4108, 4116, 4117, 4200, 4201, 429, 503, 4999]
FINAL = [4100, 4102, 4103, 4106, 4110, 4111, 4113, 4115]


async def refuse(link, command, code):
    await link.send(
        GenericCommand(
            cmd=CommandType.ERROR, i=command.i, error_message=ErrorCommand(code=code, reason="NO")
        )
    )


@pytest.mark.parametrize("code", PASSING)
async def test_a_passing_refusal_on_return_is_followed_by_another_attempt(
    code, scripted, autojump_clock
):
    async def server():
        await (await scripted.log_in()).abort()
        for _ in range(2):
            link = await scripted.accept()
            await refuse(link, await link.receive(), code)
            await link.serve_goodbye()
        await (await scripted.log_in()).serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        events = tom.events(Reconnected, ReconnectFailed)
        for _ in range(2):
            failed = await anext(events)
            assert failed.error.code == code
        assert await anext(events) == Reconnected()


@pytest.mark.parametrize("code", FINAL)
async def test_a_final_refusal_on_return_ends_the_client(code, scripted, autojump_clock):
    async def server():
        await (await scripted.log_in()).abort()
        link = await scripted.accept()
        await refuse(link, await link.receive(), code)
        await link.serve_goodbye()

    async with in_background(server):
        with pytest.raises(CommandError) as caught:
            async with open_client("Tom", **scripted.options):
                await trio.sleep_forever()
    assert caught.value.code == code


def no_session(command, form):
    if form == "error":
        return GenericCommand(
            cmd=CommandType.ERROR, i=command.i, error_message=ErrorCommand(code=4105, reason="NO")
        )
    return GenericCommand(
        cmd=CommandType.ACK, i=command.i, ack_message=AckCommand(code=4105, reason="NO")
    )


@pytest.mark.parametrize("form", ["error", "ack"])
async def test_a_session_that_the_server_has_forgotten_is_opened_again(
    form, scripted, autojump_clock
):
    async def server():
        link = await scripted.log_in()
        first, second = [await link.receive() for _ in range(2)]
        await link.send(no_session(first, form))
        await link.send(no_session(second, form))
        returned = await link.welcome()
        assert returned.session_message.r is True
        for command in (first, second):
            again = await link.receive()
            assert again.direct_message == command.direct_message, "in the order of sending"
            await link.acknowledge(again, again.direct_message.msg, 5000)
        await link.serve_goodbye()

    sent = []

    async def send(text):
        sent.append((await tom.send("c", TextMessage(text))).id)

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        events = tom.events(Reconnected)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, "one")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(send, "two")
        assert len(set(sent)) == 2
        assert len(scripted.hosts) == 1, "the other clients of the connection notice nothing"
        assert await anext(events) == Reconnected()


async def test_what_may_not_be_repeated_fails_but_the_session_is_opened_again(
    scripted, autojump_clock
):
    async def server():
        link = await scripted.log_in()
        await refuse(link, await link.receive(), 4105)
        await link.welcome()
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        with pytest.raises(SessionRequired):
            await tom.send("c", TextMessage("now or never"), retry=False)
        assert await anext(tom.events(Reconnected)) == Reconnected()


async def test_a_session_that_is_always_forgotten_is_an_error_of_the_command(
    scripted, autojump_clock
):
    async def server():
        link = await scripted.log_in()
        await refuse(link, await link.receive(), 4105)
        await link.welcome()
        await refuse(link, await link.receive(), 4105)
        await link.welcome()
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        back = tom.events(Reconnected)
        with pytest.raises(SessionRequired):
            await tom.send("c", TextMessage("hi"))
        assert [await anext(back) for _ in range(2)] == [Reconnected()] * 2


@pytest.mark.parametrize("code", ErrorCode)
def test_what_is_said_to_pass_never_ends_a_client(code):
    row = consequences(code)
    if code.retry.name in {"LATER", "RECONNECT"}:
        assert row.on_return is Consequence.RECONNECT
        assert row.on_close is Consequence.RECONNECT
    assert consequences(int(code)) == row


def test_a_code_that_nobody_knows_is_taken_for_a_passing_one():
    assert consequences(12345) == consequences(ErrorCode.INTERNAL_ERROR)
