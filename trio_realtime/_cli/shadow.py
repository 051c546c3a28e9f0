"""``trio-realtime shadow``: the rehearsal before a cut-over."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO
from urllib.parse import urlsplit

import trio

from .readable import printable
from .recording import Ended, Happening, Opened, Recorded, RecordingError, from_fields
from .tap import listen, origin_of, record_file
from .usage import UsageError

if TYPE_CHECKING:
    from .shadowing.report import Report

FAILED = 2
FIRST_PATIENCE = 10.0
"""Seconds in which a server has to be there."""
DIFFERENT = 1
BEHIND = 20_000
"""Frames of clients and servers that ours may be behind before it is left alone."""
BEHIND_BYTES = 64 * 1024 * 1024
LINES_AT_ONCE = 500


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "shadow",
        help="give your server what clients tell another one, and compare the answers",
        description="Rehearse a cut-over. Either play a recording of `trio-realtime tap --record` "
        "to your server, or stand between clients and the old service: the old service answers "
        "the clients, and your server is told the same. Every difference is counted by command. "
        "Your server is written to: use one that is there for the rehearsal.",
        epilog="The status is 0 if nothing differs, 1 if something does, 2 if it could not be done.",
    )
    parser.add_argument("recording", nargs="?", type=Path, help="a file that tap has recorded")
    parser.add_argument("--against", metavar="URL", help="your server, for a recording")
    parser.add_argument(
        "--listen", metavar="[HOST:]PORT", help="wait for clients here; with --old and --ours"
    )
    parser.add_argument("--old", metavar="URL", help="the service that answers the clients")
    parser.add_argument("--ours", metavar="URL", help="your server, which is only compared")
    parser.add_argument(
        "--record", metavar="FILE", help="with --listen: record every frame, as tap does"
    )
    parser.add_argument(
        "--patience",
        type=_patience,
        default=5.0,
        metavar="SECONDS",
        help="how much later yours may answer (%(default)g)",
    )
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="COMMAND",
        help="tell its differences, but do not count them; for instance unread; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def _patience(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 3600:
        raise argparse.ArgumentTypeError("it is more than 0 and less than an hour")
    return seconds


async def run(args: argparse.Namespace) -> int:
    """Do it; the exit status."""
    from .shadowing.report import Report

    report = Report(frozenset(args.ignore))
    try:
        if args.listen is None:
            await _replay(args, report)
        else:
            await _live(args, report)
    except UsageError as error:
        print(f"trio-realtime: {error}", file=sys.stderr)
        return FAILED
    _tell(args, report)
    if not any(row.equal or row.bad for row in report.rows.values()):
        print("trio-realtime: There was nothing that could be compared.", file=sys.stderr)
        return FAILED
    return DIFFERENT if report.bad or report.lost else 0


def _tell(args: argparse.Namespace, report: Report) -> None:
    if args.json:
        print(json.dumps(report.to_json(), ensure_ascii=False, indent=2))
        return
    for line in report.table():
        print(line)
    print()
    if report.unreadable:
        print(f"{report.unreadable:,} frames are no commands, and were not compared.")
    if report.lost:
        print(f"Your server fell behind: {report.lost:,} frames were not compared.")
    print(f"{report.bad:,} differences." if report.bad else "No difference.")


# Recordings.


async def _replay(args: argparse.Namespace, report: Report) -> None:
    from .shadowing.performance import Performance
    from .shadowing.rehearsal import Rehearsal

    if args.recording is None or args.against is None:
        raise UsageError("Give a recording and --against, or --listen with --old and --ours.")
    if args.old or args.ours or args.record:
        raise UsageError("--old, --ours and --record go with --listen.")
    origin = origin_of("--against", args.against)
    url = origin.replace("http", "ws", 1)
    try:
        with args.recording.open("rb") as file:
            last = await trio.to_thread.run_sync(_last_frames, file, args.recording)
            file.seek(0)
            await _reach(origin)
            performance = Performance(url, Rehearsal(report, args.patience))
            await performance.run(_happenings(file, args.recording, last))
    except OSError as error:
        raise UsageError(f"{args.recording} cannot be read: {error.strerror or error}.") from error


async def _reach(origin: str) -> None:
    """Find out now whether there is anything. Raises `UsageError`."""
    parts = urlsplit(origin)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with trio.fail_after(FIRST_PATIENCE):
            stream = await trio.open_tcp_stream(parts.hostname or "", port)
    except (OSError, trio.TooSlowError) as error:
        raise UsageError(f"There is no server at {origin}: {str(error) or 'no answer'}.") from error
    await stream.aclose()


async def _happenings(
    file: Iterator[bytes], path: Path, last: dict[int, int]
) -> AsyncIterator[Happening]:
    """What a recording tells, and the ends of connections where it does not tell them."""
    numbered = enumerate(file, 1)
    while lines := await trio.to_thread.run_sync(lambda: list(islice(numbered, LINES_AT_ONCE))):
        for number, line in lines:
            happening = _read(line, number, path)
            if happening is None:
                continue
            yield happening
            if last.get(happening.connection) == number:
                yield Ended(happening.time, happening.connection, "client", 1000)


def _last_frames(file: Iterator[bytes], path: Path) -> dict[int, int]:
    """In which lines connections are heard last, of which no end was recorded."""
    last: dict[int, int] = {}
    for number, line in enumerate(file, 1):
        happening = _read(line, number, path)
        if isinstance(happening, Recorded):
            last[happening.connection] = number
        elif isinstance(happening, Ended | Opened):
            last.pop(happening.connection, None)
    return last


def _read(line: bytes, number: int, path: Path) -> Happening | None:
    if not line.strip():
        return None
    try:
        try:
            fields = json.loads(line)
        except ValueError:
            if not line.endswith(b"\n"):
                return None  # the tap was killed while it wrote this one
            raise
        if not isinstance(fields, dict):
            raise RecordingError("it is no object")
        return from_fields(fields)
    except (ValueError, RecursionError) as error:
        problem = printable(str(error))
        raise UsageError(f"{path}, line {number}, is no line of a recording: {problem}.") from None


# Live traffic.


class Backlog:
    """What ours is still to be told; whoever fills it never waits."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._send, self._receive = trio.open_memory_channel[Happening](BEHIND)
        self._bytes = 0

    def add(self, happening: Happening) -> None:
        """Tell ours later; what comes behind something that was lost is lost as well."""
        size = len(happening.payload) if isinstance(happening, Recorded) else 0
        if not self._report.lost and self._bytes + size <= BEHIND_BYTES:
            try:
                self._send.send_nowait(happening)
            except (trio.WouldBlock, trio.BrokenResourceError):
                pass
            else:
                self._bytes += size
                return
        self._report.lost += 1

    def end(self) -> None:
        """Nothing more comes."""
        self._send.close()

    async def __aiter__(self) -> AsyncIterator[Happening]:
        async for happening in self._receive:
            self._bytes -= len(happening.payload) if isinstance(happening, Recorded) else 0
            yield happening


async def _live(args: argparse.Namespace, report: Report) -> None:
    from .shadowing.performance import Performance
    from .shadowing.rehearsal import Rehearsal
    from .tap_proxy import Proxy

    if args.old is None or args.ours is None:
        raise UsageError("--listen needs --old and --ours.")
    if args.recording is not None or args.against is not None:
        raise UsageError("--listen takes neither a recording nor --against.")
    old, ours = origin_of("--old", args.old), origin_of("--ours", args.ours)
    host, _, port = args.listen.rpartition(":")
    if not port.isdecimal():
        raise UsageError(f"--listen takes a port, or a host and a port, not {args.listen!r}.")
    with ExitStack() as stack:
        record: TextIO | None = None
        if args.record is not None:
            record = stack.enter_context(record_file(args.record))
        listeners, url = await listen(host.strip("[]") or "127.0.0.1", int(port))
        signals = stack.enter_context(trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM))
        backlog = Backlog(report)
        performance = Performance(
            ours.replace("http", "ws", 1), Rehearsal(report, args.patience), live=True
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_perform, performance, backlog)
            async with (
                Proxy(old, lambda _: None, record, backlog.add) as proxy,
                trio.open_nursery() as serving,
            ):
                serving.start_soon(trio.serve_listeners, proxy.serve, listeners)
                said = f"Give the clients the server {url}. Ctrl-C ends the rehearsal."
                print(said, file=sys.stderr, flush=True)
                async for _ in signals:
                    break
                serving.cancel_scope.cancel()
            backlog.end()


async def _perform(performance: object, backlog: Backlog) -> None:
    """Whatever goes wrong with ours is no concern of the clients."""
    from .shadowing.performance import Performance

    assert isinstance(performance, Performance)
    try:
        await performance.run(aiter(backlog))
    except Exception as error:  # noqa: BLE001 - the clients go on
        print(f"trio-realtime: The comparison has broken off: {error!r}", file=sys.stderr)
        performance.rehearsal.report.lost += 1
