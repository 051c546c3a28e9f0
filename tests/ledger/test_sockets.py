"""Nothing is lost: real sockets, a real process that is killed, and a proxy in between."""

from __future__ import annotations

import os

import attrs
import pytest

from tests.ledger.fault_plan import Climate
from tests.ledger.run import Troubles, run
from tests.ledger.workload import Shape
from tests.ledger.worlds import on_sockets

SEED = int(os.environ.get("LEDGER_SEED", "1"))
MESSAGES = int(os.environ.get("LEDGER_MESSAGES", "100000"))
ROUND = 10_000
BAD = Climate(lifetime=1.5, linger=1.0, latency=0.05)


async def test_two_thousand_messages(tmp_path):
    shape = Shape(2000, pauses=(0, 0, 0.01, 0.03), patience=30, impatience=0.9, command_timeout=5)
    troubles = Troubles(crashes=1, pause_every=1, pauses=(0, 0.1, 1))
    async with on_sockets(SEED, BAD, tmp_path) as world:
        workload, wrong = await run(SEED, shape, world, troubles)
    assert not wrong, wrong
    assert len(workload.record.sent) == shape.messages
    assert world.proxy.ends


@pytest.mark.slow
async def test_a_hundred_thousand_messages(tmp_path):
    rounds = max(1, MESSAGES // ROUND)
    shape = Shape(
        MESSAGES // rounds,
        clients=12,
        conversations=16,
        width=8,
        sharing=3,
        pauses=(0, 0, 0, 0.01),
        patience=60,
        command_timeout=5,
        impatience=0.9,
    )
    climate = attrs.evolve(BAD, slices=(1, 50, 200))
    troubles = Troubles(crashes=2, pause_every=2, pauses=(0, 0.1, 2))
    async with on_sockets(SEED, climate, tmp_path) as world:
        workload, wrong = await run(SEED, shape, world, troubles, rounds=rounds)
    print(workload.summary(), dict(world.proxy.ends))
    assert not wrong, wrong
