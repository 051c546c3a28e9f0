"""Diagrams of the documentation, drawn from the tables that the code runs on.

``python tests/docs/diagrams.py`` writes them into the page; a test compares.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from trio_realtime._engine import link_state as _machine
from trio_realtime._engine import session_state as _session_machine

PAGE = Path(__file__).parents[2] / "docs" / "state-machines.md"


def drawn(transitions, start):
    """A table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {start.name}"]
    for state, row in transitions.items():
        lines += [f"    {state.name} --> {to.name}: {event.name}" for event, to in row.items()]
        if not row:
            lines.append(f"    {state.name} --> [*]")
    return "\n".join(lines)


def table(states):
    """What each state means."""
    texts = meanings(states)
    rows = [f"| `{state.name}` | {texts[state.name]} |" for state in states]
    return "\n".join(["| state | meaning |", "|---|---|", *rows])


def meanings(states):
    """The documentation of the members of an enumeration, from its source."""
    found = re.findall(r'(\w+) = auto\(\)\n    """(.*?)"""', inspect.getsource(states), re.DOTALL)
    return {name: " ".join(text.split()) for name, text in found}


def part(transitions, states):
    """A diagram, and below it what its states mean."""
    start = next(iter(transitions))
    return f"```mermaid\n{drawn(transitions, start)}\n```\n\n{table(states)}"


PARTS = {
    "connection": part(_machine.TRANSITIONS, _machine.LinkState),
    "session": part(_session_machine.TRANSITIONS, _session_machine.SessionState),
}


def filled(page):
    """The page with each part between its marks."""
    for name, drawing in PARTS.items():
        begin, end = f"<!-- {name}: drawn -->", f"<!-- {name}: end -->"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}\n\n{drawing}\n\n{end}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")
