"""``trio-realtime verify``: compare an archive with a server."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import trio

from .import_ import add_target, reach, target_of
from .progress_bar import ProgressBar
from .refusals import status_of
from .usage import UsageError

DIFFERENT = 1
SHOWN = 50


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "verify",
        help="compare an archive with a server",
        description="Compare every message of an archive (id, time, sender, body) and every "
        "conversation with its members with what a server has. The status is 0 if nothing "
        "differs, and 1 otherwise. What the server has taken since is no difference.",
    )
    parser.add_argument("directory", type=Path, help="the archive")
    add_target(parser)
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    """Do it; the exit status."""
    return await status_of(_verify(args), "Run the same command again.")


async def _verify(args: argparse.Namespace) -> int:
    from trio_realtime._archive.archive import read_manifest
    from trio_realtime._archive.verifying import Comparison, verify
    from trio_realtime._io.exception_groups import single_error
    from trio_realtime.rest import open_rest

    manifest = await trio.to_thread.run_sync(read_manifest, args.directory)
    server, app_id, key = target_of(args, os.environ, {manifest.app_id})
    comparison = Comparison()
    shown = 0

    def tell(text: str) -> None:
        nonlocal shown
        shown += 1
        if shown <= SHOWN:
            print(text)
        elif shown == SHOWN + 1:
            print("and more")

    line = ProgressBar(lambda: comparison.stage)
    try:
        async with open_rest(app_id=app_id, master_key=key, server=server) as rest:
            await reach(rest)
            with single_error():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(line.run)
                    await verify(args.directory, rest, comparison, tell)
                    nursery.cancel_scope.cancel()
    except ValueError as error:
        raise UsageError(f"{error}.") from error
    what = f"{comparison.messages:,} messages in {comparison.conversations:,} conversations"
    if comparison.newer:
        print(f"The server has taken {comparison.newer:,} messages since the archive was made.")
    if not manifest.complete:
        print("The archive itself is not complete: pull again first.")
    if comparison.differences:
        print(f"{len(comparison.differences):,} differences in {what}.")
        return DIFFERENT
    print(f"No difference: {what} are on {server} as they are in {args.directory}.")
    return 0 if manifest.complete else DIFFERENT
