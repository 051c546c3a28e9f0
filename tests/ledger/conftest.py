from __future__ import annotations

import random

import pytest
import trio


@pytest.fixture
def repeatable(monkeypatch):
    """Let Trio's scheduler, and the jitter of reconnecting, follow a seed.

    Trio shuffles the tasks that are ready, so that nobody relies on their order. It does so
    with a generator of its own, which has a switch for tests that need to be repeated.
    """
    runner = trio._core._run

    def seeded(seed):
        monkeypatch.setattr(runner, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
        runner._r.seed(seed)
        random.seed(seed)

    yield seeded
    random.seed()
    runner._r.seed()
