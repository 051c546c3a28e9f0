"""Which conversations to look for, as an immutable builder.

Protocol: docs/protocol/conversations.md §3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Self, TypeVar

import attrs

from .json import EMPTY, freeze, thaw

__all__ = ["ConversationQuery"]

Q = TypeVar("Q", bound="ConversationQuery")

MAX_LIMIT = 1000
"""Conversations in one page, at most."""

COMPACT = 1
WITH_LAST_MESSAGE = 2

_OPTIONS = {re.IGNORECASE: "i", re.MULTILINE: "m", re.VERBOSE: "x", re.DOTALL: "s"}


@attrs.frozen(kw_only=True)
class ConversationQuery:
    """Conditions, order and extent of a search. Each method returns a new query.

    Keys are names of attributes, or dotted paths into them; ``name``, ``m`` (members), ``c``
    (creator), ``lm`` (last message), ``createdAt``, ``updatedAt``, ``objectId``, ``tr`` and
    ``sys`` are the protocol's own. A query without any condition finds the conversations of
    which the client is a member.
    """

    where: Mapping[str, Any] = attrs.field(default=EMPTY, converter=freeze, hash=False)
    """The conditions, as they go over the wire."""
    order: tuple[str, ...] = ()
    """Keys to sort by, those with a minus descending; none: the latest message first."""
    page_size: int | None = None
    """How many conversations to ask for; None: the server decides (10)."""
    offset: int = 0
    """How many to leave out at the beginning."""
    flag: int = 0
    """Bits: 1 compact, 2 with the last message."""

    # Comparisons

    def equal_to(self, key: str, value: Any) -> Self:
        """The attribute has this value; for a list: contains it."""
        if key in self.where:
            raise ValueError(f"there is a condition on {key!r} already: combine queries with and_")
        return self._where({_key(key): thaw(value)})

    def not_equal_to(self, key: str, value: Any) -> Self:
        """The attribute does not have this value; for a list: does not contain it."""
        return self._condition(key, "$ne", thaw(value))

    def less_than(self, key: str, value: float | str | datetime) -> Self:
        """The attribute is less, or earlier."""
        return self._condition(key, "$lt", _comparable(value))

    def less_than_or_equal_to(self, key: str, value: float | str | datetime) -> Self:
        """The attribute is less or equal, or not later."""
        return self._condition(key, "$lte", _comparable(value))

    def greater_than(self, key: str, value: float | str | datetime) -> Self:
        """The attribute is greater, or later."""
        return self._condition(key, "$gt", _comparable(value))

    def greater_than_or_equal_to(self, key: str, value: float | str | datetime) -> Self:
        """The attribute is greater or equal, or not earlier."""
        return self._condition(key, "$gte", _comparable(value))

    # Lists

    def contained_in(self, key: str, values: Iterable[Any]) -> Self:
        """The attribute, or one entry of a list, is one of these values."""
        return self._condition(key, "$in", _several(values))

    def not_contained_in(self, key: str, values: Iterable[Any]) -> Self:
        """The attribute, or every entry of a list, is none of these values."""
        return self._condition(key, "$nin", _several(values))

    def contains_all(self, key: str, values: Iterable[Any]) -> Self:
        """The attribute is a list that contains all these values."""
        return self._condition(key, "$all", _several(values))

    def size_equal_to(self, key: str, size: int) -> Self:
        """The attribute is a list with so many entries."""
        return self._condition(key, "$size", _count("size", size))

    # Existence

    def exists(self, key: str) -> Self:
        """The conversation has this attribute."""
        return self._condition(key, "$exists", True)

    def does_not_exist(self, key: str) -> Self:
        """The conversation does not have this attribute."""
        return self._condition(key, "$exists", False)

    # Texts

    def contains(self, key: str, text: str) -> Self:
        """The attribute is a text with this in it."""
        return self._condition(key, "$regex", _quoted(text))

    def starts_with(self, key: str, prefix: str) -> Self:
        """The attribute is a text that begins so."""
        return self._condition(key, "$regex", "^" + _quoted(prefix))

    def ends_with(self, key: str, suffix: str) -> Self:
        """The attribute is a text that ends so."""
        return self._condition(key, "$regex", _quoted(suffix) + "$")

    def matches(self, key: str, pattern: str | re.Pattern[str], flags: int = 0) -> Self:
        """The attribute is a text that a regular expression (PCRE) matches.

        Args:
            key: name of the attribute.
            pattern: the expression; of a compiled one the source and the flags are sent.
            flags: ``re.IGNORECASE``, ``re.MULTILINE``, ``re.DOTALL``, ``re.VERBOSE``.
        """
        if isinstance(pattern, re.Pattern):
            flags |= pattern.flags
            pattern = pattern.pattern
        if not isinstance(pattern, str):
            raise TypeError(f"a regular expression is text, not {pattern!r}")
        options = "".join(letter for flag, letter in _OPTIONS.items() if flags & flag)
        conditions = {"$regex": pattern}
        if options:
            conditions["$options"] = options
        return self._conditions(key, conditions)

    # Members

    def contains_members(self, client_ids: Iterable[str]) -> Self:
        """These clients are members, possibly among others."""
        return self.contains_all("m", _client_ids(client_ids))

    def with_members(self, client_ids: Iterable[str], *, include: str | None = None) -> Self:
        """Exactly these clients are members.

        Args:
            client_ids: the members.
            include: one more, usually the id of the searching client itself.
        """
        members = _client_ids(client_ids)
        if include is not None and include not in members:
            members.append(include)
        return self.size_equal_to("m", len(members)).contains_members(members)

    # Combinations

    @staticmethod
    def and_(*queries: Q) -> Q:
        """All conditions of all these queries; their order and extent do not count."""
        return _combined("$and", queries)

    @staticmethod
    def or_(*queries: Q) -> Q:
        """The conditions of at least one of these queries; order and extent do not count."""
        return _combined("$or", queries)

    # Order and extent

    def ascending(self, key: str) -> Self:
        """Sort by this attribute, the least first."""
        return attrs.evolve(self, order=(_sort_key(key),))

    def descending(self, key: str) -> Self:
        """Sort by this attribute, the greatest first."""
        return attrs.evolve(self, order=("-" + _sort_key(key),))

    def add_ascending(self, key: str) -> Self:
        """Then sort by this attribute, the least first."""
        return attrs.evolve(self, order=(*self.order, _sort_key(key)))

    def add_descending(self, key: str) -> Self:
        """Then sort by this attribute, the greatest first."""
        return attrs.evolve(self, order=(*self.order, "-" + _sort_key(key)))

    def limit(self, count: int) -> Self:
        """At most so many conversations in one page, up to 1000."""
        if _count("limit", count) > MAX_LIMIT:
            raise ValueError(f"a page has at most {MAX_LIMIT} conversations, not {count}")
        return attrs.evolve(self, page_size=count)

    def skip(self, count: int) -> Self:
        """Leave out so many conversations at the beginning."""
        return attrs.evolve(self, offset=_count("skip", count))

    def compact(self, *, enabled: bool = True) -> Self:
        """Leave out the members and who muted the conversation: less to transfer."""
        return self._flag(COMPACT, enabled=enabled)

    def with_last_message(self, *, enabled: bool = True) -> Self:
        """Include the last message of each conversation."""
        return self._flag(WITH_LAST_MESSAGE, enabled=enabled)

    # What goes over the wire

    def where_json(self) -> dict[str, Any]:
        """The conditions as plain JSON values."""
        result: dict[str, Any] = thaw(self.where)
        return result

    @property
    def sort(self) -> str | None:
        """The order as the protocol writes it; None: the server's."""
        return ",".join(self.order) or None

    def _where(self, conditions: Mapping[str, Any]) -> Self:
        return attrs.evolve(self, where={**self.where, **conditions})

    def _condition(self, key: str, operator: str, value: Any) -> Self:
        return self._conditions(key, {operator: value})

    def _conditions(self, key: str, conditions: Mapping[str, Any]) -> Self:
        known = self.where.get(_key(key), EMPTY)
        if key in self.where and not _is_operators(known):
            raise ValueError(f"{key!r} has to equal a value already: combine queries with and_")
        for operator in conditions:
            if operator in known:
                raise ValueError(
                    f"there is a condition {operator} on {key!r} already: combine queries with and_"
                )
        return self._where({key: {**known, **conditions}})

    def _flag(self, bit: int, *, enabled: bool) -> Self:
        return attrs.evolve(self, flag=self.flag | bit if enabled else self.flag & ~bit)


def _combined(operator: str, queries: tuple[Q, ...]) -> Q:
    if len(queries) < 2:
        raise ValueError("there is nothing to combine: at least two queries are needed")
    for query in queries:
        if not isinstance(query, ConversationQuery):
            raise TypeError(f"not a ConversationQuery: {query!r}")
    # A query that can do more, for instance one that knows a client, lends that to the whole.
    return attrs.evolve(
        max(queries, key=lambda query: len(type(query).__mro__)),
        where={operator: [query.where for query in queries]},
        order=(),
        page_size=None,
        offset=0,
        flag=0,
    )


def _is_operators(condition: Any) -> bool:
    return (
        isinstance(condition, Mapping)
        and len(condition) > 0
        and all(name.startswith("$") for name in condition)
    )


def _key(key: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the name of an attribute is text, not {key!r}")
    if not key or key.startswith("$"):
        raise ValueError(f"not the name of an attribute: {key!r}")
    return key


def _sort_key(key: str) -> str:
    if "," in _key(key) or key.startswith("-"):
        raise ValueError(f"not a single attribute to sort by: {key!r}")
    return key


def _comparable(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str | datetime):
        raise TypeError(f"only numbers, texts and datetimes have an order, not {value!r}")
    return thaw(value)


def _several(values: Iterable[Any]) -> list[Any]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise TypeError(f"expected several values, not {values!r}")
    return [thaw(value) for value in values]


def _client_ids(client_ids: Iterable[str]) -> list[str]:
    """Distinct client ids in the order given."""
    distinct = list(dict.fromkeys(_several(client_ids)))
    for one in distinct:
        if not isinstance(one, str) or not one:
            raise TypeError(f"a client id is a text with at least one character, not {one!r}")
    return distinct


def _count(name: str, count: int) -> int:
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"{name} is an integer, not {count!r}")
    if count < 0:
        raise ValueError(f"{name} cannot be negative: {count}")
    return count


def _quoted(text: str) -> str:
    r"""A regular expression for a text taken literally, in ``\Q…\E`` as the SDKs write it."""
    if not isinstance(text, str):
        raise TypeError(f"expected text, not {text!r}")
    return "\\Q" + text.replace("\\E", "\\E\\\\E\\Q") + "\\E"
