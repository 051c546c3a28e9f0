"""Whoever follows a citation of the protocol reference finds what it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.citations import (
    CITATION,
    REFERENCE,
    Citation,
    citations,
    citing_files,
    numbers,
    page_citations,
)
from tests.docs.snippets import ROOT, links

pytestmark = pytest.mark.docs

PAGES = sorted(REFERENCE.glob("*.md"))


def test_citations_lead_somewhere():
    wrong = {
        f"{path.relative_to(ROOT)}: {citation}"
        for path in citing_files()
        if path != Path(__file__)
        for citation in citations(path.read_text("utf-8"))
        if not citation.leads_somewhere()
    }
    assert not wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_of_the_reference_cite_what_exists(page):
    assert not [str(one) for one in page_citations(page) if not one.leads_somewhere()]


def test_index_of_the_reference_lists_every_page():
    index = REFERENCE / "README.md"
    assert {page.name for page in PAGES} - {index.name} <= set(links(index))


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("docs/protocol/errors.md (5130)", ["errors.md"]),
        ("docs/protocol/session.md §1.2.", ["session.md §1.2"]),
        ("docs/protocol/messages.md §2–4.", [f"messages.md §{number}" for number in (2, 3, 4)]),
        ("docs/protocol/rest.md §1, §2 and §9.", [f"rest.md §{number}" for number in (1, 2, 9)]),
        ("# docs/protocol/rest.md §1 and\n    # §2", ["rest.md §1", "rest.md §2"]),
        ("docs/protocol/rest.md\n    §1", ["rest.md §1"]),
        ("docs/protocol/push.md §1, docs/protocol/rest.md §2", ["push.md §1", "rest.md §2"]),
    ],
)
def test_citations_are_found(text, cited):
    assert [str(one) for one in citations(text)] == cited


def test_sections_of_a_list():
    assert numbers("§1, §2–4 and §5.1") == ["1", "2", "3", "4", "5.1"]


@pytest.mark.parametrize(
    "citation", [Citation("nothing.md"), Citation("session.md", "99")], ids=str
)
def test_what_does_not_exist_is_noticed(citation):
    assert not citation.leads_somewhere()


def test_package_cites_the_reference():
    package = [path for path in citing_files() if "trio_realtime" in path.parts]
    assert sum(len(CITATION.findall(path.read_text("utf-8"))) for path in package) > 100
