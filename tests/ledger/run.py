"""One run: rounds of a workload in bad weather, each with its books audited."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack

import attrs
import trio

from tests.ledger.ledger import report
from tests.ledger.workload import Shape, Workload
from tests.ledger.worlds import World


@attrs.frozen
class Troubles:
    """What goes wrong in each round, on top of what befalls the connections."""

    crashes: int = 1
    """How often the server dies and comes back, at even distances."""
    pause_every: float = 30.0
    """Mean seconds between two pauses of some client."""
    pauses: tuple[float, ...] = (0, 3, 30, 400)
    """How many seconds a client stays away, one of these."""


async def run(
    seed: int, shape: Shape, world: World, troubles: Troubles, *, rounds: int = 1
) -> tuple[Workload, str]:
    """Send the messages of all rounds; returns the workload and what is wrong, if anything."""
    workload, wrong = Workload(seed, shape, world.options), ""
    async with trio.open_nursery() as listeners, AsyncExitStack() as stack:
        await workload.open(stack, listeners)
        for _ in range(rounds):
            await workload.begin()
            world.proxy.storm()
            async with trio.open_nursery() as fate:
                fate.start_soon(_pause, workload, troubles)
                fate.start_soon(_crash, workload, world, troubles.crashes)
                await workload.talk()
                fate.cancel_scope.cancel()
            world.proxy.clear()
            for client in workload.clients.values():
                client.resume()
            violations = await workload.close_books()
            if violations:
                wrong = report(workload.record, violations, seed=seed)
                break
    return workload, wrong


async def _pause(workload: Workload, troubles: Troubles) -> None:
    """Let clients go offline and come back."""
    rng = random.Random(workload.seed)
    clients = list(workload.clients.values())
    while True:
        await trio.sleep(rng.expovariate(1 / troubles.pause_every))
        client = rng.choice(clients)
        client.pause()
        await trio.sleep(rng.choice(troubles.pauses))
        client.resume()


async def _crash(workload: Workload, world: World, times: int) -> None:
    """Let the server die whenever a part of the messages has been sent."""
    for crash in range(times):
        await workload.sent_part((crash + 1) / (times + 1))
        await world.crash()
