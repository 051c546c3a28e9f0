"""Nothing is lost: thousands of messages in virtual time, through every fault of a line."""

from __future__ import annotations

import os

import attrs
import pytest

from tests.ledger.fault_plan import Climate
from tests.ledger.run import Troubles, run
from tests.ledger.workload import Shape
from tests.ledger.worlds import in_memory

SEED = int(os.environ.get("LEDGER_SEED", "1"))
MESSAGES = int(os.environ.get("LEDGER_MESSAGES", "1000000"))
ROUND = 20_000
BAD = Climate(lifetime=20, linger=60, latency=2)


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
async def test_many_conversations(seed, repeatable, autojump_clock):
    repeatable(seed)
    shape = Shape(1500, pauses=(0, 0, 0.1, 1, 5), patience=3000, command_timeout=5)
    async with in_memory(seed, BAD) as world:
        workload, wrong = await run(seed, shape, world, Troubles())
    assert not wrong, wrong
    assert len(workload.record.sent) == shape.messages
    assert len(world.proxy.ends) >= 4


async def test_few_conversations_with_much_traffic(repeatable, autojump_clock):
    repeatable(SEED)
    shape = Shape(
        1500, clients=4, conversations=2, width=6, sharing=1, pauses=(0, 0, 0.05, 1), patience=3000
    )
    async with in_memory(SEED, BAD) as world:
        workload, wrong = await run(SEED, shape, world, Troubles(), rounds=2)
    assert not wrong, wrong
    assert workload.reconnected


@pytest.mark.slow
async def test_a_million_messages(repeatable, autojump_clock):
    """In rounds: conversations live on, the books are closed after each."""
    repeatable(SEED)
    rounds = max(1, MESSAGES // ROUND)
    shape = Shape(
        MESSAGES // rounds,
        clients=12,
        conversations=20,
        members=3,
        sharing=3,
        width=8,
        pauses=(0, 0, 0, 0, 0, 0, 0.1, 1),
        patience=3000,
    )
    climate = attrs.evolve(BAD, slices=(7, 50, 200))
    async with in_memory(SEED, climate) as world:
        workload, wrong = await run(SEED, shape, world, Troubles(crashes=3), rounds=rounds)
    print(workload.summary(), dict(world.proxy.ends))
    assert not wrong, wrong
