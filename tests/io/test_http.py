"""What HTTP costs a connection."""

from __future__ import annotations

import asyncio
import ssl

import pytest
import trio
import trio.testing
import trustme

from tests.client.world import world
from trio_realtime import ConnectFailed, RoutingError, open_client
from trio_realtime._io.http import Http
from trio_realtime.server import App, ServerConfig
from trio_realtime.server import open_server as open_real_server


async def test_certificates_are_not_loaded_by_who_never_speaks_tls(monkeypatch, autojump_clock):
    def load(*_args, **_kwargs):
        pytest.fail("certificates were loaded")

    for name in ("load_default_certs", "load_verify_locations"):
        monkeypatch.setattr(ssl.SSLContext, name, load)
    async with world("Tom") as (w, tom):
        w.server.drop_connections("Tom")
        chat = await tom.create_conversation(["Jerry"])
        assert await tom.get_conversation(chat.id)


def trusted(client):
    return client._transport._pool._ssl_context


async def broken_stream(host, port):
    """The server hangs up in the middle of its answer."""
    client, server = trio.testing.memory_stream_pair()
    if port == 1:
        raise ConnectionRefusedError(f"nobody listens at {host}")
    await server.send_all(
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{" if port == 2 else b"?\r\n\r\n"
    )
    await server.send_eof()
    return client


@pytest.mark.parametrize(
    ("port", "why"),
    [(1, "nobody listens at there"), (2, "peer closed"), (3, "illegal status line")],
)
async def test_over_streams_of_ones_own_a_failure_says_why(port, why, autojump_clock):
    http = Http(open_stream=broken_stream)
    with pytest.raises(ConnectFailed, match=why):
        await http.json("GET", f"http://there:{port}/")
    await http.aclose()


async def test_a_secure_url_is_verified_also_after_a_plain_one():
    http = Http()
    for url in ("http://127.0.0.1:9/", "https://127.0.0.1:9/"):
        with pytest.raises(ConnectFailed):
            await http.json("GET", url)
    plain, secure = trusted(http._plain), trusted(http._client)
    assert plain.verify_mode is secure.verify_mode is ssl.CERT_REQUIRED
    assert secure.get_ca_certs()
    assert not plain.get_ca_certs()
    await http.aclose()


@pytest.mark.parametrize("given", ["https", "http"])
async def test_what_is_wrong_with_tls_is_said(given):
    """A certificate that nobody vouches for, or a server that speaks no TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    app = App("app-with-tls", "key", "master")
    tls = context if given == "https" else None
    async with open_real_server(ServerConfig(apps=[app], port=0, tls=tls)) as server:
        url = server.url.replace("http://", "https://")
        with pytest.raises(RoutingError) as caught:
            async with open_client("Tom", app_id=app.id, app_key=app.key, server=url):
                pytest.fail("let in")
    said = "certificate of the server is not trusted" if tls else "or is it an http:// URL?"
    assert said in str(caught.value)


def test_without_trio_the_way_is_named():
    async def main():
        async with open_client("Tom", app_id="app", app_key="key", server="http://127.0.0.1:1"):
            pytest.fail("let in")

    with pytest.raises(RuntimeError, match=r"trio\.run\(main\)"):
        asyncio.run(main())
