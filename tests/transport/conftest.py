from __future__ import annotations

import pytest
import trio

from tests.transport.peer import IMPLEMENTATIONS, WIRES


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(request):
    return request.param


@pytest.fixture(params=list(WIRES))
def wire(request):
    return request.param


@pytest.fixture(autouse=True)
async def no_task_is_left():
    before = trio.lowlevel.current_statistics().tasks_living
    yield
    assert trio.lowlevel.current_statistics().tasks_living == before
