"""Citations of the protocol reference: how code, tests and pages write them."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from tests.docs.snippets import ROOT

REFERENCE = ROOT / "docs" / "protocol"
CITING = ("trio_realtime", "tests", "benchmarks", "docs", "protos")
SUFFIXES = {".md", ".mjs", ".proto", ".py", ".toml"}

SECTIONS = r"(?:,?\s(?:and\s)?§[\d.]+(?:–[\d.]+)?)*"
# From anywhere in the repository, and from one page of the reference to another.
CITATION = re.compile(rf"docs/protocol/([\w-]+\.md)({SECTIONS})")
SIDEWAYS = re.compile(rf"\[?\b([\w-]+\.md)(?:\]\(\1\))?({SECTIONS})")
SECTION = re.compile(r"§(\d+(?:\.\d+)?)(?:–(\d+))?")
HEADING = re.compile(r"^#{2,} (\d+(?:\.\d+)?)\.? ", re.MULTILINE)
WRAPPED = re.compile(r"\n\s*(?:#|//)?:?\s*")
"""The end of a line in the middle of a docstring or comment."""


@attrs.frozen
class Citation:
    """One section of a page, or with an empty section the page as a whole."""

    page: str
    section: str = ""

    def __str__(self) -> str:
        return f"{self.page} §{self.section}" if self.section else self.page

    def leads_somewhere(self) -> bool:
        """Whether the page and its section exist."""
        page = REFERENCE / self.page
        return page.is_file() and (not self.section or self.section in sections(page))


def sections(page: Path) -> set[str]:
    """The numbers in the headings of a page."""
    return set(HEADING.findall(page.read_text("utf-8")))


def numbers(text: str) -> list[str]:
    """The sections in a list: ``§1, §2–4 and §5.1`` are five."""
    found: list[str] = []
    for first, last in SECTION.findall(text):
        found += [first] if not last else map(str, range(int(first), int(last) + 1))
    return found


def citations(text: str, pattern: re.Pattern[str] = CITATION) -> list[Citation]:
    """What a text cites, in order."""
    found: list[Citation] = []
    for page, listed in pattern.findall(WRAPPED.sub(" ", text)):
        found += [Citation(page, number) for number in numbers(listed) or [""]]
    return found


def page_citations(page: Path) -> list[Citation]:
    """What a page of the reference cites: other pages, and sections of its own."""
    text = WRAPPED.sub(" ", page.read_text("utf-8"))
    own = SIDEWAYS.sub("", CITATION.sub("", text))
    return [
        *citations(text, SIDEWAYS),
        *(Citation(page.name, number) for number in numbers(own)),
    ]


def citing_files() -> list[Path]:
    """The files of the project that may cite the reference."""
    return [
        path
        for folder in CITING
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in SUFFIXES and "node_modules" not in path.parts
    ]
