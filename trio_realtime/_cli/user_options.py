"""The option of ``trio-realtime serve`` about storage users."""

from __future__ import annotations

import argparse
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from .hook_options import check_url

if TYPE_CHECKING:
    from trio_realtime.server import UserLookup


def add_user_options(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    parser.add_argument(
        "--users",
        metavar="URL",
        help="a storage service that knows whose a session token is, by GET URL/users/me",
    )


async def users_of(args: argparse.Namespace, stack: AsyncExitStack) -> UserLookup | None:
    """Who knows the storage users, if anybody does. Raises `UsageError`."""
    if args.users is None:
        return None
    check_url("users", args.users)
    import httpx2

    from trio_realtime.server import storage_users

    # Each lookup has a deadline of its own, which is shorter.
    client = await stack.enter_async_context(httpx2.AsyncClient(timeout=10))
    return storage_users(args.users, client)
