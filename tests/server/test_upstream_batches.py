"""Batches about rows of both servers."""

from __future__ import annotations

import json

import pytest

from tests.server.upstream_world import (
    exchange,
    json_of,
    passing,
    request,
    saying,
    status_of,
)

KEYS = ("X-LC-Id: test-app", "X-LC-Key: test-key", "Content-Type: application/json")


NOTHING = b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}"


def storage(raw=None):
    """An upstream that answers batches: of each request what it was told, or these bytes."""

    async def answer(_backend, stream, head, body):
        if not head.target.startswith(b"/1.1/batch"):
            await stream.send_all(NOTHING)
            return
        asked = json.loads(body)["requests"]
        told = [{"success": {"told": one}} for one in asked]
        if head.target.endswith(b"/save"):
            told = {one["body"]["__internalId"]: {"objectId": "theirs"} for one in asked}
        text = raw or json.dumps(told).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(text)}\r\n\r\n".encode()
        await stream.send_all(head + text)

    return answer


def batch(*requests, path="/1.1/batch", **more):
    return request("POST", path, *KEYS, body=json.dumps({"requests": requests}).encode(), **more)


THEIRS = {"method": "POST", "path": "/1.1/classes/Post", "body": {"__internalId": "p", "n": 1}}
DEVICE = {
    "method": "POST",
    "path": "/1.1/installations",
    "body": {"__internalId": "i", "deviceToken": "t"},
}


async def test_a_batch_about_rows_of_the_upstream_is_passed_on_as_it_is():
    async with passing(storage()) as (server, backend):
        raw = await exchange(server, batch(THEIRS, THEIRS))
        assert json_of(raw) == [{"success": {"told": THEIRS}}] * 2
        assert (b"x-lc-id", b"test-app") in backend.fields()
        assert len(backend.requests) == 1
        # Whatever it is that we cannot read, it is not ours.
        await exchange(server, request("POST", "/1.1/batch", *KEYS, body=b'{"requests":[]}'))
        assert len(backend.requests) == 1
        large = {**THEIRS, "body": {"x": "x" * 100_000}}
        raw = await exchange(server, batch(large))
        assert json_of(raw) == [{"success": {"told": large}}]


async def test_a_batch_about_rows_of_both_is_answered_by_both():
    async with passing(storage()) as (server, backend):
        unknown = {"method": "GET", "path": "/1.1/installations/x"}
        raw = await exchange(server, batch(THEIRS, DEVICE, unknown, THEIRS))
        theirs, ours, refused, again = json_of(raw)
        assert theirs == again == {"success": {"told": THEIRS}}
        assert ours["success"].keys() == {"objectId", "createdAt", "updatedAt"}
        assert refused["error"]["code"] == 101
        bodies = [body for head, body in backend.requests if head.target == b"/1.1/batch"]
        assert [json.loads(body) for body in bodies] == [{"requests": [THEIRS, THEIRS]}]
        raw = await exchange(server, batch(THEIRS, DEVICE, path="/1.1/batch/save"))
        saved = json_of(raw)
        assert saved["p"] == {"objectId": "theirs"}
        assert saved["i"]["objectId"] == ours["success"]["objectId"]


@pytest.mark.parametrize("raw", [b"[]", b"{}", b"no json", b"[" * 5000, b"[" + b"1," * 3_000_000])
async def test_an_upstream_that_does_not_answer_a_batch_is_told_of(raw):
    async with passing(storage(raw)) as (server, _backend):
        answer = await exchange(server, batch(THEIRS, DEVICE))
        assert status_of(answer) == 502


async def test_an_answer_to_a_batch_that_breaks_off_is_told_of():
    raw = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n[{"
    async with passing(saying(raw, close=True)) as (server, _backend):
        answer = await exchange(server, batch(THEIRS, DEVICE))
        assert status_of(answer) == 502
        assert server.metrics.internal_errors_total == 0
