"""The options of ``trio-realtime serve`` about hooks, and the hooks they make."""

from __future__ import annotations

import argparse
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import attrs

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
        metavar="URL",
        help="ask and tell a program written for LeanEngine; needs --leanengine-hook-key",
    )
    group.add_argument(
        "--leanengine-hook-key",
        metavar="KEY",
        help="what the program has as LEANCLOUD_APP_HOOK_KEY",
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


async def hooks_of(
    args: argparse.Namespace, apps: list[App], stack: AsyncExitStack
) -> dict[str, Hooks]:
    """The hooks of each app, by its id. Raises `UsageError`."""
    if not 0 < args.hook_timeout < float("inf"):
        raise UsageError(f"--hook-timeout cannot be {args.hook_timeout:g}.")
    for option in ("web_hooks", "leanengine", "service_web_hook"):
        url = getattr(args, option)
        if url is not None and not url.startswith(("http://", "https://")):
            raise UsageError(f"--{option.replace('_', '-')} takes an http or https URL, not {url}.")
    if args.leanengine is not None and args.web_hooks is not None:
        raise UsageError("--web-hooks and --leanengine exclude each other.")
    if args.leanengine is not None and len(apps) > 1:
        raise UsageError("--leanengine takes one app: a program belongs to one.")
    if args.web_hooks is args.leanengine is args.service_web_hook is None:
        return {}
    import httpx2

    # Each call has a deadline of its own, which is shorter.
    client = await stack.enter_async_context(httpx2.AsyncClient(timeout=args.hook_timeout + 10))
    try:
        return {app.id: _hooks(args, app, client) for app in apps}
    except ValueError as error:
        raise UsageError(f"--web-hook: {error}.") from error


def _hooks(args: argparse.Namespace, app: App, client: httpx2.AsyncClient) -> Hooks:
    from trio_realtime.server import Hooks, leanengine_hooks, service_web_hook, web_hooks

    headers = {"X-LC-Id": app.id, **dict(_header(text) for text in args.web_hook_header)}
    only = args.web_hook or None
    hooks = Hooks()
    if args.leanengine is not None:
        if not args.leanengine_hook_key:
            raise UsageError("--leanengine needs --leanengine-hook-key.")
        hooks = leanengine_hooks(
            args.leanengine, client, app=app, hook_key=args.leanengine_hook_key, only=only
        )
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
