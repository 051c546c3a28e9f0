"""The Python blocks of a page, and what it takes to run them.

The blocks of a page are one program, in order: what one block imports or defines, the later
ones may use. An asynchronous function is run if everything it asks for can be provided, by
the annotation of its parameters: a client logged in under the name of the parameter, a
conversation between these clients (and Jerry), the server they use. A function that asks for
something else is a helper, and must be used by another block. Where a line
``<!-- runs until stopped -->`` stands above a block, its functions are stopped after a while.
Functions called ``test_...`` are given to pytest, see `is_suite`.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PROVIDED = {"IMClient", "Conversation", "LocalServer", "Path"}
ENDLESS = "<!-- runs until stopped -->"

# What the pages say of the server, and what the tests put in its place.
WRITTEN_URL = "http://127.0.0.1:8080"
APP = ("chat-demo", "demo-key", "demo-master-key")

FENCE = re.compile(r"^```(\w*)\s*$")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


@attrs.frozen
class Function:
    """A function to run."""

    name: str
    asks_for: dict[str, str]
    """Parameter to annotation."""


@attrs.frozen
class Block:
    """A fenced block of Python."""

    page: Path
    line: int
    """Of its first line of code, from 1."""
    source: str
    endless: bool

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def tree(self, url: str = WRITTEN_URL) -> ast.Module:
        """Its syntax tree, with the line numbers of the page."""
        tree = ast.parse(self.source.replace(WRITTEN_URL, url), str(self.page))
        return ast.increment_lineno(tree, self.line - 1)

    def functions(self) -> list[Function]:
        """The functions to run, in order."""
        asynchronous = [node for node in self.tree().body if isinstance(node, ast.AsyncFunctionDef)]
        return [
            Function(node.name, parameters(node))
            for node in asynchronous
            if not node.decorator_list and set(parameters(node).values()) <= PROVIDED
        ]

    def helpers(self) -> set[str]:
        """The functions that are not run by themselves."""
        defined = {
            node.name
            for node in self.tree().body
            if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)
        }
        return defined - {function.name for function in self.functions()}

    def names(self) -> set[str]:
        """All names the block uses."""
        return {node.id for node in ast.walk(self.tree()) if isinstance(node, ast.Name)}

    def is_suite(self) -> bool:
        """Whether it consists of tests in the manner of pytest."""
        return any(name.startswith("test_") for name in self._defined())

    def _defined(self) -> list[str]:
        functions = (ast.AsyncFunctionDef, ast.FunctionDef)
        return [node.name for node in self.tree().body if isinstance(node, functions)]


def parameters(function: ast.AsyncFunctionDef) -> dict[str, str]:
    """Parameters and their annotations, as written."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return {one.arg: ast.unparse(one.annotation) if one.annotation else "" for one in arguments}


def blocks(page: Path) -> list[Block]:
    """The Python blocks of a page."""
    found: list[Block] = []
    language: str | None = None
    body: list[str] = []
    start, above = 0, ""
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        if language is None:
            if fence:
                language, start, body = fence[1], number + 1, []
            elif line.strip():
                above = line.strip()
        elif line.rstrip() == "```":
            if language == "python":
                found.append(Block(page, start, "\n".join(body) + "\n", above == ENDLESS))
            language, above = None, ""
        else:
            body.append(line)
    assert language is None, f"{page.name}:{start}: a block that does not end"
    return found


def prose(page: Path) -> str:
    """A page without its blocks."""
    return re.sub(r"^```.*?^```\s*$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    """Where the links of a page lead, without those that leave the project."""
    return [link for link in LINK.findall(prose(page)) if "://" not in link]


def anchors(page: Path) -> set[str]:
    """The headings of a page as a link spells them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).strip().replace(" ", "-")
        for heading in HEADING.findall(prose(page))
    }
