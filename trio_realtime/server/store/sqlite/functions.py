"""What SQLite cannot do itself in a condition: functions of ours that its SQL calls."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from trio_realtime.server.store.condition_values import canonical, date_ms
from trio_realtime.server.store.json import from_json
from trio_realtime.server.store.patterns import REGEX_STEPS, matches


def add_functions(connection: sqlite3.Connection, regex_steps: int = REGEX_STEPS) -> None:
    """Give a connection the functions that conditions use."""

    def matches_text(pattern: str, options: str, value: bytes | None) -> bool:
        # As bytes, because a text from a broken row need not be one for Python.
        return value is not None and matches(pattern, options, value, regex_steps)

    for name, arity, function in (
        ("matches", 3, matches_text),
        ("date_of", 1, _date_of),
        ("canonical", 1, _canonical),
        ("type_at", 2, _type_at),
        ("value_at", 2, _value_at),
    ):
        connection.create_function(name, arity, function, deterministic=True)


def _date_of(text: str) -> int | None:
    return date_ms(from_json(text))


def _canonical(text: str) -> str:
    return canonical(from_json(text))


_MISSING = object()
_INTEGERS = range(-(2**63), 2**63)
_HUGE = 10**308


def _at(text: str, path: str) -> Any:
    value = from_json(text)
    for key in json.loads(path):
        value = value.get(key, _MISSING) if isinstance(value, dict) else _MISSING
    return value


def _type_at(text: str, path: str) -> str | None:
    value = _at(text, path)
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return "integer"
        case float():
            return "real"
        case str():
            return "text"
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            return None


def _value_at(text: str, path: str) -> Any:
    value = _at(text, path)
    if value is _MISSING:
        return None
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int) and value not in _INTEGERS:
        # As SQLite itself reads such a number.
        return float(value) if abs(value) < _HUGE else None
    return value


def calls_functions(sql: str) -> bool:
    """Whether a statement uses any of them."""
    names = ("matches", "date_of", "canonical", "type_at", "value_at")
    return any(f"{name}(" in sql for name in names)
