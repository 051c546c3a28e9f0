"""JSON as conversations carry it: bounded parsing, dates, and changes by dotted path.

Protocol: docs/protocol/schema.md "Rules for a codec", docs/protocol/conversations.md §4.
"""

from __future__ import annotations

import copy
import json
import math
import re
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import accumulate
from typing import Any, NoReturn

import msgspec

MAX_DEPTH = 32
"""How deep objects and arrays may nest if nothing else is said. No SDK comes near it."""

# Unterminated ones reach to the end, so that the scan stays linear.
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(set(range(256)) - _STEPS.keys())

# Operands of Increment; sums of two of them are still finite.
_HUGE = 2**1000

_encode = msgspec.json.Encoder().encode


class BadJson(ValueError):
    """The text or the change is not one this server takes; the message says why.

    ``limit`` names which of the `Limits` was reached, if one was.
    """

    def __init__(self, message: str, limit: str | None = None) -> None:
        super().__init__(message)
        self.limit = limit


def parse_object(text: str | None, max_depth: int = MAX_DEPTH) -> dict[str, Any]:
    """A JSON object from outside, in linear time. Raises `BadJson`."""
    value = _parse(text or "", max_depth)
    if not isinstance(value, dict):
        raise BadJson("not a JSON object")
    return value


def _parse(text: str, max_depth: int) -> Any:
    _check_depth(text, max_depth)
    try:
        value = json.loads(text, parse_constant=_no_number, parse_float=_finite)
        text.encode()
        if "\\u" in text:  # JSON can spell halves of surrogate pairs, UTF-8 cannot
            json_text(value).encode()
    except ValueError as exc:
        raise BadJson(f"not valid JSON: {exc}") from exc
    return value


def _check_depth(text: str, max_depth: int) -> None:
    if text.count("[") + text.count("{") <= max_depth:
        return
    bare = _STRING.sub("", text).encode("utf-8", "replace")
    brackets = bare.translate(None, _NO_BRACKETS)
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > max_depth:
        raise _too_deep(max_depth)


def _too_deep(max_depth: int) -> BadJson:
    return BadJson(f"nested deeper than {max_depth} levels", "json_depth")


def _no_number(text: str) -> NoReturn:
    raise BadJson(f"{text} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise BadJson("a number is too large")
    return value


def json_text(value: Any) -> str:
    """Compact JSON text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def stored_json_text(value: Any) -> str:
    """The same for what comes out of the store, where all numbers are finite; much faster."""
    try:
        return _encode(value).decode()
    except OverflowError:  # an integer of more than 64 bits
        return json_text(value)


def iso(ms: int) -> str:
    """A time as text: UTC, milliseconds, ``Z``."""
    seconds, milliseconds = divmod(ms, 1000)
    return f"{_iso_of_second(seconds)}.{milliseconds:03}Z"


@lru_cache(4096)
def _iso_of_second(seconds: int) -> str:
    year, month, day, hour, minute, second = time.gmtime(seconds)[:6]
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"


def date_json(ms: int) -> dict[str, str]:
    """A time as a value inside a JSON document."""
    return {"__type": "Date", "iso": iso(ms)}


def changed(
    document: Mapping[str, Any], changes: Mapping[str, Any], max_depth: int = MAX_DEPTH
) -> dict[str, Any]:
    """A copy of the document after the changes: dotted paths to values or operations.

    Raises `BadJson` where a change does not fit what it meets.
    """
    result = copy.deepcopy(dict(document))
    for path, change in changes.items():
        _change(result, path, change)
    if _depth_exceeds(result, max_depth):
        raise _too_deep(max_depth)
    return result


def touched(document: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """The values at these paths in nested form; what does not exist is left out."""
    result: dict[str, Any] = {}
    for path in paths:
        *parents, last = path.split(".")
        source: Any = document
        for key in parents:
            source = source.get(key) if isinstance(source, Mapping) else None
        if not isinstance(source, Mapping) or last not in source:
            continue
        target = result
        for key in parents:
            target = target.setdefault(key, {})
        target[last] = copy.deepcopy(source[last])
    return result


def is_operation(value: Any, name: str | None = None) -> bool:
    """Whether a value is a storage operation such as ``{"__op": "Delete"}``."""
    return isinstance(value, dict) and "__op" in value and (name is None or value["__op"] == name)


def _change(document: dict[str, Any], path: str, change: Any) -> None:
    *parents, last = path.split(".")
    if len(parents) >= MAX_DEPTH:
        raise _too_deep(MAX_DEPTH)
    if not last or "" in parents:
        raise BadJson(f"{path!r} is not a key")
    delete = is_operation(change, "Delete")
    parent: Any = document
    for key in parents:
        if delete and key not in parent:
            return
        parent = parent.setdefault(key, {})
        if not isinstance(parent, dict):
            raise BadJson(f"{key!r} in {path!r} is not an object")
    if delete:
        parent.pop(last, None)
    elif is_operation(change):
        parent[last] = _operate(parent.get(last), change)
    else:
        parent[last] = copy.deepcopy(change)


def _operate(current: Any, operation: Mapping[str, Any]) -> Any:
    name = operation["__op"]
    if name == "Increment":
        return _increment(current, operation.get("amount", 1))
    objects = operation.get("objects")
    items = [] if current is None else current
    if name not in ("Add", "AddUnique", "Remove"):  # which may not be hashable
        raise BadJson(f"unknown operation {name!r}")
    if not isinstance(objects, list) or not isinstance(items, list):
        raise BadJson(f"{name} works on arrays")
    if name == "Add":
        return [*items, *objects]
    if name == "Remove":
        gone = {_identity(item) for item in objects}
        return [item for item in items if _identity(item) not in gone]
    known = {_identity(item) for item in items}
    new = {_identity(item): item for item in objects}
    return [*items, *(item for key, item in new.items() if key not in known)]


def _increment(current: Any, amount: Any) -> int | float:
    start = 0 if current is None else current
    for number in (start, amount):
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise BadJson("Increment works on numbers")
    if abs(start) > _HUGE or abs(amount) > _HUGE:
        raise BadJson("a number is too large")
    total: int | float = start + amount
    return total


def _identity(value: Any) -> str:
    # Python holds True and 1 for equal, JSON does not.
    return json.dumps(value, sort_keys=True)


def _depth_exceeds(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
    return any(isinstance(item, dict | list) for item in level)
