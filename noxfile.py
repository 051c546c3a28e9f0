"""How the project is tested, checked and measured. `nox` alone runs what must always pass."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2024.4"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["tests", "lint", "typecheck", "docs", "interop"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
INTEROP = Path("tests/interop")
TESTS = "not interop and not slow and not docs"


PYTHONS = [
    line.rpartition(" :: ")[2]
    for line in PYPROJECT["project"]["classifiers"]
    if line.startswith("Programming Language :: Python :: 3.")
]
"""The versions that the package says it works with, the newest last."""


def group(name: str) -> list[str]:
    return nox.project.dependency_groups(PYPROJECT, name)


def install(session: nox.Session, *groups: str) -> None:
    requirements = [line for name in groups for line in group(name)]
    session.install("-e", ".[speedups,server,media,awesome]", *requirements)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests that need nothing but Python."""
    install(session, "test")
    session.run("pytest", "-m", TESTS, *session.posargs)


@nox.session
def lowest(session: nox.Session) -> None:
    """The tests with the lowest versions that we say we work with."""
    session.install("uv")
    extras = "-e.[speedups,server,media,awesome]"
    session.run(
        "uv", "pip", "install", "--resolution", "lowest-direct", extras, *group("test"),
    )  # fmt: skip
    session.run("pytest", "-m", TESTS, *session.posargs)


@nox.session(python=PYTHONS[-1])
def newest(session: nox.Session) -> None:
    """The tests on the newest Python that we name; skipped where there is none."""
    install(session, "test")
    session.run("pytest", "-m", TESTS, *session.posargs)


@nox.session
def compiled(session: nox.Session) -> None:
    """The tests with the codec compiled, in a copy of the checkout. Needs a C compiler."""
    copy = Path(session.create_tmp()) / "checkout"
    files = session.run("git", "ls-files", external=True, silent=True).splitlines()
    shutil.rmtree(copy, ignore_errors=True)
    for file in filter(Path.is_file, map(Path, files)):
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy / file)
    session.chdir(copy)
    # The modules are left beside their sources, which come before what is installed.
    session.install(
        ".[speedups,server,media,awesome]", *group("test"),
        env={"HATCH_BUILD_HOOK_ENABLE_MYPYC": "1"},
    )  # fmt: skip
    session.run(
        "python",
        "-c",
        "from trio_realtime.wire import _codec; assert _codec.__file__[-3:] != '.py'",
    )
    session.run("pytest", "-m", TESTS, *session.posargs)


@nox.session
def interop(session: nox.Session) -> None:
    """Unmodified programs of others against our server and our SDK. Needs node and npm."""
    if shutil.which("npm") is None:
        session.error("the interop tests need node and npm on the PATH")
    install(session, "test", "interop")
    with session.chdir(INTEROP):
        session.run(
            "npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent",
            external=True,
        )  # fmt: skip
        # Apart from ours: the Python SDK wants versions of its own.
        session.run(
            "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            "--upgrade", "--target", "python_modules", "-r", "requirements.txt",
        )  # fmt: skip
    session.run("pytest", "-m", "interop", *session.posargs)


@nox.session
def schema(session: nox.Session) -> None:
    """What /openapi.json permits, with 30 examples of each operation.

    SCHEMA_EXAMPLES in the environment chooses another number.
    """
    install(session, "test", "interop")
    examples = os.environ.get("SCHEMA_EXAMPLES", "30")
    test = "tests/interop/test_schemathesis.py"
    session.run(
        "pytest", "-m", "interop", test, *session.posargs, env={"SCHEMA_EXAMPLES": examples}
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Style of code, and the arrows between its rooms."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def typecheck(session: nox.Session) -> None:
    """Types, strictly; what is public is typed for every checker."""
    install(session, "typecheck")
    session.run("mypy")
    session.run("pyright", "--ignoreexternal", "--verifytypes", "trio_realtime")


@nox.session
def docs(session: nox.Session) -> None:
    """Every snippet of the documentation, run and checked for its types."""
    install(session, "test", "typecheck")
    session.run("pytest", "-m", "docs", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """The SDK against the npm SDK, briefly. Needs node and npm."""
    session.install(".[speedups,server,bench]")
    session.run("python", "-m", "benchmarks", *(session.posargs or ["--quick"]))


@nox.session(name="bench-check")
def bench_check(session: nox.Session) -> None:
    """What codec, sending and receiving cost, in instructions, against the baseline. Needs valgrind."""
    session.install(".[speedups,server,bench]")
    session.run("python", "-m", "benchmarks.instructions", "--check")


@nox.session
def protos(session: nox.Session) -> None:
    """Generate the message classes from protos/ again."""
    session.install("-e", ".", *group("protos"), *group("lint"))
    session.run("python", "protos/generate.py", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Each fuzz target for a while: ``nox -s fuzz -- --seconds 600``; 20 seconds otherwise."""
    install(session, "test", "fuzz")
    options = session.posargs or ["--seconds", "20"]
    corpus = Path("tests/fuzz/corpus")
    for target in sorted(path.name for path in corpus.iterdir()):
        session.run("python", "-m", "tests.fuzz.fuzz", target, *options)


@nox.session
def ledger(session: nox.Session) -> None:
    """A hundred thousand messages on sockets, a million in virtual time: nothing is lost.

    LEDGER_MESSAGES and LEDGER_SEED in the environment choose other numbers.
    """
    install(session, "test")
    session.run("pytest", "-m", "slow", "-s", "--durations=0", "tests/ledger", *session.posargs)


@nox.session
def scenarios(session: nox.Session) -> None:
    """Every message once, in order, or a true gap: 10,000 scenarios of an unkind server.

    SCENARIOS in the environment chooses another number.
    """
    install(session, "test")
    session.run("pytest", "-m", "slow", "tests/io/test_every_message_once.py", *session.posargs)


@nox.session
def archive(session: nox.Session) -> None:
    """200,000 messages from a server to an archive and into another, killed at twenty points.

    ARCHIVE_MESSAGES in the environment chooses another number.
    """
    install(session, "test")
    tests = ["tests/archive", "tests/cli/test_pull.py", "tests/cli/test_import.py"]
    session.run("pytest", "-m", "slow", "-s", "--durations=0", *tests, *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """A thousand clients come, go and break: ``nox -s soak -- --minutes 60``; 10 otherwise."""
    install(session, "test")
    session.run("python", "-m", "tests.soak.soak", *session.posargs)
