"""The soak itself: it notices growth, and runs."""

from __future__ import annotations

import attrs
import pytest

from tests.soak.soak import LIMITS, Sample, growth, soaking

REST = Sample(
    minute=0,
    client_rss=100,
    server_rss=50,
    traced=40,
    tasks=1000,
    client_files=300,
    server_files=200,
    sessions=100,
)


def flat(samples):
    return {name for name, (_, _, is_flat) in growth(samples).items() if is_flat}


def test_the_same_again_and_again_is_flat():
    assert flat([REST] * 9) == set(LIMITS)


@pytest.mark.parametrize("name", LIMITS)
def test_growth_is_noticed(name):
    value = getattr(REST, name)
    samples = [attrs.evolve(REST, **{name: value + value * n / 20}) for n in range(9)]
    assert flat(samples) == set(LIMITS) - {name}


@pytest.mark.parametrize("name", LIMITS)
def test_what_only_varies_is_flat(name):
    value = getattr(REST, name)
    samples = [attrs.evolve(REST, **{name: value * (1 + (n % 3) / 200)}) for n in range(9)]
    assert flat(samples) == set(LIMITS)


@pytest.mark.slow
async def test_a_short_soak():
    async with soaking(60, 10, seed=1) as soak:
        for _ in range(2):
            await soak.cycle(3)
    assert soak.logins > 60
    assert soak.cuts >= 2 * 11
    assert soak.received
