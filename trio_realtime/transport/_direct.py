"""Writing without waiting: what a socket takes right now."""

from __future__ import annotations

import socket
from contextlib import suppress

import trio


class DirectWriter:
    """A way past the scheduler to the socket of a plain TCP stream.

    A task that sends one message and awaits the answer would otherwise wait for the writer
    task to get its turn. Streams of other kinds (TLS, tests) have no such way.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._socket: socket.socket | None = None

    def _open(self) -> socket.socket | None:
        """A socket of our own, made on first use: what never opens need not be closed."""
        if self._socket is None and isinstance(self._stream, trio.SocketStream):
            original = self._stream.socket
            with suppress(OSError):
                self._socket = socket.fromfd(
                    original.fileno(), original.family, original.type, original.proto
                )
                self._socket.setblocking(False)
        return self._socket

    def write(self, data: bytes) -> bytes:
        """Write what can be written at once; returns the rest.

        An error leaves everything to the writer task, which will meet it too.
        """
        direct = self._open()
        if direct is None:
            return data
        try:
            return data[direct.send(data) :]
        except OSError:
            return data

    def close(self) -> None:
        """Give up the socket; the stream's own is not touched."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
