"""What attacks on the server cost somebody else: python -m benchmarks.bystander.

Measures the time from sending a message to its acknowledgement, alone and during each attack,
and prints the ratios. Server, attacker and bystander are processes of their own.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from trio_realtime import RealtimeError, TextMessage, open_client
from trio_realtime.transport import TransportClosed, connect

SAMPLES = 1500
PAUSE = 0.002
"""Seconds between two messages of the bystander."""
WARM_UP = 2.0
"""Seconds that an attack lasts before anything is measured."""
HALF = b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attack", choices=sorted(ATTACKS), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.attack is not None:
        await ATTACKS[arguments.attack](arguments.port)
        return
    with tempfile.TemporaryDirectory() as directory:
        async with server(directory) as port:
            await measured(port)
            rows = {"alone": await measured(port)}
            for name in ATTACKS:
                async with attack(name, port):
                    rows[name] = await measured(port)
            rows["alone again"] = await measured(port)
    base = rows["alone"]
    print(f"{'':18}{'median ms':>10}{'99 % ms':>10}{'ratio':>8}{'ratio 99 %':>12}")
    for name, (median, late) in rows.items():
        print(
            f"{name:18}{median * 1e3:10.2f}{late * 1e3:10.2f}"
            f"{median / base[0]:8.2f}{late / base[1]:12.2f}"
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
    module = [sys.executable, "-m", "benchmarks.bystander", "--attack", name, "--port", str(port)]
    async with running(module):
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


# The attacks. Each runs until it is killed.


async def garbage(port: int) -> None:
    """Frames that are no commands, on a new connection each, a hundred a second."""
    while True:
        async with connect(f"ws://127.0.0.1:{port}", subprotocol="lc.protobuf2.3") as link:
            try:
                await link.send(secrets.token_bytes(1000))
                await link.receive()
            except TransportClosed:
                pass
        await trio.sleep(0.01)


async def slow_loris(port: int) -> None:
    """Five hundred connections that send a head one byte at a time."""

    async def drip() -> None:
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                await stream.send_all(HALF)
                while True:
                    await trio.sleep(1)
                    await stream.send_all(b"x")
            except OSError:
                await trio.sleep(1)
            except trio.BrokenResourceError:
                await trio.sleep(0.1)

    async with trio.open_nursery() as nursery:
        for _ in range(500):
            nursery.start_soon(drip)
            await trio.sleep(0.002)


async def idle(port: int) -> None:
    """A thousand connections that log in and say nothing."""

    async def stay(number: int) -> None:
        url = f"http://127.0.0.1:{port}"
        async with open_client(f"idle{number}", app_id="app", app_key="key", server=url):
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for number in range(1000):
            nursery.start_soon(stay, number)
            await trio.sleep(0.001)


async def queries(port: int) -> None:
    """The dearest regular expressions that are let through, one after another."""
    url = f"http://127.0.0.1:{port}"
    async with open_client("attacker", app_id="app", app_key="key", server=url) as me:
        for number in range(200):
            await me.create_conversation([], name=f"{number}" + "ab" * 500, unique=False)
        query = me.query().matches("name", "a.*b.*c").limit(1000)
        while True:
            try:
                await query.find()
            except RealtimeError:
                await trio.sleep(0.01)


ATTACKS: dict[str, Callable[[int], Awaitable[None]]] = {
    "garbage": garbage,
    "slow loris": slow_loris,
    "idle connections": idle,
    "dear queries": queries,
}

if __name__ == "__main__":
    trio.run(main)
