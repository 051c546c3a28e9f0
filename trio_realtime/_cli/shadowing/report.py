"""What became of each command: counted, and with an example where something differs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from .comparing import Difference

EXAMPLES = 3
HEAD = ("command", "said", "equal", "different", "unanswered", "outside")


@attrs.frozen
class Example:
    """One case of a difference."""

    time: str
    connection: int
    differences: tuple[Difference, ...]

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.time} [{self.connection}]"
        for difference in self.differences:
            yield f"    {difference}"

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "time": self.time,
            "connection": self.connection,
            "differences": [attrs.asdict(difference) for difference in self.differences],
        }


@attrs.define
class Row:
    """What became of the answers to one command, or of one kind of push."""

    equal: int = 0
    different: int = 0
    unanswered: int = 0
    """The old service said it, and ours did not."""
    outside: int = 0
    """Came about through somebody whom ours does not hear."""
    examples: list[Example] = attrs.field(factory=list)

    @property
    def said(self) -> int:
        """How often it was said."""
        return self.equal + self.different + self.unanswered + self.outside

    @property
    def bad(self) -> int:
        """How often ours was not like the old service."""
        return self.different + self.unanswered

    def example(self, time: str, connection: int, differences: Iterable[Difference]) -> None:
        """Keep a case, if there are not enough of them."""
        if len(self.examples) < EXAMPLES:
            self.examples.append(Example(time, connection, tuple(differences)))


@attrs.define
class Report:
    """Everything compared so far."""

    ignored: frozenset[str] = frozenset()
    """Names of rows whose differences are told, and do not count."""
    rows: dict[str, Row] = attrs.field(factory=dict)
    unreadable: int = 0
    """Frames that are no commands."""
    lost: int = 0
    """Frames that were not compared, because ours had fallen too far behind."""

    def row(self, name: str) -> Row:
        """The row of a command, such as ``conv/start``, or of a push, such as ``← direct``."""
        return self.rows.setdefault(name, Row())

    @property
    def bad(self) -> int:
        """How often ours was not like the old service."""
        ignored = {name for name in self.rows if name.removeprefix("← ") in self.ignored}
        return sum(row.bad for name, row in self.rows.items() if name not in ignored)

    def _sorted(self) -> list[tuple[str, Row]]:
        rows = [(name, row) for name, row in self.rows.items() if row.said]
        return sorted(rows, key=lambda item: _place(item[0]))

    def table(self) -> Iterator[str]:
        """For people."""
        rows = [
            (name, *map(str, (row.said, row.equal, row.different, row.unanswered, row.outside)))
            for name, row in self._sorted()
        ]
        widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
        for name, *numbers in (HEAD, *rows):
            cells = [n.rjust(w) for n, w in zip(numbers, widths[1:], strict=True)]
            yield "  ".join([name.ljust(widths[0]), *cells])
        for name, row in self._sorted():
            for example in row.examples:
                yield ""
                first, *others = example.lines()
                yield f"{name}  {first}"
                yield from others

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "different": self.bad,
            "unreadable": self.unreadable,
            "lost": self.lost,
            "commands": [
                {
                    "command": name.removeprefix("← "),
                    "push": name.startswith("← "),
                    "said": row.said,
                    "equal": row.equal,
                    "different": row.different,
                    "unanswered": row.unanswered,
                    "outside": row.outside,
                    "examples": [example.to_json() for example in row.examples],
                }
                for name, row in self._sorted()
            ],
        }


def _place(name: str) -> tuple[bool, str]:
    """Answers first, pushes behind them."""
    return name.startswith("← "), name
