"""From a URL to an open WebSocket, or to an error that says what is wrong."""

from __future__ import annotations

import gc
import socket
import ssl
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme

from tests.transport.peer import NAME, Peer, Wire, binary, close, collect, linked, serve_quietly
from trio_realtime.transport import ConnectError, connect
from trio_realtime.transport import _connect as connect_module
from trio_realtime.transport._open import Endpoint, parse_url
from trio_realtime.transport._trio_websocket import TrioWebsocketLink
from trio_realtime.transport._websockets_core import WebsocketsLink


async def test_the_request_is_what_the_url_says(implementation):
    async with linked(
        implementation,
        url="ws://Example.org:8080/a/b?x=1&y=%20z",
        extra_headers=[("Origin", "https://app.example"), ("X-Two", "2")],
    ) as (transport, peer):
        headers = peer.request.headers
        assert peer.request.path == "/a/b?x=1&y=%20z"
        assert headers["Host"] == "example.org:8080"
        assert headers.get_all("Sec-WebSocket-Protocol") == [NAME]
        assert "Sec-WebSocket-Extensions" not in headers
        assert headers["Origin"] == "https://app.example"
        assert headers["X-Two"] == "2"
        assert transport.subprotocol == NAME


async def test_no_subprotocol(implementation):
    client, server = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(_answer, server, SWITCH, offered=None))
        async with _connect(client, implementation, subprotocol=None) as transport:
            assert transport.subprotocol is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://h", Endpoint(False, "h", 80, "/", "")),
        ("wss://h/", Endpoint(True, "h", 443, "/", "")),
        ("ws://[::1]:9/p?q", Endpoint(False, "::1", 9, "/p", "q")),
        ("ws://h/消息?a=信", Endpoint(False, "h", 80, "/%E6%B6%88%E6%81%AF", "a=%E4%BF%A1")),
        ("wss://例子.cn", Endpoint(True, "xn--fsqu00a.cn", 443, "/", "")),
        ("ws://h/a b", Endpoint(False, "h", 80, "/a%20b", "")),
    ],
)
async def test_urls(url, expected):
    assert parse_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h",
        "http://h",
        "ws://",
        "ws:///p",
        "ws://h:70000",
        "ws://u:p@h",
        "ws://h/#f",
        "ws://[::1",
    ],
)
async def test_bad_urls(url):
    with pytest.raises(ConnectError):
        async with connect(url, subprotocol=NAME):
            pass


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("ws://h", "h"),
        ("ws://h:443", "h:443"),
        ("wss://h:443", "h"),
        ("ws://[::1]:9", "[::1]:9"),
        ("wss://[::1]", "[::1]"),
    ],
)
async def test_host_header(url, host):
    assert parse_url(url).host_header == host


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_tcp(implementation, host):
    try:
        (listener,) = await trio.open_tcp_listeners(0, host=host)
    except OSError:
        pytest.skip("no IPv6 here")
    heard = []
    async with listener, trio.open_nursery() as nursery:
        port = listener.socket.getsockname()[1]

        async def serve():
            async with await listener.accept() as stream:
                peer = Peer(stream)
                await peer.accept()
                heard.extend(await peer.hear_messages(1))
                await peer.say(binary(b"hello yourself"))
                await peer.serve()

        nursery.start_soon(serve)
        name = f"[{host}]" if ":" in host else host
        url = f"ws://{name}:{port}/"
        async with connect(url, subprotocol=NAME, implementation=implementation) as transport:
            await transport.send(b"hello")
            assert await collect(transport, 1) == [b"hello yourself"]
        assert heard == [b"hello"]


# Refusals. The answer to the key of the request is filled in where it matters.

SWITCH = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
)


async def _answer(stream, template, *, more="", then="listen", offered=NAME):
    peer = Peer(stream, offered)
    (request,) = await peer.hear(1)
    accept = peer._protocol.accept(request).headers.get("Sec-WebSocket-Accept", "")
    await stream.send_all(template.format(accept=accept, more=more).encode())
    if then == "close":
        await stream.aclose()
        return
    try:
        while data := await stream.receive_some(65536):
            if data[:1] == b"\x88":
                await stream.send_all(close(1000))
    except trio.BrokenResourceError:
        pass
    await stream.aclose()


def _connect(stream, implementation, *, subprotocol=NAME, **options):
    async def open_stream(_host, _port):
        return stream

    return connect(
        "ws://server/",
        subprotocol=subprotocol,
        implementation=implementation,
        open_stream=open_stream,
        **options,
    )


@pytest.mark.parametrize(
    ("template", "more", "status"),
    [
        ("HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad", "", 400),
        ("HTTP/1.1 404 Not Found\r\n\r\n", "", 404),
        ("HTTP/1.1 503 Busy\r\nContent-Length: 1000000\r\n\r\n", "", 503),
        ("HTTP/1.1 302 Found\r\nLocation: ws://else\r\n\r\n", "", 302),
        ("HTTP/1.1 200 OK\r\n\r\n", "", 200),
        (SWITCH.replace("{accept}", "bm9wZQ=="), "", None),
        (SWITCH.replace("Upgrade: websocket\r\n", ""), "", None),
        (SWITCH, "", None),
        (SWITCH, "Sec-WebSocket-Protocol: lc.json.3\r\n", None),
        (SWITCH, "Sec-WebSocket-Extensions: permessage-deflate\r\n", None),
        ("SSH-2.0-OpenSSH_9.6\r\n\r\n", "", None),
        ("HTTP/1.1 101\r\n: \r\n\r\n", "", None),
        ("\x00\x00\r\n\r\n", "", None),
    ],
)
async def test_servers_that_decline(implementation, autojump_clock, template, more, status):
    client, server = trio.testing.memory_stream_pair()
    wire = Wire(client)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(_answer, server, template, more=more))
        with pytest.raises(ConnectError) as caught:
            async with _connect(wire, implementation):
                pytest.fail("connected")
        assert caught.value.status == status
        assert wire.closed
    assert trio.current_time() == 0


def open_files():
    return len(list(Path("/dev/fd").iterdir()))


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="open files cannot be counted")
async def test_a_failed_handshake_leaves_no_socket_open(implementation):
    async def decline(stream):
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 404 Not Found\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, decline, 0, host="127.0.0.1"))
        url = f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        gc.collect()
        gc.disable()
        try:
            before = open_files()
            for _ in range(5):
                with pytest.raises(ConnectError):
                    async with connect(url, subprotocol=NAME, implementation=implementation):
                        pytest.fail("connected")
            await trio.testing.wait_all_tasks_blocked()
            assert open_files() == before
        finally:
            gc.enable()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("template", ["", "HTTP/1.1 101 Switching Protocols\r\nUpgra"])
async def test_servers_that_hang_up(implementation, autojump_clock, template):
    client, server = trio.testing.memory_stream_pair()
    wire = Wire(client)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(_answer, server, template, then="close"))
        with pytest.raises(ConnectError):
            async with _connect(wire, implementation):
                pytest.fail("connected")
        assert wire.closed
    assert trio.current_time() == 0


async def test_a_server_that_breaks_the_connection(implementation, autojump_clock):
    client, server = trio.testing.memory_stream_pair()
    wire = Wire(client)
    await server.aclose()
    with pytest.raises(ConnectError):
        async with _connect(wire, implementation):
            pytest.fail("connected")
    assert wire.closed


async def test_a_silent_server_is_given_up(implementation, autojump_clock):
    client, _server = trio.testing.memory_stream_pair()
    wire = Wire(client)
    with pytest.raises(ConnectError, match="7 seconds"):
        async with _connect(wire, implementation, connect_timeout=7):
            pytest.fail("connected")
    assert trio.current_time() == 7
    assert wire.closed


async def test_the_time_limit_covers_opening_the_stream(implementation, autojump_clock):
    async def open_stream(_host, _port):
        await trio.sleep_forever()

    with pytest.raises(ConnectError, match="20 seconds"):
        async with connect(
            "ws://h", subprotocol=NAME, implementation=implementation, open_stream=open_stream
        ):
            pytest.fail("connected")


async def test_cancelling_the_handshake(implementation, autojump_clock):
    client, _server = trio.testing.memory_stream_pair()
    wire = Wire(client)
    with trio.move_on_after(3) as scope:
        async with _connect(wire, implementation):
            pytest.fail("connected")
    assert scope.cancelled_caught
    assert trio.current_time() == 3
    assert wire.closed


async def test_an_answer_at_the_very_last_moment(implementation, autojump_clock):
    client, server = trio.testing.memory_stream_pair()
    wire = Wire(client)

    async def time_is_up():
        # The answer is there, and the deadline is over before the client gets to run.
        trio.testing.memory_stream_pump(server.send_stream, client.receive_stream)
        autojump_clock.jump(20)

    async def answer():
        server.receive_stream.receive_some_hook = trio.testing.wait_all_tasks_blocked
        peer, pump = Peer(server), server.send_stream.send_all_hook
        server.send_stream.send_all_hook = time_is_up
        await peer.accept()
        server.send_stream.send_all_hook = pump
        await serve_quietly(peer)

    with trio.move_on_after(100) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            with suppress(ConnectError):
                async with _connect(wire, implementation, connect_timeout=20) as transport:
                    await transport.send(b"either it works, or it says that it does not")
    assert trio.current_time() == 20
    assert not scope.cancelled_caught
    assert wire.closed


async def test_nobody_listens(implementation):
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        port = placeholder.getsockname()[1]
        with pytest.raises(ConnectError, match=f"127.0.0.1:{port}") as caught:
            async with connect(
                f"ws://127.0.0.1:{port}/", subprotocol=NAME, implementation=implementation
            ):
                pytest.fail("connected")
    assert caught.value.status is None


# The block.


@pytest.mark.parametrize(
    "error", [ValueError("x"), ExceptionGroup("user's", [KeyError(1)]), KeyboardInterrupt()]
)
async def test_exceptions_of_the_block_pass_unchanged(implementation, error):
    client, server = trio.testing.memory_stream_pair()
    more = f"Sec-WebSocket-Protocol: {NAME}\r\n"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(_answer, server, SWITCH, more=more))
        with pytest.raises(type(error)) as caught:
            async with _connect(client, implementation):
                raise error
        assert caught.value is error


async def test_a_cancelled_block_is_just_cancelled(implementation):
    with trio.CancelScope() as scope:
        async with linked(implementation) as (transport, _peer):
            scope.cancel()
            await transport.receive()
    assert scope.cancelled_caught


# TLS.


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


async def _secure_server(listener, authority, name):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    stream = trio.SSLStream(await listener.accept(), context, server_side=True)
    peer = Peer(stream)
    try:
        await peer.accept()
        (message,) = await peer.hear_messages(1)
        await peer.say(b"\x82\x05", message)
        await peer.serve()
    except (trio.BrokenResourceError, AssertionError):
        pass
    finally:
        await trio.aclose_forcefully(stream)


@pytest.mark.parametrize(
    ("name", "trusted", "works"),
    [("localhost", True, True), ("localhost", False, False), ("elsewhere.example", True, False)],
)
async def test_tls_is_verified(implementation, authority, name, trusted, works):
    context = ssl.create_default_context()
    if trusted:
        authority.configure_trust(context)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def open_stream(_host, port):
        return await trio.open_tcp_stream("127.0.0.1", port)

    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(_secure_server, listener, authority, name)
        opening = connect(
            f"wss://localhost:{listener.socket.getsockname()[1]}/",
            subprotocol=NAME,
            ssl_context=context,
            implementation=implementation,
            open_stream=open_stream,
        )
        if works:
            async with opening as transport:
                await transport.send(b"tweet")
                assert await transport.receive() == [b"tweet"]
        else:
            with pytest.raises(ConnectError, match=r"(?i)certificate"):
                async with opening:
                    pytest.fail("connected")


async def test_the_default_context_trusts_not_just_anybody(implementation, authority):
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(_secure_server, listener, authority, "127.0.0.1")
        with pytest.raises(ConnectError, match=r"(?i)certificate"):
            async with connect(
                f"wss://127.0.0.1:{listener.socket.getsockname()[1]}/",
                subprotocol=NAME,
                implementation=implementation,
            ):
                pytest.fail("connected")


async def test_the_time_limit_covers_tls(implementation, autojump_clock):
    client, _server = trio.testing.memory_stream_pair()
    wire = Wire(client)

    async def open_stream(_host, _port):
        return wire

    with pytest.raises(ConnectError, match="20 seconds"):
        async with connect(
            "wss://h", subprotocol=NAME, implementation=implementation, open_stream=open_stream
        ):
            pytest.fail("connected")
    assert wire.closed


# The choice.


@pytest.mark.parametrize(
    ("asked", "installed", "expected"),
    [
        ("auto", True, WebsocketsLink),
        ("auto", False, TrioWebsocketLink),
        ("websockets", True, WebsocketsLink),
        ("trio-websocket", True, TrioWebsocketLink),
    ],
)
async def test_the_implementation(monkeypatch, asked, installed, expected):
    if not installed:
        monkeypatch.setattr(connect_module, "find_spec", lambda _name: None)
    async with linked(asked) as (transport, _peer):
        assert type(transport) is expected
