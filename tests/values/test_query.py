"""The query builder, against what the JavaScript SDK puts into `where`."""

import copy
import pickle
import re
from datetime import datetime, timedelta, timezone

import pytest
import trio

from trio_realtime._client.bound_query import BoundQuery
from trio_realtime._values.conversations import Conversation
from trio_realtime._values.query import ConversationQuery

Q = ConversationQuery()
JULY = datetime(2026, 7, 1, 12, 30, tzinfo=timezone(timedelta(hours=8)))


@pytest.mark.parametrize(
    ("query", "where"),
    [
        (Q, {}),
        (Q.equal_to("topic", "film"), {"topic": "film"}),
        (Q.equal_to("attr.type", None), {"attr.type": None}),
        (Q.not_equal_to("objectId", "0"), {"objectId": {"$ne": "0"}}),
        (
            Q.greater_than("n", 1).less_than("n", 3),
            {"n": {"$gt": 1, "$lt": 3}},
        ),
        (
            Q.greater_than_or_equal_to("n", 1).less_than_or_equal_to("n", 3),
            {"n": {"$gte": 1, "$lte": 3}},
        ),
        (
            Q.less_than("lm", JULY),
            {"lm": {"$lt": {"__type": "Date", "iso": "2026-07-01T04:30:00.000Z"}}},
        ),
        (
            Q.equal_to("createdAt", JULY),
            {"createdAt": {"__type": "Date", "iso": "2026-07-01T04:30:00.000Z"}},
        ),
        (Q.contained_in("n", (1, 2)), {"n": {"$in": [1, 2]}}),
        (Q.not_contained_in("n", [1]), {"n": {"$nin": [1]}}),
        (Q.contains_all("tags", iter("ab")), {"tags": {"$all": ["a", "b"]}}),
        (Q.size_equal_to("tags", 0), {"tags": {"$size": 0}}),
        (Q.exists("name"), {"name": {"$exists": True}}),
        (Q.does_not_exist("name"), {"name": {"$exists": False}}),
        (Q.contains("name", "a.b"), {"name": {"$regex": r"\Qa.b\E"}}),
        (Q.starts_with("name", "a"), {"name": {"$regex": r"^\Qa\E"}}),
        (Q.ends_with("name", "a"), {"name": {"$regex": r"\Qa\E$"}}),
        (Q.contains("name", r"a\Eb\Ec"), {"name": {"$regex": r"\Qa\E\\E\Qb\E\\E\Qc\E"}}),
        (Q.matches("name", "^a"), {"name": {"$regex": "^a"}}),
        (Q.matches("name", ""), {"name": {"$regex": ""}}),
        (
            Q.matches("name", re.compile("^a", re.MULTILINE | re.IGNORECASE)),
            {"name": {"$regex": "^a", "$options": "im"}},
        ),
        (Q.matches("name", "a", re.DOTALL), {"name": {"$regex": "a", "$options": "s"}}),
        (Q.contains_members(["b", "a"]), {"m": {"$all": ["b", "a"]}}),
        (Q.with_members(["a", "b", "a"]), {"m": {"$size": 2, "$all": ["a", "b"]}}),
        (Q.with_members(["a"], include="me"), {"m": {"$size": 2, "$all": ["a", "me"]}}),
        (Q.with_members(["me"], include="me"), {"m": {"$size": 1, "$all": ["me"]}}),
        (
            ConversationQuery.and_(Q.equal_to("a", 1), Q.exists("b")),
            {"$and": [{"a": 1}, {"b": {"$exists": True}}]},
        ),
        (
            ConversationQuery.or_(Q.equal_to("a", 1), Q.equal_to("a", 2)),
            {"$or": [{"a": 1}, {"a": 2}]},
        ),
    ],
)
def test_where(query, where):
    assert query.where_json() == where


def test_order_and_extent():
    query = Q.descending("lm").add_ascending("name").add_descending("n")
    assert query.sort == "-lm,name,-n"
    assert query.ascending("name").sort == "name"
    assert Q.sort is None
    assert (Q.limit(0).page_size, Q.limit(1000).page_size, Q.page_size) == (0, 1000, None)
    assert Q.skip(7).offset == 7


def test_flag_bits():
    assert Q.compact().flag == 1
    assert Q.with_last_message().flag == 2
    assert Q.compact().with_last_message().flag == 3
    assert Q.compact().with_last_message().compact(enabled=False).flag == 2


def test_immutable_and_equal_by_value():
    assert Q.equal_to("a", 1) == ConversationQuery().equal_to("a", 1)
    assert Q.where_json() == {}
    values = [1]
    query = Q.contained_in("a", values)
    values.append(2)
    query.where_json()["a"]["$in"].append(3)
    assert query.where_json() == {"a": {"$in": [1]}}


@pytest.mark.parametrize(
    ("error", "mistake"),
    [
        (TypeError, lambda: Q.equal_to(1, 1)),
        (ValueError, lambda: Q.equal_to("", 1)),
        (ValueError, lambda: Q.equal_to("$or", [])),
        (TypeError, lambda: Q.equal_to("a", object())),
        (ValueError, lambda: Q.equal_to("a", datetime(2026, 1, 1))),  # noqa: DTZ001 - the mistake
        (ValueError, lambda: Q.equal_to("a", 1).equal_to("a", 2)),
        (ValueError, lambda: Q.equal_to("a", 1).less_than("a", 2)),
        (ValueError, lambda: Q.equal_to("a", {}).less_than("a", 2)),
        (ValueError, lambda: Q.less_than("a", 1).less_than("a", 2)),
        (ValueError, lambda: Q.starts_with("a", "x").ends_with("a", "y")),
        (TypeError, lambda: Q.less_than("a", [1])),
        (TypeError, lambda: Q.less_than("a", True)),
        (TypeError, lambda: Q.contained_in("a", "text")),
        (TypeError, lambda: Q.contains_members("Tom")),
        (TypeError, lambda: Q.with_members([1])),
        (TypeError, lambda: Q.contains("a", 1)),
        (TypeError, lambda: Q.matches("a", b"x")),
        (TypeError, lambda: Q.limit("1")),
        (ValueError, lambda: Q.limit(1001)),
        (ValueError, lambda: Q.skip(-1)),
        (ValueError, lambda: Q.ascending("a,b")),
        (ValueError, lambda: Q.ascending("-a")),
        (ValueError, lambda: ConversationQuery.or_(Q)),
        (TypeError, lambda: ConversationQuery.and_(Q, {})),
    ],
)
def test_mistakes_are_reported_at_once(error, mistake):
    with pytest.raises(error):
        mistake()


def conversations(*numbers):
    return [Conversation(str(number)) for number in numbers]


class Server:
    """Answers pages of what it has, and remembers what it was asked."""

    def __init__(self, count):
        self.all = conversations(*range(count))
        self.asked = []

    async def __call__(self, query):
        await trio.lowlevel.checkpoint()
        self.asked.append((query.offset, query.page_size))
        end = query.offset + (10 if query.page_size is None else query.page_size)
        return self.all[query.offset : end]


async def test_bound_query_finds_a_page():
    server = Server(12)
    query = BoundQuery(run=server).equal_to("a", 1)
    assert await query.find() == conversations(*range(10))
    assert await query.skip(11).find() == conversations(11)
    assert await query.first() == Conversation("0")
    assert await query.skip(12).first() is None


@pytest.mark.parametrize(
    ("count", "asked"), [(0, [(3, 2)]), (4, [(3, 2)]), (5, [(3, 2), (5, 2)]), (6, [(3, 2), (5, 2)])]
)
async def test_bound_query_walks_all_pages(count, asked):
    server = Server(count)
    found = [one async for one in BoundQuery(run=server).skip(3).limit(2)]
    assert found == server.all[3:]
    assert server.asked == asked


async def test_bound_query_yields_nothing_twice():
    pages = [conversations(1, 2), conversations(2, 3), []]

    async def run(_query):
        await trio.lowlevel.checkpoint()
        return pages.pop(0)

    assert [one.id async for one in BoundQuery(run=run).limit(2)] == ["1", "2", "3"]


async def test_combined_query_stays_bound():
    server = Server(1)
    query = BoundQuery(run=server)
    both = BoundQuery.or_(query.equal_to("a", 1), query.equal_to("a", 2).limit(3))
    assert isinstance(both, BoundQuery)
    assert both.page_size is None
    assert await both.first() == Conversation("0")


async def test_a_query_can_be_copied_and_pickled():
    async def run(query):
        return [Conversation(str(query.where["a"]))]

    query = BoundQuery(run=run).equal_to("a", 1).limit(3)
    for same in (copy.copy(query), copy.deepcopy(query)):
        assert same == query
        assert [one.id for one in await same.find()] == ["1"]
    restored = pickle.loads(pickle.dumps(query))
    assert restored == query
    with pytest.raises(RuntimeError, match=r"no client.*client\.query\(query\)"):
        await restored.first()


def test_one_bound_query_lends_its_client():
    async def run(_):
        return []

    plain = ConversationQuery().equal_to("a", 1)
    both = ConversationQuery.or_(plain, BoundQuery(run=run).equal_to("a", 2))
    assert isinstance(both, BoundQuery)
