"""Compare the SDK with the npm SDK: python -m benchmarks [--quick] [--json FILE]."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.processes import responder

HERE = Path(__file__).parent
TRANSPORTS = ("trio-websocket", "websockets")
ROUNDS = 3
COUNTS = {"send_ack_1": 6_000, "send_ack_64": 30_000, "receive": 60_000}
QUICK_COUNTS = {"send_ack_1": 2_000, "send_ack_64": 10_000, "receive": 20_000}
UNIT = "messages/s"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer messages")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here too")
    args = parser.parse_args()
    if shutil.which("npm") is None:
        parser.error("node and npm are needed to run the SDK to compare with")
    with tempfile.TemporaryDirectory() as directory, responder() as url:
        npm_sdk(Path(directory))
        results = measure(url, Path(directory), QUICK_COUNTS if args.quick else COUNTS)
    print_table(results)
    if args.json is not None:
        args.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0


def measure(url: str, node: Path, counts: dict[str, int]) -> list[dict[str, object]]:
    """Medians of several rounds; within a round all clients take their turn."""
    results: list[dict[str, object]] = []
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


def print_table(results: list[dict[str, object]]) -> None:
    print(f"{'scenario':<14}{'transport':<16}{'ours':>10}{'npm SDK':>10}{'ratio':>8}   {UNIT}")
    for row in results:
        print(
            f"{row['name']:<14}{row['transport']:<16}{row['ours']:>10}{row['js']:>10}"
            f"{row['ratio']:>8}"
        )


if __name__ == "__main__":
    sys.exit(main())
