"""What large histories and lists cost the server: python -m benchmarks.store [--messages N].

Fills a database in a temporary directory, then times pages at random places. The times are
those of the store as the gateway uses it, thread and all.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import trio

from trio_realtime.server.store.conditions import parse_condition
from trio_realtime.server.store.interface import Kind, NewMessage, Query, Tx
from trio_realtime.server.store.sqlite.store import SqliteStore, open_store

BATCH = 2_000
SAMPLES = 300


async def main(messages: int, conversations: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with open_store(Path(directory) / "bench.db") as store:
            await histories(store, messages)
            await lists(store, conversations)


async def histories(store: SqliteStore, count: int) -> None:
    chat = await store.write(
        "app",
        lambda tx: tx.create_conversation(kind=Kind.NORMAL, creator="Tom", members=["Tom", "Me"]),
    )

    def fill(tx: Tx, start: int) -> list[tuple[int, str]]:
        rows = []
        for n in range(start, min(start + BATCH, count)):
            row, _new = tx.append(chat.id, NewMessage("Tom", f"message {n}", dt=str(n)))
            rows.append((row.timestamp, row.id))
        return rows

    places: list[tuple[int, str]] = []
    began = time.perf_counter()
    for start in range(0, count, BATCH):
        places += await store.write("app", partial(fill, start=start))
    print(f"{count:,} messages stored, {count / (time.perf_counter() - began):,.0f} a second")
    rng = random.Random(1)

    async def page(*, newer: bool, limit: int) -> None:
        start = rng.choice(places)
        await store.read(
            "app", lambda tx: tx.history(chat.id, start=start, newer=newer, limit=limit)
        )

    for newer in (False, True):
        for limit in (20, 100):
            direction = "newer" if newer else "older"
            what = f"history, {limit} messages {direction} than any"
            await timed(what, partial(page, newer=newer, limit=limit))
    await timed("unread count", lambda: store.read("app", lambda tx: tx.unread(chat.id, "Me")))

    peak = before = own_memory()
    start: tuple[int, str] | None = None
    seen = 0
    while True:
        rows = await store.read(
            "app",
            partial(lambda tx, at: tx.history(chat.id, start=at, newer=True, limit=1000), at=start),
        )
        if not rows:
            break
        seen += len(rows)
        peak = max(peak, own_memory())
        start = (rows[-1].timestamp, rows[-1].id)
    assert seen == count
    grown = peak - before
    print(f"iterating all of it took at most {grown / 2**20:.1f} MiB more memory")


def own_memory() -> int:
    """Bytes of the process that are its own, not the system's cache of a file."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("the memory of a process is only known on Linux")


async def lists(store: SqliteStore, count: int) -> None:
    def fill(tx: Tx, start: int) -> None:
        for n in range(start, min(start + BATCH, count)):
            tx.create_conversation(
                kind=Kind.NORMAL,
                creator=f"u{n % 1000}",
                members=[f"u{n % 1000}", f"u{(n * 7) % 1000}"],
                attributes={"n": n},
            )

    for start in range(0, count, BATCH):
        await store.write("app", partial(fill, start=start))
    print(f"{count:,} conversations stored")
    rng = random.Random(2)

    async def own() -> None:
        query = Query(parse_condition({"m": f"u{rng.randrange(1000)}"}), limit=50)
        await store.read("app", lambda tx: tx.find(query))

    await timed("a client's own list, 50 conversations", own)


async def timed(what: str, run: Callable[[], Awaitable[object]]) -> None:
    times = []
    for _ in range(SAMPLES):
        began = time.perf_counter()
        await run()
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    worst = times[int(len(times) * 0.99)]
    print(f"{what:<42} median {statistics.median(times):6.2f} ms   99 % below {worst:6.2f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--conversations", type=int, default=100_000)
    args = parser.parse_args()
    trio.run(main, args.messages, args.conversations)
