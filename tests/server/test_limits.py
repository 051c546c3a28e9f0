"""Every limit can be set, answers with its code, and is counted."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path

import attrs
import pytest
import trio

from tests.server.gateway.world import (
    HANDSHAKE,
    conversation_of,
    direct,
    error_of,
    masked,
    opening,
    peer_of,
    session,
    world,
)
from trio_realtime.server import App, Enforcement, Limits
from trio_realtime.server.limits import network_of
from trio_realtime.server.rules.signatures import login_string, sign
from trio_realtime.testing import open_server
from trio_realtime.transport import TransportClosed
from trio_realtime.wire import (
    AckCommand,
    CommandType,
    ConvCommand,
    GenericCommand,
    JsonObjectMessage,
    LogsCommand,
    OpType,
    ReadCommand,
    encode,
)


def reached(server):
    """The limits that were reached, as the metrics tell."""
    return dict(server.stats().metrics.limits)


async def raw(server, *parts):
    """All that the server says to these bytes, until it closes."""
    stream = await server.connect()
    for part in parts:
        await stream.send_all(part)
    answer = b""
    with trio.move_on_after(3600):
        while data := await stream.receive_some():
            answer += data
    await stream.aclose()
    return answer


def where(condition):
    text = JsonObjectMessage(data=json.dumps(condition))
    return GenericCommand(
        cmd=CommandType.CONV, op=OpType.QUERY, conv_message=ConvCommand(where=text)
    )


def nested(depth):
    value = 1
    for _ in range(depth):
        value = {"a": value}
    return value


async def test_time_to_send_a_head(clock):
    async with world(limits=Limits(head_timeout=7)) as server:
        began = trio.current_time()
        assert b" 408 " in await raw(server, b"GET / HTTP/1.1\r\n")
        assert trio.current_time() - began >= 7
        assert reached(server) == {"head_timeout": 1}


async def test_size_of_a_head(clock):
    async with world(limits=Limits(head_bytes=300)) as server:
        assert b" 431 " in await raw(server, b"GET / HTTP/1.1\r\nX: " + b"x" * 400 + b"\r\n\r\n")
        assert reached(server) == {"head_bytes": 1}


async def test_size_of_a_body(clock):
    async with world(limits=Limits(body_bytes=10)) as server:
        head = b"POST /1.1/rtm/sign HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n"
        assert b" 413 " in await raw(server, head, b"x" * 11)
        assert reached(server) == {"body_bytes": 1}


async def test_size_of_a_stranger_s_body(clock):
    async with world(limits=Limits(stranger_body_bytes=10)) as server:
        for key, status in [
            ("test-key", b"413"),
            ("x,master", b"413"),
            ("test-master-key,master", b"401"),
        ]:
            head = (
                b"POST /1.1/rtm/sign HTTP/1.1\r\nHost: x\r\nX-LC-Id: test-app\r\nX-LC-Key: %s\r\n"
                b"Connection: close\r\nContent-Length: 21\r\n\r\n" % key.encode()
            )
            answer = await raw(server, head, b'{"session_token":"x"}')
            assert answer.startswith(b"HTTP/1.1 " + status)
        assert reached(server) == {"stranger_body_bytes": 2}


async def test_time_to_send_a_body(clock):
    async with world(limits=Limits(body_timeout=7)) as server:
        head = b"POST /1.1/rtm/sign HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n"
        assert b" 408 " in await raw(server, head)
        assert reached(server) == {"body_timeout": 1}


async def test_size_of_a_file(clock):
    async with world(limits=Limits(file_bytes=10)) as server:
        body = json.dumps({"name": "x", "mime_type": "text/plain", "metaData": {"size": 11}})
        head = (
            f"POST /1.1/fileTokens HTTP/1.1\r\nHost: x\r\nX-LC-Id: {server.app_id}\r\n"
            f"X-LC-Key: {server.app_key}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        assert b" 413 " in await raw(server, head.encode(), body.encode())
        assert reached(server) == {"file_bytes": 1}


@pytest.mark.parametrize(
    ("limit", "status"), [("connections", b" 503 "), ("connections_per_address", b" 429 ")]
)
async def test_connections(limit, status, clock):
    async with world(limits=Limits(**{limit: 1})) as server, peer_of(server):
        assert status in await raw(server)
        assert reached(server) == {limit: 1}


async def test_time_to_log_in(clock):
    async with world(limits=Limits(login_timeout=7)) as server, peer_of(server) as peer:
        assert await peer.closed() == (4108, "LOGIN_TIMEOUT")
        assert reached(server) == {"login_timeout": 1}


async def test_time_without_a_frame(clock):
    async with world(limits=Limits(read_timeout=7)) as server, peer_of(server) as peer:
        await peer.login("Tom")
        assert await peer.closed() == (4107, "READ_TIMEOUT")
        assert reached(server) == {"read_timeout": 1}


async def test_size_of_a_frame(clock):
    async with world(limits=Limits(frame_bytes=100)) as server, peer_of(server) as peer:
        await peer.transport.send(b"x" * 101)
        assert (await peer.closed())[0] == 4109
        await trio.sleep(10)
        assert reached(server) == {"frame_bytes": 1}


async def test_bytes_that_wait_for_a_receiver(clock):
    async with world(limits=Limits(outbound_bytes=10_000)) as server, peer_of(server) as tom:
        slow = await server.connect()
        await slow.send_all(HANDSHAKE + masked(encode(opening(server.app_id, "Slow"))))
        await tom.login("Tom")
        cid = await conversation_of(tom, "Tom", "Slow")
        for _ in range(40):
            await tom.call(direct(cid, "x" * 4000))
        assert reached(server) == {"outbound_bytes": 1}


async def test_clients_on_a_connection(clock):
    async with world(limits=Limits(clients_per_connection=1)) as server, peer_of(server) as peer:
        await peer.login("Tom")
        assert error_of(await peer.open("Jerry")) == (4113, "APP_QUOTA_EXCEEDED")
        assert reached(server) == {"clients_per_connection": 1}


@pytest.mark.parametrize("limit", ["messages", "history", "commands"])
async def test_rates(limit, clock):
    limits = Limits(**{f"{limit}_per_minute": 3})
    async with world(limits=limits) as server, peer_of(server) as peer:
        await peer.login("Tom")
        cid = await conversation_of(peer, "Tom", "Jerry")
        asked = {
            "messages": lambda: direct(cid, "x"),
            "history": lambda: GenericCommand(
                cmd=CommandType.LOGS, logs_message=LogsCommand(cid=cid)
            ),
            "commands": lambda: session(OpType.QUERY, session_peer_ids=["Tom"]),
        }[limit]
        replies = [await peer.call(asked()) for _ in range(4)]
        last = replies[-1]
        code = last.ack_message.code if limit == "messages" else error_of(last)[0]
        assert code == 4116
        assert set(reached(server)) == {f"{limit}_per_minute"}


@pytest.mark.parametrize("numbered", [True, False])
async def test_messages_count_with_and_without_a_serial_id(numbered, clock):
    async with world(limits=Limits(messages_per_minute=5)) as server, peer_of(server) as peer:
        await peer.login("Tom")
        cid = await conversation_of(peer, "Tom", "Jerry")
        for _ in range(200):
            command = direct(cid, "x")
            await peer.send(peer.number(command) if numbered else command)
        await trio.sleep(5)
        assert server.stats().metrics.messages_total == 5
        assert reached(server) == {"messages_per_minute": 195}


async def test_acknowledgements_have_a_limit_of_their_own(clock):
    limits = Limits(commands_per_minute=3, acknowledgements_per_minute=10)
    async with world(limits=limits) as server, peer_of(server) as peer:
        await peer.login("Tom")
        cid = await conversation_of(peer, "Tom", "Jerry")
        for _ in range(15):
            await peer.send(GenericCommand(cmd=CommandType.ACK, ack_message=AckCommand(cid=cid)))
            await peer.send(GenericCommand(cmd=CommandType.READ, read_message=ReadCommand(cid=cid)))
        await trio.sleep(5)
        assert reached(server) == {"acknowledgements_per_minute": 20}


async def test_failed_logins_count_against_those_who_fail(clock):
    app = App("strict", "k", "m", enforce=Enforcement(login=True))
    limits = Limits(failed_logins_per_minute=3, commands_per_minute=3)
    async with world(apps=[app], limits=limits) as server:
        for _ in range(2):
            # Many against one id, and all from one address.
            async with peer_of(server, app_id="strict") as stranger:
                last = None
                with suppress(TransportClosed):
                    while True:
                        last = error_of(await stranger.open("Tom"))[0]
                assert last == 4116
                assert await stranger.closed() == (4116, "MESSAGE_SENT_QUOTA_EXCEEDED")
        async with peer_of(server, app_id="strict") as tom:
            now = time.time_ns() // 1_000_000
            signature = sign(app.master_key, login_string(app.id, "Tom", now, "n"))
            opened = await tom.open("Tom", t=now, n="n", s=signature)
            assert opened.op == OpType.OPENED


@pytest.mark.parametrize("depth", [3, 40])
async def test_depth_of_json(depth, clock):
    limits = Limits(json_depth=depth)
    async with world(limits=limits) as server, peer_of(server) as peer:
        await peer.login("Tom")

        def create(levels):
            attr = JsonObjectMessage(data=json.dumps({"attr": nested(levels - 1)}))
            conv = ConvCommand(m=["Tom"], attr=attr)
            return GenericCommand(cmd=CommandType.CONV, op=OpType.START, conv_message=conv)

        assert (await peer.call(create(depth))).op == OpType.STARTED
        assert reached(server) == {}
        assert error_of(await peer.call(create(depth + 1)))[0] == 4301
        assert error_of(await peer.call(where(nested(depth + 1))))[0] == 4310
        assert reached(server) == {"json_depth": 2}


async def test_cost_of_a_regular_expression(clock):
    dear = where({"name": {"$regex": "(a|b)*c.*d"}})
    async with world(limits=Limits(regex_steps=100)) as server, peer_of(server) as peer:
        await peer.login("Tom")
        attr = JsonObjectMessage(data=json.dumps({"name": "x" * 50}))
        conv = ConvCommand(m=["Tom"], attr=attr)
        await peer.call(GenericCommand(cmd=CommandType.CONV, op=OpType.START, conv_message=conv))
        assert error_of(await peer.call(dear))[0] == 4310
        assert reached(server) == {"regex_steps": 1}


async def test_time_of_a_query():
    async with open_server(limits=Limits(query_seconds=0)) as server, peer_of(server) as peer:
        await peer.login("Tom")
        for _ in range(30):
            await conversation_of(peer, "Tom", "Jerry")
        condition = {"$or": [{"name": {"$regex": f"{n}$"}} for n in range(20)]}
        assert error_of(await peer.call(where(condition)))[0] == 4310
        assert reached(server) == {"query_seconds": 1}


async def test_limits_are_in_the_metrics(clock):
    async with world(limits=Limits(head_bytes=300)) as server:
        await raw(server, b"GET / HTTP/1.1\r\nX: " + b"x" * 400 + b"\r\n\r\n")
        head = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert b'trio_realtime_limits_total{limit="head_bytes"} 1\n' in await raw(server, head)


def test_every_limit_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "server.md").read_text("utf-8")
    missing = [name for name in attrs.fields_dict(Limits) if f"`{name}`" not in page]
    assert missing == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::1%eth0", True),
        ("", "", True),
    ],
)
def test_one_user_of_ipv6_has_one_network_address(one, other, same):
    assert (network_of(one) == network_of(other)) is same
