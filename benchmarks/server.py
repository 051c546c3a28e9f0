"""How fast the server is, beside what is possible in Python.

The load is made by another process, which tells how busy it was: where that is more than 70 %, the
server was not at its limit and the row is marked. Where the system allows it, each has a core of
its own. The limit is a server that stores and passes on and does nothing else
(``benchmarks/limits.py``), in turns with ours; of several rounds the medians count.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from benchmarks.processes import ROOT

TOO_BUSY = 0.7
"""Share of a core from which on the generator may have been the limit."""
LIMITS = ("picows", "websockets")
KIB = 1024


@attrs.frozen
class Row:
    """Something that is measured."""

    name: str
    scenario: str
    unit: str
    value: Callable[[dict[str, Any]], float]
    options: dict[str, float]
    limited: bool = False
    """Whether the limits can do it as well."""
    lower_is_better: bool = False


def _per_second(what: str) -> Callable[[dict[str, Any]], float]:
    return lambda result: float(result[what] / result["seconds"])


SENDERS = {"clients": 200}
ROWS = [
    *(
        Row(
            f"server_send_{window}",
            "send",
            "messages/s",
            _per_second("done"),
            {**SENDERS, "window": window},
            limited=True,
        )
        for window in (1, 4, 16)
    ),
    Row(
        "server_send_p99_at_2000",
        "send_at_rate",
        "ms",
        lambda result: result["p99"] * 1000,
        {**SENDERS, "rate": 2000},
        limited=True,
        lower_is_better=True,
    ),
    Row(
        "server_send_p99_at_5000",
        "send_at_rate",
        "ms",
        lambda result: result["p99"] * 1000,
        {**SENDERS, "rate": 5000},
        limited=True,
        lower_is_better=True,
    ),
    Row(
        "server_fanout_500",
        "fan_out",
        "deliveries/s",
        _per_second("deliveries"),
        {"members": 500, "window": 4},
        limited=True,
    ),
    Row(
        "server_fanout_100",
        "fan_out",
        "deliveries/s",
        _per_second("deliveries"),
        {"members": 100, "window": 1},
        limited=True,
    ),
    Row(
        "server_history",
        "history",
        "pages/s",
        _per_second("done"),
        {"clients": 50, "page": 100},
    ),
]


def rows(names: Sequence[str], *, quick: bool) -> list[dict[str, Any]]:
    """The rows of these names, printed when they are known."""
    return measure(names, rounds=1 if quick else 5, seconds=2 if quick else 5)


def measure(names: Sequence[str], *, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """The rows of these names; each is printed when it is known."""
    print(f"{'':26}{'ours':>10}{'limit':>10}{'of it':>8}  {'spread':>13}")
    found: list[dict[str, Any]] = []
    for row in ROWS:
        if row.name in names:
            found.append(_measure_row(row, rounds, seconds))
            _print(found[-1])
    for name, measured in (("server_idle_kib", _idle), ("server_return_1000", _return)):
        if name in names:
            unit = "KiB" if name == "server_idle_kib" else "s"
            values = [measured() for _ in range(rounds)]
            found.append(_described(name, unit, values, lower_is_better=True))
            _print(found[-1])
    return found


NAMES = [*(row.name for row in ROWS), "server_idle_kib", "server_return_1000"]


def _measure_row(row: Row, rounds: int, seconds: float) -> dict[str, Any]:
    ours: list[float] = []
    limits: dict[str, list[float]] = {name: [] for name in LIMITS if row.limited}
    busy = 0.0
    for _ in range(rounds):
        for who in ("ours", *limits):
            with tempfile.TemporaryDirectory() as data, _serving(who, Path(data)) as served:
                options = {**row.options, "seconds": seconds}
                result = _generate(served.port, row.scenario, options)
            if who == "ours":
                ours.append(row.value(result))
                busy = max(busy, result["busy"])
            else:
                limits[who].append(row.value(result))
    found = _described(row.name, row.unit, ours, lower_is_better=row.lower_is_better)
    if limits:
        best = (min if row.lower_is_better else max)(map(statistics.median, limits.values()))
        found["limit"] = round(best, 1)
        ratio = best / found["ours"] if row.lower_is_better else found["ours"] / best
        found["of_limit"] = round(ratio, 3)
        found["limits"] = {name: round(statistics.median(seen), 1) for name, seen in limits.items()}
    found["generator_busy"] = round(busy, 2)
    return found


def _described(
    name: str, unit: str, values: list[float], *, lower_is_better: bool
) -> dict[str, Any]:
    return {
        "name": name,
        "ours": round(statistics.median(values), 1 if unit != "s" else 3),
        "unit": unit,
        "lowest": round(min(values), 3),
        "highest": round(max(values), 3),
        "lower_is_better": lower_is_better,
    }


def _print(row: dict[str, Any]) -> None:
    limit = f"{row['limit']:10,.1f}{row['of_limit']:8.0%}" if "limit" in row else " " * 18
    marked = "  the generator was busy" if row.get("generator_busy", 0) > TOO_BUSY else ""
    spread = f"{row['lowest']:,.6g}-{row['highest']:,.6g}"
    print(
        f"{row['name']:26}{row['ours']:10,.6g}{limit}  {spread:>13} {row['unit']}{marked}",
        flush=True,
    )


# Processes.


@attrs.frozen
class Served:
    port: int
    pid: int


@contextmanager
def _serving(who: str, data: Path, port: int = 0) -> Iterator[Served]:
    if who == "ours":
        command = [sys.executable, "-m", "trio_realtime", "serve", "--port", str(port)]
        command += ["--ready-json", "--data", str(data), "--app", "benchmark:key:master"]
    else:
        command = [sys.executable, "-m", "benchmarks.limits", who, str(data / "messages.db")]
    with _running(command, core=0) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if who == "ours":
            line = json.loads(line)["url"].rpartition(":")[2]
        yield Served(int(line), process.pid)


@contextmanager
def _running(command: list[str], core: int) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if hasattr(os, "sched_setaffinity") and core < (os.cpu_count() or 1):
            os.sched_setaffinity(process.pid, {core})
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def _generator(
    port: int, scenario: str, options: dict[str, float]
) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.generator", str(port), scenario]
    command += [f"{name}={value}" for name, value in options.items()]
    with _running(command, core=1) as process:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"the load {scenario} could not be made; is [bench] installed?")
        yield process


def _begin(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    result: dict[str, Any] = json.loads(process.stdout.readline())
    return result


def _generate(port: int, scenario: str, options: dict[str, float]) -> dict[str, Any]:
    with _generator(port, scenario, options) as process:
        return _begin(process)


# What is no rate.

IDLE = 1000


def _idle() -> float:
    """KiB of the server for each connection that has logged in."""
    with tempfile.TemporaryDirectory() as data, _serving("ours", Path(data)) as served:
        _generate(served.port, "idle", {"clients": 50})
        time.sleep(1)
        before = _resident(served.pid)
        with _generator(served.port, "idle", {"clients": IDLE}) as process:
            _begin(process)
            time.sleep(2)
            return (_resident(served.pid) - before) / KIB / IDLE


def _resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) * KIB for line in status.splitlines() if line[:4] == "Pss:")


def _return() -> float:
    """Seconds until all clients are logged in again after a restart, with messages stored."""
    with tempfile.TemporaryDirectory() as data:
        with _serving("ours", Path(data)) as served:
            options = {"clients": 1000, "window": 1, "seconds": 10.0}
            _generate(served.port, "send", options)
        with _serving("ours", Path(data)) as served:
            result = _generate(served.port, "idle", {"clients": 1000})
            return float(result["seconds"])
