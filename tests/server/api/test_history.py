"""History over HTTP: what it shows, and to whom."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import asynccontextmanager

import pytest
import trio

from tests.server.api.caller import Caller
from tests.server.gateway.world import PATIENCE, conversation_of, direct, peer_of, start, world
from trio_realtime.server import App, Enforcement, Limits
from trio_realtime.server.api import history
from trio_realtime.server.http import json_response
from trio_realtime.server.rules.signatures import history_string, sign
from trio_realtime.testing import open_server
from trio_realtime.wire import BlacklistCommand, CommandType, GenericCommand, LogsCommand, OpType

OPEN = App("open", "open-key", "open-master")
STRICT = App("strict", "strict-key", "strict-master", enforce=Enforcement(history=True))


@asynccontextmanager
async def scene(app, **options):
    """Tom has said three things to Jerry."""
    async with world(apps=[app], **options) as server, peer_of(server) as tom:
        token = await tom.login("Tom")
        cid = await conversation_of(tom, "Jerry", "Tom", unique=False)
        sent = [(await tom.call(direct(cid, text))).ack_message for text in "123"]
        yield server, tom, cid, sent, token


async def get(server, app, path, *, key=None, token=None, **parameters):
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    head = (
        f"GET {path}?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"X-LC-Id: {app.id}\r\nX-LC-Key: {key or app.key}\r\n"
    )
    if token is not None:
        head += f"X-LC-IM-Session-Token: {token}\r\n"
    stream = await server.connect()
    await stream.send_all(f"{head}\r\n".encode())
    answer = b""
    with trio.fail_after(PATIENCE):
        while data := await stream.receive_some():
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def path_of(cid, kind="conversations"):
    return f"/1.2/rtm/{kind}/{cid}/messages"


def signed(server, app, client_id, cid, *, away=0, key=None):
    then = server.server.config.clock() + away
    text = history_string(app.id, client_id, cid, "nonce", then)
    signature = sign(key or app.master_key, text)
    return {"client_id": client_id, "nonce": "nonce", "signature_ts": then, "signature": signature}


async def test_the_operator_reads_everything(clock):
    async with scene(OPEN) as (server, _tom, cid, sent, _token):
        key = "open-master,master"
        status, rows = await get(server, OPEN, path_of(cid), key=key)
        assert status == 200
        assert [row["data"] for row in rows] == ["3", "2", "1"]
        assert rows[2] == {
            "msg-id": sent[0].uid,
            "timestamp": sent[0].t,
            "conv-id": f"{cid}00000000",
            "to": cid,
            "from": "Tom",
            "data": "1",
            "bin": False,
            "is-conv": True,
            "is-room": False,
        }
        assert (await get(server, OPEN, path_of("5" * 24), key=key))[1]["code"] == 4303


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"timestamp": 3, "till_timestamp": 1}, "2"),
        ({"timestamp": 3, "till_timestamp": 1, "include_start": "true"}, "32"),
        ({"timestamp": 3, "till_timestamp": 1, "include_stop": "true"}, "21"),
        ({"timestamp": 1, "till_timestamp": 3, "reversed": "true"}, "2"),
        ({"reversed": "true"}, "123"),
        ({"reversed": "true", "limit": 1}, "1"),
        ({"limit": 2}, "32"),
        ({"limit": 0}, ""),
        ({"limit": 10**6}, "321"),
    ],
)
async def test_the_examples_of_the_reference(parameters, expected, clock):
    async with scene(OPEN) as (server, _tom, cid, sent, _token):
        times = {
            name: sent[value - 1].t if "timestamp" in name else value
            for name, value in parameters.items()
        }
        _, rows = await get(server, OPEN, path_of(cid), key="open-master,master", **times)
        assert "".join(row["data"] for row in rows) == expected


async def test_the_form_of_version_1_1(clock):
    async with scene(OPEN) as (server, tom, cid, sent, token):
        path = "/1.1/rtm/messages/history"
        query = {"convid": cid, "peerid": "Tom", "max_ts": sent[2].t, "limit": 5}
        status, rows = await get(server, OPEN, path, token=token, **query)
        assert (status, [row["data"] for row in rows]) == (200, ["2", "1"])
        await tom.call(direct(cid, None, binary_msg=b"\0\xff"))
        del query["max_ts"]
        _, rows = await get(server, OPEN, path, token=token, **query)
        assert (rows[0]["bin"], base64.b64decode(rows[0]["data"])) == (True, b"\0\xff")


@pytest.mark.parametrize("app", [OPEN, STRICT])
async def test_a_signature_lets_its_client_read(app, clock):
    async with scene(app) as (server, _tom, cid, _sent, _token):
        for client in ("Tom", "Jerry"):
            status, rows = await get(server, app, path_of(cid), **signed(server, app, client, cid))
            assert (status, len(rows)) == (200, 3)
        status, answer = await get(server, app, path_of(cid), **signed(server, app, "Spike", cid))
        assert (status, answer["code"]) == (403, 4312)


async def test_where_enforced_nothing_else_does(clock):
    async with scene(STRICT) as (server, tom, cid, _sent, token):
        good = signed(server, STRICT, "Tom", cid)
        for bad in (
            {},
            {"client_id": "Tom"},
            {**good, "client_id": "Jerry"},
            {**good, "nonce": "other"},
            {**good, "signature": "0" * 40},
            signed(server, STRICT, "Tom", "5" * 24),
            signed(server, STRICT, "Tom", cid, key="strict-key"),
            signed(server, STRICT, "Tom", cid, away=-7 * 3600 * 1000),
            {name: value for name, value in good.items() if name != "signature_ts"},
        ):
            status, answer = await get(server, STRICT, path_of(cid), token=token, **bad)
            assert (status, answer["code"]) == (403, 4312), bad
        assert (await get(server, STRICT, path_of(cid), **good))[0] == 200
        # On their connections clients read as ever: no SDK signs that.
        command = GenericCommand(cmd=CommandType.LOGS, logs_message=LogsCommand(cid=cid))
        assert len((await tom.call(command)).logs_message.logs) == 3


async def test_elsewhere_a_session_token_does(clock):
    async with scene(OPEN) as (server, _tom, cid, _sent, token):
        path = path_of(cid)
        assert (await get(server, OPEN, path, token=token, client_id="Tom"))[0] == 200
        for bad in ({}, {"client_id": "Tom"}):
            assert (await get(server, OPEN, path, **bad))[1]["code"] == 4112
        for client in ("Jerry", ""):
            status, answer = await get(server, OPEN, path, token=token, client_id=client)
            assert (status, answer["code"]) == (401, 4112)
        assert (await get(server, OPEN, path, key="wrong", token=token, client_id="Tom"))[0] == 401


async def test_the_blocked_read_no_room_here_either(clock):
    async with scene(OPEN) as (server, tom, _cid, _sent, _token):
        room = (await tom.call(start(["Tom"], transient=True))).conv_message.cid
        await tom.call(direct(room, "open"))
        path = path_of(room, "chatrooms")
        _, rows = await get(server, OPEN, path, **signed(server, OPEN, "Spike", room))
        assert [(row["data"], row["is-room"]) for row in rows] == [("open", True)]
        message = BlacklistCommand(src_cid=room, to_pids=["Spike"])
        block = GenericCommand(
            cmd=CommandType.BLACKLIST, op=OpType.BLOCK, blacklist_message=message
        )
        assert (await tom.call(block)).op == OpType.BLOCKED
        status, answer = await get(server, OPEN, path, **signed(server, OPEN, "Spike", room))
        assert (status, answer["code"]) == (403, 4312)


async def test_reading_over_rest_counts(clock):
    async with scene(OPEN, limits=Limits(history_per_minute=2)) as (server, _tom, cid, _, token):
        statuses = [
            (await get(server, OPEN, path_of(cid), token=token, client_id="Tom"))[0]
            for _ in range(3)
        ]
        assert statuses == [200, 200, 429]


async def test_strangers_use_up_nobodys_share(clock):
    async with scene(OPEN, limits=Limits(history_per_minute=2)) as (server, _tom, cid, _, token):
        for _ in range(5):
            status, _ = await get(server, OPEN, path_of(cid), client_id="Tom")
            assert status == 401
        assert (await get(server, OPEN, path_of(cid), token=token, client_id="Tom"))[0] == 200


async def test_a_page_is_encoded_beside_the_event_loop(tmp_path, monkeypatch):
    where = []

    def noted(value, status=200):
        where.append(threading.current_thread())
        return json_response(value, status)

    monkeypatch.setattr(history, "json_response", noted)
    async with open_server(data=tmp_path) as server, peer_of(server) as tom:
        await tom.login("Tom")
        cid = await conversation_of(tom, "Jerry")
        call = Caller(server)
        for path in (f"/1.2/rtm/conversations/{cid}/messages", "/1.2/rtm/messages"):
            assert (await call("GET", path)).value == []
    assert threading.main_thread() not in where
    assert len(where) == 2
