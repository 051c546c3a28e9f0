"""What the codec knows about a message class, worked out once.

A plan is two tables made from the metadata that the generated classes carry: how to
write the field of a name, and how to read the field of a tag.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from typing import Any, Final

import attrs
import betterproto2

from ._varint import dump_varint

# Kinds of fields. Plain integers: the codec compares them for every field of every frame.
STRING: Final = 1
INT32: Final = 2
INT64: Final = 3
ENUM: Final = 4
BOOL: Final = 5
BYTES: Final = 6
MESSAGE: Final = 7
REPEATED_STRING: Final = 8
REPEATED_MESSAGE: Final = 9
UNKNOWN: Final = 10

VARINT_WIRE_TYPE: Final = 0
FIXED64_WIRE_TYPE: Final = 1
LENGTH_WIRE_TYPE: Final = 2
FIXED32_WIRE_TYPE: Final = 5

_KINDS = {
    betterproto2.TYPE_STRING: STRING,
    betterproto2.TYPE_INT32: INT32,
    betterproto2.TYPE_INT64: INT64,
    betterproto2.TYPE_ENUM: ENUM,
    betterproto2.TYPE_BOOL: BOOL,
    betterproto2.TYPE_BYTES: BYTES,
    betterproto2.TYPE_MESSAGE: MESSAGE,
}
_REPEATED_KINDS = {STRING: REPEATED_STRING, MESSAGE: REPEATED_MESSAGE}
_VARINT_KINDS = {INT32, INT64, ENUM, BOOL}

REQUIRED = {
    "ErrorCommand": ("code", "reason"),
    "JsonObjectMessage": ("data",),
    "ReadTuple": ("cid",),
    "UnreadTuple": ("cid", "unread"),
}
"""Fields that were ``required`` in proto2, which the generated classes cannot say."""


@attrs.frozen
class Plan:
    """The tables for one message class."""

    cls: type[betterproto2.Message]
    writers: dict[str, tuple[int, bytes, int, Plan | None]]
    """Field name → place in declaration order, encoded tag, kind, plan of the sub-message."""
    readers: dict[int, tuple[str, int, Any]]
    """Tag → field name, kind, and what the kind needs: the plan of the sub-message, or the
    members of the enum and the enum."""
    numbers: frozenset[int]
    """Every known field number, to tell a wrong wire type from an unknown field."""
    repeated: tuple[str, ...]
    required: tuple[str, ...]


_plans: dict[type[betterproto2.Message], Plan] = {}


def fields_of(
    cls: type[betterproto2.Message],
) -> dict[str, tuple[betterproto2.FieldMetadata, str]]:
    """What the generated class says about its fields, and how each is annotated."""
    return {
        field.name: (betterproto2.FieldMetadata.get(field), str(field.type))
        for field in dataclasses.fields(cls)  # type: ignore[arg-type] # as every generated one
    }


def _class_of(annotation: str, module: str) -> Any:
    """The message or enum in an annotation such as ``"list[LogItem]"``.

    To evaluate the annotations of all classes would take as long as the rest of an import.
    """
    [name] = set(re.findall(r"\w+", annotation)) - {"list", "None"}
    return getattr(sys.modules[module], name)


def plan_of(cls: type[betterproto2.Message]) -> Plan:
    """The plan of a message class, made when it is first asked for.

    Raises TypeError for what the schema does not use: maps, wrapped types, floating
    point, packed repeated scalars. A recursive message class is out of the question too,
    which is why the nesting of decoded messages needs no other bound.
    """
    if cls not in _plans:
        _plans[cls] = _make_plan(cls)
    return _plans[cls]


def _make_plan(cls: type[betterproto2.Message]) -> Plan:
    fields = fields_of(cls)
    writers: dict[str, tuple[int, bytes, int, Plan | None]] = {}
    readers: dict[int, tuple[str, int, Any]] = {}
    repeated: list[str] = []
    for place, (name, (meta, annotation)) in enumerate(fields.items()):
        kind = _KINDS.get(meta.proto_type)
        if meta.repeated:
            repeated.append(name)
            kind = _REPEATED_KINDS.get(kind) if kind else None
        if kind is None or meta.unwrap or not (meta.repeated or meta.optional):
            raise TypeError(f"{cls.__name__}.{name} has a type this codec does not know")
        wire_type = VARINT_WIRE_TYPE if kind in _VARINT_KINDS else LENGTH_WIRE_TYPE
        tag = meta.number << 3 | wire_type
        refers = kind in {MESSAGE, REPEATED_MESSAGE, ENUM}
        of: Any = _class_of(annotation, cls.__module__) if refers else None
        sub = plan_of(of) if refers and kind != ENUM else None
        # An enum is written like any integer.
        writers[name] = (place, dump_varint(tag), INT32 if kind == ENUM else kind, sub)
        members = ({member.value: member for member in of}, of) if kind == ENUM else None
        readers[tag] = (name, kind, sub or members)
    writers["_unknown_fields"] = (len(writers), b"", UNKNOWN, None)
    return Plan(
        cls=cls,
        writers=writers,
        readers=readers,
        numbers=frozenset(meta.number for meta, _ in fields.values()),
        repeated=tuple(repeated),
        required=REQUIRED.get(cls.__name__, ()),
    )
