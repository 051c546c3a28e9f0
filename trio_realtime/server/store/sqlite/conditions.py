"""From the tree of a condition to SQL on conversations, named ``c``.

Nothing that a client sent becomes SQL text; it is always bound as a parameter.
"""

from __future__ import annotations

from typing import assert_never

import attrs

from trio_realtime.server.store.conditions import (
    And,
    Attribute,
    ClientSet,
    Column,
    Compare,
    Condition,
    Exists,
    Field,
    Has,
    HasAll,
    HasSize,
    Not,
    Or,
)

from .condition_fields import DOCUMENT, AttributeSql, ClientSetSql, ColumnSql, FieldSql
from .sql import NEVER, Sql, joined, negated


@attrs.frozen
class Scope:
    """What the SQL of a condition may look at."""

    app: int
    document: str = DOCUMENT


def condition_sql(condition: Condition, scope: Scope) -> Sql:
    """Whether a conversation meets a condition; it can only read rows of this app."""
    match condition:
        case And(parts):
            return joined("AND", [condition_sql(part, scope) for part in parts]) or Sql("1")
        case Or(parts):
            return joined("OR", [condition_sql(part, scope) for part in parts]) or Sql(NEVER)
        case Not(inner):
            return negated(condition_sql(inner, scope))
        case Has(field, test):
            return field_sql(field, scope).any(test)
        case HasAll(field, constants):
            sql = field_sql(field, scope)
            texts = [one for one in constants if isinstance(one, str)]
            if isinstance(sql, ClientSetSql) and len(texts) == len(constants):
                return sql.all(list(dict.fromkeys(texts)))
            each = [sql.any(Compare("=", constant)) for constant in constants]
            return joined("AND", each) or Sql("1")
        case HasSize(field, size):
            return field_sql(field, scope).size(size)
        case Exists(field):
            return field_sql(field, scope).exists()
        case _:
            assert_never(condition)


def field_sql(field: Field, scope: Scope) -> FieldSql:
    """How a field is asked."""
    match field:
        case Column():
            return ColumnSql.of(field)
        case ClientSet():
            return ClientSetSql.of(field, scope.app)
        case Attribute(path):
            return AttributeSql(path, scope.document)
        case _:
            assert_never(field)
