"""The condition of a query as a tree: docs/protocol/conversations.md §3.

A condition is data from a stranger. Here its size and depth are bounded, unknown operators
and wrong operands are refused; what comes out is plain and can be trusted, and a database
need only translate it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import attrs

from trio_realtime._values.texts import is_unicode

from .condition_values import Constant, constant
from .errors import QueryError
from .patterns import check_pattern

_TEXT_AT_MOST = 64 * 1024
_DEPTH_AT_MOST = 8
_CONDITIONS_AT_MOST = 100
_CONSTANTS_AT_MOST = 2000
_PATH_AT_MOST = 16
_SORT_KEYS_AT_MOST = 8

# What a condition can be about.

ColumnType = Literal["text", "number", "flag", "time"]

COLUMNS: Mapping[str, ColumnType] = {
    "objectId": "text",
    "name": "text",
    "c": "text",
    "uniqueId": "text",
    "createdAt": "time",
    "updatedAt": "time",
    "lm": "time",
    "conv_type": "number",
    "tr": "flag",
    "sys": "flag",
    "unique": "flag",
}
"""The columns that every conversation has, and the type of each."""

_ROW_COLUMNS = frozenset({"objectId", "createdAt", "updatedAt"})
"""Those that every row has, whatever it is about."""


@attrs.frozen
class Column:
    """One of `COLUMNS`, by its key."""

    key: str

    @property
    def type(self) -> ColumnType:
        """The one type its values have."""
        return COLUMNS[self.key]


ClientSetKey = Literal["m", "mu"]

_CLIENT_SETS: Mapping[str, ClientSetKey] = {"m": "m", "mu": "mu"}


@attrs.frozen
class ClientSet:
    """A set of clients: the members (``m``), or those who muted the conversation (``mu``)."""

    key: Literal["m", "mu"]


@attrs.frozen
class Attribute:
    """A path into the JSON attributes of a conversation."""

    path: tuple[str, ...]


Field = Column | ClientSet | Attribute

# What its value is asked.


@attrs.frozen
class Compare:
    """Whether the value stands in this order to a constant; values of other types do not."""

    sign: Literal["=", "<", "<=", ">", ">="]
    constant: Constant


@attrs.frozen
class Among:
    """Whether the value is one of these texts."""

    texts: tuple[str, ...]


@attrs.frozen
class Matches:
    """Whether a text matches a regular expression that was found to be legal."""

    pattern: str
    options: str


Test = Compare | Among | Matches

# The tree.


@attrs.frozen
class Has:
    """The field's value passes a test; of an array, the array itself or an element."""

    field: Field
    test: Test


@attrs.frozen
class HasAll:
    """The field's value, or an element of it, equals the constant, for each of these."""

    field: Field
    constants: tuple[Constant, ...]


@attrs.frozen
class HasSize:
    """The field's value is an array of this length."""

    field: Field
    size: int


@attrs.frozen
class Exists:
    """The field has a value."""

    field: Field


@attrs.frozen
class Not:
    """The condition does not hold; what cannot be told does not hold."""

    condition: Condition


@attrs.frozen
class And:
    """All conditions hold; of none, always."""

    conditions: tuple[Condition, ...] = ()


@attrs.frozen
class Or:
    """One of the conditions holds; of none, never."""

    conditions: tuple[Condition, ...] = ()


Condition = Has | HasAll | HasSize | Exists | Not | And | Or

EVERYTHING = And()
"""The condition that always holds."""


@attrs.frozen
class SortKey:
    """One key to sort results by."""

    field: Field
    descending: bool = False


NEWEST_FIRST = (SortKey(Column("lm"), descending=True),)
"""By the time of the last message: the order if none is asked for."""

# From JSON.


def parse_condition(
    where: Mapping[str, Any], field: Callable[[str], Field] | None = None
) -> Condition:
    """The tree of a ``where``. ``field`` reads its keys, by default as those of a conversation.

    Raises `QueryError`.
    """
    try:
        text = json.dumps(where, ensure_ascii=False, allow_nan=False).encode()
    except (UnicodeEncodeError, RecursionError, TypeError, ValueError) as exc:
        raise QueryError("the condition is not plain JSON") from exc
    if len(text) > _TEXT_AT_MOST:
        raise QueryError("the condition is too long")
    return _Parser(field or parse_field).all_of(where, 0)


def parse_sort(
    keys: Iterable[tuple[str, bool]], field: Callable[[str], Field] | None = None
) -> tuple[SortKey, ...]:
    """Keys to sort by, with True for descending. Raises `QueryError`."""
    read = field or parse_field
    parsed = tuple(SortKey(read(key), descending) for key, descending in keys)
    if len(parsed) > _SORT_KEYS_AT_MOST:
        raise QueryError(f"more than {_SORT_KEYS_AT_MOST} keys to sort by")
    return parsed


def parse_field(key: str) -> Field:
    """What a key of a condition or of a sort order means. Raises `QueryError`."""
    if key in COLUMNS:
        return Column(key)
    if key in _CLIENT_SETS:
        return ClientSet(_CLIENT_SETS[key])
    return _attribute(key)


def parse_row_field(key: str) -> Field:
    """What a key means for rows of which all is JSON but their id and times.

    Raises `QueryError`.
    """
    return Column(key) if key in _ROW_COLUMNS else _attribute(key)


def _attribute(key: str) -> Attribute:
    path = tuple(key.split("."))
    if not all(path) or len(path) > _PATH_AT_MOST or not is_unicode(key):
        raise QueryError(f"illegal key {key!r}")
    return Attribute(path)


class _Parser:
    """One pass over a condition, which counts what it meets."""

    def __init__(self, field: Callable[[str], Field]) -> None:
        self._field = field
        self._conditions = 0
        self._constants = 0

    def all_of(self, where: Any, depth: int) -> Condition:
        if not isinstance(where, Mapping):
            raise QueryError("a condition must be an object")
        if depth > _DEPTH_AT_MOST:
            raise QueryError("the condition is nested too deep")
        parts: list[Condition] = []
        for key, value in where.items():
            if key in {"$and", "$or"}:
                parts.append(self._group(key, value, depth))
            elif key.startswith("$"):
                raise QueryError(f"unknown operator {key!r}")
            else:
                parts += self._about(self._field(key), value)
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _group(self, key: str, value: Any, depth: int) -> Condition:
        if not isinstance(value, list) or not value:
            raise QueryError(f"{key} needs an array of conditions")
        self._count_conditions(len(value))
        parts = tuple(self.all_of(item, depth + 1) for item in value)
        return And(parts) if key == "$and" else Or(parts)

    def _about(self, field: Field, value: Any) -> list[Condition]:
        if not _is_operators(value):
            self._count_conditions(1)
            return [self._equal(field, value)]
        self._count_conditions(len(value))
        return [
            self._operator(field, name, operand, value)
            for name, operand in value.items()
            if name != "$options"
        ]

    def _operator(
        self, field: Field, name: str, operand: Any, operators: Mapping[str, Any]
    ) -> Condition:
        match name:
            case "$lt":
                return Has(field, Compare("<", self._constant(operand)))
            case "$lte":
                return Has(field, Compare("<=", self._constant(operand)))
            case "$gt":
                return Has(field, Compare(">", self._constant(operand)))
            case "$gte":
                return Has(field, Compare(">=", self._constant(operand)))
            case "$eq":
                return self._equal(field, operand)
            case "$ne":
                return Not(self._equal(field, operand))
            case "$in":
                return self._among(field, operand)
            case "$nin":
                return Not(self._among(field, operand))
            case "$all":
                return self._has_all(field, operand)
            case "$size":
                if not isinstance(operand, int) or isinstance(operand, bool) or operand < 0:
                    raise QueryError("$size needs a whole number")
                return HasSize(field, min(operand, 2**31))
            case "$exists":
                return Exists(field) if operand else Not(Exists(field))
            case "$regex":
                return self._regex(field, operand, operators.get("$options", ""))
            case _:
                raise QueryError(f"unknown operator {name!r}")

    def _equal(self, field: Field, value: Any) -> Condition:
        return Has(field, Compare("=", self._constant(value)))

    def _among(self, field: Field, operand: Any) -> Condition:
        constants = [self._constant(value) for value in _array(operand)]
        texts = tuple(value for value in constants if isinstance(value, str))
        others = [value for value in constants if not isinstance(value, str)]
        self._count_conditions(len(others))
        parts = [Has(field, Compare("=", value)) for value in others]
        return Or((Has(field, Among(texts)), *parts))

    def _has_all(self, field: Field, operand: Any) -> Condition:
        constants = tuple(self._constant(value) for value in _array(operand))
        if not constants:
            return Or()
        if not isinstance(field, ClientSet) or not all(isinstance(one, str) for one in constants):
            # Each becomes a condition of its own.
            self._count_conditions(len(constants))
        return HasAll(field, constants)

    def _regex(self, field: Field, pattern: Any, options: Any) -> Condition:
        if not isinstance(pattern, str) or not isinstance(options, str):
            raise QueryError("$regex and $options need texts")
        options = "".join(sorted(set(options)))
        check_pattern(pattern, options)
        return Has(field, Matches(pattern, options))

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
