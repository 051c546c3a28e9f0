from __future__ import annotations

import pytest

from tests.docs.diagrams import DOCS, PARTS, filled


@pytest.mark.parametrize("name", PARTS)
def test_what_is_drawn_is_what_the_tables_say(name):
    page = (DOCS / name).read_text("utf-8")
    assert filled(page, PARTS[name]) == page, "run: python tests/docs/diagrams.py"


def test_something_is_drawn():
    assert "CONNECTED --> DISCONNECTED: LOST" in (DOCS / "state-machines.md").read_text("utf-8")
    assert "| 4105 `SESSION_REQUIRED` | reconnects |" in (DOCS / "errors.md").read_text()
