"""One attack: python -m benchmarks.attacks NAME PORT."""

from __future__ import annotations

import sys

import trio

from benchmarks.attacks import ATTACKS

if __name__ == "__main__":
    trio.run(ATTACKS[sys.argv[1]], int(sys.argv[2]))
