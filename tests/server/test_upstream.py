"""Passing requests on to an upstream, and its answers back."""

from __future__ import annotations

import json
import logging
from contextlib import suppress

import h11
import pytest
import trio

from tests.server.upstream_world import (
    APP,
    HELLO,
    exchange,
    json_of,
    passing,
    request,
    saying,
    status_of,
)
from trio_realtime.server import ServerConfig, open_server


async def test_paths_of_no_route_are_answered_by_the_upstream():
    async with passing(saying(HELLO)) as (server, backend):
        raw = request(
            "POST",
            "/1.1/classes/Post?where=%7B%22a%22%3A1%7D&x=1&x=2",
            "X-LC-Id: test-app",
            "X-LC-Key: secret",
            "Cookie: a=1; b=2",
            body=b"{}",
        )
        received = await exchange(server, raw)
        assert status_of(received) == 200
        assert received.endswith(b"\r\n\r\nhello")
        got, body = backend.requests[0]
        assert (got.method, body) == (b"POST", b"{}")
        assert got.target == b"/1.1/classes/Post?where=%7B%22a%22%3A1%7D&x=1&x=2"
        fields = dict(backend.fields())
        assert fields[b"host"] == b"localhost:%d" % backend.port
        assert fields[b"x-lc-id"] == b"test-app"
        assert fields[b"x-lc-key"] == b"secret"
        assert fields[b"cookie"] == b"a=1; b=2"
        assert fields[b"x-forwarded-for"] == b"127.0.0.1"
        assert fields[b"x-forwarded-proto"] == b"http"
        assert fields[b"content-length"] == b"2"
        assert fields[b"via"].startswith(b"1.1 trio-realtime-")


async def test_paths_of_ours_are_never_passed_on():
    async with passing(saying(HELLO)) as (server, backend):
        for method, path, status in [
            ("GET", "/1.1/date", 200),
            ("DELETE", "/1.1/date", 405),
            ("OPTIONS", "/1.1/date", 204),
            ("OPTIONS", "*", 204),
            ("GET", "/1.2/rtm/conversations", 401),
            ("PATCH", "/1.2/rtm/conversations/x", 405),
        ]:
            assert status_of(await exchange(server, request(method, path))) == status, path
        assert backend.requests == []


async def test_preflights_of_other_paths_are_the_business_of_the_upstream():
    answer = b"HTTP/1.1 204 No Content\r\naccess-control-allow-origin: https://a.example\r\n\r\n"
    async with passing(saying(answer)) as (server, _):
        received = await exchange(server, request("OPTIONS", "/1.1/classes/Post"))
        assert status_of(received) == 204
        assert received.lower().count(b"access-control-allow-origin") == 1
        assert b"https://a.example" in received


async def test_what_is_about_a_connection_stays_with_it():
    answer = (
        b"HTTP/1.1 299 Strange\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nKeep-Alive: timeout=5\r\n"
        b"Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nX-Name: \xe9\r\ncontent-length: 0\r\n\r\n"
    )
    async with passing(saying(answer)) as (server, backend):
        received = await exchange(
            server,
            request(
                "GET",
                "/x",
                "Connection: X-Mine, Content-Length, Host",
                "X-Mine: 1",
                "TE: trailers",
                "Proxy-Authorization: Basic eA==",
                "Upgrade: h2c",
                "X-Forwarded-For: 192.0.2.1",
                "X-Forwarded-Proto: https",
            ),
        )
        names = {name for name, _ in backend.fields()}
        assert not names & {b"x-mine", b"te", b"proxy-authorization", b"upgrade", b"connection"}
        fields = dict(backend.fields())
        assert fields[b"x-forwarded-for"] == b"192.0.2.1, 127.0.0.1"
        assert fields[b"x-forwarded-proto"] == b"http"
        assert status_of(received) == 299
        assert received.lower().count(b"set-cookie:") == 2
        assert b"x-hop" not in received.lower()
        assert b"keep-alive" not in received.lower()
        assert b"\xe9" in received


async def test_redirections_are_the_clients_to_follow():
    answer = b"HTTP/1.1 302 Found\r\nlocation: https://b.example/\r\ncontent-length: 0\r\n\r\n"
    async with passing(saying(answer)) as (server, backend):
        received = await exchange(server, request("GET", "/x"))
        assert status_of(received) == 302
        assert b"https://b.example/" in received
        assert len(backend.requests) == 1


async def test_bodies_pass_in_chunks_both_ways():
    async def echo(_backend, stream, _request, body):
        await stream.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for start in range(0, len(body), 50_000):
            part = body[start : start + 50_000]
            await stream.send_all(b"%x\r\n%b\r\n" % (len(part), part))
        await stream.send_all(b"0\r\n\r\n")

    async with passing(echo) as (server, backend):
        part = bytes(range(256)) * 4096  # more than a body of ours may have
        head = b"POST /f HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
        chunks = b"%x\r\n%b\r\n" % (len(part), part) * 3
        received = await exchange(server, head + b"\r\n" + chunks + b"0\r\n\r\n")
        assert backend.requests[0][1] == part * 3
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
        client.send(h11.EndOfMessage())
        client.receive_data(received)
        body = b""
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            body += bytes(event.data) if isinstance(event, h11.Data) else b""
        assert body == part * 3


async def test_an_answer_is_passed_on_while_it_is_made():
    more = trio.Event()

    async def slowly(_backend, stream, _request, _body):
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst")
        await more.wait()
        await stream.send_all(b"after")

    async with (
        passing(slowly) as (server, _),
        await trio.open_tcp_stream("127.0.0.1", server.port) as stream,
    ):
        await stream.send_all(request("GET", "/x"))
        received = b""
        with trio.fail_after(30):
            while not received.endswith(b"first"):
                received += await stream.receive_some()
            more.set()
            while data := await stream.receive_some():
                received += data
        assert received.endswith(b"firstafter")


async def test_head_has_no_body_and_the_connection_lives_on():
    async def answer(_backend, stream, got, _body):
        await stream.send_all(HELLO[:-5] if got.method == b"HEAD" else HELLO)

    async with passing(answer) as (server, _):
        received = await exchange(server, request("HEAD", "/x", close=False) + request("GET", "/y"))
        assert received.count(b"HTTP/1.1 200") == 2
        assert received.endswith(b"hello")
        assert received.count(b"hello") == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc",
        b"GET /x HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: x\r\nX-A: a\rX-B: b\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: x\r\nX-A : b\r\n\r\n",
        b"GET /x\x0b HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_what_two_servers_could_read_in_two_ways_is_not_passed_on(raw):
    async with passing(saying(HELLO)) as (server, backend):
        status = status_of(await exchange(server, raw))
        assert status // 100 == 4 or status == 501
        assert backend.requests == []


async def test_a_target_that_is_a_whole_url_names_a_path_and_nothing_else():
    async with passing(saying(HELLO)) as (server, backend):
        received = await exchange(server, request("GET", "http://evil.example/a%20b?c=d"))
        assert status_of(received) == 200
        assert backend.requests[0][0].target == b"/a%20b?c=d"
        assert dict(backend.fields())[b"host"] == b"localhost:%d" % backend.port
        received = await exchange(server, request("GET", "http://evil.example/1.1/date"))
        assert b"iso" in received
        for method, target in (("CONNECT", "evil.example:443"), ("TRACE", "/x")):
            assert status_of(await exchange(server, request(method, target))) == 405
        assert len(backend.requests) == 1


async def test_websockets_are_never_passed_on():
    upgrade = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA==")
    async with passing(saying(HELLO)) as (server, backend):
        assert status_of(await exchange(server, request("GET", "/x", *upgrade))) != 200
        later = request("GET", "/first", close=False) + request("GET", "/x", *upgrade)
        received = await exchange(server, later)
        assert received.count(b"HTTP/1.1 ") == 2
        assert b"HTTP/1.1 400" in received
        assert len(backend.requests) == 1


async def test_an_upstream_that_is_down_is_one_line_in_the_log(caplog):
    caplog.set_level(logging.WARNING)
    dead = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = dead[0].socket.getsockname()[1]
    await dead[0].aclose()
    config = ServerConfig(apps=[APP], port=0, upstream=f"http://127.0.0.1:{port}")
    async with open_server(config) as server:
        for _ in range(3):
            received = await exchange(
                server, request("GET", "/x?key=hush-hush", "X-LC-Key: hush-hush")
            )
            assert status_of(received) == 502
            assert json_of(received)["code"] == 1
            assert b"access-control-allow-origin: *" in received
        told = [one for one in caplog.records if "the upstream failed" in one.getMessage()]
        assert len(told) == 1
    assert "hush-hush" not in caplog.text


async def test_an_upstream_that_is_slow_times_out():
    async def never(_backend, _stream, _request, _body):
        await trio.sleep_forever()

    async with passing(never, upstream_timeout=0.05) as (server, _):
        received = await exchange(server, request("GET", "/x"))
        assert status_of(received) == 504
        assert json_of(received)["code"] == 124
        assert server.metrics.limits["upstream_timeout"] == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\nnonsense\r\n",
    ],
)
async def test_an_answer_that_breaks_off_never_looks_whole(raw):
    async with (
        passing(saying(raw, close=True)) as (server, _),
        await trio.open_tcp_stream("127.0.0.1", server.port) as stream,
    ):
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
        client.send(h11.EndOfMessage())
        await stream.send_all(request("GET", "/x", close=False))
        body, whole = b"", False
        try:
            with trio.fail_after(30):
                while not isinstance(event := client.next_event(), h11.EndOfMessage):
                    if event is h11.NEED_DATA:
                        client.receive_data(await stream.receive_some())
                    elif isinstance(event, h11.Data):
                        body += bytes(event.data)
            whole = True
        except (h11.RemoteProtocolError, trio.BrokenResourceError):
            pass
        assert not whole
        assert body == b"short"


@pytest.mark.parametrize(
    "raw", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"]
)
async def test_an_answer_that_is_none_is_502(raw):
    async with passing(saying(raw, close=True)) as (server, _):
        received = await exchange(server, request("POST", "/x", body=b"1"))
        assert status_of(received) == 502


@pytest.mark.parametrize("raw", [request("GET", "/x"), request("POST", "/x", body=b"abc")])
async def test_a_client_that_hangs_up_cancels_the_request(raw):
    began = trio.Event()

    async def wait(backend, stream, _request, _body):
        began.set()
        if not await stream.receive_some():
            backend.hung_up.set()
        return True

    async with passing(wait) as (server, backend):
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        await stream.send_all(raw)
        with trio.fail_after(30):
            await began.wait()
            await stream.aclose()
            await backend.hung_up.wait()


async def test_a_client_that_hangs_up_within_its_body_cancels_the_request():
    async with passing(saying(HELLO)) as (server, backend):
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        await stream.send_all(
            b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n" + b"a" * 9000
        )
        await stream.aclose()
        with trio.fail_after(30):
            await backend.hung_up.wait()
        assert backend.requests == []


async def test_so_many_requests_at_once():
    began, go = trio.Event(), trio.Event()

    async def wait(_backend, stream, got, _body):
        if got.target == b"/slow":
            began.set()
            await go.wait()
        await stream.send_all(HELLO)

    async with passing(wait, upstream_requests=1) as (server, _), trio.open_nursery() as nursery:

        async def slow():
            assert status_of(await exchange(server, request("GET", "/slow"))) == 200
            # What is over makes room.
            assert status_of(await exchange(server, request("GET", "/x"))) == 200

        nursery.start_soon(slow)
        with trio.fail_after(30):
            await began.wait()
        assert status_of(await exchange(server, request("GET", "/x"))) == 503
        assert server.metrics.limits["upstream_requests"] == 1
        go.set()


async def test_a_connection_that_the_upstream_closed_meanwhile_costs_nobody_an_answer():
    async def once(_backend, stream, _request, _body):
        await stream.send_all(HELLO)
        # Wait for the next request on this connection, and close instead of answering it.
        await stream.receive_some()
        return True

    async with passing(once) as (server, _):
        for _ in range(2):
            received = await exchange(server, request("GET", "/x"))
            assert status_of(received) == 200


# Circles.


async def test_an_answer_that_comes_before_the_body_is_whole_is_passed_on():
    async def refuse(stream):
        await stream.receive_some()
        await stream.send_all(
            b"HTTP/1.1 413 Too Large\r\ncontent-length: 5\r\nconnection: close\r\n\r\nlarge"
        )
        await stream.send_eof()
        with suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                pass

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, refuse, 0)
        port = listeners[0].socket.getsockname()[1]
        config = ServerConfig(apps=[APP], port=0, upstream=f"http://localhost:{port}")
        async with open_server(config) as server:
            received = await exchange(server, request("POST", "/x", body=b"x" * 300_000))
            assert status_of(received) == 413
            assert received.endswith(b"large")
        nursery.cancel_scope.cancel()


async def test_a_client_that_waits_for_leave_to_send_gets_it():
    async with (
        passing(saying(HELLO)) as (server, backend),
        await trio.open_tcp_stream("127.0.0.1", server.port) as stream,
    ):
        head = request("POST", "/x", "Expect: 100-continue", "Content-Length: 3")
        await stream.send_all(head)
        with trio.fail_after(30):
            assert status_of(await stream.receive_some()) == 100
            await stream.send_all(b"abc")
            assert status_of(await stream.receive_some()) == 200
        assert backend.requests[0][1] == b"abc"
        assert b"expect" not in dict(backend.fields())


async def test_a_client_that_does_not_read_holds_the_upstream_up():
    sent, stuck = 0, trio.Event()

    async def endless(_backend, stream, _request, _body):
        nonlocal sent
        await stream.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        part = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        while True:
            with trio.move_on_after(0.5) as patience:
                await stream.send_all(part)
            if patience.cancelled_caught:
                stuck.set()
                await trio.sleep_forever()
            sent += len(part)
            assert sent < 200_000_000

    async with (
        passing(endless) as (server, _),
        await trio.open_tcp_stream("127.0.0.1", server.port) as stream,
    ):
        await stream.send_all(request("GET", "/x"))
        with trio.fail_after(60):
            await stuck.wait()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("http://{upstream}/1.1/classes/Post/7?a=1#b", "http://im.example.com/1.1/classes/Post/7?a=1#b"),
        ("http://{upstream}", "http://im.example.com"),
        ("HTTP://{upstream}/x", "http://im.example.com/x"),
        ("/1.1/classes/Post/7", "/1.1/classes/Post/7"),
        ("http://{upstream}.example.com/x", "http://{upstream}.example.com/x"),
        ("https://{upstream}/x", "https://{upstream}/x"),
        ("http://elsewhere.example.com/x", "http://elsewhere.example.com/x"),
        ("http://[", "http://["),
    ],
)  # fmt: skip
async def test_an_address_of_the_upstream_is_told_as_ours(said, told):
    async def answer(backend, stream, _request, _body):
        where = said.format(upstream=f"localhost:{backend.port}")
        await stream.send_all(
            f"HTTP/1.1 201 Created\r\nlocation: {where}\r\ncontent-length: 0\r\n\r\n".encode()
        )

    async with passing(answer) as (server, backend):
        raw = await exchange(server, request("POST", "/1.1/classes/Post", body=b"{}"))
        expected = told.format(upstream=f"localhost:{backend.port}")
        assert f"\r\nlocation: {expected}\r\n".encode() in raw


async def test_files_that_are_not_here_are_asked_of_the_upstream():
    async with passing(saying(HELLO)) as (server, backend):
        keys = ("X-LC-Id: test-app", "X-LC-Key: test-master,master")
        file = {"name": "logo.jpg", "url": "https://example.com/logo.jpg"}
        body = json.dumps(file).encode()
        made = json_of(await exchange(server, request("POST", "/1.1/files", *keys, body=body)))
        path = f"/1.1/files/{made['objectId']}"
        assert json_of(await exchange(server, request("GET", path, *keys)))["url"] == file["url"]
        assert backend.requests == []
        assert (await exchange(server, request("GET", "/1.1/files/x", *keys))).endswith(b"hello")
        raw = await exchange(server, request("DELETE", "/1.1/files/x", *keys, body=b"{}"))
        assert raw.endswith(b"hello")
        assert [body for _, body in backend.requests] == [b"", b"{}"]
        raw = await exchange(server, request("GET", "/1.1/files/x", "X-LC-Id: test-app"))
        assert status_of(raw) == 401
        same = f"/1.1/classes/_File/{made['objectId']}"
        assert json_of(await exchange(server, request("GET", same, *keys)))["url"] == file["url"]
        for method, rest in (("GET", "?limit=1"), ("PUT", "/x"), ("DELETE", "/x")):
            raw = await exchange(server, request(method, f"/1.1/classes/_File{rest}", *keys))
            assert raw.endswith(b"hello")
