"""A proxy that tells what passes through it.

WebSockets are ended here and begun anew towards the server, with the same sub-protocol, so
that frames can be read; payloads go on as they are. The routers' answers name the proxy
instead of the gateways, and the proxy remembers which one it stands for. All other HTTP is
passed on as bytes, one request per connection.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from types import TracebackType
from typing import Any, Self, TextIO
from urllib.parse import urlsplit

import httpx2
import trio
from websockets.protocol import State

from trio_realtime._engine.dialect import DialectName
from trio_realtime.server.gateway.websocket import WebSocket
from trio_realtime.server.listener import asks_for_upgrade, read_head
from trio_realtime.transport import ConnectError, Payload, Transport, TransportClosed, connect
from trio_realtime.transport._open import open_bytes, open_tcp, parse_url
from trio_realtime.wire import WireError

from .masking import masked_header, masked_reason, masked_target
from .readable import printable
from .recording import ABNORMAL, Direction, Ended, Happening, Opened, Recorded, Side, now

LARGEST_FRAME = 16 * 1024 * 1024
"""The bounds of frames are the server's business."""
HEAD_BYTES = 64 * 1024
READ_SIZE = 64 * 1024
PATIENCE = 20.0
"""Seconds the server may take to answer at all."""
CLOSING = 2.0
"""Seconds a client may take to answer the end of its connection."""
GONE = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)

DIALECT_OF: dict[str, DialectName] = {
    "protobuf2": "protobuf",
    "proto2base64": "base64",
    "json": "json",
}
ROUTERS = ("/v1/route", "/2/route")
GATEWAY = "/-/"
"""Path of the gateways that the routers named, followed by their number."""


class Proxy:
    """Everything that passes, shown and recorded; an asynchronous context manager."""

    def __init__(
        self,
        origin: str,
        show: Callable[[str], None],
        record: TextIO | None,
        hear: Callable[[Happening], None] = lambda _: None,
    ) -> None:
        self._origin = origin
        self._show = show
        self._record = record
        self._hear = hear
        """Is told everything as it is, with its secrets; must neither wait nor raise."""
        self._numbers = count(1)
        self._gateways: list[str] = []
        self._origins: dict[str, str] = {}
        """Where the app router sends the requests for the RTM router and for all else."""
        self._http = httpx2.AsyncClient(timeout=PATIENCE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection of a client to its end."""
        try:
            head = await read_head(stream, HEAD_BYTES)
            if head and asks_for_upgrade(head):
                await self._serve_websocket(stream, head)
            elif head:
                await self._serve_http(stream, head)
        except GONE:
            pass
        except Exception as error:  # noqa: BLE001 - a defect costs one connection
            self._show(f"{now()} a connection failed: {printable(repr(error))}")
        finally:
            await trio.aclose_forcefully(stream)

    # WebSockets

    async def _serve_websocket(self, stream: trio.abc.Stream, head: bytes) -> None:
        number = next(self._numbers)
        web = WebSocket(LARGEST_FRAME)
        if not web.handshake(head) or web.request is None or web.dialect is None:
            self.note(number, "the handshake is not one that this program understands")
            await stream.send_all(b"".join(web.data_to_send()))
            return
        url = self._gateway(web.request.path)
        upstream: list[trio.abc.Stream] = []

        async def open_stream(host: str, port: int) -> trio.abc.Stream:
            upstream.append(await open_tcp(host, port))
            return upstream[-1]

        try:
            async with connect(
                url,
                subprotocol=web.subprotocol,
                implementation="websockets",
                max_message_size=LARGEST_FRAME,
                connect_timeout=PATIENCE,
                open_stream=open_stream,
                extra_headers=[("Origin", o) for o in web.request.headers.get_all("Origin")],
            ) as server:
                shown = masked_target(url)
                self.note(number, f"connected to {shown}, {web.dialect.name or 'no sub-protocol'}")
                self._happened(Opened(now(), number, web.dialect.name))
                bridge = _Bridge(self, number, stream, web, server)
                if await bridge.run() == ABNORMAL:
                    # The client went away without a word, and so does the proxy.
                    await trio.aclose_forcefully(upstream[-1])
        except ConnectError as error:
            self.note(number, f"no connection to {masked_target(url)}: {error}")
            await _answer(stream, error.status or 502, {"error": str(error)})

    def _gateway(self, path: str) -> str:
        base, _, query = path.partition("?")
        number = base.removeprefix(GATEWAY)
        if base.startswith(GATEWAY) and number.isdecimal() and int(number) < len(self._gateways):
            url = self._gateways[int(number)]
        else:
            url, query = self._origin.replace("http", "ws", 1) + path, ""
        if query:
            url += ("&" if urlsplit(url).query else "?") + query
        return url

    def passed(
        self, number: int, direction: Direction, dialect: DialectName, payload: Payload
    ) -> None:
        """Show and record a frame."""
        received = Recorded(now(), number, direction, dialect, payload)
        self._hear(received)
        frame = received.masked()
        try:
            received.command()
            self._show(frame.readable())
        except WireError as error:
            self._show(f"{frame.place()} {len(payload)} bytes that are no command: {error}")
        self._write(frame)

    def ended(self, number: int, by: Side, code: int, said: str) -> None:
        """Show and record the end of a connection."""
        how = "without a close frame" if code == ABNORMAL else f"with code {code}{said}"
        self.note(number, f"closed by the {by} {how}")
        self._happened(Ended(now(), number, by, code))

    def _happened(self, happening: Opened | Ended) -> None:
        self._hear(happening)
        self._write(happening)

    def _write(self, happening: Happening) -> None:
        if self._record is not None:
            self._record.write(happening.line() + "\n")

    def note(self, number: int, text: str) -> None:
        """Show what became of a connection."""
        self._show(f"{now()} [{number}] {printable(text)}")

    # HTTP

    async def _serve_http(self, stream: trio.abc.Stream, head: bytes) -> None:
        head, _, body = head.partition(b"\r\n\r\n")
        request, *headers = head.split(b"\r\n")
        parts = request.decode("latin-1").split(" ")
        if len(parts) != 3 or not parts[1].startswith("/"):
            await _answer(stream, 400, {"error": "not a request that can be passed on"})
            return
        method, target, _ = parts
        path = urlsplit(target).path
        try:
            if method == "GET" and path in ROUTERS:
                status = await self._route(stream, target, headers)
            else:
                origin = self._origins.get("api", self._origin)
                status = await _pass_on(stream, origin, request, headers, body)
        except (ConnectError, httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            status = 502
            problem = f"no answer of {self._origin}: {str(error) or type(error).__name__}"
            await _answer(stream, status, {"error": problem})
        keys = "".join(f"  {key}" for line in headers if (key := masked_header(line)) is not None)
        shown = f"{method} {masked_target(target)}{keys}"
        self._show(f"{now()} [http] {printable(shown)}: {status}")

    async def _route(self, stream: trio.abc.Stream, target: str, headers: list[bytes]) -> int:
        """Ask a router, and name this proxy in its stead."""
        fields = dict(line.split(b":", 1) for line in headers if b":" in line)
        own = next(
            (v.strip().decode("latin-1") for k, v in fields.items() if k.lower() == b"host"), ""
        )
        router = self._origins.get("router", self._origin) if "/v1/" in target else self._origin
        response = await self._http.get(router + target)
        answer = response.json()
        if isinstance(answer, dict):
            answer = {key: self._renamed(key, value, own) for key, value in answer.items()}
        await _answer(stream, response.status_code, answer)
        return response.status_code

    def _renamed(self, key: str, value: Any, own: str) -> Any:
        if not isinstance(value, str):
            return value
        if value.startswith(("ws://", "wss://")):
            if value not in self._gateways:
                self._gateways.append(value)
            return f"ws://{own}{GATEWAY}{self._gateways.index(value)}"
        role = {"rtm_router_server": "router", "api_server": "api"}.get(key)
        if role is None:
            return value
        if value != urlsplit(self._origin).netloc:
            self._origins[role] = f"https://{value}"
        return own


class _Bridge:
    """Two WebSockets, and what one says to the other."""

    def __init__(
        self, proxy: Proxy, number: int, stream: trio.abc.Stream, web: WebSocket, server: Transport
    ) -> None:
        assert web.dialect is not None
        self._proxy = proxy
        self._number = number
        self._dialect = DIALECT_OF[web.dialect.format]
        self._stream = stream
        self._web = web
        self._server = server
        self._writing = trio.Lock()
        self._ended = False
        self._code = 1000

    async def run(self) -> int:
        """Pass on until one of them ends it; the close code for the server."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._from_server, nursery.cancel_scope)
            await self._from_client()
            nursery.cancel_scope.cancel()
        return self._code

    async def _from_client(self) -> None:
        try:
            await self._read_client()
        except UnicodeDecodeError:
            self._web.fail(1007, "invalid UTF-8")
            await self._flush()
        except TransportClosed:
            await trio.sleep_forever()  # the other direction says why
        except GONE:
            pass
        if self._ended:
            return
        close = self._web.close_rcvd or self._web.close_sent
        self._code, reason = (
            (int(close.code), close.reason) if close is not None else (ABNORMAL, "")
        )
        self._end("client", self._code, reason)
        if self._code != ABNORMAL:
            await self._server.aclose(1000 if self._code == 1005 else self._code, reason)

    async def _read_client(self) -> None:
        """Until it has said goodbye or something that is no WebSocket, or is gone."""
        web = self._web
        chunk: bytes | bytearray = web.behind_head
        while True:
            web.feed(chunk)
            for payload, text in web.messages():
                await self._to_server(payload.decode() if text else payload)
            await self._flush()
            if web.close_rcvd is not None or web.parser_exc is not None:
                return
            chunk = await self._stream.receive_some(READ_SIZE)
            if not chunk:
                return

    async def _to_server(self, payload: Payload) -> None:
        self._proxy.passed(self._number, "to-server", self._dialect, payload)
        await self._server.send(payload)

    async def _from_server(self, scope: trio.CancelScope) -> None:
        web = self._web
        try:
            while True:
                for payload in await self._server.receive():
                    self._proxy.passed(self._number, "to-client", self._dialect, payload)
                    if web.state is State.OPEN:
                        if isinstance(payload, str):
                            web.send_text(payload.encode())
                        else:
                            web.send_binary(payload)
                await self._flush()
        except TransportClosed as closed:
            if self._ended:
                return
            self._end("server", closed.code, closed.reason)
            if closed.code != ABNORMAL and web.state is State.OPEN:
                web.send_close(None if closed.code == 1005 else closed.code, closed.reason)
                scope.deadline = trio.current_time() + CLOSING
                await self._flush()
            else:
                scope.cancel()

    def _end(self, who: Side, code: int, reason: str) -> None:
        """Note how it ended; what the other side says then is the answer to that."""
        self._ended = True
        said = f", {masked_reason(reason)}" if reason else ""
        self._proxy.ended(self._number, who, code, said)

    async def _flush(self) -> None:
        async with self._writing:
            data = b"".join(self._web.data_to_send())
            if data:
                # Where the client is gone, reading tells.
                with suppress(*GONE):
                    await self._stream.send_all(data)


async def _pass_on(
    stream: trio.abc.Stream, origin: str, request: bytes, headers: list[bytes], body: bytes
) -> int:
    """One request and its answer, as bytes; the status."""
    endpoint = parse_url(origin.replace("http", "ws", 1))
    kept = [line for line in headers if not line.lower().startswith((b"host:", b"connection:"))]
    own = [b"Host: " + endpoint.host_header.encode(), b"Connection: close"]
    server = None
    with trio.move_on_after(PATIENCE):
        server = await open_bytes(endpoint, open_tcp, None)
    if server is None:
        raise ConnectError(f"no connection within {PATIENCE:g} seconds")
    status = 0
    async with server, trio.open_nursery() as nursery:
        nursery.start_soon(_pump, stream, server, b"\r\n".join([request, *own, *kept, b"", body]))
        with suppress(*GONE):
            while chunk := await server.receive_some(READ_SIZE):
                if not status and (match := re.match(rb"HTTP/1\.\d (\d{3})", chunk)):
                    status = int(match[1])
                await stream.send_all(chunk)
        nursery.cancel_scope.cancel()
    return status


async def _pump(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream, chunk: bytes) -> None:
    """Pass on a request and all that follows it; the answer may be readable when that fails."""
    with suppress(*GONE):
        while chunk:
            await sink.send_all(chunk)
            chunk = bytes(await source.receive_some(READ_SIZE))


async def _answer(stream: trio.abc.SendStream, status: int, value: Any) -> None:
    body = json.dumps(value).encode()
    head = (
        f"HTTP/1.1 {status} Tapped\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\naccess-control-allow-origin: *\r\nconnection: close\r\n\r\n"
    )
    await stream.send_all(head.encode() + body)
