"""Installations that an upstream keeps, as long as it does: it may be what pushes."""

from __future__ import annotations

import json

import pytest

from tests.server.upstream_world import exchange, json_of, passing, request, status_of

KEYS = ("X-LC-Id: test-app", "X-LC-Key: test-key")
MASTER = ("X-LC-Id: test-app", "X-LC-Key: test-master,master")
PATH = "/1.1/installations"


class Push:
    """A push service with a table of its own, that can be closed."""

    def __init__(self):
        self.rows = {}
        self.status = None

    async def __call__(self, _backend, stream, head, body):
        status, value = self.status or 404, {"code": 101, "error": "closed"}
        if self.status is None:
            status, value = self.answered(head.method, head.target.decode(), body)
        text = json.dumps(value).encode()
        first = f"HTTP/1.1 {status} Said\r\ncontent-length: {len(text)}\r\n\r\n".encode()
        await stream.send_all(first + text)

    def answered(self, method, target, body):
        object_id = target.removeprefix(PATH).strip("/")
        if method == b"POST":
            object_id = f"theirs-{len(self.rows)}"
            self.rows[object_id] = json.loads(body)
            return 201, {"objectId": object_id, "createdAt": "2026-01-01T00:00:00.000Z"}
        if not object_id:
            return 200, {"results": [{"objectId": name} for name in self.rows]}
        if object_id not in self.rows:
            return 404, {"code": 101, "error": "unknown"}
        if method == b"DELETE":
            del self.rows[object_id]
            return 200, {}
        self.rows[object_id] |= json.loads(body or b"{}")
        return 200, {"objectId": object_id, **self.rows[object_id]}


async def ask(server, method, path, value=None, keys=KEYS):
    body = b"" if value is None else json.dumps(value).encode()
    raw = await exchange(server, request(method, path, *keys, body=body))
    return status_of(raw), json_of(raw)


async def test_what_the_upstream_takes_is_its_own_and_kept_here():
    push = Push()
    async with passing(push) as (server, backend):
        status, made = await ask(server, "POST", PATH, {"deviceToken": "t", "channels": ["a"]})
        assert (status, made["objectId"]) == (201, "theirs-0")
        assert (b"x-lc-key", b"test-key") in backend.fields()
        path = f"{PATH}/theirs-0"
        status, _ = await ask(server, "PUT", path, {"channels": ["b"]})
        assert status == 200
        assert push.rows["theirs-0"] == {"deviceToken": "t", "channels": ["b"]}
        assert (await ask(server, "GET", PATH, keys=MASTER))[1]["results"] == [
            {"objectId": "theirs-0"}
        ]
        # It closes: what it had is here, by its ids.
        push.status = 410
        status, row = await ask(server, "GET", path)
        assert (status, row["deviceToken"], row["channels"]) == (200, "t", ["b"])
        assert row["objectId"] == "theirs-0"
        (found,) = (await ask(server, "GET", PATH, keys=MASTER))[1]["results"]
        assert found == row
        status, again = await ask(server, "POST", PATH, {"deviceToken": "t"})
        assert (status, again["objectId"]) == (200, "theirs-0")


async def test_what_is_removed_there_is_removed_here():
    push = Push()
    async with passing(push) as (server, _):
        await ask(server, "POST", PATH, {"deviceToken": "t"})
        assert (await ask(server, "DELETE", f"{PATH}/theirs-0", keys=MASTER))[0] == 200
        push.status = 503
        assert (await ask(server, "GET", f"{PATH}/theirs-0"))[0] == 404


@pytest.mark.parametrize("status", [400, 404, 410, 500])
async def test_what_the_upstream_does_not_take_is_ours(status):
    push = Push()
    push.status = status
    async with passing(push) as (server, _):
        made = (await ask(server, "POST", PATH, {"deviceToken": "t"}))[1]
        assert (await ask(server, "GET", f"{PATH}/{made['objectId']}"))[0] == 200
        assert server.metrics.internal_errors_total == 0


async def test_a_device_that_comes_by_an_id_of_another_server_is_known_by_it():
    push = Push()
    push.status = 410
    async with passing(push) as (server, _):
        path = f"{PATH}/of-another-server"
        assert (await ask(server, "PUT", path, {"channels": ["a"]}))[0] == 404
        status, told = await ask(server, "PUT", path, {"installationId": "i", "channels": ["a"]})
        assert (status, told["objectId"]) == (200, "of-another-server")
        assert (await ask(server, "GET", path))[1]["channels"] == ["a"]


async def test_what_is_refused_here_is_none_of_the_upstreams_business():
    push = Push()
    async with passing(push) as (server, _):
        status, made = await ask(server, "POST", PATH, {"custom": 1})
        assert (status, made["objectId"]) == (201, "theirs-0")
        push.status = 410
        assert (await ask(server, "GET", f"{PATH}/theirs-0"))[0] == 404
