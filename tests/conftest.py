from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# Other work may share the machine: how long an example takes proves nothing.
settings.register_profile(
    "default", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("default")


@pytest.fixture
def clock(autojump_clock):
    """Time that passes when nobody has anything to do."""
    return autojump_clock
