from __future__ import annotations

import operator
import re
from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.store.world import World, query
from trio_realtime.server.store.interface import Kind

# The oracle: the rules of docs/protocol/conversations.md §3 on plain dictionaries.

MISSING = object()
SIGNS = {"$lt": operator.lt, "$lte": operator.le, "$gt": operator.gt, "$gte": operator.ge}


def at(document, key):
    for step in key.split("."):
        document = document.get(step, MISSING) if isinstance(document, dict) else MISSING
    return document


def elements(value):
    if value is MISSING:
        return []
    return [value, *value] if isinstance(value, list) else [value]


def is_date(value):
    return isinstance(value, dict) and value.get("__type") == "Date"


def rank(value):
    """A type and something to compare within it."""
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, int | float):
        return "number", value
    if isinstance(value, str):
        return "text", value
    if is_date(value):
        return "date", datetime.fromisoformat(value["iso"])
    return "other", value


def equal(value, constant):
    return value == constant if None in (value, constant) else rank(value) == rank(constant)


def has(value, constant, key):
    if key in {"m", "mu"} and isinstance(constant, list):
        return value is not MISSING and set(value) == set(constant)
    if constant is None and value is MISSING:
        return True
    return any(equal(element, constant) for element in elements(value))


def less(element, sign, constant):
    kind, value = rank(element)
    other, bound = rank(constant)
    comparable = kind == other and kind in {"number", "text", "date"}
    return comparable and SIGNS[sign](value, bound)


def passes(value, name, operand, key):
    match name:
        case "$lt" | "$lte" | "$gt" | "$gte":
            return any(less(element, name, operand) for element in elements(value))
        case "$ne":
            return not has(value, operand, key)
        case "$in":
            return any(has(value, constant, key) for constant in operand)
        case "$nin":
            return not any(has(value, constant, key) for constant in operand)
        case "$all":
            return bool(operand) and all(has(value, constant, key) for constant in operand)
        case "$size":
            return isinstance(value, list) and len(value) == operand
        case "$exists":
            return (value is not MISSING) == operand
        case "$regex":
            texts = [element for element in elements(value) if isinstance(element, str)]
            return any(re.search(operand, text) for text in texts)
    raise AssertionError(name)


def holds(document, where):
    for key, condition in where.items():
        if key in {"$and", "$or"}:
            results = [holds(document, item) for item in condition]
            good = all(results) if key == "$and" else any(results)
        elif isinstance(condition, dict) and any(name.startswith("$") for name in condition):
            value = at(document, key)
            good = all(passes(value, name, item, key) for name, item in condition.items())
        else:
            good = has(at(document, key), condition, key)
        if not good:
            return False
    return True


# The data: one of everything.


def date(ms):
    iso = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    return {"__type": "Date", "iso": iso.replace("+00:00", "Z")}


ODD = 'q"uo\\te\n'
PARIS = {"lat": 48.9, "long": 2}
VALUES = [
    *[1, 2, 2.5, -1, 0, True, False, None, "", "a", "ab", "B", "1", "é", "电影"],
    *[[], [1, "a"], ["a", "ab"], [[1], None, True], [date(5), 7], date(5), date(1_000_000)],
    *[PARIS, {}, {"x": {"y": 1}}, [PARIS]],
]
START = 1_000_000


def filled(world):
    """Puts one of everything into the world; the documents that should be found."""
    world.now, documents = START, {}
    kinds = [Kind.NORMAL, Kind.NORMAL, Kind.ROOM, Kind.SERVICE]
    member_sets = [[], ["tom"], ["tom", "jerry"], ["jerry", "ann", "tom"], ["ann"]]
    for n, value in enumerate(VALUES):
        world.now = START + n
        kind = kinds[n % 4]
        members = [] if kind is Kind.ROOM else member_sets[n % 5]
        name = [None, "a", "ab room", "B"][n % 4 if n % 3 else 0]
        attributes = {"attr": {"v": value, "n": n}, "v": value, ODD: {ODD: value}}
        if n % 5 == 0:
            del attributes["v"]
        row = world.create(
            *members,
            kind=kind,
            creator=["tom", "ann"][n % 2],
            name=name,
            attributes=attributes,
            unique_id=f"u{n}" if n % 6 == 0 else None,
        )
        if kind is Kind.NORMAL and n % 3 == 0:
            world.say(row.id, "tom")
        if n % 4 == 1:
            world.do(lambda tx, cid=row.id: tx.set_muted(cid, "tom", True))
        row = world.see(lambda tx, cid=row.id: tx.conversation(cid))
        document = {
            **attributes,
            "objectId": row.id,
            "c": row.creator,
            "createdAt": date(row.created_at),
            "updatedAt": date(row.updated_at),
            "conv_type": int(kind),
            "tr": kind is Kind.ROOM,
            "sys": kind is Kind.SERVICE,
            "unique": row.unique_id is not None,
            "mu": ["tom"] if n % 4 == 1 else [],
        }
        if kind is not Kind.SERVICE:
            document["m"] = members
        if name is not None:
            document["name"] = name
        if row.unique_id is not None:
            document["uniqueId"] = row.unique_id
        if row.last_message_at is not None:
            document["lm"] = date(row.last_message_at)
        documents[row.id] = document
    world.create("tom", app="another app", attributes={"v": 1, "attr": {"v": 1}}, name="a")
    return documents


@attrs.frozen
class Catalogue:
    """Conversations, and the documents they are for the oracle."""

    world: World
    documents: dict[str, dict]

    def found(self, where):
        rows = self.world.see(lambda tx: tx.find(query(where, limit=1000)))
        return {row.id for row in rows}

    def check(self, where):
        where = self.named(where)
        expected = {cid for cid, document in self.documents.items() if holds(document, where)}
        assert self.found(where) == expected
        return len(expected)

    def named(self, value):
        """Ids instead of the numbers that stand for them."""
        if isinstance(value, Id):
            return list(self.documents)[value.number]
        if isinstance(value, dict):
            return {key: self.named(item) for key, item in value.items()}
        return [self.named(item) for item in value] if isinstance(value, list) else value


@attrs.frozen
class Id:
    """The id of one of the conversations."""

    number: int


@pytest.fixture(scope="session")
def catalogue(make_world):
    world = make_world()
    return Catalogue(world, filled(world))


CASES = [
    {"m": "tom"},
    {"m": ["tom", "jerry"]},
    {"m": []},
    {"m": {"$all": ["tom"]}},
    {"m": {"$all": ["tom", "jerry", "tom"]}},
    {"m": {"$all": ["tom", "jerry"], "$size": 2}},
    {"m": {"$size": 0}},
    {"m": {"$in": ["ann", "jerry", "nobody"]}},
    {"m": {"$nin": ["jerry"]}},
    {"m": {"$ne": "tom"}},
    {"m": {"$exists": True}},
    {"m": {"$exists": False}},
    {"m": {"$regex": "^j"}},
    {"m": {"$gt": "b"}},
    {"m": {"$all": ["tom", ["tom"]]}},
    {"mu": "tom"},
    {"mu": {"$ne": "tom"}},
    {"c": "tom"},
    {"c": {"$ne": "tom"}},
    {"objectId": Id(0)},
    {"objectId": {"$ne": "0"}},
    {"objectId": {"$in": [Id(0), Id(1), Id(2), "x", 7]}},
    {"objectId": {"$nin": [Id(0), Id(1), Id(2)]}},
    {"name": "a"},
    {"name": {"$exists": False}},
    {"name": None},
    {"name": {"$ne": None}},
    {"name": {"$regex": "room$"}},
    {"name": {"$lte": "ab"}},
    {"name": {"$in": ["a", None]}},
    {"tr": True},
    {"tr": {"$ne": True}},
    {"sys": True},
    {"unique": True},
    {"unique": False},
    {"uniqueId": "u6"},
    {"conv_type": 1},
    {"conv_type": {"$in": [2, 3]}},
    {"createdAt": {"$gt": date(START + 5)}},
    {"createdAt": {"$gte": date(START + 5), "$lt": date(START + 7)}},
    {"createdAt": date(START + 5)},
    {"updatedAt": {"$lte": date(START + 5)}},
    {"lm": {"$gte": date(START)}},
    {"lm": {"$exists": True}},
    {"lm": {"$ne": date(START)}},
    {"attr.n": {"$gt": 3, "$lte": 8}},
    {"attr.v": {"$exists": True}},
    {"v": {"$exists": False}},
    {"attr.v": {"$size": 2}},
    {"attr.v": {"$all": ["a", "ab"]}},
    {"attr.v": {"$all": ["a"]}},
    {"attr.v": PARIS},
    {"attr.v": {"long": 2.0, "lat": 48.9}},
    {"attr.v.x.y": 1},
    {"attr.v.x": {"y": 1}},
    {"attr.v": date(5)},
    {"attr.v": {"$lt": date(START + 1)}},
    {"attr.v": {"$regex": "^a"}},
    {f"{ODD}.{ODD}": "a"},
    {f"{ODD}.{ODD}": {"$in": [1, True, "电影", None]}},
    {f"{ODD}.{ODD}": {"$size": 2}},
    {f"{ODD}.{ODD}": PARIS},
    {f"{ODD}.{ODD}.x.y": {"$gte": 1}},
    {"$or": [{"name": "a"}, {"m": "ann"}]},
    {"$and": [{"m": "tom"}, {"$or": [{"c": "ann"}, {"attr.n": 1}]}]},
    {"$or": [{"m": "tom"}, {"c": "ann"}], "name": {"$exists": True}},
    {},
]


@pytest.mark.parametrize("where", CASES)
def test_cases(catalogue, where):
    assert catalogue.check(where) > 0


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_every_value_equals_itself(catalogue, value):
    assert catalogue.check({"attr.v": value}) > 0
    catalogue.check({"attr.v": {"$ne": value}})
    catalogue.check({f"{ODD}.{ODD}": value})


@pytest.mark.parametrize(
    "where",
    [
        {"m": {"$all": []}},
        {"v": {"$in": []}},
        {"m": 7},
        {"name": 7},
        {"tr": 1},
        {"tr": {"$gte": True}},
        {"name": {"$size": 1}},
        {"createdAt": "1970"},
        {"attr.v": 10**30},
        {"$and": [{"name": "a"}, {"name": "B"}]},
    ],
    ids=str,
)
def test_cases_without_a_result(catalogue, where):
    assert catalogue.check(where) == 0


keys = st.sampled_from(
    ["attr.v", "v", "attr.n", f"{ODD}.{ODD}", "name", "c", "createdAt", "lm", "tr", "attr.v.x"]
)
constants = st.sampled_from([value for value in VALUES if value is not MISSING] + [date(START)])
texts = st.sampled_from(["a", "ab", "B", "1", "é"])
operators = st.one_of(
    st.dictionaries(st.sampled_from(["$lt", "$lte", "$gt", "$gte", "$ne"]), constants, min_size=1),
    st.dictionaries(
        st.sampled_from(["$in", "$nin", "$all"]), st.lists(constants, max_size=4), min_size=1
    ),
    st.builds(lambda n: {"$size": n}, st.integers(0, 3)),
    st.builds(lambda b: {"$exists": b}, st.booleans()),
    st.builds(lambda t: {"$regex": t}, texts),
)
simple = st.dictionaries(keys, operators | constants, min_size=1, max_size=2)
conditions = st.recursive(
    simple,
    lambda inner: st.dictionaries(
        st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3), min_size=1
    ),
    max_leaves=6,
)


@settings(max_examples=300)
@given(conditions)
def test_any_condition_agrees_with_the_oracle(catalogue, where):
    catalogue.check(where)


# What strangers may try.


@pytest.mark.parametrize("evil", ["'", '"', "') OR 1=1 --", "?", ":x", "$", "%", '"] OR 1'])
def test_nothing_sent_becomes_sql(catalogue, evil):
    catalogue.check({evil.lstrip("$") or "x": evil})
    catalogue.check({f"attr.{evil}": {"$in": [evil]}})
    catalogue.check({"m": {"$in": [evil]}})
    catalogue.check({"name": {"$regex": re.escape(evil)}})
    rows = catalogue.world.see(
        lambda tx: tx.find(query({}, sort=[(f"attr.{evil}", True)], limit=99))
    )
    assert len(rows) == len(catalogue.documents)


def test_many_ids_are_one_condition(catalogue):
    ids = [*catalogue.documents, *map(str, range(1900))]
    assert catalogue.found({"objectId": {"$in": ids}}) == set(catalogue.documents)


def test_a_count_does_not_end_with_the_page(world):
    for number in range(7):
        world.create("tom", attributes={"n": number})
    world.create("tom", app="another app")
    some = query({"n": {"$gt": 2}}, limit=1, skip=1)
    assert world.see(lambda tx: tx.count(some)) == 4
    assert world.see(lambda tx: tx.count(query({}))) == 7
    assert world.see(lambda tx: tx.count(query({"n": "x"}))) == 0
