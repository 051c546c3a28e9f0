"""The token of a session: renewed ahead of its end, after a refusal, and for storage users."""

from __future__ import annotations

import pytest
import trio

from tests.io.scripted_server import in_background
from trio_realtime import (
    CommandError,
    LoginError,
    Reconnected,
    Signature,
    open_client,
)
from trio_realtime.server import App, Enforcement
from trio_realtime.testing import open_server
from trio_realtime.wire import (
    CommandType,
    ErrorCommand,
    GenericCommand,
    OpType,
    SessionCommand,
)


async def later(link):
    """The next command, however long it takes; heartbeats are answered."""
    while (command := await link.receive_any()).cmd == CommandType.ECHO:
        await link.send(GenericCommand(cmd=CommandType.ECHO, i=command.i))
    return command


async def renew(link, command, token, ttl):
    assert (command.cmd, command.op) == (CommandType.SESSION, OpType.REFRESH)
    await link.send(
        GenericCommand(
            cmd=CommandType.SESSION,
            op=OpType.REFRESHED,
            i=command.i,
            session_message=SessionCommand(st=token, st_ttl=ttl),
        )
    )


@pytest.mark.parametrize(("ttl", "after"), [(3600, 3300), (400, 200)])
async def test_a_token_is_renewed_before_its_end(ttl, after, scripted, autojump_clock):
    async def server():
        link = await scripted.log_in(token="first", ttl=ttl)
        began = trio.current_time()
        command = await later(link)
        assert trio.current_time() - began == pytest.approx(after)
        assert command.session_message.st == "first"
        assert command.session_message.s is None
        await renew(link, command, "second", ttl)
        began = trio.current_time()
        command = await later(link)
        assert trio.current_time() - began == pytest.approx(after)
        assert command.session_message.st == "second"
        await renew(link, command, "third", ttl)
        await link.abort()
        link = await scripted.log_in()
        assert link.login.session_message.st == "third"
        await link.serve_goodbye()

    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        await anext(tom.events(Reconnected))


async def test_a_renewal_is_signed_and_tried_again_when_that_fails(scripted, autojump_clock):
    asked = []

    async def sign_login(client_id):
        asked.append(client_id)
        if len(asked) == 2:
            raise OSError("the signing service is down")
        return Signature(f"s{len(asked)}", len(asked), "n")

    async def server():
        link = await scripted.log_in(ttl=3600)
        assert link.login.session_message.s == "s1"
        began = trio.current_time()
        command = await later(link)
        assert trio.current_time() - began == pytest.approx(3360)
        assert command.session_message.s == "s3"
        await renew(link, command, "new", 3600)
        renewed.set()
        await link.serve_goodbye()

    renewed = trio.Event()
    async with (
        in_background(server),
        open_client("Tom", sign_login=sign_login, **scripted.options),
    ):
        await renewed.wait()
    assert asked == ["Tom"] * 3


async def test_a_refused_renewal_leaves_the_client_alone(scripted, autojump_clock):
    async def server():
        link = await scripted.log_in(ttl=3600)
        command = await later(link)
        await link.send(
            GenericCommand(
                cmd=CommandType.ERROR,
                i=command.i,
                error_message=ErrorCommand(code=4102, reason="SIGNATURE_FAILED"),
            )
        )
        await renew(link, await later(link), "new", 3600)
        renewed.set()
        await link.serve_goodbye()

    renewed = trio.Event()
    async with in_background(server), open_client("Tom", **scripted.options) as tom:
        await renewed.wait()
        assert tom.state.name == "CONNECTED"


def options(server):
    return {
        "app_id": server.app_id,
        "app_key": server.app_key,
        "server": server.url,
        "open_stream": server.open_stream,
    }


async def test_a_token_the_rest_api_calls_expired_is_renewed(autojump_clock):
    async with (
        open_server(memory=True) as server,
        open_client("Tom", **options(server)) as tom,
    ):
        chat = await tom.create_conversation(["Jerry"])
        first = tom._session.login.token
        # The server forgets it: a refused token is exchanged, and the request repeated.
        tom._session.login.token = "no token of this server"
        assert await tom.get_member_infos(chat) is not None
        assert tom._session.login.token not in {first, "no token of this server"}


async def lookup(_app, session_token):
    return {"tom's token": "57a1c8f3"}.get(session_token)


def strict():
    return App("app", "key", "master", enforce=Enforcement(login=True))


async def test_a_storage_user_logs_in_with_a_session_token(autojump_clock):
    async with open_server(memory=True, apps=[strict()], user_lookup=lookup) as server:
        async with open_client(user_session_token="tom's token", **options(server)) as tom:
            assert tom.client_id == "57a1c8f3"
        async with open_client(
            "57a1c8f3", user_session_token="tom's token", **options(server)
        ) as tom:
            assert await tom.online(["57a1c8f3"]) == ["57a1c8f3"]


async def test_nobody_logs_in_with_the_token_of_another_user(autojump_clock):
    async with open_server(memory=True, apps=[strict()], user_lookup=lookup) as server:
        with pytest.raises(LoginError):
            async with open_client("Jerry", user_session_token="tom's token", **options(server)):
                pass
        with pytest.raises(CommandError, match="user"):
            async with open_client(user_session_token="nonsense", **options(server)):
                pass
