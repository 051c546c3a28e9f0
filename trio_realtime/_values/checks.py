"""Values that are given by hand: what is no such thing is said in one sentence, where it is made."""

from __future__ import annotations

from typing import Any

import attrs


def checked_flag(value: object, what: str) -> bool:
    """The value, if it is True or False.

    Raises:
        TypeError: it is neither.
    """
    if value is True or value is False:
        return value
    raise TypeError(f"{what} is True or False, not {value!r}")


def checked_count(value: object, what: str) -> int:
    """The value, if it is an integer.

    Raises:
        TypeError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} is an integer, not {value!r}")
    return value


def flag(_: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    """A validator: True or False."""
    checked_flag(value, attribute.name)


def text(_: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    """A validator: a text."""
    if not isinstance(value, str):
        raise TypeError(f"{attribute.name} is a text, not {value!r}")
