"""From the ``where`` of a conversation query to SQL: docs/protocol/conversations.md §3.

The condition is data from a stranger. Its size and depth are bounded before anything else,
unknown operators and wrong operands are refused, and what passes can only read rows of the
caller's app.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from trio_realtime.server.store.condition_values import Constant, canonical, constant, date_ms
from trio_realtime.server.store.interface import Kind, QueryError
from trio_realtime.server.store.patterns import REGEX_STEPS, compile_regex

from .condition_fields import (
    Among,
    Attribute,
    ClientSet,
    Column,
    Compare,
    Field,
    Matches,
    Sql,
    both,
    negated,
)

_TEXT_AT_MOST = 64 * 1024
_DEPTH_AT_MOST = 8
_CONDITIONS_AT_MOST = 100
_CONSTANTS_AT_MOST = 2000
_PATH_AT_MOST = 16

_COLUMNS = {
    "objectId": Column("c.cid", "text"),
    "name": Column("c.name", "text"),
    "c": Column("c.creator", "text"),
    "uniqueId": Column("c.unique_id", "text"),
    "createdAt": Column("c.created_at", "time"),
    "updatedAt": Column("c.updated_at", "time"),
    "lm": Column("c.last_message_at", "time"),
    "conv_type": Column("c.kind", "number"),
    "tr": Column(f"(c.kind = {Kind.ROOM:d})", "flag"),
    "sys": Column(f"(c.kind = {Kind.SERVICE:d})", "flag"),
    "unique": Column("(c.unique_id IS NOT NULL)", "flag"),
}
_SETS = {"m": "members", "mu": "muted"}

_COMPARISONS = {"$lt": "<", "$lte": "<=", "$gt": ">", "$gte": ">="}


def field(key: str, app: int) -> Field:
    """What a key of a condition or of a sort order means. Raises `QueryError`."""
    if key in _COLUMNS:
        return _COLUMNS[key]
    if key in _SETS:
        return ClientSet(_SETS[key], app)
    path = tuple(key.split("."))
    if not all(path) or len(path) > _PATH_AT_MOST:
        raise QueryError(f"illegal key {key!r}")
    return Attribute(path)


def where_sql(where: Mapping[str, Any], app: int, regex_steps: int = REGEX_STEPS) -> Sql:
    """A condition on conversations, named ``c`` in SQL. Raises `QueryError`."""
    try:
        text = json.dumps(where, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError, TypeError, ValueError) as exc:
        raise QueryError("the condition is not plain JSON") from exc
    if len(text) > _TEXT_AT_MOST:
        raise QueryError("the condition is too long")
    return _Translation(app, regex_steps).all_of(where, 0)


class _Translation:
    """One pass over a condition, which counts what it meets."""

    def __init__(self, app: int, regex_steps: int) -> None:
        self._app = app
        self._regex_steps = regex_steps
        self._conditions = 0
        self._constants = 0

    def all_of(self, where: Any, depth: int) -> Sql:
        if not isinstance(where, Mapping):
            raise QueryError("a condition must be an object")
        if depth > _DEPTH_AT_MOST:
            raise QueryError("the condition is nested too deep")
        parts: list[Sql] = []
        for key, value in where.items():
            if key in {"$and", "$or"}:
                parts.append(self._group(key, value, depth))
            elif key.startswith("$"):
                raise QueryError(f"unknown operator {key!r}")
            else:
                parts += self._about(field(key, self._app), value)
        return both("AND", parts) if parts else Sql("1")

    def _group(self, key: str, value: Any, depth: int) -> Sql:
        if not isinstance(value, list) or not value:
            raise QueryError(f"{key} needs an array of conditions")
        self._count_conditions(len(value))
        word = "AND" if key == "$and" else "OR"
        return both(word, [self.all_of(item, depth + 1) for item in value])

    def _about(self, what: Field, value: Any) -> list[Sql]:
        if not _is_operators(value):
            self._count_conditions(1)
            return [what.any(Compare("=", self._constant(value)))]
        self._count_conditions(len(value))
        return [
            self._operator(what, name, operand, value)
            for name, operand in value.items()
            if name != "$options"
        ]

    def _operator(self, what: Field, name: str, operand: Any, all_: Mapping[str, Any]) -> Sql:
        match name:
            case "$lt" | "$lte" | "$gt" | "$gte":
                return what.any(Compare(_COMPARISONS[name], self._constant(operand)))
            case "$eq":
                return what.any(Compare("=", self._constant(operand)))
            case "$ne":
                return negated(what.any(Compare("=", self._constant(operand))))
            case "$in":
                return self._among(what, operand)
            case "$nin":
                return negated(self._among(what, operand))
            case "$all":
                return self._contains(what, operand)
            case "$size":
                if not isinstance(operand, int) or isinstance(operand, bool) or operand < 0:
                    raise QueryError("$size needs a whole number")
                return what.size(min(operand, 2**31))
            case "$exists":
                return what.exists() if operand else negated(what.exists())
            case "$regex":
                return self._regex(what, operand, all_.get("$options", ""))
            case _:
                raise QueryError(f"unknown operator {name!r}")

    def _among(self, what: Field, operand: Any) -> Sql:
        constants = [self._constant(value) for value in _array(operand)]
        texts = tuple(value for value in constants if isinstance(value, str))
        others = [value for value in constants if not isinstance(value, str)]
        self._count_conditions(len(others))
        parts = [what.any(Compare("=", value)) for value in others]
        return both("OR", [what.any(Among(texts)), *parts])

    def _contains(self, what: Field, operand: Any) -> Sql:
        constants = [self._constant(value) for value in _array(operand)]
        if not constants:
            return Sql("0")
        texts = [value for value in constants if isinstance(value, str)]
        if isinstance(what, ClientSet) and len(texts) == len(constants):
            return what.all(list(dict.fromkeys(texts)))
        self._count_conditions(len(constants))
        return both("AND", [what.any(Compare("=", value)) for value in constants])

    def _regex(self, what: Field, pattern: Any, options: Any) -> Sql:
        if not isinstance(pattern, str) or not isinstance(options, str):
            raise QueryError("$regex and $options need texts")
        options = "".join(sorted(set(options)))
        compile_regex(pattern, options, self._regex_steps)
        return what.any(Matches(pattern, options))

    def _constant(self, value: Any) -> Constant:
        self._constants += 1
        if self._constants > _CONSTANTS_AT_MOST:
            raise QueryError("the condition has too many constants")
        return constant(value)

    def _count_conditions(self, count: int) -> None:
        self._conditions += count
        if self._conditions > _CONDITIONS_AT_MOST:
            raise QueryError("the condition has too many parts")


def _is_operators(value: Any) -> bool:
    if not isinstance(value, Mapping) or not any(key.startswith("$") for key in value):
        return False
    if not all(key.startswith("$") for key in value):
        raise QueryError("operators and keys are mixed")
    if "$options" in value and "$regex" not in value:
        raise QueryError("$options needs $regex")
    return True


def _array(operand: Any) -> Sequence[Any]:
    if not isinstance(operand, list):
        raise QueryError("the operator needs an array")
    return operand


def add_functions(connection: sqlite3.Connection, regex_steps: int = REGEX_STEPS) -> None:
    """Give a connection the functions that `where_sql` uses."""

    def matches(pattern: str, options: str, value: str | None) -> bool:
        return value is not None and compile_regex(pattern, options, regex_steps)(value)

    for name, arity, function in (
        ("matches", 3, matches),
        ("date_of", 1, _date_of),
        ("canonical", 1, _canonical),
        ("type_at", 2, _type_at),
        ("value_at", 2, _value_at),
    ):
        connection.create_function(name, arity, function, deterministic=True)


def _date_of(text: str) -> int | None:
    return date_ms(json.loads(text))


def _canonical(text: str) -> str:
    return canonical(json.loads(text))


_MISSING = object()


def _at(text: str, path: str) -> Any:
    value = json.loads(text)
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
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
