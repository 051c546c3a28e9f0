"""A conversation's attributes as they travel: docs/protocol/conversations.md §2, §4.

On creation the name and the attributes lie side by side in one object; an update names
the changed keys only, where a dotted path reaches into an object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trio_realtime._values.json import freeze_dates, thaw

OWN_KEYS = frozenset(
    {"objectId", "m", "c", "mu", "lm", "tr", "sys", "unique", "uniqueId", "createdAt", "updatedAt"}
)
"""Keys of a conversation that are no attributes of the application."""


def _check_name(name: object) -> None:
    if name is not None and not isinstance(name, str):
        raise TypeError(f"the name of a conversation is a text, not {name!r}")


def attributes_for_create(name: str | None, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What a new conversation's ``attr`` says.

    Raises:
        ValueError: an attribute has a name that the protocol uses itself.
        TypeError: a value cannot be expressed in JSON.
    """
    if not isinstance(attributes, Mapping):
        raise TypeError(f"the attributes of a conversation are a mapping, not {attributes!r}")
    _check_name(name)
    _check_keys(attributes)
    if "name" in attributes:
        raise ValueError("the name of a conversation is no attribute: pass it as name")
    result: dict[str, Any] = thaw(attributes)
    if name is not None:
        result["name"] = name
    return result


def attributes_for_update(changes: Mapping[str, Any]) -> dict[str, Any]:
    """What an update's ``attr`` says; None removes nothing, it is stored.

    Raises:
        ValueError: nothing is to be changed, or something that an update cannot change.
        TypeError: a value cannot be expressed in JSON.
    """
    if not changes:
        raise ValueError("an update that changes nothing")
    _check_keys(changes)
    name = changes.get("name")
    if not isinstance(name, Mapping):
        _check_name(name)
    result: dict[str, Any] = thaw(changes)
    return result


def _check_keys(attributes: Mapping[str, Any]) -> None:
    taken = sorted(key for key in attributes if str(key).split(".")[0] in OWN_KEYS)
    if taken:
        raise ValueError(f"not attributes of the application: {', '.join(taken)}")


def apply_changes(attributes: Mapping[str, Any], changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The attributes after an update; dotted paths set inside objects, ``Delete`` removes.

    Other storage operations depend on values only the server knows; they are left out here
    and appear in what the server reports as modified.
    """
    result: dict[str, Any] = dict(attributes)
    for path, value in changes.items():
        _set(result, path.split("."), value)
    frozen: Mapping[str, Any] = freeze_dates(result)
    return frozen


def _set(target: dict[str, Any], path: list[str], value: Any) -> None:
    operation = value.get("__op") if isinstance(value, Mapping) else None
    *parents, last = path
    for key in parents:
        inner = target.get(key)
        if operation is not None and not isinstance(inner, Mapping):
            return
        # A copy: what lies below is shared with the attributes before the change.
        target[key] = dict(inner) if isinstance(inner, Mapping) else {}
        target = target[key]
    if operation is None:
        target[last] = value
    elif operation == "Delete":
        target.pop(last, None)
