"""``createIMClient(user)`` against the server as a program that asks a storage service."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from tests.cli.program import APP, Program
from tests.interop.js_peer import JsError, open_js

pytestmark = pytest.mark.interop

USER = """(() => {
    const user = new AV.User();
    user.id = '%s';
    user._sessionToken = '%s';
    return user;
})()"""


@contextmanager
def storage():
    """A storage service with one user."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            known = (
                self.path == "/1.1/users/me"
                and self.headers["X-LC-Id"] == "demo"
                and self.headers["X-LC-Key"] == "demo-key"
                and self.headers["X-LC-Session"] == "token-of-tom"
            )
            answer = {"objectId": "tom-id"} if known else {"code": 211, "error": "no user"}
            self.send_response(200 if known else 400)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            known = self.path == "/1.1/login" and asked["password"] == "cheese"
            answer = {"objectId": "tom-id", "username": "tom", "sessionToken": "token-of-tom"}
            self.send_response(200 if known else 400)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            refusal = {"code": 210, "error": "The username and password mismatch."}
            self.wfile.write(json.dumps(answer if known else refusal).encode())

        def log_message(self, *_arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/1.1"
    finally:
        server.shutdown()
        server.server_close()


async def test_a_storage_user_logs_in(tmp_path):
    with storage() as url:
        options = ["--users", url, "--enforce", "login"]
        async with Program("--data", tmp_path, "--app", APP, *options) as program:
            place = SimpleNamespace(url=program.url, app_id="demo", app_key="demo-key")
            async with open_js(place) as js:
                client = await js.log_in({"$js": USER % ("tom-id", "token-of-tom")})
                assert await client.get("id") == "tom-id"
                with pytest.raises(JsError):
                    await js.log_in({"$js": USER % ("spike-id", "token-of-nobody")})


async def test_one_host_name_serves_storage_and_messages(tmp_path):
    with storage() as url:
        upstream = url.removesuffix("/1.1")
        options = ["--users", url, "--upstream", upstream, "--enforce", "login"]
        async with Program("--data", tmp_path, "--app", APP, *options) as program:
            place = SimpleNamespace(url=program.url, app_id="demo", app_key="demo-key")
            async with open_js(place) as js:
                keys = {"appId": "demo", "appKey": "demo-key", "serverURL": program.url}
                await js.call("AV", "init", keys)
                log_in = "(password) => AV.User.logIn('tom', password)"
                await js.command("set", target="AV", name="enter", value={"$js": log_in})
                with pytest.raises(JsError) as caught:
                    await js.call("AV", "enter", "wrong")
                assert "mismatch" in str(caught.value)
                user = await js.call("AV", "enter", "cheese")
                client = await js.log_in(user)
                assert await client.get("id") == "tom-id"
