"""The page for users of LeanCloud's SDK leaves nothing out, and says nothing that is not run."""

from __future__ import annotations

import re

import pytest

from tests.docs.guides_inventory import INVENTORY
from tests.docs.snippets import ROOT, blocks

PAGE = ROOT / "docs" / "coming-from-leancloud.md"
HEADERS = ("LeanCloud", "version 2")
NO_COUNTERPART = "–"
# Cells are separated by bars, other than those within code.
CELL = re.compile(r"((?:`[^`]*`|[^|`])*)\|")


def rows():
    """The cells of every row that maps a name to one of ours."""
    mapping = False
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in CELL.findall(line.removeprefix("|"))]
        if not line.startswith("|"):
            mapping = False
        elif len(cells) == 3 and cells[1:] == ["here", "to note"]:
            assert cells[0] in HEADERS, cells
            mapping = True
        elif mapping and not line.startswith("|---"):
            assert len(cells) == 3, line
            yield tuple(cells)


def names(cell):
    """What a first cell names, with the words that tell an option from an event."""
    found = re.findall(r"(?:\b(option|event|property|field|key|type) )?`([^`]+)`( of a \w+)?", cell)
    return [f"{kind} {name}{of}".strip() for kind, name, of in found]


def squeezed(text):
    """Code without what a formatter may change."""
    return re.sub(r",(?=[)\]}])", "", re.sub(r"\s+", "", text))


ROWS = list(rows())
RUN = squeezed("\n".join(block.source for block in blocks(PAGE)))


def test_the_page_has_its_tables():
    assert len(ROWS) > 150


@pytest.mark.parametrize(("guide", "wanted"), INVENTORY.items())
def test_nothing_of_the_guides_is_without_a_row(guide, wanted):
    named = {name for theirs, _, _ in ROWS for name in names(theirs)}
    assert wanted - named == set()


def test_nothing_is_mapped_that_no_guide_knows():
    known = {name for wanted in INVENTORY.values() for name in wanted}
    assert {name for theirs, _, _ in ROWS for name in names(theirs)} - known == set()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_is_run_or_says_what_to_do_instead(row):
    theirs, ours, note = row
    assert names(theirs) or theirs == "unmuting"
    if ours == NO_COUNTERPART:
        assert note
    else:
        expression = ours.strip("`")
        assert ours == f"`{expression}`"
        assert squeezed(expression) in RUN, f"{expression} is in no program of the page"
