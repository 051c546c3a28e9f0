"""The real program runs out of disk or descriptors, says so, and recovers by itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
import trio

from tests.cli.program import APP, Program, command
from tests.server.gateway.world import PROTOBUF, Peer, conversation_of, direct, error_of
from trio_realtime.transport import connect
from trio_realtime.wire import CommandType

if sys.platform != "linux":
    pytest.skip("limits of another process are set on Linux", allow_module_level=True)

import resource

KEYS = {"X-LC-Id": "demo", "X-LC-Key": "demo-key"}


def descriptors():
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


class Limited:
    """The limit of a running program, as long as the block lasts."""

    def __init__(self, program, kind, soft):
        self._arguments = program.process.pid, kind
        self._soft = soft

    def __enter__(self):
        self._before = resource.prlimit(*self._arguments)
        resource.prlimit(*self._arguments, (self._soft, self._before[1]))

    def __exit__(self, *_):
        resource.prlimit(*self._arguments, self._before)


async def answered(url, method="GET", path="/healthz", **options):
    async with httpx2.AsyncClient(timeout=60) as client:
        reply = await client.request(method, url + path, **options)
    return reply.status_code, reply.json()


async def until_healthy(url):
    with trio.fail_after(60):
        while (await answered(url)) != (200, {"status": "ok"}):  # noqa: ASYNC110 - of a process
            await trio.sleep(0.1)


async def test_a_full_disk(tmp_path):
    tmp_path.chmod(0o700)
    async with Program("--data", tmp_path, "--app", APP) as program:
        url = program.url
        token = {"path": "/1.1/fileTokens", "headers": KEYS, "json": {"name": "a.txt"}}
        async with connect(url.replace("http", "ws"), subprotocol=PROTOBUF) as transport:
            peer = Peer(transport, "demo")
            await peer.login("Tom")
            cid = await conversation_of(peer, "Tom", "Jerry")
            assert (await peer.call(direct(cid, "before"))).ack_message.code is None
            with Limited(program, resource.RLIMIT_FSIZE, 0):
                for _ in range(50):
                    ack = (await peer.call(direct(cid, "during"))).ack_message
                    assert (ack.code, ack.reason) == (4200, "INTERNAL_ERROR")
                assert error_of(await peer.open("Jerry")) == (4200, "INTERNAL_ERROR")
                status, health = await answered(url)
                assert (status, health["status"]) == (503, "failing")
                (problem,) = health["problems"]
                assert problem.startswith("the database cannot be written: ")
                status, refused = await answered(url, "POST", **token)
                assert (status, refused["code"]) == (507, 507)
            await until_healthy(url)
            assert (await peer.call(direct(cid, "after"))).ack_message.code is None
            await peer.login("Jerry")
            unread = await peer.push(CommandType.UNREAD)
            assert [(c.unread, c.data) for c in unread.unread_message.convs] == [(2, "after")]
            assert (await answered(url, "POST", **token))[0] == 201
        program.process.terminate()
        status, errors = await program.ended()
    assert status == 0
    first, *rest = errors.splitlines()
    assert first.startswith("the database failed once: OperationalError: ")
    assert len(rest) <= 1  # the count, at the end
    assert all(line.startswith("the database failed 5") for line in rest)


async def test_no_descriptors_left(tmp_path):
    tmp_path.chmod(0o700)
    async with Program("--data", tmp_path, "--app", APP) as program, trio.open_nursery() as nursery:
        url = program.url
        port = int(url.rpartition(":")[2])
        async with connect(url.replace("http", "ws"), subprotocol=PROTOBUF) as transport:
            peer = Peer(transport, "demo")
            await peer.login("Tom")
            cid = await conversation_of(peer, "Tom", "Jerry")
            opened = program.highest_descriptor()
            with Limited(program, resource.RLIMIT_NOFILE, opened + 1):
                idle = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(40)]
                status, health = await answered(url)
                assert status == 503
                assert health == {
                    "status": "failing",
                    "problems": ["no file descriptors are left: Too many open files"],
                }
                # Who is here already does not notice.
                assert (await peer.call(direct(cid, "here"))).ack_message.code is None
            for stream in idle:
                nursery.start_soon(stream.aclose)
            await until_healthy(url)
            async with connect(url.replace("http", "ws"), subprotocol=PROTOBUF) as another:
                await Peer(another, "demo").login("Jerry")
        program.process.terminate()
        status, errors = await program.ended()
    assert status == 0
    first, *rest = errors.splitlines()
    assert (
        first == "a connection could not be accepted once: OSError: [Errno 24] Too many open files"
    )
    assert len(rest) <= 1
    assert all(line.startswith("a connection could not be accepted ") for line in rest)


async def test_all_descriptors_that_are_permitted_are_used(tmp_path):
    ours = resource.getrlimit(resource.RLIMIT_NOFILE)
    # More than this process has open just now: it has to start the other one.
    soft = descriptors() + 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, ours[1]), ours[1]))
    try:
        async with Program("--data", tmp_path, "--app", APP) as program:
            soft, hard = resource.prlimit(program.process.pid, resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, ours)
    assert soft == hard == ours[1]


def test_a_start_on_a_full_disk_is_one_sentence_and_leaves_nothing_in_the_way(tmp_path):
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    result = subprocess.run(
        command("--port", 0, "--data", tmp_path),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert "cannot be written" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "app.json").exists()


async def test_an_end_on_a_full_disk_is_an_end(tmp_path):
    tmp_path.chmod(0o700)
    async with Program("--data", tmp_path, "--app", APP) as program:
        async with connect(program.url.replace("http", "ws"), subprotocol=PROTOBUF) as transport:
            peer = Peer(transport, "demo")
            await peer.login("Tom")
            cid = await conversation_of(peer, "Tom", "Jerry")
            limit = program.process.pid, resource.RLIMIT_FSIZE
            resource.prlimit(*limit, (0, resource.prlimit(*limit)[1]))
            assert (await peer.call(direct(cid, "lost"))).ack_message.code == 4200
        program.process.terminate()
        assert (await program.ended())[0] == 0
    async with (
        Program("--data", tmp_path, "--app", APP) as program,
        connect(program.url.replace("http", "ws"), subprotocol=PROTOBUF) as transport,
    ):
        peer = Peer(transport, "demo")
        await peer.login("Tom")
        assert (await peer.call(direct(cid, "kept"))).ack_message.code is None
