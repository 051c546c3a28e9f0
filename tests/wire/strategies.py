"""Messages for property tests, made from the metadata of their classes."""

from __future__ import annotations

import typing

from betterproto2 import Enum, Message
from hypothesis import strategies as st

from trio_realtime import wire
from trio_realtime.wire._plan import REQUIRED

MESSAGE_CLASSES = [
    value
    for name in wire.__all__
    if isinstance(value := getattr(wire, name), type) and issubclass(value, Message)
]

INT32 = st.one_of(
    st.integers(0, 300), st.integers(-(2**31), 2**31 - 1), st.sampled_from([-(2**31), 2**31 - 1])
)
INT64 = st.one_of(
    st.integers(0, 2**14),
    st.integers(1_600_000_000_000, 2_000_000_000_000),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([-(2**63), 2**63 - 1, 2**35 - 1, 2**35, 2**42 - 1, 2**42]),
)
# Lengths on both sides of the one-byte limit.
STRING = st.one_of(st.text(max_size=8), st.text("aé漢🎈", min_size=120, max_size=132))
SCALARS: dict[str, st.SearchStrategy[typing.Any]] = {
    "string": STRING,
    "bytes": st.one_of(st.binary(max_size=8), st.binary(min_size=126, max_size=130)),
    "bool": st.booleans(),
    "int32": INT32,
    "int64": INT64,
}


def enum_values(enum: type[Enum]) -> st.SearchStrategy[Enum]:
    return st.one_of(st.sampled_from(list(enum)), INT32.map(enum))


def messages(cls: type[Message]) -> st.SearchStrategy[typing.Any]:
    """Any message of a class: some fields, in any order, set by the constructor or later."""
    metadata: typing.Any = cls._betterproto
    required = REQUIRED.get(cls.__name__, ())
    needed, optional = {}, {}
    for name, meta in metadata.meta_by_field_name.items():
        of = metadata.cls_by_field[name]
        if meta.proto_type == "message":
            value = st.deferred(lambda of=of: messages(of))
        elif meta.proto_type == "enum":
            value = enum_values(of)
        else:
            value = SCALARS[meta.proto_type]
        if meta.repeated:
            value = st.lists(value, max_size=3)
        (needed if name in required else optional)[name] = value

    def build(fields, order, by_constructor):
        if by_constructor:
            return cls(**fields)
        message = cls()
        for name in order:
            setattr(message, name, fields[name])
        return message

    return st.fixed_dictionaries(needed, optional=optional).flatmap(
        lambda fields: st.builds(
            build, st.just(fields), st.permutations(list(fields)), st.booleans()
        )
    )


ANY_MESSAGE = st.sampled_from(MESSAGE_CLASSES).flatmap(messages)
COMMANDS = messages(wire.GenericCommand)
