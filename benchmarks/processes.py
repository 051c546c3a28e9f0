"""The processes that several benchmarks start."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def responder() -> Iterator[str]:
    """The neutral peer of clients; its URL."""
    command = [sys.executable, "-m", "benchmarks.responder"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit("the responder did not start; is the extra [bench] installed?")
        try:
            yield f"ws://127.0.0.1:{int(line)}/"
        finally:
            process.stdin.close()
