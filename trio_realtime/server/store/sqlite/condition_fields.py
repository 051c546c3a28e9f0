"""SQL of what a condition can be about: columns, the sets of members, and JSON attributes.

Each turns a *test* ("equal to x", "less than y") into SQL that asks whether the field has a
value that passes, which for arrays means: the array itself or one of its elements.
"""

# ruff: noqa: S608 - SQL text is joined from constants of this program only.

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Protocol

import attrs

from trio_realtime.server.store.condition_values import Composite, Constant, Date
from trio_realtime.server.store.conditions import (
    Among,
    ClientSet,
    Column,
    Compare,
    Matches,
    Test,
)
from trio_realtime.server.store.interface import Kind

from .sql import NEVER, Sql

_PLAIN_KEY = re.compile(r'[^"\\\x00-\x1f\ud800-\udfff]+\Z')

_COLUMNS = {
    "objectId": "c.cid",
    "name": "c.name",
    "c": "c.creator",
    "uniqueId": "c.unique_id",
    "createdAt": "c.created_at",
    "updatedAt": "c.updated_at",
    "lm": "c.last_message_at",
    "conv_type": "c.kind",
    "tr": f"(c.kind = {Kind.ROOM:d})",
    "sys": f"(c.kind = {Kind.SERVICE:d})",
    "unique": "(c.unique_id IS NOT NULL)",
}
DOCUMENT = "c.attributes"
"""SQL of a conversation's attributes."""

SOUND_DOCUMENT = "CASE WHEN json_valid(c.attributes) THEN c.attributes ELSE '{}' END"
"""The same, where rows may hold what is no JSON. It costs more."""

_TABLES = {"m": "members", "mu": "muted"}


class FieldSql(Protocol):
    """How a field of a condition is asked."""

    def any(self, test: Test) -> Sql:
        """Whether the field, or an element of it, passes."""

    def exists(self) -> Sql:
        """Whether the field has a value."""

    def size(self, count: int) -> Sql:
        """Whether the field is an array of this length."""

    def order(self) -> Sql:
        """What to sort by."""


@attrs.frozen
class ColumnSql:
    """A column of one type: a text, a number, a flag, or a time."""

    sql: str
    type: str

    @classmethod
    def of(cls, column: Column) -> ColumnSql:
        """The column of this key."""
        return cls(_COLUMNS[column.key], column.type)

    def any(self, test: Test) -> Sql:
        match test:
            case Compare(sign, None):
                return Sql(f"{self.sql} IS NULL") if sign == "=" else Sql(NEVER)
            case Compare("<" | "<=" | ">" | ">=", bool()):
                return Sql(NEVER)
            case Compare(sign, constant) if _type(constant) == self.type:
                bound = constant.ms if isinstance(constant, Date) else constant
                return Sql(f"{self.sql} {sign} ?", (bound,))
            case Among(constants) if self.type == "text":
                texts = json.dumps(constants, ensure_ascii=False)
                return Sql(f"{self.sql} IN (SELECT value FROM json_each(?))", (texts,))
            case Matches(pattern, options) if self.type == "text":
                return Sql(f"matches(?, ?, CAST({self.sql} AS BLOB))", (pattern, options))
            case _:
                return Sql(NEVER)

    def exists(self) -> Sql:
        return Sql(f"{self.sql} IS NOT NULL")

    def size(self, count: int) -> Sql:  # noqa: ARG002 - no column is an array
        return Sql(NEVER)

    def order(self) -> Sql:
        return Sql(self.sql)


@attrs.frozen
class ClientSetSql:
    """A set of clients kept in a table of its own: the members, or those who muted."""

    table: str
    app: int

    @classmethod
    def of(cls, field: ClientSet, app: int) -> ClientSetSql:
        """The set of this key."""
        return cls(_TABLES[field.key], app)

    def any(self, test: Test) -> Sql:
        match test:
            case Compare("=", str(name)):
                return self._holds(f"client = {_CLIENT}", (self.app, name))
            case Compare("=", Composite(text)):
                return self._equals(json.loads(text))
            case Among(constants):
                texts = json.dumps(constants, ensure_ascii=False)
                return self._holds(f"client IN {_CLIENTS}", (self.app, texts))
            case _:
                inner = ColumnSql("k.name", "text").any(test)
                return Sql(
                    f"EXISTS (SELECT 1 FROM {self.table} x JOIN clients k ON k.id = x.client"
                    f" WHERE x.conversation = c.id AND {inner.text}){self._only}",
                    inner.parameters,
                )

    def all(self, names: Sequence[str]) -> Sql:
        """Whether every one of these different names is in the set."""
        if len(names) == 1:
            return self.any(Compare("=", names[0]))
        texts = json.dumps(list(names), ensure_ascii=False)
        return self._holds(
            f"client IN {_CLIENTS} GROUP BY conversation HAVING count(*) = ?",
            (self.app, texts, len(names)),
        )

    def exists(self) -> Sql:
        return Sql(f"1{self._only}")

    def size(self, count: int) -> Sql:
        return Sql(
            f"(SELECT count(*) FROM {self.table} x WHERE x.conversation = c.id) = ?{self._only}",
            (count,),
        )

    def order(self) -> Sql:
        return Sql("NULL")

    @property
    def _only(self) -> str:
        # The subscribers of a service conversation are not members in a query.
        return f" AND c.kind <> {Kind.SERVICE:d}" if self.table == "members" else ""

    def _holds(self, condition: str, parameters: tuple[Any, ...]) -> Sql:
        return Sql(
            f"c.id IN (SELECT conversation FROM {self.table} WHERE {condition}){self._only}",
            parameters,
        )

    def _equals(self, names: Any) -> Sql:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return Sql(NEVER)
        different = list(dict.fromkeys(names))
        if not different:
            return self.size(0)
        same = self.all(different)
        size = self.size(len(different))
        return Sql(f"({same.text}) AND ({size.text})", (*same.parameters, *size.parameters))


_CLIENT = "(SELECT id FROM clients WHERE app = ? AND name = ?)"
_CLIENTS = "(SELECT id FROM clients WHERE app = ? AND name IN (SELECT value FROM json_each(?)))"


@attrs.frozen
class AttributeSql:
    """A path into the JSON attributes of a conversation."""

    path: tuple[str, ...]
    document: str = DOCUMENT
    """SQL of the attributes."""

    @property
    def _accessors(self) -> tuple[str, str, str]:
        """SQL for the type and the value, and the parameter both take."""
        if all(_PLAIN_KEY.match(key) for key in self.path):
            steps = "".join(f'."{key}"' for key in self.path)
            path = "$" + steps
            return f"json_type({self.document}, ?)", f"json_extract({self.document}, ?)", path
        # SQLite cannot spell every key in a path.
        path = json.dumps(self.path)
        return f"type_at({self.document}, ?)", f"value_at({self.document}, ?)", path

    def any(self, test: Test) -> Sql:
        kind, value, path = self._accessors
        if isinstance(test, Compare) and test.sign == "=" and test.constant is None:
            whole = Sql(f"coalesce({kind}, 'null') = 'null'", (path,))
        else:
            whole = _passes(Sql(kind, (path,)), Sql(value, (path,)), test)
        element = _passes(Sql("e.type"), Sql("e.value"), test)
        array = f"CASE {kind} WHEN 'array' THEN {value} ELSE '[]' END"
        elements = Sql(
            f"EXISTS (SELECT 1 FROM json_each({array}) e WHERE {element.text})",
            (path, path, *element.parameters),
        )
        return Sql(
            f"({whole.text}) OR ({elements.text})", (*whole.parameters, *elements.parameters)
        )

    def exists(self) -> Sql:
        kind, _, path = self._accessors
        return Sql(f"{kind} IS NOT NULL", (path,))

    def size(self, count: int) -> Sql:
        kind, value, path = self._accessors
        return Sql(
            f"CASE {kind} WHEN 'array' THEN json_array_length({value}) = ? ELSE 0 END",
            (path, path, count),
        )

    def order(self) -> Sql:
        _, value, path = self._accessors
        return Sql(value, (path,))


def _passes(kind: Sql, value: Sql, test: Test) -> Sql:
    """Whether a JSON value of a known type passes; values of other types never do."""
    types, left, bound = _as_sql(value.text, test)
    if not types:
        return Sql(NEVER)
    condition = f"CASE WHEN {kind.text} IN ({types}) THEN {left} ELSE 0 END"
    return Sql(condition, (*kind.parameters, *_arranged(value, bound, test)))


def _as_sql(value: str, test: Test) -> tuple[str, str, tuple[Any, ...]]:
    """The JSON types a test can be true for, the comparison, and its constants."""
    match test:
        case Matches(pattern, options):
            return "'text'", f"matches(?, ?, CAST({value} AS BLOB))", (pattern, options)
        case Among(constants):
            texts = json.dumps(constants, ensure_ascii=False)
            return "'text'", f"{value} IN (SELECT value FROM json_each(?))", (texts,)
        case Compare("=", None):
            return "'null'", "1", ()
        case Compare("=", bool(flag)):
            return "'true'" if flag else "'false'", "1", ()
        case Compare(_, None | bool()):
            return "", "", ()
        case Compare(sign, str(text)):
            return "'text'", f"{value} {sign} ?", (text,)
        case Compare(sign, Date(ms)):
            return "'object'", f"date_of({value}) {sign} ?", (ms,)
        case Compare("=", Composite(text)):
            return "'array', 'object'", f"canonical({value}) = ?", (text,)
        case Compare(_, Composite()):
            return "", "", ()
        case Compare(sign, number):
            return "'integer', 'real'", f"{value} {sign} ?", (number,)


def _arranged(value: Sql, bound: tuple[Any, ...], test: Test) -> tuple[Any, ...]:
    """The parameters of a comparison in the order of its question marks."""
    if isinstance(test, Compare) and (test.constant is None or isinstance(test.constant, bool)):
        return ()
    if isinstance(test, Matches):
        return (*bound, *value.parameters)
    return (*value.parameters, *bound)


def _type(constant: Constant) -> str:
    match constant:
        case bool():
            return "flag"
        case str():
            return "text"
        case Date():
            return "time"
        case int() | float():
            return "number"
        case _:
            return "other"
