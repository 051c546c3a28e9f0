from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys

import httpx2
import pytest
import trio
import trustme

from tests.cli.program import APP, Program, command
from tests.server.gateway.world import PROTOBUF, Peer, conversation_of, direct, error_of
from trio_realtime.transport import connect
from trio_realtime.wire import CommandType, ConvCommand, GenericCommand, JsonObjectMessage, OpType


def run(*arguments):
    """A start that must fail: status and what was said."""
    result = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in result.stderr
    return result.returncode, result.stderr.strip(), result.stdout


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_ends(tmp_path, sign):
    async with Program("--data", tmp_path, "--app", APP) as program:
        async with connect(program.url.replace("http", "ws"), subprotocol=PROTOBUF) as transport:
            peer = Peer(transport, "demo")
            await peer.login("Tom")
            program.process.send_signal(sign)
            await peer.push(CommandType.GOAWAY)
        assert await program.ended() == (0, "")


async def test_what_was_acknowledged_is_there_after_a_kill(tmp_path):
    async with Program("--data", tmp_path, "--app", APP) as program:
        async with connect(program.url.replace("http", "ws"), subprotocol=PROTOBUF) as transport:
            peer = Peer(transport, "demo")
            await peer.login("Tom")
            cid = await conversation_of(peer, "Tom", "Jerry")
            for n in range(20):
                ack = await peer.call(direct(cid, str(n)))
                assert ack.ack_message.code is None
            program.process.kill()
        await program.ended()
    async with (
        Program("--data", tmp_path, "--app", APP) as program,
        connect(program.url.replace("http", "ws"), subprotocol=PROTOBUF) as transport,
    ):
        peer = Peer(transport, "demo")
        await peer.login("Jerry")
        (unread,) = (await peer.push(CommandType.UNREAD)).unread_message.convs
        assert (unread.cid, unread.unread, unread.data) == (cid, 20, "19")


async def test_made_keys_are_kept(tmp_path):
    data = tmp_path / "new" / "data"
    seen = []
    for _ in range(2):
        async with Program("--data", data) as program:
            (app,) = program.ready["apps"]
            seen.append(app)
            async with httpx2.AsyncClient() as client:
                reply = await client.get(f"{program.url}/v1/route?appId={app['id']}")
            assert reply.status_code == 200
            program.process.send_signal(signal.SIGTERM)
            await program.ended()
    first, second = seen
    assert first.keys() == {"id", "key", "masterKey"}
    # A master key is shown once.
    assert second == {"id": first["id"], "key": first["key"]}


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
async def test_data_is_its_owners_alone(tmp_path):
    data = tmp_path / "data"
    async with Program("--data", data, "--app", APP) as program:
        headers = {"X-LC-Id": "demo", "X-LC-Key": "demo-key"}
        async with httpx2.AsyncClient(headers=headers) as client:
            announced = await client.post(f"{program.url}/1.1/fileTokens", json={"name": "a.txt"})
            upload = await client.put(announced.json()["upload_url"], content=b"private")
            assert upload.status_code == 200
        found = [data, *data.rglob("*")]
    assert any(path.suffix == ".sqlite3" for path in found)
    assert [path for path in found if path.exists() and path.stat().st_mode & 0o077] == []


async def test_a_directory_that_others_can_read_is_told(tmp_path):
    tmp_path.chmod(0o755)
    async with Program("--data", tmp_path, "--app", APP) as program:
        program.process.send_signal(signal.SIGTERM)
        status, errors = await program.ended()
    assert (status, len(errors.splitlines())) == (0, 1)
    assert "chmod 700" in errors


@pytest.mark.parametrize("enforce", [[], ["--enforce", "all"]])
async def test_an_open_door_to_the_public_is_told_once(tmp_path, enforce):
    tmp_path.chmod(0o700)
    arguments = ("--data", tmp_path, "--app", APP, "--host", "0.0.0.0", *enforce)
    async with Program(*arguments) as program:
        program.process.send_signal(signal.SIGTERM)
        status, errors = await program.ended()
    assert status == 0
    assert ("Anybody who reaches 0.0.0.0 can log in to the app demo" in errors) == (not enforce)
    assert len(errors.splitlines()) == (1 if enforce else 2)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--host", "127.0.0.1"], False),
        (["--host", "0.0.0.0"], True),
        (["--host", "0.0.0.0", "--public-url", "http://im.example.com"], True),
        (["--host", "0.0.0.0", "--public-url", "https://im.example.com"], False),
        (["--host", "0.0.0.0", "--tls"], False),
    ],
)
async def test_what_pages_on_https_meet_is_told_once(tmp_path, arguments, told):
    tmp_path.chmod(0o700)
    if "--tls" in arguments:
        pem, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        issue(trustme.CA(), pem, key)
        arguments = [*arguments[:-1], "--tls-cert", pem, "--tls-key", key]
    options = ("--data", tmp_path, "--app", APP, "--enforce", "login", *arguments)
    async with Program(*options) as program:
        program.process.send_signal(signal.SIGTERM)
        status, errors = await program.ended()
    assert status == 0
    lines = errors.splitlines()
    assert len(lines) == told
    assert all("Pages served over https cannot connect without TLS" in line for line in lines)


async def test_a_file_and_the_environment_say_what_options_say(tmp_path, monkeypatch):
    file = tmp_path / "app.toml"
    file.write_text(
        f"""
        data = {json.dumps(str(tmp_path / "data"))}
        [limits]
        login_timeout = 0.5
        [[apps]]
        id = "demo"
        key = "demo-key"
        master-key = "demo-master"
        enforce = ["login"]
        """
    )
    file.chmod(0o600)
    monkeypatch.setenv("TRIO_REALTIME_ORIGIN", "https://chat.example.com")
    async with Program("--config", file) as program:
        assert program.ready["apps"] == [{"id": "demo", "key": "demo-key"}]
        url = program.url.replace("http", "ws")
        headers = [("Origin", "https://evil.example.com")]
        async with connect(url, subprotocol=PROTOBUF, extra_headers=headers) as transport:
            assert error_of(await Peer(transport, "demo").open("Tom"))[0] == 4110
        async with connect(url, subprotocol=PROTOBUF) as transport:
            peer = Peer(transport, "demo")
            assert error_of(await peer.open("Tom"))[0] == 4102
            assert await peer.closed() == (4108, "LOGIN_TIMEOUT")
        program.process.send_signal(signal.SIGTERM)
        assert await program.ended() == (0, "")


async def test_files_with_keys_that_others_can_read_are_told(tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    keys, file = data / "app.json", tmp_path / "server.toml"
    keys.write_text('{"appId": "some-app-id", "appKey": "k", "masterKey": "m"}')
    file.write_text("")
    keys.chmod(0o644)
    file.chmod(0o640)
    monkeypatch.setenv("TRIO_REALTIME_CONFIG", str(file))
    monkeypatch.setenv("TRIO_REALTIME_ENFORCED", "all")
    async with Program("--data", data) as program:
        program.process.send_signal(signal.SIGTERM)
        status, errors = await program.ended()
    assert status == 0
    assert errors.splitlines() == [
        "trio-realtime: There is no option for TRIO_REALTIME_ENFORCED.",
        f"trio-realtime: {file} holds keys, and others on this machine can read it: chmod 600.",
        f"trio-realtime: {keys} holds keys, and others on this machine can read it: chmod 600.",
    ]


KEYS = {
    "a list": "[]",
    "nothing": "null",
    "no texts": '{"appId": null, "appKey": 1, "masterKey": []}',
    "empty": '{"appId": "", "appKey": "", "masterKey": ""}',
    "the same": '{"appId": "a", "appKey": "k", "masterKey": "k"}',
    "deep": "[" * 100_000,
    "half": '{"appId": "a"',
    "a line": '{"appId": "a\\nb", "appKey": "k", "masterKey": "m"}',
}


@pytest.mark.parametrize("kept", [*KEYS, "a pipe", "endless", "a directory"])
def test_keys_that_cannot_be_meant_are_one_sentence(tmp_path, kept):
    path = tmp_path / "app.json"
    if kept == "a pipe":
        os.mkfifo(path)
    elif kept == "endless":
        path.symlink_to("/dev/zero")
    elif kept == "a directory":
        path.mkdir()
    else:
        path.write_text(KEYS[kept])
    status, said, _ = run("--data", tmp_path)
    assert status == 2
    assert str(path) in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "keys",
    ["a:k:k", "a:\u4e2d:m", "a:k:" + "m" * 257, "a: k:m"],
    ids=["the same", "no header can hold it", "long", "space"],
)
def test_apps_that_cannot_be_meant_are_one_sentence(tmp_path, keys):
    status, said, _ = run("--data", tmp_path, "--app", keys)
    assert status == 2
    assert said.startswith("trio-realtime: --app: The ")
    assert "m" * 257 not in said


def test_a_wrong_file_is_one_sentence(tmp_path):
    file = tmp_path / "app.toml"
    file.write_text("speed = 3")
    status, errors, output = run("--config", file)
    assert (status, output) == (2, "")
    assert errors == f"trio-realtime: {file}: There is no option 'speed'."


async def test_given_master_keys_are_not_printed(tmp_path):
    process = subprocess.Popen(  # noqa: ASYNC220 - returns at once
        command("--port", 0, "--data", tmp_path, "--app", APP), stdout=subprocess.PIPE, text=True
    )
    try:
        line = await trio.to_thread.run_sync(process.stdout.readline)
        assert line.startswith("Serving on http://127.0.0.1:")
        assert "demo" not in line
    finally:
        process.kill()
        process.communicate()


async def test_tls(tmp_path):
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    pem, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.cert_chain_pems[0].write_to_path(pem)
    certificate.private_key_pem.write_to_path(key)
    arguments = ("--data", tmp_path, "--app", APP, "--tls-cert", pem, "--tls-key", key)
    async with Program(*arguments) as program:
        assert program.url.startswith("https://")
        with authority.cert_pem.tempfile() as ca:
            context = ssl.create_default_context(cafile=ca)
            async with httpx2.AsyncClient(verify=context) as client:
                reply = await client.get(f"{program.url}/v1/route?appId=demo")
        assert reply.json()["server"].startswith("wss://127.0.0.1:")


async def test_limits_origins_and_enforcement_are_options(tmp_path):
    options = ("--limit", "json_depth=1", "--limit", "login_timeout=0.5")
    options += ("--origin", "https://chat.example.com", "--enforce", "login")
    async with Program("--data", tmp_path, "--app", APP, *options) as program:
        url = program.url.replace("http", "ws")
        headers = [("Origin", "https://evil.example.com")]
        async with connect(url, subprotocol=PROTOBUF, extra_headers=headers) as transport:
            assert error_of(await Peer(transport, "demo").open("Tom"))[0] == 4110
        async with connect(url, subprotocol=PROTOBUF) as transport:
            peer = Peer(transport, "demo")
            assert error_of(await peer.open("Tom"))[0] == 4102
            assert await peer.closed() == (4108, "LOGIN_TIMEOUT")


async def test_conversations_are_for_members_where_asked(tmp_path):
    async with (
        Program("--data", tmp_path, "--app", APP, "--members-only") as program,
        connect(program.url.replace("http", "ws"), subprotocol=PROTOBUF) as transport,
    ):
        peer = Peer(transport, "demo")
        await peer.login("Tom")
        await peer.login("Jerry")
        cid = await conversation_of(peer, "Tom", client_id="Tom")
        where = JsonObjectMessage(data=json.dumps({"objectId": cid}))
        for who, found in (("Tom", 1), ("Jerry", 0)):
            query = GenericCommand(
                cmd=CommandType.CONV,
                op=OpType.QUERY,
                peer_id=who,
                conv_message=ConvCommand(where=where),
            )
            results = (await peer.call(query)).conv_message.results.data
            assert len(json.loads(results)) == found


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("speed=3", "There is no limit 'speed'; there are login_timeout, "),
        ("json_depth=deep", "The limit json_depth takes a whole number, not 'deep'."),
        ("read_timeout=", "The limit read_timeout takes a number, not ''."),
        ("connections=-1", "The limit connections cannot be -1."),
        ("connections=0", "The limit connections cannot be 0."),
        ("commands_in_flight=0", "The limit commands_in_flight cannot be 0."),
        ("query_seconds=inf", "The limit query_seconds cannot be inf."),
        ("body_bytes=9223372036854775808", "The limit body_bytes cannot be 9223372036854775808."),
    ],
)
def test_a_wrong_limit_is_one_sentence(tmp_path, limit, said):
    status, errors, _ = run("--data", tmp_path, "--limit", limit)
    assert status == 2
    assert errors.startswith(f"trio-realtime: {said}")


def issue(authority, pem, key):
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(pem)
    certificate.private_key_pem.write_to_path(key)
    key.chmod(0o600)


async def answers_with(program, authority):
    """Whether the server shows a certificate of this authority."""
    with authority.cert_pem.tempfile() as ca:
        context = ssl.create_default_context(cafile=ca)
        async with httpx2.AsyncClient(verify=context) as client:
            try:
                return (await client.get(f"{program.url}/healthz")).status_code == 200
            except httpx2.ConnectError:
                return False


async def test_a_renewed_certificate_is_read_at_sighup(tmp_path):
    old, new = trustme.CA(), trustme.CA()
    pem, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issue(old, pem, key)
    arguments = ("--data", tmp_path, "--app", APP, "--tls-cert", pem, "--tls-key", key)
    async with Program(*arguments) as program:
        assert await answers_with(program, old)
        pem.write_text("no certificate")
        await program.signalled(signal.SIGHUP)
        assert await answers_with(program, old)
        issue(new, pem, key)
        await program.signalled(signal.SIGHUP)
        assert await answers_with(program, new)
        assert not await answers_with(program, old)
        program.process.send_signal(signal.SIGTERM)
        status, _ = await program.ended()
    assert status == 0
    refused, renewed = program.said
    assert refused.endswith("The old certificate stays in use.\n")
    assert renewed == "trio-realtime: The TLS certificate was read again.\n"


async def test_sighup_without_tls_ends_nothing(tmp_path):
    async with Program("--data", tmp_path, "--app", APP) as program:
        await program.signalled(signal.SIGHUP)
        assert program.said == ["trio-realtime: There is no TLS certificate to read again.\n"]
        program.process.send_signal(signal.SIGTERM)
        assert await program.ended() == (0, "")


def test_a_used_port_is_one_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, errors, _ = run("--port", port, "--data", tmp_path)
    assert status == 2
    assert errors == f"trio-realtime: Port {port} of 127.0.0.1 is already in use."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--app", "only-an-id"], "--app takes ID:KEY:MASTERKEY"),
        (["--app", "a::c"], "--app takes ID:KEY:MASTERKEY"),
        (["--app", "a:b:c", "--app", "a:d:e"], "same id"),
        (["--port", "70000"], "There is no port 70000"),
        (["--public-url", "im.example.com"], "--public-url takes a URL such as https://"),
        (["--public-url", "wss://im.example.com"], "--public-url takes a URL such as https://"),
        (["--public-url", "https://"], "--public-url takes a URL such as https://"),
        (["--tls-key", "key.pem"], "--tls-key needs --tls-cert"),
        (["--tls-cert", "nowhere.pem"], "nowhere.pem"),
        (["--drain", "nan"], "--drain cannot be nan"),
        (["--drain", "-1"], "--drain cannot be -1"),
        (["--master-sign-validity", "nan"], "--master-sign-validity cannot be nan"),
        (["--master-sign-validity", "inf"], "--master-sign-validity cannot be inf"),
        (["--limit", "json_depth=501"], "The limit json_depth cannot be 501"),
        (["--host", "x" * 300], "cannot be the name of a host"),
        (["--host", "203.0.113.1"], "Cannot listen on 203.0.113.1:0"),
    ],
)
def test_wrong_arguments_are_one_sentence(tmp_path, arguments, said):
    status, errors, output = run("--port", 0, "--data", tmp_path / "data", *arguments)
    assert (status, output) == (2, "")
    assert said in errors
    assert len(errors.splitlines()) == 1
    assert errors.endswith(".")


def test_a_data_directory_that_is_a_file_is_one_sentence(tmp_path):
    path = tmp_path / "file"
    path.write_text("x")
    status, errors, _ = run("--port", 0, "--data", path)
    assert status == 2
    assert f"The data directory {path} cannot be used" in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("name", ["realtime.sqlite3", "app.json"])
def test_damaged_data_is_one_sentence(tmp_path, name):
    (tmp_path / name).write_text("this is not what it should be" * 100)
    status, errors, _ = run("--port", 0, "--data", tmp_path)
    assert status == 2
    assert name in errors or str(tmp_path) in errors
    assert len(errors.splitlines()) == 1


async def test_a_directory_in_use_is_one_sentence(tmp_path):
    async with Program("--data", tmp_path, "--app", APP):
        status, errors, _ = await trio.to_thread.run_sync(
            run, "--port", "0", "--data", tmp_path, "--app", APP
        )
    assert status == 2
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("missing", ["h11", "websockets"])
def test_a_missing_extra_is_one_sentence(tmp_path, missing):
    script = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from trio_realtime.__main__ import main\n"
        f"sys.exit(main(['serve', '--port', '0', '--data', {str(tmp_path)!r}]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 2
    assert "trio-realtime[server]" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_help_needs_nothing():
    result = subprocess.run(
        command("--help"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert result.returncode == 0
    assert "./trio-realtime-data" in result.stdout
