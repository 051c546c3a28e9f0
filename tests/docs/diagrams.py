"""Diagrams and tables of the documentation, drawn from the tables that the code runs on.

``python tests/docs/diagrams.py`` writes them into the pages; a test compares.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from trio_realtime._engine import link_state as _machine
from trio_realtime._engine import session_state as _session_machine
from trio_realtime._engine.refusals import consequences
from trio_realtime._values.error_codes import ErrorCode

DOCS = Path(__file__).parents[2] / "docs"


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


def codes():
    """What the codes of sessions and connections do to a client."""
    rows = ["| code | in answer to the login on return | to any other command | as close code |"]
    rows.append("|---|---|---|---|")
    rows += [
        f"| {code:d} `{code.name}` {_consequences(code)}"
        for code in sorted({*ErrorCode})
        if ErrorCode.APP_NOT_AVAILABLE <= code < ErrorCode.CONVERSATION_INTERNAL_ERROR
    ]
    rows.append(f"| any other that is not listed {_consequences(0)}")
    return "\n".join(rows)


def _consequences(code):
    row = consequences(code)
    return f"| {row.on_return.value} | {row.command.value} | {row.on_close.value} |"


PARTS = {
    "state-machines.md": {
        "connection": part(_machine.TRANSITIONS, _machine.LinkState),
        "session": part(_session_machine.TRANSITIONS, _session_machine.SessionState),
    },
    "errors.md": {"codes": codes()},
}


def filled(page, parts):
    """The page with each part between its marks."""
    for name, drawing in parts.items():
        begin, end = f"<!-- {name}: drawn -->", f"<!-- {name}: end -->"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}\n\n{drawing}\n\n{end}{after}"
    return page


if __name__ == "__main__":
    for name, parts in PARTS.items():
        page = DOCS / name
        page.write_text(filled(page.read_text("utf-8"), parts), "utf-8")
