from __future__ import annotations

import json

import httpx2
import pytest
import trio

from trio_realtime.server import App, UserLookupError, storage_users
from trio_realtime.server.users import KEPT
from trio_realtime.testing import open_server

APP = App("test-app", "test-key", "test-master")
TOM = (200, {"objectId": "Tom"})


class Storage:
    """A storage service; it answers each token as it is told."""

    def __init__(self, answers, *, wait=0.0):
        self.answers = answers
        self.wait = wait
        self.requests = []

    async def __call__(self, request):
        self.requests.append(request)
        await trio.sleep(self.wait)
        answer = self.answers[request.headers["x-lc-session"]]
        if isinstance(answer, Exception):
            raise answer
        status, value = answer
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        return httpx2.Response(status, content=content, headers={"Set-Cookie": "user=Tom"})

    def lookup(self, **options):
        client = httpx2.AsyncClient(transport=httpx2.MockTransport(self))
        return storage_users("https://storage.example.com/1.1/", client, **options)


async def test_the_request_is_as_both_services_read_it():
    storage = Storage({"token": TOM})
    assert await storage.lookup()(APP, "token") == "Tom"
    (request,) = storage.requests
    assert (request.method, str(request.url)) == ("GET", "https://storage.example.com/1.1/users/me")
    expected = {
        "x-lc-id": "test-app",
        "x-lc-key": "test-key",
        "x-lc-session": "token",
        "x-parse-application-id": "test-app",
        "x-parse-rest-api-key": "test-key",
        "x-parse-session-token": "token",
    }
    assert expected.items() <= dict(request.headers).items()


@pytest.mark.parametrize(
    ("status", "code"), [(400, 211), (401, 211), (404, 211), (400, 209), (403, 206), (404, 101)]
)
async def test_nobody_has_the_token(status, code):
    storage = Storage({"token": (status, {"code": code, "error": "no"})})
    assert await storage.lookup()(APP, "token") is None


@pytest.mark.parametrize("token", ["", "a\r\nb", "t\0", "ü", "x" * 2000])
async def test_what_is_no_token_is_not_asked_about(token):
    storage = Storage({})
    assert await storage.lookup()(APP, token) is None
    assert storage.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        (500, {"code": 211}),
        (401, {"code": 401, "error": "Unauthorized."}),
        (429, {"code": 429}),
        (302, b""),
        (200, b"<html>"),
        (200, b"[" * 50_000),
        (200, []),
        (200, {}),
        (200, {"objectId": 1}),
        (200, {"objectId": ""}),
        (200, b'{"objectId": "' + b"x" * 2_000_000 + b'"}'),
        httpx2.ConnectError("token"),
        httpx2.RemoteProtocolError("token"),
    ],
)
async def test_an_answer_that_says_nothing_is_an_error_without_the_token(answer):
    with pytest.raises(UserLookupError) as caught:
        await Storage({"token": answer}).lookup()(APP, "token")
    assert "token" not in str(caught.value)
    assert not caught.value.slow


async def test_a_lookup_has_a_deadline(autojump_clock):
    with pytest.raises(UserLookupError) as caught:
        await Storage({"token": TOM}, wait=10).lookup(timeout=3)(APP, "token")
    assert caught.value.slow
    assert trio.current_time() == 3


async def test_who_was_found_is_remembered_for_a_minute(autojump_clock):
    storage = Storage({"token": TOM, "other": (400, {"code": 211})})
    find = storage.lookup()
    for _ in range(3):
        assert await find(APP, "token") == "Tom"
    assert len(storage.requests) == 1
    # Apps and tokens are told apart.
    await find(App("second", "k", "m"), "token")
    assert len(storage.requests) == 2
    await trio.sleep(61)
    storage.answers["token"] = (400, {"code": 211})
    assert await find(APP, "token") is None
    assert len(storage.requests) == 3
    # Nobody is asked about again: who signs up now is known now.
    storage.answers["token"] = TOM
    assert await find(APP, "token") == "Tom"


async def test_failures_are_not_remembered():
    storage = Storage({"token": (500, {})})
    find = storage.lookup()
    with pytest.raises(UserLookupError):
        await find(APP, "token")
    storage.answers["token"] = TOM
    assert await find(APP, "token") == "Tom"


async def test_the_memory_is_bounded():
    class Anybody(dict):
        def __missing__(self, token):
            return (200, {"objectId": token})

    storage = Storage(Anybody())
    find = storage.lookup()
    users = find.__self__
    for number in range(KEPT):
        users.known[b"%d" % number] = (trio.current_time() + 60, "somebody")
    for number in range(5):
        await find(APP, f"token-{number}")
        assert len(users.known) == KEPT
    assert b"0" not in users.known


async def test_cookies_of_one_user_are_not_sent_for_another():
    storage = Storage({"token": TOM, "other": TOM})
    find = storage.lookup()
    await find(APP, "token")
    await find(APP, "other")
    assert "cookie" not in storage.requests[1].headers


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (TOM, 200, None),
        ((400, {"code": 211}), 401, 211),
        ((500, {}), 502, 1),
        (UserLookupError("no answer", slow=True), 504, 124),
    ],
)
async def test_clients_are_told_as_the_protocol_has_it(answer, status, code, caplog):
    storage = Storage({"secret-token": answer})
    async with open_server(apps=[APP], user_lookup=storage.lookup()) as server:
        async with httpx2.AsyncClient() as client:
            reply = await client.post(
                f"{server.url}/1.1/rtm/sign",
                headers={"X-LC-Id": APP.id, "X-LC-Key": APP.key},
                json={"session_token": "secret-token"},
            )
        assert reply.status_code == status
        assert reply.json().get("code") == code
        assert server.server.metrics.internal_errors_total == 0
    assert ("could not be looked up" in caplog.text) == (status in {502, 504})
    assert "secret-token" not in caplog.text
