"""Where an upstream is: an origin, which is verified, and never this server itself."""

from __future__ import annotations

import ssl
from functools import partial

import pytest
import trio
import trustme

from tests.server.upstream_world import (
    APP,
    HELLO,
    Backend,
    exchange,
    passing,
    request,
    saying,
    status_of,
)
from trio_realtime.server import ServerConfig, ServerStartError, open_server
from trio_realtime.server.upstream import UpstreamUrl, leads_to


async def test_the_server_itself_is_no_upstream():
    config = ServerConfig(
        apps=[APP],
        port=0,
        public_url="https://im.example.com",
        upstream="https://IM.example.com:443",
    )
    with pytest.raises(ServerStartError, match="itself"):
        async with open_server(config):
            pass


async def test_the_port_listened_on_is_no_upstream():
    (trial,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = trial.socket.getsockname()[1]
    await trial.aclose()
    config = ServerConfig(apps=[APP], port=port, upstream=f"http://localhost:{port}")
    with pytest.raises(ServerStartError, match="itself"):
        async with open_server(config):
            pass
    # Nothing is left open.
    async with open_server(ServerConfig(apps=[APP], port=port)):
        pass


@pytest.mark.parametrize(
    ("host", "bound", "expected"),
    [
        ("localhost", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("192.0.2.1", "0.0.0.0", False),
        ("192.0.2.1", "127.0.0.1", False),
    ],
)
async def test_an_address_of_ours_is_known_by_any_name(host, bound, expected):
    assert await leads_to(UpstreamUrl.parse(f"http://{host}:99"), [(bound, 99)]) is expected
    assert not await leads_to(UpstreamUrl.parse(f"http://{host}:98"), [(bound, 99)])


async def test_a_circle_by_way_of_others_is_broken():
    async def back(backend, stream, got, body):
        async with await trio.open_tcp_stream("127.0.0.1", backend.front) as front:
            lines = [b"%b %b HTTP/1.1" % (got.method, got.target)]
            lines += [b"%b: %b" % one for one in backend.fields()]
            await front.send_all(b"\r\n".join([*lines, b"connection: close", b"", body]))
            while data := await front.receive_some():
                await stream.send_all(data)
        return True

    async with passing(back) as (server, backend):
        backend.front = server.port
        received = await exchange(server, request("GET", "/x"))
        assert status_of(received) == 508
        assert len(backend.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example",
        "https://",
        "https://user:hush@a.example",
        "https://a.example/path",
        "https://a.example?x=1",
        "https://a.example:99999",
        "https://a.example:0",
        "a.example",
        "https://a b.example",
        "https://a.example\r\n",
    ],
)
async def test_an_upstream_is_an_origin(url):
    with pytest.raises(ServerStartError) as caught:
        async with open_server(ServerConfig(apps=[APP], port=0, upstream=url)):
            pass
    assert "hush" not in str(caught.value)


# What else there is between two servers.


async def test_a_certificate_is_verified(monkeypatch, tmp_path):
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    for issuer, status in ((authority, 200), (stranger, 502)):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        issuer.issue_cert("localhost").configure_cert(context)
        async with trio.open_nursery() as nursery:
            backend = Backend(saying(HELLO))
            serve = partial(trio.serve_ssl_over_tcp, backend.serve, 0, context)
            listeners = await nursery.start(serve)
            port = listeners[0].transport_listener.socket.getsockname()[1]
            config = ServerConfig(apps=[APP], port=0, upstream=f"https://localhost:{port}")
            async with open_server(config) as server:
                assert status_of(await exchange(server, request("GET", "/x"))) == status
            nursery.cancel_scope.cancel()
