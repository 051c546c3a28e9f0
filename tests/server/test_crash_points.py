"""SIGKILL at exact points between the arrival of a message and the end of its delivery."""

from __future__ import annotations

import signal

import pytest

from tests.server.lives import check, lived

SERVER = ["-m", "tests.server.crashing_server"]

POINTS = (
    "before commit",
    "after commit",
    "before acknowledgement",
    "after acknowledgement",
    "within fan-out",
)


async def killed_itself(process):
    await process.wait()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("point", POINTS)
async def test_a_crash_loses_nothing_and_repeats_nothing(point, tmp_path):
    program = [*SERVER, point, "7"]
    check(*await lived(tmp_path, [killed_itself], messages=10, programs=[program]))


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
async def test_many_crashes_lose_nothing_and_repeat_nothing(point, tmp_path):
    programs = [[*SERVER, point, str(count)] for count in (1, 2, 3, 5, 8, 13, 21, 34)]
    ends = [killed_itself] * len(programs)
    check(*await lived(tmp_path, ends, messages=1000, programs=programs))
