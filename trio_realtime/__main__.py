"""``trio-realtime`` and ``python -m trio_realtime``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

import trio

from ._version import __version__

COMMANDS = ("serve", "demo", "pull", "import", "verify", "export", "decode", "tap", "shadow")
MODULES = {"import": "import_"}
"""Of commands whose names no module can have."""

SERVER_PACKAGES = frozenset({"h11", "websockets"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; the exit status is its result.

    A subcommand is a module of ``_cli`` with ``add_parser(subparsers)``, which sets the
    default ``run`` to its ``async run(args) -> int``; ``args.arguments`` are its own, unparsed. One that is named is imported alone.
    """
    parser = argparse.ArgumentParser(
        prog="trio-realtime", description="Instant messaging for Trio: SDK and server."
    )
    parser.add_argument("--version", action="version", version=f"trio-realtime {__version__}")
    subparsers = parser.add_subparsers(metavar="command", required=True)
    given = list(sys.argv[1:] if arguments is None else arguments)
    for name in [name for name in COMMANDS if name in given[:1]] or COMMANDS:
        command = import_module(f"trio_realtime._cli.{MODULES.get(name, name)}")
        command.add_parser(subparsers)
    args = parser.parse_args(given)
    args.arguments = given[1:]
    try:
        return int(trio.run(args.run, args))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in SERVER_PACKAGES:
            raise
        print(
            f"trio-realtime: The server needs the package {package}: "
            "install it with  pip install 'trio-realtime[server]'.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
