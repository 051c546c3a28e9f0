from __future__ import annotations

import json
import signal
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.cli.test_serve import APP, Program, run
from tests.server.gateway.world import PROTOBUF, Peer, conversation_of, direct
from trio_realtime.transport import connect


@contextmanager
def application(answers):
    """The application's server; yields its URL and the requests it got."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append((self.path, self.headers, json.loads(body)))
            status, answer = answers.get(self.path, (404, {"code": 1}))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()


async def codes_of_messages(program, texts, app_id="demo"):
    """What comes of these messages: their codes, None for what was taken."""
    async with connect(program.url.replace("http", "ws"), subprotocol=PROTOBUF) as transport:
        peer = Peer(transport, app_id)
        await peer.login("Tom")
        cid = await conversation_of(peer, "Tom", "Jerry")
        return [(await peer.call(direct(cid, text))).ack_message.code for text in texts]


async def test_requests_carry_who_asks(tmp_path, monkeypatch):
    answers = {"/hooks/_messageReceived": (200, {"drop": True})}
    # Secrets stand in the environment or the file, where not everybody can read them.
    monkeypatch.setenv("TRIO_REALTIME_WEB_HOOK_HEADER", "Authorization: Bearer x y\nX-Two: 2")
    with application(answers) as (url, requests):
        options = ["--web-hooks", f"{url}/hooks", "--web-hook", "_messageReceived"]
        async with Program("--data", tmp_path, "--app", APP, *options) as program:
            assert await codes_of_messages(program, ["hi"]) == [4402]
    ((path, headers, body),) = requests
    assert path == "/hooks/_messageReceived"
    assert headers["Authorization"] == "Bearer x y"
    assert (headers["X-Two"], headers["X-LC-Id"]) == ("2", "demo")
    assert body["content"] == "hi"


async def test_a_failing_application_costs_a_line(tmp_path):
    tmp_path.chmod(0o700)
    with application({"/_messageReceived": (500, {})}) as (url, requests):
        options = ["--web-hooks", url, "--web-hook", "_messageReceived"]
        async with Program("--data", tmp_path, "--app", APP, *options) as program:
            assert await codes_of_messages(program, "abc") == [None] * 3
            program.process.send_signal(signal.SIGTERM)
            status, errors = await program.ended()
    assert (status, len(requests)) == (0, 3)
    # One at once, one for all that followed.
    assert errors.splitlines() == [
        "the hook message_received failed once: WebHookError: status 500",
        "the hook message_received failed 2 times: WebHookError: status 500",
    ]


async def test_failing_can_mean_refusing(tmp_path):
    # Nobody listens there.
    options = ["--web-hooks", "http://127.0.0.1:9", "--on-hook-failure", "refuse"]
    options += ["--web-hook", "_messageReceived", "--hook-timeout", "0.5"]
    async with Program("--data", tmp_path, "--app", APP, *options) as program:
        assert await codes_of_messages(program, ["hi"]) == [4402]


async def test_leanengine(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIO_REALTIME_LEANENGINE_HOOK_KEY", "the-hook-key")
    answers = {
        "/1.1/functions/_ops/metadatas": (200, {"result": ["_messageReceived"]}),
        "/1.1/functions/_messageReceived": (200, {"result": {"drop": True}}),
    }
    with application(answers) as (url, requests):
        async with Program("--data", tmp_path, "--app", APP, "--leanengine", url) as program:
            assert await codes_of_messages(program, ["hi"]) == [4402]
    assert {path for path, _, _ in requests} == set(answers)
    (_, headers, _) = requests[-1]
    assert headers["X-LC-Id"] == "demo"
    assert headers["X-LC-Key"] == "demo-key"
    assert headers["X-LC-Hook-Key"] == "the-hook-key"


async def test_each_app_has_a_leanengine_of_its_own(tmp_path):
    defined = {"/1.1/functions/_ops/metadatas": (200, {"result": ["_messageReceived"]})}
    drop = {"/1.1/functions/_messageReceived": (200, {"result": {"drop": True}})}
    keep = {"/1.1/functions/_messageReceived": (200, {"result": {}})}
    with (
        application({**defined, **drop}) as (strict, asked),
        application({**defined, **keep}) as (mild, asked_too),
    ):
        file = tmp_path / "server.toml"
        file.write_text(
            f"""
            [[apps]]
            id = "demo"
            key = "demo-key"
            master-key = "demo-master"
            leanengine = "{strict}"
            leanengine-hook-key = "key=of=demo"

            [[apps]]
            id = "without"
            key = "k"
            master-key = "m"
            """
        )
        options = ["--app", "more:k:m", "--leanengine", f"more={mild}"]
        options += ["--leanengine-hook-key", "more=key of more"]
        async with Program("--data", tmp_path / "data", "--config", file, *options) as program:
            assert await codes_of_messages(program, ["hi"]) == [4402]
            assert await codes_of_messages(program, ["hi"], "more") == [None]
            assert await codes_of_messages(program, ["hi"], "without") == [None]
    for requests, app_id, key in (
        (asked, "demo", "key=of=demo"),
        (asked_too, "more", "key of more"),
    ):
        messages = [headers for path, headers, _ in requests if path in drop]
        assert [(h["X-LC-Id"], h["X-LC-Hook-Key"]) for h in messages] == [(app_id, key)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--web-hooks", "example.com"], "--web-hooks takes an http or https URL"),
        (["--leanengine", "ftp://x"], "--leanengine takes an http or https URL"),
        (["--leanengine", "http://x"], "--leanengine needs --leanengine-hook-key"),
        (["--leanengine", "http://x", "--web-hooks", "http://y"], "exclude each other"),
        (["--leanengine-hook-key", "secret"], "--leanengine-hook-key needs --leanengine"),
        (["--leanengine", "demo=ftp://x"], "--leanengine takes an http or https URL"),
        (
            ["--leanengine", "http://x", "--leanengine-hook-key", "k", "--app", "b:c:d"],
            "--leanengine takes ID=... of one of the apps",
        ),
        (
            ["--leanengine", "b=http://x", "--leanengine-hook-key", "secret", "--app", "b:c:d"],
            "--leanengine-hook-key takes ID=... of one of the apps",
        ),
        (
            ["--leanengine", "b=http://x", "--leanengine-hook-key", "demo=k", "--app", "b:c:d"],
            "needs --leanengine",
        ),
        (["--web-hooks", "http://x", "--web-hook", "_x"], "no such hooks: _x"),
        (["--web-hooks", "http://"], "--web-hooks takes an http or https URL"),
        (["--web-hooks", "http://a:99999"], "--web-hooks takes an http or https URL"),
        (
            ["--leanengine", "http://x", "--leanengine-hook-key", "\u4e2d secret"],
            "--leanengine-hook-key takes printable ASCII",
        ),
        (["--hook-timeout", "0"], "--hook-timeout cannot be 0"),
        (["--hook-timeout", "nan"], "--hook-timeout cannot be nan"),
        (["--on-hook-failure", "panic"], "--on-hook-failure"),
        (["--web-hooks", "http://x", "--web-hook-header", "secret"], "takes 'Name: value'"),
        (["--web-hooks", "http://x", "--web-hook-header", "a b: secret"], "takes 'Name: value'"),
    ],
)
def test_wrong_arguments_are_one_sentence(tmp_path, arguments, said):
    status, errors, _ = run("--data", tmp_path, "--app", APP, *arguments)
    assert status == 2
    assert said in errors
    assert "secret" not in errors
