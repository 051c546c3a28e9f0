"""Fuzz one target with atheris: ``python -m tests.fuzz.fuzz wire --seconds 60``.

What is found on the way is kept in the corpus with ``--keep``. An input that breaks the
target is written to the current directory, and shown.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

CORPUS = Path(__file__).parent / "corpus"

with atheris.instrument_imports(include=["trio_realtime"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--keep", action="store_true", help="add what is found to the corpus")
    arguments = parser.parse_args()
    known = CORPUS / arguments.target
    known.mkdir(parents=True, exist_ok=True)
    found = known if arguments.keep else Path(tempfile.mkdtemp(prefix="fuzz-"))
    # The program of atheris and its own options.
    options = [sys.argv[0], f"-max_total_time={arguments.seconds}", "-max_len=6000", str(found)]
    atheris.Setup([*options, str(known)], TARGETS[arguments.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
