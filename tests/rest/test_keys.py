"""Nothing of the operator's without the master key, whatever the route."""

from __future__ import annotations

import json

import pytest
import trio

from tests.rest.world import backend, rest_of
from tests.server.gateway.world import PATIENCE, world
from trio_realtime.rest import Unauthorized
from trio_realtime.server.server import OPERATOR_ENDPOINTS

# What the app key opens as well, for who may: docs/protocol/rest.md §2, §7 and §8.
WITH_APP_KEY = {
    ("GET", "/1.2/rtm/clients/{client}/unread-count"),
    ("GET", "/1.1/rtm/messages/unread/{client}"),
    ("GET", "/1.1/rtm/messages/unread/{client}/{conversation}"),
    ("GET", "/1.1/classes/_ConversationMemberInfo"),
    ("GET", "/1.1/rtm/transient_group/onlines"),
    # Devices save themselves: docs/protocol/push.md §2.
    *(
        line
        for path in ("/1.1/installations", "/1.1/classes/_Installation")
        for line in (("POST", path), ("GET", f"{path}/{{id}}"), ("PUT", f"{path}/{{id}}"))
    ),
}


class Routes(list):
    def add(self, method, path, _endpoint, **_options):
        self.append((method, path))


def routes():
    found = Routes()
    for endpoints in OPERATOR_ENDPOINTS:
        endpoints(None).routes(found)
    return found


async def asked(server, method, path, key):
    path = path.replace("{", "").replace("}", "")
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n"
        f"X-LC-Id: {server.app_id}\r\nX-LC-Key: {key}\r\n\r\n[]"
    )
    stream = await server.connect()
    await stream.send_all(head.encode())
    answer = b""
    with trio.fail_after(PATIENCE):
        while data := await stream.receive_some():
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


async def test_every_route_asks_for_the_master_key_first(clock):
    async with world() as server:
        for method, path in routes():
            keys = [f"{server.app_key},master", server.master_key, "", "x,master"]
            if (method, path) not in WITH_APP_KEY:
                keys.append(server.app_key)
            for key in keys:
                assert (await asked(server, method, path, key))[0] == 401, (method, path)


async def test_no_route_fails_on_a_body_that_is_no_object(clock):
    async with world() as server:
        for method, path in routes():
            status, body = await asked(server, method, path, f"{server.master_key},master")
            assert status < 500, (method, path, body)
            assert status < 400 or {"code", "error"} <= body.keys()


async def test_a_wrong_key_is_said_at_once(clock):
    async with world() as server:
        for key in ("wrong", server.app_key):
            async with rest_of(server, master_key=key) as rest:
                before = trio.current_time()
                with pytest.raises(Unauthorized) as refused:
                    await rest.count()
                assert trio.current_time() == before
                assert key not in str(refused.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"app_id": ""},
        {"master_key": ""},
        {"master_key": "a\nb"},
        {"master_key": "geheim\u00e4"},
        {"server": "im.example.com"},
        {"server": "ws://im.example.com"},
        {"server": "https://im.example.com?x=1"},
        {"server": "https://me:secret@im.example.com"},
    ],
)
async def test_what_cannot_be_meant_is_said(wrong):
    from trio_realtime.rest import open_rest

    given = {"app_id": "app", "master_key": "key", "server": "http://x", **wrong}
    with pytest.raises(ValueError, match=next(iter(wrong))) as error:
        async with open_rest(**given):
            pass
    assert "geheim" not in str(error.value)


async def test_the_key_is_shown_nowhere(clock):
    async with backend() as (server, rest):
        assert server.master_key not in repr(rest) + str(vars(rest))
