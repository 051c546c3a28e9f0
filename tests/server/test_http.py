from __future__ import annotations

import hashlib
import json
import ssl

import httpx2
import pytest
import trio
import trustme

from tests.server.gateway.world import Peer, conversation_of, peer_of, world
from trio_realtime.server import App, Limits, Metrics, ServerConfig, open_server
from trio_realtime.server.rules.signatures import login_string, verify
from trio_realtime.testing import open_server as open_local_server
from trio_realtime.transport import connect
from trio_realtime.wire import CommandType, ConvCommand, ConvMemberInfo, GenericCommand, OpType

KEYS = {"X-LC-Id": "test-app", "X-LC-Key": "test-key"}


async def exchange(server, request, *, more=()):
    """Send raw bytes; everything that comes back until the server closes or is idle."""
    stream = await server.connect()
    await stream.send_all(request)
    for part in more:
        await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(part)
    received = b""
    while data := await stream.receive_some():
        received += data
    return received


def parsed(response):
    head, _, body = response.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, body


async def ask(server, method, path, *, headers=None, body=b""):
    lines = [f"{method} {path} HTTP/1.1", "Host: im.example.com:99", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    raw = "\r\n".join([*lines, "", ""]).encode() + body
    status, headers, content = parsed(await exchange(server, raw))
    return status, json.loads(content) if content else None, headers


# Routers.


@pytest.mark.parametrize("secure", ["", "&secure=1", "&secure=true", "&secure=false"])
async def test_the_rtm_router_names_the_websocket_as_it_is_served(secure):
    async with world() as server:
        status, body, _ = await ask(server, "GET", f"/v1/route?appId=test-app{secure}&_t=1")
        assert status == 200
        assert body["server"] == body["secondary"] == "ws://im.example.com:99"
        assert isinstance(body["ttl"], int)
        assert body["groupId"]
        assert body["groupUrl"]


async def test_the_app_router_names_this_host_for_everything():
    async with world() as server:
        _, body, _ = await ask(server, "GET", "/2/route?appId=test-app")
        hosts = {value for key, value in body.items() if key.endswith("_server")}
        assert hosts == {"im.example.com:99"}
        assert {"rtm_router_server", "api_server", "ttl"} <= body.keys()


@pytest.mark.parametrize("path", ["/v1/route", "/2/route"])
@pytest.mark.parametrize("query", ["", "?appId=nobody"])
async def test_an_unknown_app_has_no_route(path, query):
    async with world() as server:
        status, body, _ = await ask(server, "GET", path + query)
        assert (status, body) == (404, {"code": 4100, "error": "APP_NOT_AVAILABLE"})


@pytest.mark.parametrize("secure", ["", "&secure=1", "&secure=false"])
@pytest.mark.parametrize(("scheme", "named"), [("https", "wss"), ("http", "ws")])
async def test_a_public_url_takes_the_place_of_the_host(scheme, named, secure):
    public = f"{scheme}://im.example.com"
    config = ServerConfig(apps=[App("a", "k", "m")], port=0, public_url=public + "/")
    async with open_server(config) as server:
        assert server.url == public
        async with httpx2.AsyncClient() as client:
            reply = await client.get(f"http://127.0.0.1:{server.port}/v1/route?appId=a{secure}")
        assert reply.json()["server"] == f"{named}://im.example.com"
        assert reply.json()["secondary"] == f"{named}://im.example.com"


async def test_behind_tls_everything_is_secure():
    authority = trustme.CA()
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)
    config = ServerConfig(apps=[App("a", "k", "m")], port=0, tls=server_side)
    async with open_server(config) as server:
        assert server.url.startswith("https://")
        async with httpx2.AsyncClient(verify=client_side) as client:
            for secure in ("", "&secure=1", "&secure=false"):
                reply = (await client.get(f"{server.url}/v1/route?appId=a{secure}")).json()
                assert reply["server"] == reply["secondary"] == server.ws_url
        assert server.ws_url.startswith("wss://")
        async with connect(
            server.ws_url, subprotocol="lc.protobuf2.3", ssl_context=client_side
        ) as transport:
            peer = Peer(transport, "a")
            await peer.login("Tom")
            await peer.nothing_more()


# HTTP itself.


async def test_cors_is_everywhere():
    async with world() as server:
        for method, path, expected in (
            ("OPTIONS", "/1.1/rtm/sign", 204),
            ("GET", "/healthz", 200),
            ("GET", "/nowhere", 404),
        ):
            status, _, headers = await ask(server, method, path)
            assert status == expected
            assert headers["access-control-allow-origin"] == "*"
            assert "x-lc-im-session-token" in headers["access-control-allow-headers"]
            assert "delete" in headers["access-control-allow-methods"]


async def test_unknown_paths_and_methods_have_json_errors():
    async with world() as server:
        assert (await ask(server, "GET", "/nowhere"))[:2] == (
            404,
            {"code": 1, "error": "Not found."},
        )
        assert (await ask(server, "POST", "/healthz"))[0] == 405
        assert (await ask(server, "HEAD", "/healthz"))[:2] == (200, None)


@pytest.mark.parametrize("target", ["//[x", "//[x/y?a=b", "http://[x/", "//", "/%", "*", "?", "#"])
async def test_an_odd_target_is_an_answer_and_no_noise(target, caplog):
    async with world() as server:
        reply = await exchange(
            server, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )
        assert parsed(reply)[0] in {400, 404}
        assert not caplog.records
        assert server.stats().metrics.internal_errors_total == 0


async def test_a_target_may_be_a_whole_url():
    async with world() as server:
        reply = await exchange(
            server, b"GET http://x/healthz?a#b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        assert parsed(reply)[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": NaN}',
        b'{"name": 1e999}',
        b'{"name": "\\ud800"}',
        b"\xff",
        b"[]",
        b"{",
        b'{"a":' * 200 + b"1" + b"}" * 200,
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(body):
    async with world() as server:
        status, said, _ = await ask(server, "POST", "/1.1/rtm/sign", body=body)
        assert (status, said["code"]) == (400, 107)
        assert said["error"].startswith("The body is ")


async def test_a_connection_serves_many_requests():
    async with world() as server:
        stream = await server.connect()
        for _ in range(3):
            await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            reply = await stream.receive_some()
            assert parsed(reply)[0] == 200
            assert json.loads(parsed(reply)[2]) == {"status": "ok"}


async def test_an_idle_connection_ends(clock):
    async with world() as server:
        began = trio.current_time()
        assert b"200" in await exchange(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert trio.current_time() - began == pytest.approx(60)


@pytest.mark.parametrize("start", [b"", b"GET / HT"])
async def test_a_head_has_ten_seconds(clock, start):
    async with world() as server:
        began = trio.current_time()
        received = await exchange(server, start)
        assert parsed(received)[0] == 408
        assert trio.current_time() - began == pytest.approx(10)


async def test_a_head_that_drips_has_ten_seconds_too(clock):
    async with world() as server:
        stream = await server.connect()
        began = trio.current_time()

        async def drip():
            for byte in b"GET /" + b"x" * 1000:
                await stream.send_all(bytes([byte]))
                await trio.sleep(1)

        with pytest.raises(trio.BrokenResourceError):
            await drip()
        assert trio.current_time() - began < 12


async def test_a_head_is_bounded():
    async with world() as server:
        received = await exchange(server, b"GET /" + b"x" * 60_000)
        assert parsed(received)[0] == 431


@pytest.mark.parametrize("before", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"])
@pytest.mark.parametrize(("number", "status"), [(90, 200), (4000, 431)])
async def test_headers_are_counted(before, number, status):
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + b"a:\r\n" * number
    async with world() as server:
        received = await exchange(server, before + head + b"\r\n")
        if before:
            assert received.startswith(b"HTTP/1.1 200")
            received = received[received.rindex(b"HTTP/1.1") :]
        assert parsed(received)[0] == status


async def test_a_body_is_bounded():
    async with world(limits=Limits(body_bytes=100)) as server:
        status, body, headers = await ask(server, "POST", "/1.1/rtm/sign", body=b"x" * 101)
        assert (status, headers["connection"]) == (413, "close")
        assert body["code"] == 1


async def test_a_body_that_never_comes_has_a_time_out(clock):
    async with world() as server:
        request = b"POST /1.1/rtm/sign HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"
        began = trio.current_time()
        assert parsed(await exchange(server, request))[0] == 408
        assert trio.current_time() - began == pytest.approx(30)


@pytest.mark.parametrize(
    "request_",
    [
        b"garbage\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nContent-Length: 4\r\n\r\nabcd",
    ],
)
async def test_malformed_requests_are_refused(request_, autojump_clock):
    async with world() as server:
        status, _, _ = parsed(await exchange(server, request_))
        assert 400 <= status < 500
        assert (await ask(server, "GET", "/healthz"))[0] == 200


async def test_chunked_bodies_and_expectations_are_understood():
    async with world() as server:
        head = (
            b"POST /1.1/rtm/sign HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"X-LC-Id: test-app\r\nX-LC-Key: test-key\r\n"
            b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        received = await exchange(
            server, head, more=[b'10\r\n{"session_token"\r\n', b'5\r\n:"t"}\r\n0\r\n\r\n']
        )
        first, _, rest = received.partition(b"\r\n\r\n")
        assert first.startswith(b"HTTP/1.1 100")
        status, _, body = parsed(rest)
        assert (status, json.loads(body)["code"]) == (401, 211)


async def test_connections_are_limited_when_asked_for():
    limits = Limits(connections_per_address=2)
    async with open_local_server(limits=limits) as server:
        streams = [await trio.open_tcp_stream("127.0.0.1", server.server.port) for _ in range(3)]
        await streams[0].send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" in await streams[0].receive_some()
        assert (await streams[2].receive_some()).startswith(b"HTTP/1.1 429 ")
        assert await streams[2].receive_some() == b""
        await streams[1].aclose()
        for _ in range(100):
            stream = await trio.open_tcp_stream("127.0.0.1", server.server.port)
            with trio.move_on_after(5):
                try:
                    await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                    answer = await stream.receive_some()
                except trio.BrokenResourceError:
                    answer = b""
            await stream.aclose()
            if b"200" in answer:
                break
        assert b"200" in answer
        for stream in streams:
            await stream.aclose()


async def test_metrics_count():
    async with world() as server, peer_of(server) as peer:
        await peer.login("Tom")
        await peer.call(GenericCommand(cmd=CommandType.LOGS, i=1))
        reply = await exchange(
            server, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        status, headers, body = parsed(reply)
        assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4")
        lines = body.decode().splitlines()
        for line in (
            "trio_realtime_connections 1",
            "trio_realtime_sessions 1",
            "trio_realtime_logins_total 1",
            "trio_realtime_queue_bytes 0",
            "trio_realtime_internal_errors_total 0",
        ):
            assert line in lines
        assert any(line.startswith('trio_realtime_refusals_total{code="') for line in lines)


async def test_a_defect_costs_one_request(monkeypatch, caplog):
    async with world() as server:
        monkeypatch.setattr(Metrics, "exposition", None)
        with caplog.at_level("CRITICAL", "trio_realtime"):
            status, body, _ = await ask(server, "GET", "/metrics")
        monkeypatch.undo()
        assert (status, body["code"]) == (500, 1)
        assert (await ask(server, "GET", "/healthz"))[0] == 200


async def test_a_defect_is_logged_without_the_token_in_the_path(monkeypatch, caplog):
    def broken(*_arguments):
        raise ZeroDivisionError

    monkeypatch.setattr("trio_realtime.server.files.records.announced", broken)
    async with world() as server:
        status, _, _ = await ask(server, "PUT", "/uploads/test-app/my-token?t=my-token", body=b"x")
        assert status == 500
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.getMessage() == "PUT /uploads/{app}/{token} failed"
    assert "my-token" not in caplog.text


# Keys.


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        (KEYS, True),
        ({**KEYS, "X-LC-Key": "test-master-key,master"}, True),
        ({**KEYS, "X-LC-Key": "test-master-key"}, False),
        ({**KEYS, "X-LC-Key": "test-key,master"}, False),
        ({**KEYS, "X-LC-Key": "wrong"}, False),
        ({**KEYS, "X-LC-Id": "other"}, False),
        ({"X-LC-Id": "test-app"}, False),
        ({}, False),
        ({"X-LC-Id": "test-app", "X-LC-Sign": "{digest},1453014943466"}, True),
        ({"X-LC-Id": "test-app", "X-LC-Sign": "{digest},1453014943467"}, False),
    ],
)
async def test_keys_are_checked(headers, allowed):
    digest = hashlib.md5(b"1453014943466test-key").hexdigest()
    headers = {name: value.replace("{digest}", digest) for name, value in headers.items()}
    async with world() as server:
        status, body, _ = await ask(
            server, "POST", "/1.1/rtm/sign", headers=headers, body=b'{"session_token":"t"}'
        )
        assert status == 401
        assert body["code"] == (211 if allowed else 401)


# What SDKs ask for.


async def test_storage_users_get_their_login_signed():
    async def lookup(app, token):
        return {"tok": "user1"}.get(token)

    config = ServerConfig(apps=[App("a", "k", "m")], port=0, user_lookup=lookup)
    async with open_server(config) as server, httpx2.AsyncClient() as client:
        url, headers = f"{server.url}/1.1/rtm/sign", {"X-LC-Id": "a", "X-LC-Key": "k"}
        reply = await client.post(url, headers=headers, json={"session_token": "tok"})
        body = reply.json()
        assert body["client_id"] == "user1"
        text = login_string("a", "user1", body["timestamp"], body["nonce"])
        assert verify("m", text, body["signature"])
        reply = await client.post(url, headers=headers, json={"session_token": "other"})
        assert (reply.status_code, reply.json()["code"]) == (401, 211)
        for bad in (b"[]", b"{", b'{"session_token": 1}', b"[" * 60_000):
            reply = await client.post(url, headers=headers, content=bad)
            assert reply.status_code == 400


async def test_missed_notifications_need_a_token():
    async with world() as server, peer_of(server) as tom, peer_of(server) as peer:
        await tom.login("Tom")
        token = await peer.login("Jerry")
        cid = await conversation_of(tom, "Tom", "Jerry")
        path = "/1.1/rtm/notifications?client_id=Jerry&start_ts=0&notification_type=permanent"
        status, body, _ = await ask(
            server, "GET", path, headers={**KEYS, "X-LC-IM-Session-Token": token}
        )
        assert status == 200
        assert body["hasMore"] is False
        (item,) = body["notifications"]
        assert (item["cmd"], item["op"], item["cid"]) == ("conv", "joined", cid)
        for bad in ({}, {"X-LC-IM-Session-Token": "x"}):
            status, body, _ = await ask(server, "GET", path, headers={**KEYS, **bad})
            assert (status, body) == (401, {"code": 4112, "error": "SESSION_TOKEN_EXPIRED"})
        other = await tom.login("Tom")
        status, _, _ = await ask(
            server, "GET", path, headers={**KEYS, "X-LC-IM-Session-Token": other}
        )
        assert status == 401
        headers = {**KEYS, "X-LC-IM-Session-Token": token}
        path = "/1.1/rtm/notifications?client_id=Jerry&start_ts=0"
        _, body, _ = await ask(server, "GET", path, headers=headers)
        assert {"permanent", "droppable"} == body.keys()
        for bad in ("x", "9" * 30):
            path = f"/1.1/rtm/notifications?client_id=Jerry&start_ts={bad}"
            assert (await ask(server, "GET", path, headers=headers))[0] == 400


async def test_roles_are_shown_to_members():
    async with world() as server, peer_of(server) as tom, peer_of(server) as mary:
        token = await tom.login("Tom")
        stranger = await mary.login("Mary")
        cid = await conversation_of(tom, "Tom", "Jerry")
        reply = await tom.call(
            GenericCommand(
                cmd=CommandType.CONV,
                op=OpType.MEMBER_INFO_UPDATE,
                conv_message=ConvCommand(
                    cid=cid,
                    target_client_id="Jerry",
                    info=ConvMemberInfo(pid="Jerry", role="Manager"),
                ),
            )
        )
        assert reply.op == OpType.MEMBER_INFO_UPDATED, reply
        path = "/1.1/classes/_ConversationMemberInfo?where=" + json.dumps({"cid": cid}).replace(
            " ", ""
        ).replace('"', "%22")
        for shown, expected in ((token, ["Jerry"]), (stranger, [])):
            status, body, _ = await ask(
                server, "GET", path, headers={**KEYS, "X-LC-IM-Session-Token": shown}
            )
            assert status == 200
            assert [row["clientId"] for row in body["results"]] == expected
        status, body, _ = await ask(server, "GET", path, headers=KEYS)
        assert (status, body["code"]) == (401, 4112)
        for bad in ("", "?where=[]", "?where={", "?where={}"):
            status, _, _ = await ask(
                server, "GET", f"/1.1/classes/_ConversationMemberInfo{bad}", headers=KEYS
            )
            assert status == 400
