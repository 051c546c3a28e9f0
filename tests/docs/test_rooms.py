"""The picture of the rooms shows those that are there."""

from __future__ import annotations

import re

import pytest

from tests.docs.snippets import ROOT

PACKAGE = ROOT / "trio_realtime"
PAGE = ROOT / "docs" / "development.md"


def drawn():
    """Folders and files of the picture, by their path in the package."""
    text = PAGE.read_text("utf-8")
    picture = re.search(r"```text\ntrio_realtime/\n(.*?)```", text, re.DOTALL)[1]
    inside = []
    for line in picture.splitlines():
        if line.strip():
            depth = (len(line) - len(line.lstrip())) // 2
            inside[depth - 1 :] = [line.split()[0].rstrip("/")]
            yield "/".join(inside), line.split()[0].endswith("/")


def folders():
    return {
        str(path.parent.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*/__init__.py")
        if "_generated" not in path.parts
    }


def test_every_folder_is_drawn_and_there():
    assert {path for path, is_folder in drawn() if is_folder} == folders()


def test_the_files_of_the_server_are_drawn_and_there():
    files = {f"server/{p.stem}" for p in (PACKAGE / "server").glob("*.py")} - {"server/__init__"}
    assert {path for path, is_folder in drawn() if not is_folder} == files


@pytest.mark.parametrize("folder", sorted(folders()))
def test_every_folder_says_what_it_is_for(folder):
    assert (PACKAGE / folder / "__init__.py").read_text("utf-8").startswith('"""')
