"""``trio-realtime serve``: the server as a program."""

from __future__ import annotations

import argparse
import gc
import ipaddress
import json
import os
import signal
import ssl
import stat
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs
import trio

from .apps import ENFORCEABLE, app_of, app_of_table, guarded, own_app
from .configuration import AppTable, configured, unknown_variables
from .hook_options import add_hook_options, hooks_of
from .usage import UsageError
from .user_options import add_user_options, users_of

if TYPE_CHECKING:
    from trio_realtime.server import App, Hooks, Limits, Server, UserLookup

DEFAULT_DATA = Path("trio-realtime-data")
KEYS_FILE = "app.json"
FAILED = 2
MOST = 2**63 - 1
AT_MOST = {"json_depth": 500}
"""Limits that have one themselves: Python reads no JSON that is much deeper."""
MAY_BE_NONE = frozenset(
    {"close_timeout", "keep_alive", "room_return", "file_bytes", "file_memory_bytes"}
)
"""Limits that may be 0. With any other one at 0 nobody could use the server, where some mean
that there is no limit."""
ENDING = frozenset({signal.SIGTERM, signal.SIGINT})
SIGNALS = (*ENDING, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "serve",
        help="run the server",
        description="Run the server: router, WebSocket gateway and REST API on one port. "
        "SIGTERM and SIGINT ask the clients to move on, then end it; SIGHUP reads the TLS "
        "certificate again.",
        epilog="Each option may also stand in the file under its name, or in the environment: "
        "public-url = ... , TRIO_REALTIME_PUBLIC_URL=... . Keep keys there: everybody on a "
        "machine can read command lines.",
    )
    _add_options(parser)
    parser.set_defaults(run=run)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file with options")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="0 chooses one (%(default)s)")
    parser.add_argument(
        "--data",
        type=Path,
        default=DEFAULT_DATA,
        help="directory for everything durable (./%(default)s)",
    )
    parser.add_argument(
        "--app",
        action="append",
        default=[],
        metavar="ID:KEY:MASTERKEY",
        help="an app to serve; may be repeated. Without it one app is made, its keys are kept "
        "in the data directory and printed",
    )
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one of the limits of trio_realtime.server.Limits, such as messages_per_minute=60; "
        "may be repeated",
    )
    parser.add_argument(
        "--origin",
        action="append",
        default=[],
        metavar="URL",
        help="a web origin whose pages may log in; may be repeated (any)",
    )
    parser.add_argument(
        "--enforce",
        action="append",
        default=[],
        choices=["all", *ENFORCEABLE],
        help="what needs a signature; may be repeated (nothing)",
    )
    parser.add_argument(
        "--members-only",
        action="store_true",
        help="show conversations, and their last messages, to their members alone",
    )
    parser.add_argument(
        "--master-sign-validity",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="how long a sign made with the master key is good, each way (%(default)s)",
    )
    parser.add_argument("--tls-cert", type=Path, help="certificate chain (PEM); serve wss://")
    parser.add_argument("--tls-key", type=Path, help="private key (PEM)")
    parser.add_argument("--public-url", help="URL by which clients reach a proxy in front")
    parser.add_argument(
        "--upstream",
        metavar="URL",
        help="another server, http[s]://host[:port], for the paths that are none of ours",
    )
    parser.add_argument(
        "--drain",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="how long clients may take to move on at the end (%(default)s)",
    )
    add_user_options(parser)
    add_hook_options(parser)
    parser.add_argument(
        "--ready-json", action="store_true", help="print the ready line as one JSON object"
    )


async def run(args: argparse.Namespace) -> int:
    """Serve until a signal; the exit status."""
    try:
        options, tables = configured(_add_options, args.arguments, os.environ)
        return await _serve(options, tables)
    except UsageError as error:
        problem = str(error)
    print(f"trio-realtime: {problem}", file=sys.stderr)
    return FAILED


async def _serve(args: argparse.Namespace, tables: list[AppTable]) -> int:
    if not 0 <= args.port <= 65535:
        raise UsageError(f"There is no port {args.port}: it must be between 0 and 65535.")
    if args.public_url is not None and not _is_web_url(args.public_url):
        raise UsageError(
            f"--public-url takes a URL such as https://im.example.com, not {args.public_url!r}."
        )
    if not 0 <= args.drain < float("inf"):
        raise UsageError(f"--drain cannot be {args.drain:g}.")
    if not 0 < args.master_sign_validity < float("inf"):
        raise UsageError(f"--master-sign-validity cannot be {args.master_sign_validity:g}.")
    limits = _limits(args.limit)
    given = [*(app_of(text) for text in args.app), *(app_of_table(table) for table in tables)]
    if len({app.id for app in given}) < len(given):
        raise UsageError("Two apps have the same id.")
    _prepare(args.data)
    made = False
    if not given:
        own, made = own_app(args.data / KEYS_FILE)
        given = [own]
    apps = [guarded(app, args) for app in given]
    async with AsyncExitStack() as stack:
        hooks = await hooks_of(args, apps, tables, stack)
        return await _run(args, apps, limits, hooks, await users_of(args, stack), made=made)


async def _run(
    args: argparse.Namespace,
    apps: list[App],
    limits: Limits,
    hooks: Mapping[str, Hooks],
    users: UserLookup | None,
    *,
    made: bool,
) -> int:
    from trio_realtime.server import ServerConfig, ServerStartError, StoreError, open_server

    config = ServerConfig(
        apps=apps,
        host=args.host,
        port=args.port,
        data=args.data,
        limits=limits,
        tls=_tls(args.tls_cert, args.tls_key),
        public_url=args.public_url,
        upstream=args.upstream,
        user_lookup=users,
        master_sign_validity=args.master_sign_validity,
        hooks=hooks,
        hook_timeout=args.hook_timeout,
        on_hook_failure=args.on_hook_failure,
    )
    _use_all_descriptors()
    try:
        with trio.open_signal_receiver(*SIGNALS) as signals:
            async with open_server(config) as server:
                _warn(args, apps)
                _tune_interpreter()
                print(_ready(server.url, apps, made=made, as_json=args.ready_json), flush=True)
                async for number in signals:
                    if number in ENDING:
                        break
                    _reload_tls(server, args)
                await server.drain(args.drain)
    except (ServerStartError, StoreError) as error:
        raise UsageError(str(error)) from error
    return 0


def _use_all_descriptors() -> None:
    """Take as many descriptors as the system permits: each connection needs one."""
    try:
        import resource
    except ImportError:  # there are none to speak of elsewhere
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _tune_interpreter() -> None:
    """Set up the interpreter for a process that does nothing but serve.

    What has been loaded stays, and need not be looked through again and again. What a message
    leaves behind is in no circles, so that looking for circles after every 700 objects was a
    fifth of the work of a send. The event loop and the writer share one lock; whoever waits for
    it is let in after a tenth of a millisecond, not after the usual five: SQLite lets go of it many times
    in one write, and each time it may be gone.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    sys.setswitchinterval(0.0001)


def _ready(url: str, apps: list[App], *, made: bool, as_json: bool) -> str:
    if as_json:
        listed = [{"id": app.id, "key": app.key} for app in apps]
        if made:
            listed[0]["masterKey"] = apps[0].master_key
        return json.dumps({"url": url, "apps": listed})
    line = f"Serving on {url}"
    if made:
        app = apps[0]
        line += f"  appId {app.id}  appKey {app.key}  masterKey {app.master_key}"
    return line


def _warn(args: argparse.Namespace, apps: list[App]) -> None:
    """What an operator should know before strangers find out."""
    warnings = [f"There is no option for {name}." for name in unknown_variables(os.environ, args)]
    secret = [args.config, args.data / KEYS_FILE]
    if args.tls_key is not None and _open_to_others(args.tls_key, but_group=True):
        secret.append(args.tls_key)
    warnings += [
        f"{path} holds keys, and others on this machine can read it: chmod 600."
        for path in secret
        if path is not None and _open_to_others(path)
    ]
    if _open_to_others(args.data):
        warnings.append(
            f"Others on this machine can read the data directory {args.data}: chmod 700."
        )
    if not _is_loopback(args.host):
        warnings += [
            f"Anybody who reaches {args.host} can log in to the app {app.id} under any name: "
            "--enforce login, or all, demands signatures."
            for app in apps
            if not app.enforce.login
        ]
        if not _reached_by_tls(args):
            warnings.append(
                "Pages served over https cannot connect without TLS, as browsers refuse ws:// there: "
                "--tls-cert, or a proxy with TLS and --public-url https://..."
            )
    for warning in warnings:
        print(f"trio-realtime: {warning}", file=sys.stderr, flush=True)


def _reached_by_tls(args: argparse.Namespace) -> bool:
    if args.public_url is not None:
        public: str = args.public_url
        return urlsplit(public).scheme == "https"
    return args.tls_cert is not None


def _open_to_others(path: Path, *, but_group: bool = False) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:  # it is gone, or was a pipe
        return False
    regular = stat.S_ISREG(mode) or stat.S_ISDIR(mode)
    return os.name == "posix" and regular and bool(mode & (0o007 if but_group else 0o077))


def _is_web_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return url.startswith(("http://", "https://")) and bool(parts.hostname)
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _limits(given: list[str]) -> Limits:
    from trio_realtime.server import Limits

    known = attrs.fields_dict(Limits)
    values: dict[str, Any] = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in known:
            raise UsageError(f"There is no limit {name!r}; there are {', '.join(known)}.")
        # Annotations are texts here.
        number = float if str(known[name].type) == "float" else int
        try:
            values[name] = number(value)
        except ValueError:
            kind = "a number" if number is float else "a whole number"
            raise UsageError(f"The limit {name} takes {kind}, not {value!r}.") from None
        least = values[name] >= 0 if name in MAY_BE_NONE else values[name] > 0
        if not (least and values[name] <= AT_MOST.get(name, MOST)):
            raise UsageError(f"The limit {name} cannot be {value}.")
    return Limits(**values)


def _prepare(data: Path) -> None:
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        usable = os.access(data, os.R_OK | os.W_OK | os.X_OK)
    except OSError as error:
        raise UsageError(
            f"The data directory {data} cannot be used: {error.strerror or error}."
        ) from error
    if not usable:
        raise UsageError(f"The data directory {data} cannot be used: it is not writable.")


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        if key is not None:
            raise UsageError("--tls-key needs --tls-cert.")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except FileNotFoundError as error:
        raise UsageError(f"The TLS certificate {certificate} or its key is not there.") from error
    except (ssl.SSLError, OSError) as error:
        raise UsageError(
            f"The TLS certificate {certificate} cannot be used: {error.strerror or error}."
        ) from error
    return context


def _reload_tls(server: Server, args: argparse.Namespace) -> None:
    """Take over a renewed certificate; with a bad one the old one stays in use."""
    try:
        context = _tls(args.tls_cert, args.tls_key)
        if context is not None:
            server.use_tls(context)
            said = "The TLS certificate was read again."
        else:
            said = "There is no TLS certificate to read again."
    except UsageError as error:
        said = f"{error} The old certificate stays in use."
    print(f"trio-realtime: {said}", file=sys.stderr, flush=True)
