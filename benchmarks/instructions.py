"""What a message costs the client, in instructions: python -m benchmarks.instructions.

Counted by valgrind, so that the figure is the same on a busy machine as on an idle one. A short
run is taken from a long one, which leaves what the additional messages cost. The peer is the
neutral one of the other benchmarks; of what it does nothing is counted.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.processes import ROOT, responder
from benchmarks.still import WORK

SCENARIOS = ("send_ack_1", "send_ack_64", "receive")
TRANSPORTS = ("websockets", "trio-websocket")
SHORT, LONG = 300, 1800
CHECKED = ("send_ack_1", "receive", *(name for name in WORK if name != "reference"))
"""Scenarios of ``--check``, over websockets."""
BASELINE = Path(__file__).with_name("baseline.json")
TOLERANCE = 1.1
COUNTED = re.compile(r"I +refs: +([\d,]+)")


def instructions(checkout: Path, scenario: str, transport: str, url: str) -> float:
    """Instructions that one message costs, or one piece of work."""
    short, long = (_count(checkout, scenario, transport, url, n) for n in (SHORT, LONG))
    return (long - short) / (LONG - SHORT)


def _count(checkout: Path, scenario: str, transport: str, url: str, messages: int) -> int:
    tool = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    module = "benchmarks.still" if scenario in WORK else "benchmarks.worker"
    worker = [sys.executable, "-m", module, scenario, url, str(messages), transport]
    done = subprocess.run(
        [*tool, *worker],
        cwd=checkout,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = COUNTED.search(done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"{scenario} over {transport} failed:\n{done.stderr[-2000:]}")
    return int(found[1].replace(",", ""))


def _check(*, write: bool) -> int:
    """Compare with the baseline, in pieces of work that other Pythons find as hard."""
    transport = "websockets"
    with responder() as url:
        unit = instructions(ROOT, "reference", transport, url)
        found = {name: instructions(ROOT, name, transport, url) / unit for name in CHECKED}
    if write:
        rounded = {name: round(value, 4) for name, value in found.items()}
        BASELINE.write_text(json.dumps(rounded, indent=2) + "\n")
        return 0
    baseline: dict[str, float] = json.loads(BASELINE.read_text())
    dearer = 0
    for name, value in found.items():
        ratio = value / baseline[name]
        dearer += ratio > TOLERANCE
        mark = "  dearer" if ratio > TOLERANCE else ""
        print(f"{name:16}{value:10.4f}{baseline[name]:10.4f}{ratio:8.3f}{mark}")
    return 1 if dearer else 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="compare with another one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as JSON")
    parser.add_argument("--only", choices=SCENARIOS, help="a single scenario")
    parser.add_argument(
        "--check", action="store_true", help=f"fail if anything is {TOLERANCE - 1:.0%} dearer"
    )
    parser.add_argument("--baseline", action="store_true", help="what --check compares with")
    args = parser.parse_args()
    if shutil.which("valgrind") is None:
        parser.error("valgrind is needed and was not found")
    if args.check or args.baseline:
        raise SystemExit(_check(write=args.baseline))
    rows: list[dict[str, object]] = []
    with responder() as url:
        for scenario in [args.only] if args.only else SCENARIOS:
            for transport in TRANSPORTS:
                ours = instructions(ROOT, scenario, transport, url)
                row: dict[str, object] = {
                    "name": scenario,
                    "transport": transport,
                    "ours": round(ours),
                    "unit": "instructions per message",
                }
                line = f"{scenario:12} {transport:15} {ours / 1000:8.1f} thousand"
                if args.against is not None:
                    other = instructions(args.against.resolve(), scenario, transport, url)
                    row |= {"other": round(other), "ratio": round(other / ours, 3)}
                    line += f"   there {other / 1000:8.1f}   ratio {other / ours:.3f}"
                rows.append(row)
                print(line, flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
