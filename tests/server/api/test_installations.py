"""Installations as SDKs save them."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from urllib.parse import quote

import pytest

from tests.server.api.caller import Caller
from trio_realtime.server import Limits
from trio_realtime.testing import open_server

PATH = "/1.1/installations"


@asynccontextmanager
async def called(**options):
    async with open_server(**{"memory": True, **options}) as server:
        yield Caller(server)


async def registered(call, **columns):
    answer = await call("POST", PATH, columns, master=False)
    assert answer.status in {200, 201}
    return answer.value["objectId"]


async def row_of(call, object_id):
    answer = await call("GET", f"{PATH}/{object_id}", master=False)
    return answer.value


async def test_the_life_of_an_installation():
    async with called() as call:
        given = {"deviceType": "ios", "deviceToken": "t", "channels": ["Tom"], "badge": 0}
        made = await call("POST", PATH, given, master=False)
        assert made.status == 201
        assert made.value.keys() == {"objectId", "createdAt", "updatedAt"}
        object_id = made.value["objectId"]
        assert made.headers["location"] == f"{PATH}/{object_id}"
        row = await row_of(call, object_id)
        assert row == {**given, **made.value}
        changes = {"channels": {"__op": "AddUnique", "objects": ["Tom", "news"]}, "badge": 4}
        changed = await call("PUT", f"{PATH}/{object_id}", changes, master=False)
        assert (changed.status, changed.value.keys()) == (200, {"objectId", "updatedAt"})
        row = await row_of(call, object_id)
        assert (row["channels"], row["badge"]) == (["Tom", "news"], 4)
        gone = {"channels": {"__op": "Remove", "objects": ["Tom"]}, "badge": {"__op": "Delete"}}
        await call("PUT", f"{PATH}/{object_id}", gone, master=False)
        row = await row_of(call, object_id)
        assert row["channels"] == ["news"]
        assert "badge" not in row
        refused = await call("DELETE", f"{PATH}/{object_id}", master=False)
        assert refused.status == 401
        assert (await call("DELETE", f"{PATH}/{object_id}")).value == {}
        for method in ("GET", "PUT", "DELETE"):
            answer = await call(method, f"{PATH}/{object_id}", {})
            assert (answer.status, answer.value["code"]) == (404, 101)


@pytest.mark.parametrize("name", ["deviceToken", "installationId"])
async def test_who_comes_again_keeps_the_row(name):
    async with called() as call:
        first = await registered(call, **{name: "same", "channels": ["a"], "vendor": "mi"})
        assert await registered(call, **{name: "other"}) != first
        again = await call("POST", PATH, {name: "same", "channels": ["b"]}, master=False)
        assert (again.status, again.value["objectId"]) == (200, first)
        row = await row_of(call, first)
        # A column that is not sent stays, an array is replaced.
        assert (row["channels"], row["vendor"]) == (["b"], "mi")


async def test_one_device_has_one_row():
    async with called() as call:
        old = await registered(call, deviceToken="t")
        new = await registered(call, installationId="i")
        # The same device by both of its names: the one that it gave itself stays.
        assert await registered(call, installationId="i", deviceToken="t") == new
        assert (await call("GET", f"{PATH}/{old}")).status == 404
        third = await registered(call, deviceToken="u")
        await call("PUT", f"{PATH}/{new}", {"deviceToken": "u"}, master=False)
        assert (await call("GET", f"{PATH}/{third}")).status == 404


async def test_the_whole_row_is_answered_to_who_wants_it():
    async with called() as call:
        given = {"installationId": "i", "custom": {"a": [1]}}
        made = await call("POST", f"{PATH}?fetchWhenSave=true", given, master=False)
        assert made.value["custom"] == {"a": [1]}
        path = f"{PATH}/{made.value['objectId']}?fetchWhenSave=true"
        changed = await call("PUT", path, {"custom.b": 2}, master=False)
        assert changed.value["custom"] == {"a": [1], "b": 2}
        # What a row is told with may be sent back.
        again = await call("POST", f"{PATH}?fetchWhenSave=true", changed.value, master=False)
        assert again.value["objectId"] == made.value["objectId"]
        assert again.value["createdAt"] == made.value["createdAt"]


@pytest.mark.parametrize("path", [PATH, "/1.1/classes/_Installation"])
async def test_the_operator_queries(path):
    async with called() as call:
        for n in range(5):
            await registered(call, installationId=str(n), n=n, channels=["odd"] * (n % 2))
        where = quote(json.dumps({"channels": "odd"}))
        answer = await call("GET", f"{path}?where={where}&order=-n&limit=1&count=1&keys=n")
        assert answer.value["count"] == 2
        (row,) = answer.value["results"]
        assert row["n"] == 3
        assert row.keys() == {"n", "objectId", "createdAt", "updatedAt"}
        assert len((await call("GET", path)).value["results"]) == 5
        refused = await call("GET", path, master=False)
        assert refused.status == 401
        assert (await call("GET", f"{path}?where=[")).status == 400


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"deviceType": "ios"},
        {"deviceToken": ""},
        {"deviceToken": 7},
        {"installationId": "x" * 1025},
        {"deviceToken": "t", "channels": "Tom"},
        {"deviceToken": "t", "channels": ["Tom", 1]},
        {"deviceToken": "t", "channels": [str(n) for n in range(1001)]},
        {"deviceToken": "t", "custom": "x" * 17_000},
        {"deviceToken": "t", "a..b": 1},
        {"deviceToken": "t", "channels": {"__op": "Increment"}},
        {"deviceToken": {"__op": "AddUnique", "objects": [["x"]]}},
    ],
    ids=lambda columns: str(columns)[:40],
)
async def test_what_is_no_installation_is_refused(columns):
    async with called() as call:
        answer = await call("POST", PATH, columns, master=False)
        assert answer.status == 400
        assert answer.value.keys() == {"code", "error"}
        assert (await call("GET", PATH)).value == {"results": []}


async def test_an_app_has_so_many_and_no_more():
    async with called(limits=Limits(installations=2)) as call:
        first = await registered(call, deviceToken="1")
        await registered(call, deviceToken="2")
        refused = await call("POST", PATH, {"deviceToken": "3"}, master=False)
        assert (refused.status, refused.value["code"]) == (507, 507)
        assert await registered(call, deviceToken="1") == first
        await call("DELETE", f"{PATH}/{first}")
        await registered(call, deviceToken="3")


async def test_they_are_there_after_a_restart(tmp_path):
    async with called(memory=False, data=tmp_path) as call:
        object_id = await registered(call, deviceToken="t", channels=["Tom"])
    async with called(memory=False, data=tmp_path) as call:
        assert (await row_of(call, object_id))["channels"] == ["Tom"]
        assert await registered(call, deviceToken="t") == object_id


async def test_several_rows_are_deleted_at_once_all_or_none():
    async with called() as call:
        first, second, third = [await registered(call, deviceToken=str(n)) for n in range(3)]
        assert (await call("DELETE", f"{PATH}/{first},unknown")).status == 404
        assert (await call("DELETE", f"{PATH}/{first},{second}")).value == {}
        (left,) = (await call("GET", PATH)).value["results"]
        assert left["objectId"] == third
        path = "/1.1/classes/_Conversation"
        rows = [(await call("POST", path, {"name": str(n)})).value["objectId"] for n in range(2)]
        assert (await call("DELETE", f"{path}/{rows[0]},unknown")).status == 404
        assert len((await call("GET", path)).value["results"]) == 2
        assert (await call("DELETE", f"{path}/{','.join(rows)}")).value == {}
        assert (await call("GET", path)).value["results"] == []
        assert (await call("DELETE", f"{path}/{','.join(map(str, range(201)))}")).status == 400
