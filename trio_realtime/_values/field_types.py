"""Fields of an application's message types: JSON values by their annotation, and back.

A value that does not fit its annotation is refused, never bent to fit: ``"5"`` is no int,
and ``"ab"`` no list of texts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from inspect import get_annotations
from types import SimpleNamespace
from typing import Any, get_type_hints

import attrs
import msgspec

from .files import File, GeoPoint
from .times import datetime_from_iso

Decode = Callable[[Any], Any]

OWN: dict[Any, Decode] = {
    datetime: datetime_from_iso,
    File: File.from_json,
    GeoPoint: GeoPoint.from_json,
}
"""Types with a spelling of their own in the protocol."""


def decoder_for(cls: type, field: attrs.Attribute[Any]) -> Decode:
    """What makes a field's value from the JSON value.

    Raises:
        TypeError: what the annotation names cannot be found, or cannot be read from JSON.
    """
    annotation = _annotation(cls, field)
    if annotation is None or annotation is Any or annotation is object:
        return _as_it_is
    for kind, decode in OWN.items():
        if annotation == kind:
            return decode
        if annotation == kind | None:
            return _optional(decode)
    where = f"{cls.__name__}.{field.name}"
    try:
        custom = isinstance(msgspec.inspect.type_info(annotation), msgspec.inspect.CustomType)
    except TypeError as error:
        raise TypeError(f"{where} cannot be read from JSON: {error}") from error
    if custom:
        raise TypeError(
            f"{where} cannot be read from JSON as {annotation}:"
            " say message_field(decode=..., encode=...)"
        )
    # The keys of JSON objects are texts, whatever they were.
    return lambda value: msgspec.convert(value, annotation, str_keys=True)


def encode(value: Any) -> Any:
    """A field's value as JSON values; datetimes stay what they are.

    Raises:
        TypeError: it cannot be expressed in JSON.
    """
    if type(value) in PLAIN:
        return value
    if isinstance(value, File | GeoPoint):
        return value.to_json()
    return msgspec.to_builtins(value, builtin_types=(datetime,), enc_hook=_refuse)


PLAIN = frozenset({str, int, float, bool, type(None)})


def _refuse(value: Any) -> Any:
    raise TypeError(f"{type(value).__name__} cannot be expressed in JSON: {value!r}")


def _as_it_is(value: Any) -> Any:
    return value


def _optional(decode: Decode) -> Decode:
    return lambda value: None if value is None else decode(value)


def _annotation(cls: type, field: attrs.Attribute[Any]) -> Any:
    written: Any = field.type
    if not isinstance(written, str):
        return written
    # A text means what it meant where it was written: in the module of the class that has it.
    owner = next(one for one in cls.__mro__ if field.name in get_annotations(one))
    annotations = SimpleNamespace(__annotations__={field.name: written})
    # Code that is executed from a text may belong to no module.
    module = sys.modules.get(owner.__module__)
    names = {} if module is None else vars(module)
    try:
        return get_type_hints(annotations, names, {owner.__name__: owner})[field.name]
    except NameError as error:
        raise TypeError(
            f"{cls.__name__}.{field.name}: {error}; import it into the module of the class,"
            " or say message_field(decode=..., encode=...)"
        ) from error
