from __future__ import annotations

from tests.docs.diagrams import PAGE, filled


def test_the_diagrams_are_those_of_the_tables():
    page = PAGE.read_text("utf-8")
    assert "CONNECTED --> DISCONNECTED: LOST" in page
    assert filled(page) == page, "run: python tests/docs/diagrams.py"
