from __future__ import annotations

import pytest
import trio.testing


@pytest.fixture
def clock():
    return trio.testing.MockClock(autojump_threshold=0)
