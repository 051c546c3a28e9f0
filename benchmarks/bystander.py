"""What attacks on the server cost somebody else: python -m benchmarks.bystander.

Measures the time from sending a message to its acknowledgement, alone just before each attack and
during it, and prints the ratios. Server, attacker and bystander are processes of their own. Claimed is that
no attack makes the median more than 2 times what it is alone, nor the 99 % more than 5 times.
The attacks are in ``benchmarks/attacks.py``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from benchmarks.attacks import ATTACKS
from trio_realtime import TextMessage, open_client

SAMPLES = 400
PAUSE = 0.002
"""Seconds between two messages of the bystander."""
WARM_UP = 1.0
"""Seconds that an attack lasts before anything is measured."""
MEDIAN_AT_MOST = 2.0
LATE_AT_MOST = 5.0


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=sorted(ATTACKS), help="may be repeated; all by default"
    )
    arguments = parser.parse_args()
    print(f"{'':44}{'median ms':>18}{'99 % ms':>18}{'ratio':>8}{'99 %':>8}")
    with tempfile.TemporaryDirectory() as directory:
        async with server(directory) as port:
            await measured(port)
            for name in arguments.only or ATTACKS:
                alone = await measured(port)
                async with attack(name, port):
                    row(name, alone, await measured(port))
            row("nothing, at the end", await measured(port), await measured(port))


def row(name: str, alone: tuple[float, float], attacked: tuple[float, float]) -> None:
    """One line: each number alone and during the attack, and the ratios."""
    (median, late), (median_then, late_then) = alone, attacked
    ratios = median_then / median, late_then / late
    beyond = ratios[0] > MEDIAN_AT_MOST or ratios[1] > LATE_AT_MOST
    print(
        f"{name:44}{median * 1e3:9.2f}{median_then * 1e3:9.2f}{late * 1e3:9.2f}"
        f"{late_then * 1e3:9.2f}{ratios[0]:8.2f}{ratios[1]:8.2f}"
        f"{'  beyond the claim' if beyond else ''}",
        flush=True,
    )


async def measured(port: int) -> tuple[float, float]:
    """Median and 99th percentile of send to acknowledgement, in seconds."""
    url = f"http://127.0.0.1:{port}"
    async with open_client("bystander", app_id="app", app_key="key", server=url) as me:
        chat = await me.create_conversation(["somebody"])
        times = []
        for _ in range(SAMPLES):
            began = time.perf_counter()
            await me.send(chat, TextMessage("are you still there?"))
            times.append(time.perf_counter() - began)
            await trio.sleep(PAUSE)
    times.sort()
    return statistics.median(times), times[len(times) * 99 // 100]


@asynccontextmanager
async def server(directory: str) -> AsyncIterator[int]:
    command = [sys.executable, "-m", "trio_realtime", "serve", "--port", "0", "--ready-json"]
    command += ["--data", directory, "--app", "app:key:master"]
    async with running(command) as process:
        assert process.stdout is not None
        ready = json.loads(await process.stdout.receive_some())
        yield int(ready["url"].rpartition(":")[2])


@asynccontextmanager
async def attack(name: str, port: int) -> AsyncIterator[None]:
    module = [sys.executable, "-m", "benchmarks.attacks", name, str(port)]
    async with running(module) as process:
        # It says so when it has prepared itself.
        assert process.stdout is not None
        assert await process.stdout.receive_some(), f"{name} has failed"
        await trio.sleep(WARM_UP)
        yield


@asynccontextmanager
async def running(command: list[str]) -> AsyncIterator[trio.Process]:
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            assert process.stdout is not None
            await process.stdout.aclose()


if __name__ == "__main__":
    trio.run(main)
