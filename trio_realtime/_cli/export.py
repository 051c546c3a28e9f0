"""``trio-realtime export``: everything out of our own server, into the same archive."""

from __future__ import annotations

import argparse

from . import pull


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand: what `pull` does, of a server of one's own."""
    parser = subparsers.add_parser(
        "export",
        help="copy an app's data from your own server into a directory",
        description="Copy an app's data out of your server into an archive: JSON lines and files, "
        "that import brings into another server, and that any program can read. It is pull, with "
        "the same options.",
    )
    pull.add_options(parser)
    parser.set_defaults(run=pull.run)
