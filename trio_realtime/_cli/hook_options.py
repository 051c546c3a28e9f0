"""The options of ``trio-realtime serve`` about hooks, and the hooks they make."""

from __future__ import annotations

import argparse
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs

from .configuration import AppTable
from .usage import UsageError

if TYPE_CHECKING:
    import httpx2

    from trio_realtime.server import App, Hooks


def add_hook_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    group = parser.add_argument_group("hooks")
    group.add_argument(
        "--web-hooks",
        metavar="URL",
        help="ask and tell the application by POST to URL/_messageReceived and so on",
    )
    group.add_argument(
        "--leanengine",
        metavar="[ID=]URL",
        action="append",
        default=[],
        help="ask and tell a program written for LeanEngine; needs --leanengine-hook-key. With "
        "several apps it is said of which one; may be repeated",
    )
    group.add_argument(
        "--leanengine-hook-key",
        metavar="[ID=]KEY",
        action="append",
        default=[],
        help="what the program has as LEANCLOUD_APP_HOOK_KEY; may be repeated",
    )
    group.add_argument(
        "--service-web-hook",
        metavar="URL",
        help="POST what clients write to service conversations there, as arrays of rows",
    )
    group.add_argument(
        "--web-hook",
        metavar="NAME",
        action="append",
        default=[],
        help="a hook that exists, such as _messageReceived; may be repeated (all)",
    )
    group.add_argument(
        "--web-hook-header",
        metavar="NAME: VALUE",
        action="append",
        default=[],
        help="a header for every request to --web-hooks and --service-web-hook, such as "
        "'Authorization: Bearer ...'; may be repeated. X-LC-Id with the app's id is always sent",
    )
    group.add_argument(
        "--hook-timeout",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="how long a hook may think (%(default)s)",
    )
    group.add_argument(
        "--on-hook-failure",
        choices=["ignore", "refuse"],
        default="ignore",
        help="what a hook that fails means for what it was asked about (%(default)s)",
    )


@attrs.frozen
class Engine:
    """A program written for LeanEngine, which belongs to one app."""

    url: str
    hook_key: str = attrs.field(repr=False)


async def hooks_of(
    args: argparse.Namespace, apps: list[App], tables: list[AppTable], stack: AsyncExitStack
) -> dict[str, Hooks]:
    """The hooks of each app, by its id; ``tables`` are the apps of the file.

    Raises `UsageError`.
    """
    if not 0 < args.hook_timeout < float("inf"):
        raise UsageError(f"--hook-timeout cannot be {args.hook_timeout:g}.")
    for option in ("web_hooks", "service_web_hook"):
        if (url := getattr(args, option)) is not None:
            check_url(option, url)
    if args.web_hooks and (args.leanengine or any(table.leanengine for table in tables)):
        raise UsageError("--web-hooks and --leanengine exclude each other.")
    engines = _engines(args, apps, tables)
    if not engines and args.web_hooks is args.service_web_hook is None:
        return {}
    import httpx2

    # Each call has a deadline of its own, which is shorter.
    client = await stack.enter_async_context(httpx2.AsyncClient(timeout=args.hook_timeout + 10))
    try:
        return {app.id: _hooks(args, app, engines.get(app.id), client) for app in apps}
    except ValueError as error:
        raise UsageError(f"--web-hook: {error}.") from error


def _engines(
    args: argparse.Namespace, apps: list[App], tables: list[AppTable]
) -> dict[str, Engine]:
    ids = [app.id for app in apps]
    urls = _by_app("leanengine", args.leanengine, ids)
    keys = _by_app("leanengine_hook_key", args.leanengine_hook_key, ids)
    for table in tables:
        for given, name in ((urls, "leanengine"), (keys, "leanengine_hook_key")):
            if (value := getattr(table, name)) is not None:
                given.setdefault(table.id, value)
    for url in urls.values():
        check_url("leanengine", url)
    for app_id in ids:
        key = keys.get(app_id, "")
        if not (key.isascii() and key.isprintable()):
            # It would fail each time it is to be sent.
            raise UsageError("--leanengine-hook-key takes printable ASCII.")
        if app_id in urls and not key:
            raise UsageError(f"--leanengine needs --leanengine-hook-key, for the app {app_id}.")
        if app_id in keys and app_id not in urls:
            raise UsageError(f"--leanengine-hook-key needs --leanengine, for the app {app_id}.")
    return {app_id: Engine(url, keys[app_id]) for app_id, url in urls.items()}


def _by_app(option: str, given: list[str], ids: list[str]) -> dict[str, str]:
    """What is said of each app: after its id, or of the only one."""
    said: dict[str, str] = {}
    for text in given:
        named = [app_id for app_id in ids if text.startswith(f"{app_id}=")]
        if not named and len(ids) > 1:
            # The text may be a key: it is not repeated.
            raise UsageError(
                f"--{option.replace('_', '-')} takes ID=... of one of the apps, as there are several."
            )
        app_id = max(named, key=len, default=ids[0])
        # The last one counts, as with all that is said once.
        said[app_id] = text.removeprefix(f"{app_id}=") if named else text
    return said


def check_url(option: str, url: str) -> None:
    """Raises `UsageError` unless it is an HTTP URL."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not url.isprintable():
        # Some have a secret in it: it is not repeated.
        raise UsageError(f"--{option.replace('_', '-')} takes an http or https URL.")


def _hooks(
    args: argparse.Namespace, app: App, engine: Engine | None, client: httpx2.AsyncClient
) -> Hooks:
    from trio_realtime.server import Hooks, leanengine_hooks, service_web_hook, web_hooks

    headers = {"X-LC-Id": app.id, **dict(_header(text) for text in args.web_hook_header)}
    only = args.web_hook or None
    hooks = Hooks()
    if engine is not None:
        hooks = leanengine_hooks(engine.url, client, app=app, hook_key=engine.hook_key, only=only)
    elif args.web_hooks is not None:
        hooks = web_hooks(args.web_hooks, client, headers=headers, only=only)
    if args.service_web_hook is not None:
        told = service_web_hook(args.service_web_hook, client, headers=headers)
        hooks = attrs.evolve(hooks, service_messages=told)
    return hooks


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    name, value = name.strip(), value.strip()
    usable = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    if not (colon and usable and value.isascii() and value.isprintable()):
        # The value may be a secret: it is not repeated.
        raise UsageError("--web-hook-header takes 'Name: value'.")
    return name, value
