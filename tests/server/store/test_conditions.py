from __future__ import annotations

import pytest

from trio_realtime.server.store.condition_values import Composite, Date
from trio_realtime.server.store.conditions import (
    EVERYTHING,
    Among,
    And,
    Attribute,
    ClientSet,
    Column,
    Compare,
    Exists,
    Has,
    HasAll,
    HasSize,
    Matches,
    Not,
    Or,
    SortKey,
    parse_condition,
    parse_sort,
)
from trio_realtime.server.store.errors import QueryError

NAME = Column("name")
V = Attribute(("attr", "v"))


def equal(field, constant):
    return Has(field, Compare("=", constant))


@pytest.mark.parametrize(
    ("where", "tree"),
    [
        ({}, EVERYTHING),
        ({"name": "a"}, equal(NAME, "a")),
        ({"name": {"$eq": None}}, equal(NAME, None)),
        ({"name": {"$ne": "a"}}, Not(equal(NAME, "a"))),
        (
            {"attr.v": {"$gt": 1, "$lte": 2.5}},
            And((Has(V, Compare(">", 1)), Has(V, Compare("<=", 2.5)))),
        ),
        ({"m": "tom"}, equal(ClientSet("m"), "tom")),
        ({"mu": {"$size": 2}}, HasSize(ClientSet("mu"), 2)),
        ({"m": {"$all": ["a", "b"]}}, HasAll(ClientSet("m"), ("a", "b"))),
        ({"m": {"$all": []}}, Or()),
        ({"name": {"$in": ["a", 1, "b"]}}, Or((Has(NAME, Among(("a", "b"))), equal(NAME, 1)))),
        ({"name": {"$nin": ["a"]}}, Not(Or((Has(NAME, Among(("a",))),)))),
        ({"name": {"$exists": False}}, Not(Exists(NAME))),
        ({"name": {"$regex": "a", "$options": "xi"}}, Has(NAME, Matches("a", "ix"))),
        ({"attr.v": {"__type": "Date", "iso": "1970-01-01T00:00:01Z"}}, equal(V, Date(1000))),
        ({"attr.v": {"b": 2.0, "a": 1}}, equal(V, Composite('{"a":1,"b":2}'))),
        ({"attr.v": 10**30}, equal(V, 1e30)),
        (
            {"$or": [{"name": "a"}, {"$and": [{"name": "b"}, {"attr.v": 1}]}]},
            Or((equal(NAME, "a"), And((equal(NAME, "b"), equal(V, 1))))),
        ),
    ],
    ids=str,
)
def test_trees(where, tree):
    assert parse_condition(where) == tree
    assert hash(tree) == hash(parse_condition(where))


def test_sort_keys():
    assert parse_sort([("lm", True), ("attr.v", False)]) == (
        SortKey(Column("lm"), descending=True),
        SortKey(V),
    )
    for bad in ([("name", True)] * 9, [("a..b", True)], [("\ud800", True)]):
        with pytest.raises(QueryError):
            parse_sort(bad)


# What strangers may try.

DEEP: dict = {"a": 1}
for _ in range(9):
    DEEP = {"$and": [DEEP]}


@pytest.mark.parametrize(
    "where",
    [
        {"$where": "sleep(1000)"},
        {"name": {"$near": 1}},
        {"name": {"$not": {"$eq": 1}}},
        {"name": {"$gt": 1, "x": 2}},
        {"name": {"$options": "i"}},
        {"name": {"$regex": 1}},
        {"name": {"$regex": "a", "$options": 1}},
        {"name": {"$regex": "a", "$options": "q"}},
        {"name": {"$regex": "("}},
        {"name": {"$regex": r"(a)\1"}},
        {"v": {"$in": "a"}},
        {"v": {"$nin": {}}},
        {"v": {"$all": None}},
        {"v": {"$size": "1"}},
        {"v": {"$size": True}},
        {"v": {"$size": -1}},
        {"v": {"__type": "Date", "iso": "yesterday"}},
        {"v": {"$gt": {"__type": "Date"}}},
        {"$and": []},
        {"$or": {}},
        {"$or": [1]},
        {"": 1},
        {"a..b": 1},
        {".".join("a" * 17): 1},
        {"v": "\ud800"},
        {"\ud800": 1},
        {"v": float("nan")},
        {"v": "x" * 70_000},
        {"v": {"$in": list(range(200))}},
        {"v": {"$in": ["a"] * 2001}},
        {str(n): n for n in range(101)},
        DEEP,
    ],
    ids=lambda where: str(where)[:40],
)
def test_illegal_conditions(where):
    with pytest.raises(QueryError):
        parse_condition(where)


def test_a_deep_constant_is_refused():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(QueryError):
        parse_condition({"v": deep})
