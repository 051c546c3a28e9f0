"""Which version this is."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import trio_realtime
from trio_realtime.__main__ import main

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as done:
        main(["--version"])
    assert done.value.code == 0
    assert capsys.readouterr().out == f"trio-realtime {trio_realtime.__version__}\n"


def test_the_package_is_built_with_the_version_it_tells():
    project = tomllib.loads(PROJECT.read_text("utf-8"))
    assert "version" in project["project"]["dynamic"]
    source = PROJECT.parent / project["tool"]["hatch"]["version"]["path"]
    assert source.read_text("utf-8") == f'__version__ = "{trio_realtime.__version__}"\n'
