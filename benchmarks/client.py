"""How fast the client is, beside the npm SDK.

Both talk to the same neutral peer, in turns, each run in a process of its own.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.processes import responder

HERE = Path(__file__).parent
TRANSPORTS = ("trio-websocket", "websockets")
ROUNDS = 3
COUNTS = {"send_ack_1": 6_000, "send_ack_64": 30_000, "receive": 60_000}
QUICK_COUNTS = {"send_ack_1": 2_000, "send_ack_64": 10_000, "receive": 20_000}
UNIT = "messages/s"


def available() -> bool:
    """Whether the SDK to compare with can be had here."""
    return shutil.which("npm") is not None


def rows(*, quick: bool) -> list[dict[str, Any]]:
    """All rows of the client, printed."""
    with tempfile.TemporaryDirectory() as directory, responder() as url:
        npm_sdk(Path(directory))
        results = measure(url, Path(directory), QUICK_COUNTS if quick else COUNTS)
    print_table(results)
    return results


def measure(url: str, node: Path, counts: dict[str, int]) -> list[dict[str, Any]]:
    """Medians of several rounds; within a round all clients take their turn."""
    results: list[dict[str, Any]] = []
    for scenario, count in counts.items():
        rates: dict[str, list[float]] = {"js": [], **{name: [] for name in TRANSPORTS}}
        for _ in range(ROUNDS):
            for who, seen in rates.items():
                common = [scenario, url, str(count)]
                if who == "js":
                    seen.append(run(["node", str(node / "worker.js"), *common]))
                else:
                    seen.append(run([sys.executable, "-m", f"{__package__}.worker", *common, who]))
        js = statistics.median(rates["js"])
        for name in TRANSPORTS:
            ours = statistics.median(rates[name])
            results.append(
                {
                    "name": scenario,
                    "transport": name,
                    "ours": round(ours),
                    "js": round(js),
                    "ratio": round(ours / js, 2),
                    "unit": UNIT,
                }
            )
    return results


def run(command: list[str]) -> float:
    done = subprocess.run(
        command, cwd=HERE.parent, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr or done.stdout}")
    rate: float = json.loads(done.stdout.splitlines()[-1])["rate"]
    return rate


def npm_sdk(directory: Path) -> None:
    """Install the npm SDK beside its worker."""
    for name in ("package.json", "worker.js"):
        shutil.copy(HERE / name, directory / name)
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"],
        cwd=directory,
        check=False,
    )
    if done.returncode:
        raise SystemExit("npm could not install the SDK to compare with")


def print_table(results: list[dict[str, Any]]) -> None:
    print(f"{'scenario':<14}{'transport':<16}{'ours':>10}{'npm SDK':>10}{'ratio':>8}   {UNIT}")
    for row in results:
        print(
            f"{row['name']:<14}{row['transport']:<16}{row['ours']:>10}{row['js']:>10}"
            f"{row['ratio']:>8}"
        )
