"""``trio-realtime tap``: watch what a client and a server say to each other."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from contextlib import ExitStack
from functools import partial
from typing import TextIO
from urllib.parse import urlsplit

import trio

from .usage import UsageError

FAILED = 2
SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "tap",
        help="watch the traffic between a client and a server",
        description="Stand between clients and a server, pass everything on unchanged, and "
        "print it readably, without session tokens, signatures and keys. Give the printed URL "
        "to the clients as their server. Ctrl-C ends it.",
    )
    parser.add_argument(
        "--to", required=True, metavar="URL", help="the server: an http, https, ws or wss URL"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8081, help="0 chooses one (%(default)s)")
    parser.add_argument(
        "--record",
        metavar="FILE",
        help="append every frame to a file that `trio-realtime decode` reads",
    )
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    """Serve until a signal; the exit status."""
    try:
        with ExitStack() as stack:
            origin = origin_of("--to", args.to)
            record = None if args.record is None else stack.enter_context(record_file(args.record))
            await _tap(args, origin, record)
    except UsageError as error:
        print(f"trio-realtime: {error}", file=sys.stderr)
        return FAILED
    return 0


async def _tap(args: argparse.Namespace, origin: str, record: TextIO | None) -> None:
    from .tap_proxy import Proxy

    listeners, url = await listen(args.host, args.port)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            show = partial(_show, nursery.cancel_scope)
            async with Proxy(origin, show, record) as proxy:
                nursery.start_soon(trio.serve_listeners, proxy.serve, listeners)
                show(f"Tapping {origin}: give the clients the server {url}")
                async for _ in signals:
                    break
                nursery.cancel_scope.cancel()


def _show(scope: trio.CancelScope, text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Whoever watched, such as `head`, has seen enough; let the interpreter end in peace.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        scope.cancel()


async def listen(host: str, port: int) -> tuple[list[trio.SocketListener], str]:
    """Wait for clients there; also the URL that leads there. Raises `UsageError`."""
    if not 0 <= port <= 65535:
        raise UsageError(f"There is no port {port}: it must be between 0 and 65535.")
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise UsageError(f"Cannot listen on {host}:{port}: {error.strerror or error}.") from error
    except UnicodeError as error:
        raise UsageError(f"{host!r} cannot be the name of a host.") from error
    port = listeners[0].socket.getsockname()[1]
    return listeners, f"http://{f'[{host}]' if ':' in host else host}:{port}"


def origin_of(option: str, url: str) -> str:
    """The http or https URL of a server, without a path. Raises `UsageError`."""
    try:
        parts = urlsplit(url)
        scheme = SCHEMES[parts.scheme]
        good = bool(parts.hostname) and parts.port != 0 and parts.username is None
    except (ValueError, KeyError):
        good = False
    if not good or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise UsageError(f"{option} takes a URL such as http://127.0.0.1:8080, not {url!r}.")
    return f"{scheme}://{parts.netloc}"


def record_file(path: str) -> TextIO:
    """For the record, which is nobody else's business: what people write to each other."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{path} cannot be written: {reason}.") from error
    return os.fdopen(descriptor, "a", encoding="utf-8", buffering=1)
