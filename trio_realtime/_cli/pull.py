"""``trio-realtime pull``: copy an app's data from a server into an archive."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from .keys import APP_ID, SERVER, from_environ, master_key, warn_of_plain_http
from .progress_bar import ProgressBar, bar, duration, size
from .refusals import status_of
from .usage import UsageError

if TYPE_CHECKING:
    from trio_realtime._archive.check import Findings
    from trio_realtime._archive.manifest import Manifest
    from trio_realtime._archive.progress import Progress
    from trio_realtime._archive.pulling import Scope

NOT_WHOLE = 1
PATIENCE = 900.0
"""Seconds for which a server that does not answer is asked again."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GO_ON = "What was fetched is kept; run the same command again to go on."


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "pull",
        help="copy an app's data from a server into a directory",
        description="Copy conversations, messages, roles, lists, subscribers and files of an app "
        "from a server with the API of LeanCloud into a directory. It may be interrupted in any "
        "way: the same command goes on where it was. Run again, it fetches what is new.",
        epilog="The master key comes from the variable TRIO_REALTIME_MASTER_KEY (or "
        "LEANCLOUD_APP_MASTER_KEY), from a file or from a prompt, and is written nowhere. App id "
        "and server may stand in TRIO_REALTIME_APP_ID and TRIO_REALTIME_SERVER, and are "
        "remembered in the archive.",
    )
    add_options(parser)
    parser.set_defaults(run=run)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Everything that can be said about a copy."""
    parser.add_argument("directory", type=Path, help="where the archive is, or is to be")
    parser.add_argument(
        "--server", metavar="URL", help="the API, for instance https://api.example.com"
    )
    parser.add_argument("--app-id", metavar="ID", help="the app")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="holds the master key alone")
    parser.add_argument(
        "--per-minute",
        type=_positive,
        default=600.0,
        metavar="N",
        help="requests a minute at most (%(default)g)",
    )
    parser.add_argument(
        "--at-once", type=int, default=4, metavar="N", help="requests at a time (%(default)s)"
    )
    parser.add_argument("--no-files", action="store_true", help="leave files out")
    parser.add_argument(
        "--file-host",
        action="append",
        default=[],
        metavar="HOST",
        help="copy files from this host although its address is not public; may be repeated",
    )
    parser.add_argument("--no-lists", action="store_true", help="leave silence and block lists out")
    parser.add_argument(
        "--all-lists",
        action="store_true",
        help="ask for the lists of all conversations again, not only of those that have changed",
    )
    parser.add_argument(
        "--again",
        type=_positive,
        default=0.25,
        metavar="HOURS",
        help="read this much of what is here again, for edits and recalls (%(default)g)",
    )
    parser.add_argument(
        "--follow", action="store_true", help="go on fetching what is new until interrupted"
    )
    parser.add_argument(
        "--every",
        type=_positive,
        default=60.0,
        metavar="SECONDS",
        help="how often to look with --follow (%(default)g)",
    )
    parser.add_argument(
        "--check", action="store_true", help="only read the archive, and say whether it is whole"
    )
    parser.add_argument(
        "--repair", action="store_true", help="check first, and fetch again what is damaged"
    )


async def run(args: argparse.Namespace) -> int:
    """Do it; the exit status."""
    work = _check(args.directory) if args.check else _pull(args, os.environ)
    return await status_of(work, GO_ON)


async def _pull(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    from trio_realtime._archive.archive import open_archive
    from trio_realtime._archive.media import FileReader
    from trio_realtime._archive.progress import Progress
    from trio_realtime._archive.pulling import Puller
    from trio_realtime.rest import open_rest

    if not 1 <= args.at_once <= 64:
        raise UsageError("--at-once takes a number from 1 to 64.")
    server, app_id = await trio.to_thread.run_sync(_which, args, environ)
    key = master_key(args.key_file, app_id, environ)
    warn_of_plain_http(server)
    if args.repair:
        await _repair(args.directory)
    progress = Progress()
    host = urlsplit(server).hostname or ""
    try:
        opening = open_rest(
            app_id=app_id,
            master_key=key,
            server=server,
            requests_per_minute=args.per_minute,
            patience=PATIENCE,
        )
        async with (
            opening as rest,
            open_archive(args.directory, app_id=app_id, server=server) as archive,
        ):
            files = FileReader(archive, progress, hosts={host, *args.file_host})
            puller = Puller(rest, archive, files, progress)
            status = await _watched(args, puller, progress)
            manifest = archive.manifest
    except ValueError as error:
        raise UsageError(f"{error}.") from error
    if status:
        print(f"trio-realtime: Interrupted. {GO_ON}", file=sys.stderr)
        return status
    print(_summary(args.directory, manifest, progress))
    return 0


async def _watched(args: argparse.Namespace, puller: object, progress: Progress) -> int:
    """Run rounds until the end, or a signal; the exit status."""
    from trio_realtime._archive.pulling import Puller
    from trio_realtime._io.exception_groups import single_error

    assert isinstance(puller, Puller)
    status = 0
    started = trio.current_time()
    line = ProgressBar(lambda: _line(progress, trio.current_time() - started))

    async def stop(scope: trio.CancelScope) -> None:
        nonlocal status
        with trio.open_signal_receiver(*SIGNALS) as signals:
            async for number in signals:
                status = 128 + number
                scope.cancel()

    with single_error():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop, nursery.cancel_scope)
            nursery.start_soon(line.run)
            await _rounds(args, puller, line)
            nursery.cancel_scope.cancel()
    return status


async def _rounds(args: argparse.Namespace, puller: object, line: ProgressBar) -> None:
    from trio_realtime._archive.pulling import Puller, Scope

    assert isinstance(puller, Puller)
    scope = partial(Scope, at_once=args.at_once, files=not args.no_files, lists=not args.no_lists)
    resumed = puller.archive.manifest.round and not puller.archive.manifest.complete
    first = scope(again=args.again * 3600, all_lists=args.all_lists)
    await puller.round(first)
    if resumed:
        # That was what was missing; now what is new since then.
        await puller.round(first)
    while args.follow:
        line.clear()
        print(_summary(args.directory, puller.archive.manifest, puller.progress), flush=True)
        await _next_round(args, puller, scope(all_subscribers=False), line)


async def _next_round(
    args: argparse.Namespace, puller: object, scope: Scope, line: ProgressBar
) -> None:
    """Look for what is new, a while later; a server that is away is waited for."""
    from trio_realtime._archive.pulling import Puller
    from trio_realtime.rest import RateLimited, Unavailable

    assert isinstance(puller, Puller)
    while True:
        await trio.sleep(args.every)
        try:
            await puller.round(scope)
        except (RateLimited, Unavailable) as error:
            line.clear()
            print(f"trio-realtime: {str(error).rstrip('.')}. It is tried again.", file=sys.stderr)
        else:
            return


def _which(args: argparse.Namespace, environ: Mapping[str, str]) -> tuple[str, str]:
    """Server and app: from the command line, the environment, or the archive."""
    from trio_realtime._archive.archive import read_manifest
    from trio_realtime._archive.manifest import NAME

    server = args.server or from_environ(SERVER, environ)
    app_id = args.app_id or from_environ(APP_ID, environ)
    if (args.directory / NAME).exists():
        manifest = read_manifest(args.directory)
        server, app_id = server or manifest.server, app_id or manifest.app_id
    if not server:
        raise UsageError("--server is needed: the URL of the API.")
    if not app_id:
        raise UsageError("--app-id is needed: the id of the app.")
    return server, app_id


# Checking.


async def _check(directory: Path) -> int:
    findings = await _reading(directory)
    for problem in (*findings.problems, *findings.unfinished):
        print(problem)
    print(_counts(findings.manifest, findings.blobs, findings.blob_bytes))
    if findings.failed_files:
        print(f"{findings.failed_files:,} files could not be had from where messages say they are.")
    for kind, reason in findings.manifest.unanswered.items():
        print(f"The server did not answer for {kind}: {reason}")
    print(f"The archive in {directory} is {'whole' if findings.whole else 'NOT whole'}.")
    return 0 if findings.whole else NOT_WHOLE


async def _repair(directory: Path) -> None:
    from trio_realtime._archive.check import repair
    from trio_realtime._archive.manifest import NAME

    if not (directory / NAME).exists():
        return
    findings = await trio.to_thread.run_sync(repair, directory)
    for problem in findings.problems:
        print(problem, file=sys.stderr)
    if damaged := len(findings.broken) + len(findings.bad_blobs):
        print(f"{damaged} parts and files are fetched again.", file=sys.stderr)


async def _reading(directory: Path) -> Findings:
    from trio_realtime._archive.check import check
    from trio_realtime._io.exception_groups import single_error

    reading = ""

    def tell(what: str) -> None:
        nonlocal reading
        reading = what

    line = ProgressBar(lambda: f"reading {reading}" if reading else "")
    read = partial(check, directory, tell)
    with single_error():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.run)
            findings = await trio.to_thread.run_sync(read, abandon_on_cancel=True)
            nursery.cancel_scope.cancel()
    return findings


# Words.


def _line(progress: Progress, elapsed: float) -> str:
    match progress.stage:
        case "messages":
            left = progress.seconds_left(elapsed)
            rest = "" if left is None else f", about {duration(left)} left"
            rate = progress.messages / elapsed if elapsed else 0.0
            return (
                f"messages {bar(progress.share)}  {progress.messages:,} new, {rate:,.0f}/s, "
                f"{progress.conversations:,} conversations{rest}"
            )
        case "conversations":
            share = progress.looked_at / progress.to_look_at if progress.to_look_at else 0.0
            return f"conversations {bar(share)}  {progress.looked_at:,} of {progress.to_look_at:,}"
        case "files":
            return f"files  {progress.files:,} ({size(progress.file_bytes)})"
        case stage:
            return stage


def _summary(directory: Path, manifest: Manifest, progress: Progress) -> str:
    news = f"{progress.messages:,} new messages"
    if progress.changed:
        news += f", of which {progress.changed:,} were edited or recalled"
    text = f"{directory} is up to date: {news}.\n" + _counts(manifest)
    if progress.files_failed:
        text += (
            f"\n{progress.files_failed:,} files could not be had; why stands in {directory}/files. "
            "They are asked for again the next time, unless it would not help."
        )
    for kind, reason in manifest.unanswered.items():
        text += f"\nThe server does not answer for {kind}: {reason}"
    return text


def _counts(manifest: Manifest, blobs: int | None = None, blob_bytes: int = 0) -> str:
    parts = manifest.of("messages")
    times = [time for part in parts for time in (part.first, part.last) if time is not None]
    span = f" from {_day(min(times))} to {_day(max(times))}" if times else ""
    files = f"{manifest.rows('files'):,} files" if blobs is None else f"{blobs:,} files"
    files += f" ({size(blob_bytes)})" if blob_bytes else ""
    return (
        f"It holds {manifest.rows('messages'):,} messages{span}, "
        f"{manifest.rows('conversations'):,} conversations, "
        f"{manifest.rows('member-infos'):,} roles, {manifest.rows('lists'):,} lists, "
        f"{manifest.rows('subscribers'):,} subscriptions, "
        f"{manifest.rows('service-messages'):,} messages to services, {files}."
    )


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value
