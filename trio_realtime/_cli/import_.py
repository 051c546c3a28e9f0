"""``trio-realtime import``: bring an archive, or exports of LeanCloud's console, into a server."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import trio

from .keys import APP_ID, SERVER, from_environ, master_key, warn_of_plain_http
from .progress_bar import ProgressBar
from .refusals import status_of
from .usage import UsageError

if TYPE_CHECKING:
    from trio_realtime._archive.importing import Importer
    from trio_realtime._archive.sources import Note
    from trio_realtime.rest import RestClient

SKIPPED = 1
FIRST_PATIENCE = 10.0
"""Seconds in which the server has to answer for the first time."""
SHOWN = 20
"""Rows that were not taken and are named on the terminal."""

GO_ON = "Run the same command again: what is there already stays as it is."


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "import",
        help="bring an archive, or exports of LeanCloud's console, into a running server",
        description="Import archives made by pull, and exports and backups of LeanCloud's console "
        "(.json, .jsonl, .bson, each also .gz, .tar.gz; directories of them), into a running "
        "server: with their ids, times, senders and bodies. Run again, it takes what is new. "
        "The status is 1 if some rows could not be taken.",
        epilog="The master key comes from the variable TRIO_REALTIME_MASTER_KEY, from a file or "
        "from a prompt.",
    )
    parser.add_argument("source", nargs="+", type=Path, help="an archive, a file or a directory")
    add_target(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="only say what would become of the rows"
    )
    parser.add_argument("--no-files", action="store_true", help="leave the files of archives out")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write there why rows were not taken"
    )
    parser.set_defaults(run=run)


def add_target(parser: argparse.ArgumentParser) -> None:
    """Options that say which app of which server is meant."""
    parser.add_argument(
        "--server", metavar="URL", help="the server, for instance http://127.0.0.1:8080"
    )
    parser.add_argument("--app-id", metavar="ID", help="the app; by default that of the archive")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="holds the master key alone")
    parser.add_argument(
        "--other-app",
        action="store_true",
        help="the archive of an app belongs into another one",
    )


def target_of(
    args: argparse.Namespace, environ: Mapping[str, str], archived: set[str]
) -> tuple[str, str, str]:
    """Server, app and its key, for archives of these apps. Raises `UsageError`."""
    server = args.server or from_environ(SERVER, environ)
    app_id = args.app_id or from_environ(APP_ID, environ) or next(iter(archived), None)
    if not server:
        raise UsageError("--server is needed: the URL of the server.")
    if not app_id:
        raise UsageError("--app-id is needed: the id of the app.")
    if (others := archived - {app_id}) and not args.other_app:
        raise UsageError(
            f"This is the archive of the app {min(others)}, not of {app_id}. Apps know their "
            "users' data by the app id; add --other-app if you mean it."
        )
    key = master_key(args.key_file, app_id, environ)
    warn_of_plain_http(server)
    return server, app_id, key


async def reach(rest: RestClient) -> None:
    """Find out now whether the server is there: later a request is repeated for long. Raises `RestError`."""
    await rest.call("GET", "/1.1/date", patience=FIRST_PATIENCE)


async def run(args: argparse.Namespace) -> int:
    """Do it; the exit status."""
    return await status_of(_import(args, os.environ), GO_ON)


async def _import(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    from trio_realtime._archive.importing import Importer
    from trio_realtime._archive.sources import read_sources
    from trio_realtime._archive.uploading import FileImporter
    from trio_realtime._io.exception_groups import single_error
    from trio_realtime.rest import open_rest

    archived = await trio.to_thread.run_sync(_apps_of, args.source)
    server, app_id, key = target_of(args, environ, archived)
    for source in args.source:
        if not source.exists():
            raise UsageError(f"There is no {source}.")
    try:
        opening = open_rest(app_id=app_id, master_key=key, server=server)
        with ExitStack() as stack:
            report = None if args.report is None else stack.enter_context(_report(args.report))
            async with opening as rest:
                await reach(rest)
                notes = _Notes(report)
                importer = Importer(rest, args.dry_run, notes)
                line = ProgressBar(lambda: _line(importer))
                notes.clear = line.clear
                with single_error():
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(line.run)
                        await importer.run(read_sources(args.source))
                        if not args.no_files:
                            files = FileImporter(rest, importer, args.dry_run)
                            for source in filter(_is_archive, args.source):
                                await files.run(source)
                        nursery.cancel_scope.cancel()
    except ValueError as error:
        raise UsageError(f"{error}.") from error
    _tell(importer, server, args)
    return SKIPPED if importer.notes else 0


def _apps_of(sources: list[Path]) -> set[str]:
    """The apps of the archives among what is to be imported."""
    from trio_realtime._archive.archive import read_manifest

    return {read_manifest(path).app_id for path in sources if _is_archive(path)}


def _is_archive(path: Path) -> bool:
    from trio_realtime._archive.manifest import NAME

    return (path / NAME).exists()


class _Notes:
    """Hears of rows that are not taken: the first ones are shown, all of them reported."""

    def __init__(self, report: TextIO | None) -> None:
        self._report = report
        self._count = 0
        self.clear: Callable[[], None] = lambda: None

    def __call__(self, note: Note) -> None:
        place = f"{note.file}:{note.number}" if note.number else note.file
        text = f"{place}: {note.reason}"
        self._count += 1
        if self._report is not None:
            self._report.write(text + "\n")
        self.clear()
        if self._count <= SHOWN:
            print(text, file=sys.stderr)
        elif self._count == SHOWN + 1:
            more = "the rest is in the report" if self._report else "--report FILE would keep them"
            print(f"and more; {more}", file=sys.stderr)


def _report(path: Path) -> TextIO:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}.") from error
    return os.fdopen(descriptor, "w", encoding="utf-8", errors="replace")


def _line(importer: Importer) -> str:
    return f"{importer.rows:,} rows, {importer.notes:,} not taken  {importer.file}"


def _tell(importer: Importer, server: str, args: argparse.Namespace) -> None:
    print(f"Would be imported into {server}:" if args.dry_run else f"Imported into {server}:")
    for kind, counts in importer.counts.items():
        text = f"  {kind}: {counts.new:,} new, {counts.changed:,} changed, {counts.known:,} known"
        if counts.skipped:
            text += f", {counts.skipped:,} not taken"
        if counts.placeholders and not args.dry_run:
            text += f"; {counts.placeholders:,} conversations were made for messages without one"
        print(text)
    if not importer.counts:
        print("  nothing")
