from __future__ import annotations

import json
import random
import re
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote, urlencode

import httpx2
import pytest

import trio_realtime.server
from trio_realtime.server.api.openapi import SCHEMES, TAKES, described, name_of
from trio_realtime.server.http import Request
from trio_realtime.testing import open_server

SERVER = Path(trio_realtime.server.__file__).parent
METHODS = {"get", "post", "put", "delete"}


@asynccontextmanager
async def served():
    """The document, the table that it is made of, and a client."""
    async with (
        open_server() as server,
        httpx2.AsyncClient(base_url=server.url) as client,
    ):
        reply = await client.get("/openapi.json")
        assert reply.status_code == 200
        yield reply.json(), server.server._listener.router.routes, client


def operations(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def bare(path):
    return re.sub(r"{\w+}", "{}", path)


async def test_every_route_is_in_it_and_nothing_else():
    async with served() as (document, routes, _):
        listed = {(method.upper(), bare(path)) for path, method, _ in operations(document)}
        assert listed == {(route.method, bare(route.path)) for route in routes}
        assert ("POST", "/1.2/rtm/conversations/{}/messages") in listed


async def test_what_is_said_of_endpoints_is_said_of_real_ones():
    async with served() as (_, routes, _client):
        assert TAKES.keys() <= {name_of(route) for route in routes}


async def test_the_names_of_values_are_those_that_the_endpoints_read():
    sources = [*(SERVER / "api").glob("*.py"), *(SERVER / "rules").rglob("*.py")]
    read = "".join(path.read_text() for path in sources if path.name != "openapi.py")
    # Read by nobody, and taken all the same.
    ignored = {"secure", "include"}
    for endpoint, takes in TAKES.items():
        for value in f"{takes.query} {takes.body or ''}".split():
            name, typed, _ = value.partition(":")
            assert not typed or name in ignored or f'"{name}"' in read, (endpoint, name)


async def test_it_is_written_once():
    async with open_server() as server:
        request = Request("GET", "/openapi.json", {}, {})
        once, again = [(await server.server.answer(request)).body for _ in range(2)]
        assert once is again


async def test_it_is_openapi():
    async with served() as (document, _, _client):
        assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
        assert document["info"]["title"]
        assert document["info"]["version"]
        ids, templates = set(), set()
        for path in document["paths"]:
            assert path.startswith("/")
            assert bare(path) not in templates
            templates.add(bare(path))
        for path, method, operation in operations(document):
            assert method in METHODS
            assert operation["operationId"] not in ids
            ids.add(operation["operationId"])
            assert operation["summary"]
            parameters = operation["parameters"]
            keys = [(one["in"], one["name"]) for one in parameters]
            assert len(set(keys)) == len(keys)
            in_path = {one["name"] for one in parameters if one["in"] == "path"}
            assert in_path == set(re.findall(r"{(\w+)}", path))
            assert all(one["required"] for one in parameters if one["in"] == "path")
            assert all(one["schema"] for one in parameters)
            if "requestBody" in operation:
                (media,) = operation["requestBody"]["content"].values()
                schema = media["schema"]
                assert set(schema.get("required", ())) <= schema.get("properties", {}).keys()
            for way in operation["security"]:
                assert way.keys() <= document["components"]["securitySchemes"].keys()
            answers = operation["responses"]
            assert {status for status in answers if status != "default"} <= {"200", "201"}
            assert all(answer["description"] for answer in answers.values())
            error = answers["default"]["content"]["application/json"]["schema"]["$ref"]
            assert error == "#/components/schemas/Error"
        assert "Error" in document["components"]["schemas"]


async def test_what_it_says_of_keys_is_true():
    async with served() as (document, _, client):
        asked = 0
        for path, method, operation in operations(document):
            if operation["security"] and path.startswith(("/1.", "/trio")):
                concrete = re.sub(r"{\w+}", "conversations", path)
                reply = await client.request(method.upper(), concrete, json={})
                assert reply.status_code == 401, (method, path)
                assert reply.json().keys() == {"code", "error"}
                asked += 1
        assert asked > 60


async def test_the_master_key_is_asked_for_where_it_says_so():
    async with served() as (document, _, client):
        keys = {"X-LC-Id": "test-app", "X-LC-Key": "test-key"}
        asked = 0
        for path, method, operation in operations(document):
            if any("masterKey" in way for way in operation["security"]) and not any(
                "key" in way for way in operation["security"]
            ):
                concrete = re.sub(r"{\w+}", "conversations", path)
                reply = await client.request(method.upper(), concrete, json={}, headers=keys)
                assert reply.status_code in {401, 403}, (method, path)
                asked += 1
        assert asked > 50


@pytest.mark.parametrize("scheme", SCHEMES.values())
def test_schemes_are_headers(scheme):
    assert (scheme["type"], scheme["in"]) == ("apiKey", "header")


def test_templates_that_differ_in_names_only_are_one_path():
    from trio_realtime.server.http import Route

    async def endpoint(_request):
        raise AssertionError

    table = [
        Route("GET", ("", "files", "{id}"), endpoint, streams=False),
        Route("POST", ("", "files", "{name}"), endpoint, streams=False),
    ]
    document = described(table)
    assert document["paths"].keys() == {"/files/{id}"}
    assert document["paths"]["/files/{id}"].keys() == {"get", "post"}
    assert document["paths"]["/files/{id}"]["post"]["parameters"][0]["name"] == "id"


ODD = (
    None,
    True,
    -1,
    0,
    2**63,
    1.5,
    "",
    "x",
    "\0",
    "\ud800",
    "é" * 3000,
    [],
    [""],
    ["x", 1],
    {},
    {"x": 1},
)
"""Values that fit some of the types, and those that fit none."""
WORDS = ("", "x", "0", "-1", "9" * 30, "true", "{}", "[", '{"m": "x"}', '{"$or": [{}]}', "\0", "é%")


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_it_permits_is_answered_without_a_server_error(seed):
    chance = random.Random(seed)
    keys = {"X-LC-Id": "test-app", "X-LC-Key": "test-master-key,master"}
    async with served() as (document, _, client):
        made = await client.post("/1.2/rtm/conversations", json={"name": "x"}, headers=keys)
        assert made.status_code == 201
        names = (made.json()["objectId"], "x", "%00", quote("é"), "0" * 300)
        seen = set()
        for _ in range(10):
            for path, method, operation in operations(document):
                concrete = re.sub(r"{\w+}", lambda _: chance.choice(names), path)
                query = {
                    one["name"]: chance.choice(WORDS)
                    for one in operation["parameters"]
                    if one["in"] == "query" and chance.random() < 0.5
                }
                body = None
                if "requestBody" in operation:
                    (media,) = operation["requestBody"]["content"].values()
                    known = media["schema"].get("properties", {"name": 0, "m": 0, "attr": 0})
                    value = {name: chance.choice(ODD) for name in known if chance.random() < 0.8}
                    body = json.dumps(value).encode()
                reply = await client.request(
                    method.upper(), f"{concrete}?{urlencode(query)}", content=body, headers=keys
                )
                assert reply.status_code < 500, (method, concrete, query, body, reply.text)
                seen.add(reply.status_code)
        # They come to be understood, and so much that they are carried out.
        assert {200, 400, 404} <= seen


async def test_it_is_made_once(monkeypatch):
    made = []

    def counted(routes):
        made.append(routes)
        return described(routes)

    monkeypatch.setattr("trio_realtime.server.api.openapi.described", counted)
    async with served() as (document, _, client):
        again = await client.get("/openapi.json")
        assert again.json() == document
    assert len(made) == 1
