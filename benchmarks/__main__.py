"""Measure client and server: python -m benchmarks [--quick] [--json FILE] [--html FILE]."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import client, page, server


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here too")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with charts")
    parser.add_argument(
        "--only",
        action="append",
        choices=["client", *server.NAMES],
        help="may be repeated; all by default",
    )
    args = parser.parse_args()
    names = args.only or ["client", *server.NAMES]
    if "client" in names and not client.available():
        parser.error("node and npm are needed to run the SDK to compare with (or --only)")
    rows: list[dict[str, Any]] = []
    if "client" in names:
        rows += client.rows(quick=args.quick)
    if any(name in server.NAMES for name in names):
        rows += server.rows(names, quick=args.quick)
    if args.json is not None:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")
    if args.html is not None:
        args.html.write_text(page.page(rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
