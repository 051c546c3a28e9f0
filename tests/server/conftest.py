from __future__ import annotations

import pytest


@pytest.fixture
def clock(autojump_clock):
    """Time that passes when nobody has anything to do."""
    return autojump_clock
