from __future__ import annotations

import base64
import io
import json
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager

import attrs
import httpx2
import pytest
import trio
import trustme

from trio_realtime import MessageReceived, RoutingError, TextMessage, open_client
from trio_realtime._cli.decode import shown
from trio_realtime._cli.recording import Ended, Opened, Recorded, from_fields
from trio_realtime._cli.tap_proxy import Proxy
from trio_realtime.server import App, ServerConfig
from trio_realtime.server import open_server as open_real_server
from trio_realtime.testing import open_server
from trio_realtime.transport import ConnectError, TransportClosed, connect
from trio_realtime.wire import CommandType, GenericCommand, SessionCommand, decode, encode

PATIENCE = 60
APP = App("demo-app", "demo-app-key", "demo-master-key")


class Tap:
    def __init__(self, url):
        self.url = url
        self.said = []
        self.record = io.StringIO()

    @property
    def ws_url(self):
        return self.url.replace("http", "ws", 1)

    def frames(self):
        return [line for line in self.lines() if isinstance(line, Recorded)]

    def lines(self):
        """What was recorded, also of connections."""
        return [from_fields(json.loads(line)) for line in self.record.getvalue().splitlines()]

    async def heard(self, text):
        """Wait until this was said."""
        with trio.fail_after(PATIENCE):
            while not any(text in line for line in self.said):  # noqa: ASYNC110 - prints tell nobody
                await trio.sleep(0.005)


@asynccontextmanager
async def tapping(origin):
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    tap = Tap(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}")
    with trio.fail_after(PATIENCE):
        async with (
            trio.open_nursery() as nursery,
            Proxy(origin, tap.said.append, tap.record) as proxy,
        ):
            nursery.start_soon(trio.serve_listeners, proxy.serve, listeners)
            yield tap
            nursery.cancel_scope.cancel()


def log_in(name, tap, **options):
    return open_client(name, app_id=APP.id, app_key=APP.key, server=tap.url, **options)


@pytest.mark.parametrize("dialect", ["protobuf", "base64", "json"])
async def test_clients_talk_through_it_with_nothing_but_another_url(dialect):
    async with open_server(apps=[APP]) as server, tapping(server.url) as tap:
        async with log_in("Tom", tap, dialect=dialect) as tom, log_in("Jerry", tap) as jerry:
            inbox = jerry.events(MessageReceived)
            chat = await tom.create_conversation(["Jerry"], name="Tom & Jerry")
            await tom.send(chat, TextMessage("耗子，起床！"))
            event = await anext(inbox)
            assert event.message.text == "耗子，起床！"
            assert [m.text async for m in tom.history(chat)] == ["耗子，起床！"]
            assert server.stats().connections == 2
        await tap.heard("[1] closed by the client with code 1000")
        await tap.heard("[2] closed by the client with code 1000")
    said = "\n".join(tap.said)
    assert said.count("session/open  ") == 2
    assert said.count("session/opened") == 2
    assert "起床" in said
    # The record says the same, and both directions of both connections are in it.
    assert "\n".join(shown(frame.line()) for frame in tap.frames()) in "\n".join(
        line
        for line in tap.said
        if "[http]" not in line and "connected to" not in line and "closed by" not in line
    )
    frames = tap.frames()
    assert {(f.connection, f.direction) for f in frames} == {
        (number, direction) for number in (1, 2) for direction in ("to-server", "to-client")
    }
    assert {f.dialect for f in frames if f.connection == 1} == {dialect}
    # Also when connections began and ended, and how.
    edges = {
        (type(edge), edge.connection, *attrs.astuple(edge)[2:])
        for edge in tap.lines()
        if not isinstance(edge, Recorded)
    }
    family = {"protobuf": "protobuf2", "base64": "proto2base64"}.get(dialect, dialect)
    assert edges == {
        (Opened, 1, f"lc.{family}.3"),
        (Opened, 2, "lc.protobuf2.3"),
        (Ended, 1, "client", 1000),
        (Ended, 2, "client", 1000),
    }
    assert shown(tap.lines()[0].line()).endswith(f"[1] connected, lc.{family}.3")


async def test_nothing_secret_is_shown_or_recorded():
    async with open_server(apps=[APP]) as server, tapping(server.url) as tap:
        async with log_in("Tom", tap) as tom:
            await tom.create_conversation(["Jerry"])
        async with httpx2.AsyncClient() as http:
            answer = await http.get(
                f"{tap.url}/1.1/rtm/notifications?client_id=Tom&session_token=my-token",
                headers={"X-LC-Id": APP.id, "X-LC-Key": f"{APP.master_key},master"},
            )
            assert answer.headers["content-type"].startswith("application/json")
        await tap.heard("notifications")
        await tap.heard("closed by")
    said = "\n".join(tap.said) + tap.record.getvalue()
    assert 'st: "***"' in said
    assert "X-LC-Key: ***,master" in said or "x-lc-key: ***,master" in said
    assert "client_id=Tom&session_token=***" in said
    for secret in (APP.key, APP.master_key, "my-token"):
        assert secret not in said
    tokens = [
        frame.command().session_message.st
        for frame in tap.frames()
        if frame.command().session_message is not None
    ]
    assert set(tokens) <= {None, "***"}
    assert "***" in tokens


async def test_frames_pass_byte_for_byte():
    """Also those that are no commands, and in both directions, and large ones."""
    async with echoing() as (url, arrived), tapping(url) as tap:
        odd = [b"\x00", encode(GenericCommand(cmd=CommandType.ECHO)) + b"\xf8\xff\x03\x01"]
        odd += [bytes(range(256)) * 300, b""]
        async with connect(f"{tap.ws_url}/any?x=1", subprotocol="lc.protobuf2.3") as client:
            for payload in odd:
                await client.send(payload)
            back = []
            while len(back) < len(odd):
                back += await client.receive()
        assert back == odd == arrived["payloads"]
        assert arrived["path"] == "/any?x=1"
        assert arrived["subprotocol"] == "lc.protobuf2.3"
        await tap.heard("[1] closed by the client")
    assert any("1 bytes that are no command" in line for line in tap.said)
    # What cannot be read may hold anything, and is not recorded.
    shown = [f.payload for f in tap.frames() if f.direction == "to-server"]
    assert shown == [b"***", odd[1], b"***", b"***"]


async def test_a_damaged_frame_gives_nothing_away():
    login = GenericCommand(
        cmd=CommandType.SESSION, session_message=SessionCommand(st="my-token", s="my-signature")
    )
    async with echoing() as (url, _), tapping(url) as tap:
        async with connect(tap.ws_url, subprotocol="lc.protobuf2.3") as client:
            await client.send(encode(login) + b"\x0a")
            await client.receive()
        async with connect(tap.ws_url, subprotocol="lc.json.3") as client:
            await client.send('{"cmd": "session", "st": "my-token", ')
            await client.receive()
        await tap.heard("[2] closed by the client")
    said = "\n".join(tap.said) + tap.record.getvalue()
    assert "bytes that are no command" in said
    assert "my-" not in said
    assert base64.b64encode(b"my-token")[:8].decode() not in said


async def test_the_token_of_an_upload_is_not_shown():
    async with open_server(apps=[APP]) as server, tapping(server.url) as tap:
        async with httpx2.AsyncClient() as http:
            await http.put(f"{tap.url}/uploads/{APP.id}/my-token?again=1", content=b"x")
        await tap.heard("uploads")
    said = "\n".join(tap.said)
    assert f"PUT /uploads/{APP.id}/***?again=1: 403" in said
    assert "my-token" not in said


async def test_a_token_in_the_url_of_a_websocket_is_not_shown():
    async with open_server() as server, tapping(server.url) as tap:
        url = f"{tap.ws_url}/?session_token=my-token"
        async with connect(url, subprotocol="lc.protobuf2.3"):
            await tap.heard("connected")
        said = "\n".join(tap.said)
    assert "session_token=***" in said
    assert "my-token" not in said


async def test_a_close_code_and_its_reason_pass():
    async with echoing(close=(4114, "UNPARSEABLE")) as (url, _), tapping(url) as tap:
        async with connect(tap.ws_url, subprotocol="lc.json.3") as client:
            await client.send("{}")
            (echo,) = await client.receive()
            assert echo == "{}"
            with pytest.raises(TransportClosed) as caught:
                await client.receive()
        assert (caught.value.code, caught.value.reason) == (4114, "UNPARSEABLE")
        await tap.heard("[1] closed by the server with code 4114, UNPARSEABLE")
        assert not any("closed by the client" in line for line in tap.said)


async def test_a_client_that_is_just_gone_is_just_gone_for_the_server():
    async with (
        open_server(apps=[APP]) as server,
        tapping(server.url) as tap,
        connect(tap.ws_url, subprotocol="lc.protobuf2.3", open_stream=kept) as client,
    ):
        await client.send(encode(GenericCommand(cmd=CommandType.ECHO, i=1)))
        (answer,) = await client.receive()
        assert decode(answer).i == 1
        KEPT.pop().socket.shutdown(socket.SHUT_RDWR)
        await tap.heard("[1] closed by the client without a close frame")
        with trio.fail_after(PATIENCE):
            while server.stats().connections:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.005)


async def test_a_server_that_is_just_gone_is_just_gone_for_the_client():
    async with open_server(apps=[APP]) as server, tapping(server.url) as tap:
        async with connect(tap.ws_url, subprotocol="lc.protobuf2.3") as client:
            await client.send(encode(GenericCommand(cmd=CommandType.ECHO, i=1)))
            await client.receive()
            assert server.drop_connections() == 1
            with pytest.raises(TransportClosed) as caught:
                await client.receive()
        assert caught.value.code == 1006
        await tap.heard("[1] closed by the server without a close frame")


async def test_refusals_and_missing_servers_are_told():
    async with open_server(apps=[APP]) as server, tapping(server.url) as tap:
        with pytest.raises(ConnectError) as caught:
            async with connect(tap.ws_url, subprotocol="morse"):
                pass
        assert caught.value.status == 400
        with pytest.raises(RoutingError):
            async with open_client("Tom", app_id="nobody's", app_key="x", server=tap.url):
                pass
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{probe.getsockname()[1]}"
        async with tapping(nowhere) as tap, httpx2.AsyncClient() as http:
            for path in ("/v1/route?appId=x", "/1.1/date"):
                answer = await http.get(tap.url + path)
                assert answer.status_code == 502
                assert nowhere in answer.json()["error"]
            with pytest.raises(ConnectError) as caught:
                async with connect(tap.ws_url, subprotocol="lc.protobuf2.3"):
                    pass
            assert caught.value.status == 502
        assert any("no connection to" in line for line in tap.said)


async def test_the_routers_lead_through_the_tap():
    async with open_server(apps=[APP]) as server, tapping(server.url) as tap:
        own = tap.url.removeprefix("http://")
        async with httpx2.AsyncClient() as http:
            route = (await http.get(f"{tap.url}/v1/route?appId={APP.id}")).json()
            hosts = (await http.get(f"{tap.url}/2/route?appId={APP.id}")).json()
            missing = await http.get(f"{tap.url}/nothing/here")
        assert route["server"].startswith(f"ws://{own}/")
        assert hosts["rtm_router_server"] == hosts["api_server"] == own
        assert missing.status_code == 404
        # What a client appends to the gateway's URL arrives.
        async with connect(f"{route['server']}?subprotocol=lc.json.3", subprotocol=None) as client:
            await client.send("{}")
            assert await client.receive() == ["{}"]


async def test_requests_with_bodies_pass():
    async with open_server(apps=[APP]) as server, tapping(server.url) as tap:
        async with httpx2.AsyncClient() as http:
            made = await http.post(
                f"{tap.url}/1.2/rtm/service-conversations",
                json={"name": "x" * 3000},
                headers={"X-LC-Id": APP.id, "X-LC-Key": f"{APP.master_key},master"},
            )
        assert made.status_code in {200, 201}, made.text


async def test_garbage_harms_only_its_own_connection():
    upgrade = (
        b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: lc.json.3\r\n\r\n"
    )
    garbage = [
        b"",
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET nowhere HTTP/1.1\r\n\r\n",
        b"GET /v1/route HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /v1/route?%zz\x00\xff HTTP/1.1\r\nHost: \xff\r\n\r\n",
        b"POST /1.1/x HTTP/1.1\r\nContent-Length: many\r\n\r\nbody",
        b"x" * 100_000,
        upgrade.replace(b"13", b"99"),
        upgrade + b"\xff\xff\xff\xff",
        upgrade + b"\x81\x01x",  # a client has to mask
        upgrade + b"\x81\x82\0\0\0\0\xff\xfe",  # no UTF-8
        upgrade + b"\x81\x82\0\0\0\0{}" + b"\x88\x82\0\0\0\0\x03\xed",  # closes with 1005
    ]
    async with open_server(apps=[APP]) as server, tapping(server.url) as tap:
        for data in garbage:
            stream = await trio.open_tcp_stream("127.0.0.1", int(tap.url.rpartition(":")[2]))
            async with stream:
                await stream.send_all(data)
                await stream.send_eof()
                try:
                    while await stream.receive_some():
                        pass
                except trio.BrokenResourceError:
                    pass  # rather than read all that, the tap hung up
        async with log_in("Tom", tap) as tom:
            assert await tom.online(["Tom"]) == ["Tom"]
        assert not [line for line in tap.said if "a connection failed" in line]


async def test_the_app_router_is_remembered_for_what_it_names():
    async with Proxy("https://router.test", print, None) as proxy:
        assert proxy._renamed("rtm_router_server", "rtm.test", "tap:1") == "tap:1"
        assert proxy._renamed("api_server", "router.test", "tap:1") == "tap:1"
        assert proxy._renamed("push_server", "push.test", "tap:1") == "push.test"
        assert proxy._renamed("ttl", 3600, "tap:1") == 3600
        assert proxy._origins == {"router": "https://rtm.test"}


KEPT = []


async def kept(host, port):
    KEPT.append(await trio.open_tcp_stream(host, port))
    return KEPT[-1]


@asynccontextmanager
async def echoing(close=None):
    """A server of another make, which sends back what it gets, and closes after the first if asked to."""
    from trio_websocket import serve_websocket

    arrived = {"payloads": []}

    async def serve(request):
        arrived["path"] = request.path
        arrived["subprotocol"] = request.proposed_subprotocols[0]
        socket = await request.accept(subprotocol=request.proposed_subprotocols[0])
        async with socket:
            while True:
                try:
                    payload = await socket.get_message()
                except Exception:  # noqa: BLE001 - the end, in whatever form
                    return
                arrived["payloads"].append(payload)
                await socket.send_message(payload)
                if close is not None:
                    await socket.aclose(*close)
                    return

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, serve, "127.0.0.1", 0, None)
        yield f"http://127.0.0.1:{server.port}", arrived
        nursery.cancel_scope.cancel()


# The program


def command(*arguments):
    return [sys.executable, "-m", "trio_realtime", "tap", *map(str, arguments)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "ftp://x"], "--to takes a URL such as http://127.0.0.1:8080, not 'ftp://x'."),
        (["--to", "http://h:x"], "--to takes a URL such as"),
        (["--to", "http://h/path"], "--to takes a URL such as"),
        (["--to", "http://h", "--port", "70000"], "There is no port 70000"),
        (["--to", "http://h", "--record", "/nowhere/at/all"], "/nowhere/at/all cannot be written"),
        (["--to", "http://h", "--host", "256.1.1.1"], "Cannot listen on 256.1.1.1:8081"),
    ],
)
def test_what_the_user_can_put_right_is_one_sentence(arguments, said):
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"trio-realtime: {said}")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_program_taps_a_tls_server_records_and_ends_at_a_signal(tmp_path, number):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    record = tmp_path / "session.jsonl"
    config = ServerConfig(apps=[APP], port=0, data=tmp_path / "data", tls=context)
    async with open_real_server(config) as server:
        to = server.url.replace("https", "wss", 1)
        program = await trio.lowlevel.open_process(
            command("--to", to, "--port", 0, "--record", record),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"SSL_CERT_FILE": str(tmp_path / "ca.pem"), "PYTHONIOENCODING": "utf-8"},
        )
        try:
            with trio.fail_after(PATIENCE):
                line = (await program.stdout.receive_some()).decode()
                url = line.split()[-1]
                async with open_client("Tom", app_id=APP.id, app_key=APP.key, server=url) as tom:
                    await tom.create_conversation(["Jerry"])
                    program.send_signal(number)
                    assert await program.wait() == 0
                complaint = await program.stderr.receive_some()
        finally:
            program.kill()
            await program.wait()
            await program.stdout.aclose()
            await program.stderr.aclose()
    assert complaint == b""
    assert record.stat().st_mode & 0o077 == 0
    said = [shown(line) for line in record.read_text("utf-8").splitlines()]
    assert any("session/opened" in text for text in said)
    assert any("conv/started" in text for text in said)
