"""The commands about archives, as programs beside the test."""

from __future__ import annotations

import os
import sys

import trio


def command(*arguments):
    return [sys.executable, "-m", "trio_realtime", *map(str, arguments)]


def environ(key, **more):
    kept = {name: value for name, value in os.environ.items() if "LEANCLOUD" not in name}
    return {**kept, "TRIO_REALTIME_MASTER_KEY": key, **more}


async def run(*arguments, key, env=None, **options):
    """Status, output and errors of a call, none of which shows the key."""
    with trio.fail_after(300):
        done = await trio.run_process(
            command(*arguments),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environ(key) if env is None else env,
            **options,
        )
    errors = done.stderr.decode()
    assert "Traceback" not in errors, errors
    assert key not in errors + done.stdout.decode()
    return done.returncode, done.stdout.decode(), errors.strip()
