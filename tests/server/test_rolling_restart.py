"""The server is replaced under load: users see connection events, and nothing else."""

from __future__ import annotations

import signal

import pytest

from tests.server.lives import check, lived


async def stop(process):
    process.send_signal(signal.SIGTERM)
    await process.wait()
    assert process.returncode == 0


async def test_a_restart_under_load_is_invisible(tmp_path):
    check(*await lived(tmp_path, [stop, stop]))


@pytest.mark.slow
async def test_many_restarts_under_load_are_invisible(tmp_path):
    check(*await lived(tmp_path, [stop] * 15))
