"""Several requests in one."""

from __future__ import annotations

import json

import pytest
import trio

from tests.server.api.caller import Caller
from tests.server.gateway.world import world

DEVICE = {"method": "POST", "path": "/1.1/installations"}


def device(name, **columns):
    return {**DEVICE, "body": {"__internalId": name, "deviceToken": name, **columns}}


async def test_each_request_has_its_answer():
    async with world() as server:
        call = Caller(server)
        requests = [
            {"method": "POST", "path": "/1.1/classes/_Conversation", "body": {"name": "one"}},
            {"method": "GET", "path": "/1.1/classes/_Conversation/unknown"},
            {"method": "get", "path": "/1.1/date", "params": {"x": 1}},
            {"path": "/1.1/nowhere"},
            {"method": "PUT", "path": "/uploads/test-app/x"},
            {"method": "POST", "path": "/1.1/batch", "body": {"requests": []}},
            {"path": "/openapi.json"},
        ]
        made, unknown, date, nowhere, stream, batch, document = (
            await call("POST", "/1.1/batch", {"requests": requests})
        ).value
        assert made["success"]["name"] == "one"
        assert unknown["error"]["code"] == 101
        assert date["success"]["__type"] == "Date"
        assert {one["error"]["code"] for one in (nowhere, stream, batch, document)} == {1}
        query = {
            "method": "GET",
            "path": "/1.1/classes/_Conversation?limit=5",
            "params": {"where": {"name": "one"}},
        }
        ((found,),) = [(await call("POST", "/1.1/batch", {"requests": [query]})).value]
        assert [row["name"] for row in found["success"]["results"]] == ["one"]


async def test_its_key_is_the_key_of_all_of_them():
    async with world() as server:
        call = Caller(server)
        requests = {"requests": [{"method": "GET", "path": "/1.2/rtm/conversations"}]}
        (answer,) = (await call("POST", "/1.1/batch", requests, master=False)).value
        assert answer["error"]["code"] == 401
        (answer,) = (await call("POST", "/1.1/batch", requests)).value
        assert answer["success"] == {"results": []}


@pytest.mark.parametrize("master", [True, False])
async def test_others_have_a_turn_between_its_requests(master):
    async with world() as server, trio.open_nursery() as nursery:
        turns = 0

        async def other():
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        nursery.start_soon(other)
        requests = {"requests": [{"method": "GET", "path": "/1.1/date"}] * 100}
        answers = (await Caller(server)("POST", "/1.1/batch", requests, master=master)).value
        assert all("success" in answer for answer in answers)
        assert turns >= 90
        nursery.cancel_scope.cancel()


async def test_rows_are_saved_as_swift_saves_them():
    async with world() as server:
        call = Caller(server)
        save = "/1.1/batch/save"
        requests = {"requests": [device("local-1"), device("local-2")]}
        saved = (await call("POST", save, requests, master=False)).value
        assert saved.keys() == {"local-1", "local-2"}
        assert saved["local-1"].keys() == {"objectId", "createdAt", "updatedAt"}
        # At the next start the row is known by its id, and sent whole, by the same method.
        object_id = saved["local-1"]["objectId"]
        again = device("local-1", channels=["Tom"], badge=1)
        again["body"]["__internalId"] = object_id
        saved = (await call("POST", save, {"requests": [again]}, master=False)).value
        assert saved[object_id]["objectId"] == object_id
        rows = (await call("GET", "/1.1/installations?order=createdAt")).value["results"]
        assert [row["deviceToken"] for row in rows] == ["local-1", "local-2"]
        assert "__internalId" not in rows[0]


async def test_the_first_row_that_cannot_be_saved_is_the_answer():
    async with world() as server:
        call = Caller(server)
        requests = {"requests": [device("fine"), {**DEVICE, "body": {}}, device("late")]}
        answer = await call("POST", "/1.1/batch/save", requests, master=False)
        assert (answer.status, answer.value["code"]) == (400, 1)
        rows = (await call("GET", "/1.1/installations")).value["results"]
        assert [row["deviceToken"] for row in rows] == ["fine"]


@pytest.mark.parametrize("path", ["/1.1/batch", "/1.1/batch/save"])
@pytest.mark.parametrize(
    "value",
    [
        {},
        {"requests": {}},
        {"requests": [1]},
        {"requests": [{"method": "GET"}]},
        {"requests": [{"method": 1, "path": "/1.1/date"}]},
        {"requests": [{"path": "1.1/date"}]},
        {"requests": [{"path": "/1.1/date", "body": []}]},
        {"requests": [{"path": "/1.1/date", "params": "x"}]},
        {"requests": [{"path": "/1.1/date"}] * 201},
    ],
    ids=lambda value: json.dumps(value)[:40],
)
async def test_what_is_no_batch_is_refused(path, value):
    async with world() as server:
        answer = await Caller(server)("POST", path, value)
        assert answer.status == 400
        assert answer.value.keys() == {"code", "error"}


async def test_a_stranger_sends_no_more_than_elsewhere():
    async with world() as server:
        call = Caller(server)
        body = {"requests": [{"path": "/1.1/date", "body": {"x": "x" * 70_000}}]}
        assert (await call("POST", "/1.1/batch", body, master=False)).status == 413
        assert (await call("POST", "/1.1/batch", body)).status == 200


async def test_so_much_is_answered_and_no_more():
    async with world() as server:
        call = Caller(server)
        made = await call("POST", "/1.2/rtm/conversations", {"m": ["Tom"]})
        path = f"/1.2/rtm/conversations/{made.value['objectId']}/messages"
        for _ in range(100):
            await call("POST", path, {"from_client": "Tom", "message": "x" * 5000})
        requests = [{"path": path, "params": {"limit": 1000}}] * 20
        answers = (await call("POST", "/1.1/batch", {"requests": requests})).value
        given = [one for one in answers if "success" in one]
        assert 1 < len(given) < 20
        assert {one["error"]["code"] for one in answers[len(given) :]} == {413}
        assert sum(len(json.dumps(one)) for one in answers) < 6_000_000
