"""A thousand clients that come, go and lose their connections, for as long as you like.

Most share connections, fifty each. Time passes in cycles: messages flow, clients log out and
in again, single connections break, then all of them at once. At the end of each cycle, when
everybody is back, both processes are measured. Nothing may grow between the first and the
last third of the run: not memory, not tasks, not open files.

    python -m tests.soak.soak --minutes 10
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import random
import statistics
import sys
import tempfile
import tracemalloc
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import trio

from tests.ledger.fault_plan import Climate
from tests.ledger.worlds import World, on_sockets
from trio_realtime import (
    ConnectionEvent,
    LinkState,
    MessageReceived,
    RealtimeError,
    ReconnectScheduled,
    TextMessage,
    open_client,
    open_connection,
)

SHARING = 50
"""Clients on one connection."""
CHATS = 40
WARM_UP = 300
"""Messages in each conversation before the first measurement: all memories are full then."""
PATIENCE = 120
PAGE = os.sysconf("SC_PAGE_SIZE")


@attrs.frozen
class Sample:
    """One measurement, at rest. Memory in MiB."""

    minute: float
    client_rss: float
    server_rss: float
    traced: float
    """What Python objects of the client process take."""
    tasks: int
    client_files: int
    server_files: int
    sessions: int


class Soak:
    """The clients, and what is done to them."""

    def __init__(self, world: World, clients: int, single: int, seed: int) -> None:
        self.rng = random.Random(seed)
        self.world = world
        self.online = {}
        """The clients that are logged in, by name."""
        self.leave = {}
        """Cancelled to make a client log out and in again."""
        self.received = self.sent = self.logins = self.cuts = 0
        self.single = [f"single{number}" for number in range(single)]
        self.shared = [f"shared{number}" for number in range(clients - single)]
        self.chats = []

    @property
    def names(self) -> list[str]:
        """Everybody."""
        return self.single + self.shared

    # Living.

    async def run(self, nursery: trio.Nursery, stack: AsyncExitStack) -> None:
        """Start all clients; returns when they are online."""
        options = self.world.options
        for name in self.single:
            nursery.start_soon(self._live, name, lambda name: open_client(name, **options))
        for start in range(0, len(self.shared), SHARING):
            connection = await stack.enter_async_context(open_connection(**options))
            for name in self.shared[start : start + SHARING]:
                nursery.start_soon(self._live, name, connection.open_client)
        await self.everybody_is_online()

    async def _live(self, name, opener) -> None:
        while True:
            try:
                async with opener(name) as client:
                    self.logins += 1
                    self.online[name] = client
                    with trio.CancelScope() as self.leave[name]:
                        await self._listen(client)
            except RealtimeError:
                await trio.sleep(self.rng.uniform(0.2, 1))
            finally:
                self.online.pop(name, None)

    async def _listen(self, client) -> None:
        with client.events(MessageReceived, ConnectionEvent) as events:
            async for event in events:
                if isinstance(event, ReconnectScheduled):
                    client.retry()
                else:
                    self.received += isinstance(event, MessageReceived)

    async def everybody_is_online(self) -> None:
        """Wait until all are logged in, and the server says so too."""
        with trio.fail_after(PATIENCE):
            while True:
                states = [client.state for client in self.online.values()]
                connected = all(state is LinkState.CONNECTED for state in states)
                complete = len(states) == len(self.names) and connected
                if complete and await self._all_answer():
                    return
                await trio.sleep(0.5)

    async def _all_answer(self) -> bool:
        """Whether the server knows everybody to be online, asked in groups of twenty."""
        asker = self.online[self.names[0]]
        try:
            for start in range(0, len(self.names), 20):
                some = self.names[start : start + 20]
                if len(await asker.online(some)) < len(some):
                    return False
        except RealtimeError:
            return False
        return True

    # Doing.

    async def make_chats(self) -> None:
        """Conversations that include everybody, and enough talk to fill all memories."""
        names = self.names
        for number in range(CHATS):
            members = names[number::CHATS]
            creator = self.online[members[0]]
            chat = await creator.create_conversation(members, unique=False)
            self.chats.append((chat.id, members))
        async with trio.open_nursery() as nursery:
            for cid, members in self.chats:
                nursery.start_soon(self._talk, cid, members, WARM_UP)

    async def _talk(self, cid, members, count) -> None:
        for number in range(count):
            sender = self.online.get(self.rng.choice(members))
            if sender is None:
                continue
            try:
                await sender.send(cid, TextMessage(f"message {number}"))
            except RealtimeError:
                continue
            self.sent += 1

    async def cycle(self, seconds: float) -> None:
        """Traffic, churn and broken connections; at the end all connections break at once."""
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._chatter)
                nursery.start_soon(self._churn)
                nursery.start_soon(self._break_some)
        self.cuts += await self.world.proxy.cut(1, self.rng)
        await trio.sleep(1)
        await self.everybody_is_online()

    async def _chatter(self) -> None:
        while True:
            cid, members = self.rng.choice(self.chats)
            await self._talk(cid, members, 1)
            await trio.sleep(0.02)

    async def _churn(self) -> None:
        while True:
            await trio.sleep(0.1)
            self.leave[self.rng.choice(self.names)].cancel()

    async def _break_some(self) -> None:
        while True:
            await trio.sleep(1)
            self.cuts += await self.world.proxy.cut(0.03, self.rng)


# Measuring.


def rss(pid) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20


def open_files(pid) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def measure(soak: Soak, minute: float) -> Sample:
    """Measure when what was going on has ended."""
    await trio.sleep(3)
    gc.collect()
    server = soak.world.pid()
    return Sample(
        minute=round(minute, 2),
        client_rss=round(rss("self"), 1),
        server_rss=round(rss(server), 1),
        traced=round(tracemalloc.get_traced_memory()[0] / 2**20, 2),
        tasks=trio.lowlevel.current_statistics().tasks_living,
        client_files=open_files("self"),
        server_files=open_files(server),
        sessions=len(soak.online),
    )


LIMITS = {
    "client_rss": (1.10, 10),
    "server_rss": (1.10, 10),
    "traced": (1.05, 1),
    "tasks": (1.02, 20),
    "client_files": (1.02, 20),
    "server_files": (1.02, 20),
}
"""By which factor, or by how much at least, the last third may exceed the first. HTTP
connections that are kept alive for a while make tasks and files vary a little."""


def growth(samples: list[Sample]) -> dict[str, tuple[float, float, bool]]:
    """The medians of the first and the last third, and whether they are about the same."""
    third = max(1, len(samples) // 3)
    found = {}
    for name, (factor, least) in LIMITS.items():
        first = statistics.median(getattr(sample, name) for sample in samples[:third])
        last = statistics.median(getattr(sample, name) for sample in samples[-third:])
        found[name] = first, last, last <= max(first * factor, first + least)
    return found


@asynccontextmanager
async def soaking(clients: int, single: int, seed: int):
    """A server, and clients that have already talked."""
    calm = Climate(lifetime=1e9, linger=1, latency=0)
    with tempfile.TemporaryDirectory() as directory:
        async with (
            on_sockets(seed, calm, Path(directory)) as world,
            trio.open_nursery() as nursery,
            AsyncExitStack() as stack,
        ):
            soak = Soak(world, clients, single, seed)
            await soak.run(nursery, stack)
            await soak.make_chats()
            yield soak
            nursery.cancel_scope.cancel()


async def main(minutes: float, clients: int, single: int, seed: int, cycle: float) -> bool:
    tracemalloc.start(1)
    samples = []
    async with soaking(clients, single, seed) as soak:
        await soak.cycle(cycle)
        start = trio.current_time()
        before = tracemalloc.take_snapshot()
        for _ in itertools.count():
            minute = (trio.current_time() - start) / 60
            samples.append(await measure(soak, minute))
            print(json.dumps(attrs.asdict(samples[-1])), flush=True)
            if minute >= minutes:
                break
            await soak.cycle(cycle)
        grown = tracemalloc.take_snapshot().compare_to(before, "lineno")[:8]
        print(
            f"{soak.logins} logins, {soak.cuts} connections cut, {soak.sent} messages sent, "
            f"{soak.received} received"
        )
    print("what has grown most in the client process:")
    for line in grown:
        print(f"  {line}")
    verdicts = growth(samples)
    for name, (first, last, flat) in verdicts.items():
        print(f"{name:13} first third {first:9.2f}  last third {last:9.2f}  {flat=}")
    return all(flat for _, _, flat in verdicts.values())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--single", type=int, default=100, help="clients with a connection each")
    parser.add_argument("--cycle", type=float, default=15, help="seconds of trouble in each")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    flat = trio.run(main, given.minutes, given.clients, given.single, given.seed, given.cycle)
    sys.exit(0 if flat else 1)
