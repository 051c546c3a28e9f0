# ruff: noqa: INP001 - a script, not a package
"""Generate the message classes and the descriptor for the tests from ``realtime.proto``.

    python protos/generate.py            write them
    python protos/generate.py --check    fail if what is committed differs

Needs the dependency group ``protos`` (and ruff, which the compiler formats with).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
CLASSES = PROTOS.parent / "trio_realtime" / "wire" / "_generated"
DESCRIPTOR = PROTOS.parent / "tests" / "wire" / "realtime.binpb"


def compile_protos(directory: Path) -> dict[Path, bytes]:
    """Run the compiler in an empty directory; what it made, by the path it belongs at."""
    classes = directory / "classes"
    classes.mkdir()
    descriptor = directory / DESCRIPTOR.name
    # The plugin and ruff are found next to the interpreter, activated or not.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    subprocess.run(  # noqa: S603 - a fixed command
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}"),
            f"--python_betterproto2_out={classes}",
            f"--descriptor_set_out={descriptor}",
            "realtime.proto",
        ],
        check=True,
        cwd=directory,  # out of reach of this project's ruff configuration
        env={**os.environ, "PATH": path},
    )
    made = {CLASSES / p.relative_to(classes): p.read_bytes() for p in classes.rglob("*.py")}
    return {**made, DESCRIPTOR: descriptor.read_bytes()}


def main() -> int:
    """Write or compare; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as directory:
        made = compile_protos(Path(directory))
    stale = {path for path in CLASSES.rglob("*.py") if path not in made}
    stale |= {p for p, content in made.items() if not p.exists() or p.read_bytes() != content}
    if check:
        for path in sorted(stale):
            print(f"out of date: {path.relative_to(PROTOS.parent)}", file=sys.stderr)  # noqa: T201
        return bool(stale)
    for path in stale:
        if path in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(made[path])
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
