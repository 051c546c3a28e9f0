"""Pieces of SQL, with the values of their question marks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

NEVER = "0"
"""The condition that never holds."""


@attrs.frozen
class Sql:
    """A piece of SQL with the values of its question marks."""

    text: str
    parameters: tuple[Any, ...] = ()


def joined(word: str, parts: Sequence[Sql]) -> Sql | None:
    """Conditions joined by ``AND`` or ``OR``; None if there are none."""
    if not parts:
        return None
    text = f" {word} ".join(f"({part.text})" for part in parts)
    return Sql(f"({text})", tuple(value for part in parts for value in part.parameters))


def negated(part: Sql) -> Sql:
    """The opposite, where unknown counts as false."""
    return Sql(f"({part.text}) IS NOT TRUE", part.parameters)
