"""``trio-realtime decode``: what a frame says."""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from trio_realtime._engine.dialect import DIALECTS
from trio_realtime.wire import WireError, decode

from .readable import printable, readable
from .recording import RecordingError, from_fields, is_recorded

MALFORMED = 1
FAILED = 2
NO_FRAME = "neither hex, base64 nor JSON"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "decode",
        help="print frames of the protocol readably",
        description="Print frames readably: hex or base64 of protobuf, JSON, or lines that "
        "`trio-realtime tap --record` wrote. One frame per line. The status is 1 if a line is "
        "malformed, and 2 if something cannot be read.",
    )
    parser.add_argument(
        "input",
        nargs="*",
        default=["-"],
        help="a frame, the name of a file, or - for the standard input (the default)",
    )
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    """Print everything; the exit status."""
    status = 0
    try:
        for given in args.input:
            status = max(status, _print_input(given))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read this, such as `head`, has had enough; let the interpreter end in peace.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _print_input(given: str) -> int:
    if given == "-":
        return _print_lines(_text(sys.stdin.buffer), "standard input, ")
    try:
        is_file = Path(given).is_file()
    except (OSError, ValueError):
        is_file = False  # too long for a name, or with a zero in it
    if not is_file:
        return _print_lines(iter(given.splitlines()), "argument, ")
    try:
        with Path(given).open("rb") as file:
            return _print_lines(_text(file), f"{given}, ")
    except OSError as error:
        _complain(f"{given} cannot be read: {error.strerror or error}.")
        return FAILED


def _text(lines: object) -> Iterator[str]:
    """Lines of text, whatever bytes they are made of."""
    for line in lines:  # type: ignore[attr-defined]
        yield line.decode("utf-8-sig", "backslashreplace")


def _print_lines(lines: Iterator[str], where: str) -> int:
    status = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            print(shown(line), flush=True)
        except ValueError as error:
            # After what stands above it, also where both go to one terminal.
            _complain(f"{where}line {number}: {printable(str(error))}.")
            status = MALFORMED
    return status


def shown(line: str) -> str:
    """One frame, readably. Raises `WireError` or `RecordingError`, which are ValueErrors."""
    text = line.strip().strip("`").strip()
    if text.startswith("{"):
        return _shown_json(text)
    reasons = []
    packed = "".join(text.split())
    for name, read in (("hex", bytes.fromhex), ("base64", _from_base64)):
        try:
            data = read(packed)
        except ValueError:
            continue
        try:
            return readable(decode(data))
        except WireError as error:
            reasons.append(f"{name} of {len(data)} bytes that are no command: {error}")
    raise WireError("; ".join(reasons) or NO_FRAME)


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error


def _shown_json(text: str) -> str:
    try:
        fields = json.loads(text)
    except RecursionError:
        raise WireError("JSON that is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise WireError(f"JSON with a mistake at column {error.colno}: {error.msg}") from None
    if not is_recorded(fields):
        return readable(DIALECTS["json"].decode(text))
    try:
        return from_fields(fields).readable()
    except RecordingError as error:
        raise RecordingError(f"no recorded frame: {error}") from None
    except WireError as error:
        raise WireError(f"a recorded frame that is no command: {error}") from None


def _complain(problem: str) -> None:
    print(f"trio-realtime: {problem}", file=sys.stderr, flush=True)
