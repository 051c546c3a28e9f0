"""A storage service with one user, as far as these tests go: it is what answers behind ours."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def storage(*, app_id="demo", app_key="demo-key", files=None):
    """A storage service with one user, and files of an app below ``/app``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.startswith("/app/") and files is not None:
                self.hand_out(self.path.removeprefix("/app/"))
                return
            if self.path.partition("?")[0] != "/1.1/users/me":
                self.unknown()
                return
            known = (
                self.headers["X-LC-Id"] == app_id
                and self.headers["X-LC-Key"] == app_key
                and self.headers["X-LC-Session"] == "token-of-tom"
            )
            refusal = {"code": 211, "error": "no user"}
            self.answer({"objectId": "tom-id"} if known else refusal, 200 if known else 400)

        def unknown(self):
            self.answer({"code": 101, "error": "Object not found."}, 404)

        def do_PUT(self):
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            self.unknown()

        def do_DELETE(self):
            self.do_PUT()

        def hand_out(self, name):
            path = files / name if name == "page.html" else files / "node_modules" / name
            content = path.read_bytes()
            self.send_response(200)
            kind = "text/html" if path.suffix == ".html" else "text/javascript"
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/1.1/classes/Post" or self.path.startswith("/1.1/classes/Post?"):
                self.answer({"objectId": "post-id", "createdAt": "2026-11-21T00:00:00.000Z"}, 201)
                return
            if self.path != "/1.1/login":
                self.unknown()
                return
            known = asked["password"] == "cheese"
            answer = {"objectId": "tom-id", "username": "tom", "sessionToken": "token-of-tom"}
            refusal = {"code": 210, "error": "The username and password mismatch."}
            self.answer(answer if known else refusal, 200 if known else 400)

        def answer(self, value, status):
            self.send_response(status)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(value).encode())

        def log_message(self, *_arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/1.1"
    finally:
        server.shutdown()
        server.server_close()
