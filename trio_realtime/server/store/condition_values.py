"""The constants of a condition: docs/protocol/conversations.md §3."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import attrs

from .errors import QueryError

_INTEGERS = range(-(2**63), 2**63)


@attrs.frozen
class Date:
    """An encoded date, in milliseconds."""

    ms: int


@attrs.frozen
class Composite:
    """An array or object, as canonical JSON text."""

    text: str


Constant = None | bool | int | float | str | Date | Composite


def constant(value: Any) -> Constant:
    """The constant a JSON value stands for. Raises `QueryError`."""
    if isinstance(value, dict):
        date = date_ms(value)
        if date is not None:
            return Date(date)
        if value.get("__type") == "Date":
            raise QueryError("illegal date")
        return Composite(canonical(value))
    if isinstance(value, list):
        return Composite(canonical(value))
    if isinstance(value, int) and not isinstance(value, bool) and value not in _INTEGERS:
        try:
            return float(value)
        except OverflowError as exc:
            raise QueryError("a number is too large") from exc
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise QueryError("a condition must be JSON")


def date_ms(value: Any) -> int | None:
    """The time of an encoded date in milliseconds; None for anything else."""
    if not isinstance(value, dict) or value.get("__type") != "Date":
        return None
    try:
        moment = datetime.fromisoformat(value["iso"])
    except (KeyError, TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    delta = moment - epoch
    return (delta.days * 86400 + delta.seconds) * 1000 + delta.microseconds // 1000


def canonical(value: Any) -> str:
    """JSON text that is the same for equal values: keys sorted, whole numbers alike."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
