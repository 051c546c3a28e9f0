"""JSON as it is stored: strict on the way in, forgiving on the way out."""

from __future__ import annotations

import json
import math
from typing import Any

from .errors import NotStorable


def to_json(value: Any) -> str:
    """Compact JSON text that any database can store and search.

    Raises `NotStorable` for what JSON or UTF-8 cannot express: NaN and infinity, halves of
    surrogate pairs, objects of other kinds.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise NotStorable(f"not plain JSON: {exc}") from exc
    return text


def from_json(text: str) -> Any:
    """The value of stored text, whatever is wrong with it.

    What an earlier version or another program has left in a row must not spoil the answer
    about others: numbers that are none become null, halves of surrogate pairs question marks,
    and text that is no JSON becomes null.
    """
    try:
        value = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
        if "\\u" in text:
            whole = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
            value = json.loads(whole)
    except (ValueError, RecursionError):
        return None
    return value


def object_from_json(text: str) -> dict[str, Any]:
    """As `from_json`; an empty object if the text stands for no object."""
    value = from_json(text)
    return value if isinstance(value, dict) else {}


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None
