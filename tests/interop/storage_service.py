"""A storage service with one user, as far as these tests go: it is what answers behind ours."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


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
