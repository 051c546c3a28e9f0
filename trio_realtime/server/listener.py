"""The port: reads a request's head and shows it to the gateway or to HTTP."""

from __future__ import annotations

import json
import ssl
from collections import Counter
from typing import Any

import attrs
import trio

from .gateway.gateway import Gateway
from .health import unhealthy
from .http import Router
from .http_connection import HttpConnection
from .limits import network_of
from .metrics import log

READ_SIZE = 16 * 1024

_TOO_MANY = {
    "connections": b"503 Service Unavailable",
    "connections_per_address": b"429 Too Many Requests",
}
_UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%s"
)
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


@attrs.define(eq=False)
class Listener:
    """Serves every kind of connection of one port."""

    gateway: Gateway
    router: Router
    tls: ssl.SSLContext | None = None
    _open: int = 0
    _by_network: Counter[str] = attrs.field(factory=Counter)

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one accepted connection to its end. Never raises but `trio.Cancelled`."""
        address = _address(stream)
        network = network_of(address)
        limits = self.gateway.config.limits
        try:
            full = self._full(network)
            if full is not None:
                await self._turn_away(stream, full)
                return
            self._open += 1
            self._by_network[network] += 1
            try:
                if self.tls is not None:
                    stream = self._behind_tls(stream, self.tls)
                await self._serve(stream, address)
            finally:
                self._open -= 1
                self._by_network[network] -= 1
                if not self._by_network[network]:
                    del self._by_network[network]
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer is gone
        except Exception:  # noqa: BLE001 - a defect costs one connection
            self.gateway.metrics.internal_errors_total += 1
            log.exception("a connection from %s failed", address)
        finally:
            with trio.move_on_after(limits.close_timeout, shield=True):
                await stream.aclose()

    async def turn_away(self, stream: trio.abc.Stream, why: str) -> None:
        """Answer 503 to whatever is asked. Never raises but `trio.Cancelled`."""
        seconds = self.gateway.config.limits.close_timeout
        try:
            with trio.move_on_after(seconds):
                if self.tls is not None:
                    stream = self._behind_tls(stream, self.tls)
                if await read_head(stream, self.gateway.config.limits.head_bytes):
                    body = json.dumps(unhealthy([why])).encode()
                    await stream.send_all(_UNAVAILABLE % (len(body), body))
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer is gone
        finally:
            with trio.move_on_after(seconds, shield=True):
                await stream.aclose()

    @staticmethod
    def _behind_tls(stream: trio.abc.Stream, tls: ssl.SSLContext) -> trio.abc.Stream:
        return trio.SSLStream(stream, tls, server_side=True, https_compatible=True)

    def _full(self, network: str) -> str | None:
        """Which limit keeps a connection from there out."""
        limits = self.gateway.config.limits
        if limits.connections is not None and self._open >= limits.connections:
            return "connections"
        per_address = limits.connections_per_address
        if per_address is not None and self._by_network[network] >= per_address:
            return "connections_per_address"
        return None

    async def _turn_away(self, stream: trio.abc.Stream, limit: str) -> None:
        """Say so in one write, unless that would take a TLS handshake first."""
        self._reached(limit)
        if self.tls is None:
            answer = b"HTTP/1.1 %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            with trio.move_on_after(self.gateway.config.limits.close_timeout):
                await stream.send_all(answer % _TOO_MANY[limit])

    def _reached(self, limit: str) -> None:
        self.gateway.metrics.limits[limit] += 1

    async def _serve(self, stream: trio.abc.Stream, address: str) -> None:
        limits = self.gateway.config.limits
        with trio.move_on_after(limits.head_timeout) as scope:
            head = await read_head(stream, limits.head_bytes)
        if scope.cancelled_caught:
            self._reached("head_timeout")
            with trio.move_on_after(limits.close_timeout):
                await stream.send_all(_TOO_SLOW)
        elif head is None:
            self._reached("head_bytes")
            with trio.move_on_after(limits.close_timeout):
                await stream.send_all(_TOO_LARGE)
        elif not head:
            return
        elif asks_for_upgrade(head):
            await self.gateway.serve(stream, head, address)
        else:
            connection = HttpConnection(
                self.router,
                stream,
                head,
                limits=limits,
                address=address,
                secure=self.tls is not None,
                answering=self.gateway.answering,
            )
            await connection.run()


async def read_head(stream: trio.abc.Stream, limit: int) -> bytes | None:
    """A request's head and what came with it; empty at the end, None when it is too large."""
    data = bytearray()
    while (end := data.find(b"\r\n\r\n")) < 0:
        if len(data) > limit:
            return None
        received = await stream.receive_some(READ_SIZE)
        if not received:
            return b""
        data += received
    return None if end > limit else bytes(data)


def asks_for_upgrade(head: bytes) -> bool:
    lines = head[: head.find(b"\r\n\r\n")].lower().split(b"\r\n")[1:]
    return any(
        line.startswith(b"upgrade:") and b"websocket" in line.partition(b":")[2] for line in lines
    )


def _address(stream: Any) -> str:
    """The peer's network address, without its port; empty where there is none."""
    if isinstance(stream, trio.SocketStream):
        try:
            return str(stream.socket.getpeername()[0])
        except (OSError, IndexError):
            return ""
    return ""
