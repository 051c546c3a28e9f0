"""JSON in values: deeply immutable inside, plain dicts and lists at the edges."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from json.encoder import encode_basestring
from typing import Any, NoReturn

from .times import datetime_from_iso, iso_from_datetime


class FrozenMapping(dict[str, Any]):
    """An immutable JSON object: a dict to `json.dumps` and to comparisons, and nothing changes it.

    It can be copied and pickled; ``dict(value)`` makes one that can be changed.
    """

    __slots__ = ()

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("this JSON object is immutable: change a copy, dict(value)")

    __setitem__ = __delitem__ = _refuse
    __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[FrozenMapping], tuple[dict[str, Any]]]:
        return type(self), (dict(self),)

    def __copy__(self) -> FrozenMapping:
        return self

    def __repr__(self) -> str:
        return bounded_repr(self)


MAX_REPR_DEPTH = 50
"""How deep a JSON value is shown; what others sent may be nested deeper than the stack allows."""


def bounded_repr(value: Any, depth: int = MAX_REPR_DEPTH) -> str:
    """``repr`` of a JSON value, with dots for what lies too deep."""
    if not isinstance(value, Mapping | list | tuple):
        return repr(value)
    if not depth and value:
        return "..."
    if isinstance(value, Mapping):
        items = [f"{key!r}: {bounded_repr(item, depth - 1)}" for key, item in value.items()]
        return "{" + ", ".join(items) + "}"
    items = [bounded_repr(item, depth - 1) for item in value]
    if isinstance(value, list):
        return "[" + ", ".join(items) + "]"
    return "(" + ", ".join(items) + (",)" if len(items) == 1 else ")")


EMPTY: Mapping[str, Any] = FrozenMapping()


MAX_DEPTH = 320
"""How deep a JSON value may be nested: the same on every Python, far from the end of its stack."""


def freeze(value: Any, depth: int = MAX_DEPTH) -> Any:
    """A deeply immutable copy: mappings frozen, lists as tuples.

    Raises:
        ValueError: it is nested too deeply.
    """
    if isinstance(value, FrozenMapping):
        return value
    if not depth and isinstance(value, Mapping | list | tuple):
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        return FrozenMapping({key: freeze(item, depth - 1) for key, item in value.items()})
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return tuple([freeze(item, depth - 1) for item in value])
    return value


def freeze_dates(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Like `freeze`, for JSON of the storage: encoded dates become datetimes."""
    if not depth and isinstance(value, Mapping | list | tuple):
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        if value.get("__type") == "Date":
            moment = decode_date(value)
            if moment is not None:
                return moment
        return FrozenMapping({key: freeze_dates(item, depth - 1) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple([freeze_dates(item, depth - 1) for item in value])
    return value


def thaw(value: Any) -> Any:
    """Plain JSON values again, dates encoded as the storage does.

    Raises:
        TypeError: the value cannot be expressed in JSON.
        ValueError: a datetime is naive, or a number not finite.
    """
    if value is None or isinstance(value, str | int | float):
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{value} cannot be expressed in JSON")
        return value
    if isinstance(value, datetime):
        return encode_date(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"keys of JSON objects are strings, not {key!r}")
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [thaw(item) for item in value]
    raise TypeError(f"{type(value).__name__} cannot be expressed in JSON: {value!r}")


def encode_date(moment: datetime) -> dict[str, str]:
    """A date as the storage writes it: docs/protocol/conversations.md §3."""
    return {"__type": "Date", "iso": iso_from_datetime(moment)}


def decode_date(value: Any) -> datetime | None:
    """A date in either of its forms, encoded or ISO text; None for anything else."""
    if isinstance(value, Mapping) and value.get("__type") == "Date":
        value = value.get("iso")
    if not isinstance(value, str):
        return None
    try:
        return datetime_from_iso(value)
    except ValueError:
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso_from_datetime(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be expressed in JSON: {value!r}")


def _encoder(*, ensure_ascii: bool) -> json.JSONEncoder:
    return json.JSONEncoder(
        ensure_ascii=ensure_ascii, separators=(",", ":"), default=_plain, allow_nan=False
    )


_load = json.JSONDecoder().raw_decode
_to_text = _encoder(ensure_ascii=False).encode
_to_ascii = _encoder(ensure_ascii=True).encode


def dump(value: Any) -> str:
    """Compact JSON text; datetimes become ISO texts, as in JavaScript.

    Raises:
        TypeError: something in it cannot be expressed in JSON.
        ValueError: a number is not finite, a datetime naive, or the value contains itself.
    """
    text = _to_text(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            # Half of a surrogate pair, cut off somewhere: it can travel only when escaped.
            return _to_ascii(value)
    return text


def dump_text(text: str) -> str:
    """What `dump` makes of a text, faster."""
    quoted = encode_basestring(text)
    if not quoted.isascii():
        try:
            quoted.encode()
        except UnicodeEncodeError:
            return dump(text)
    return quoted


def load(text: str) -> Any:
    """The JSON value in a text; what `json.loads` gives, faster.

    Raises:
        ValueError, RecursionError: there is none.
    """
    try:
        value, end = _load(text)
    except ValueError:
        end = -1
    # White space around it, or what is no JSON at all.
    return value if end == len(text) else json.loads(text)


def load_object(text: str) -> dict[str, Any] | None:
    """The JSON object in a text; None if it holds anything else."""
    try:
        value = load(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
