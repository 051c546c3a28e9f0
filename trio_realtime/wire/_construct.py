"""Cheap construction of messages.

A generated class fills every field of every new instance. Here a field that is absent is
absent from the instance as well and read from the class instead, where it is None. The
constructor keeps its signature; nobody who uses a message can tell the difference.
"""

from __future__ import annotations

from typing import Any

import betterproto2

from ._plan import fields_of


def make_construction_cheap(cls: type[betterproto2.Message]) -> None:
    """Replace the constructor of a generated class.

    Repeated fields are the exception: each instance has lists of its own.
    """
    fields = fields_of(cls)
    for name, (meta, _) in fields.items():
        if not meta.repeated:
            setattr(cls, name, None)
    cls._unknown_fields = b""
    body = [
        f"    present[{name!r}] = [] if {name} is None else {name}"
        if meta.repeated
        else f"    if {name} is not None: present[{name!r}] = {name}"
        for name, (meta, _) in fields.items()
    ]
    source = [
        f"def __init__(self, {', '.join(f'{name}=None' for name in fields)}):",
        "    present = self.__dict__",
        *body,
    ]
    scope: dict[str, Any] = {}
    exec("\n".join(source), scope)  # noqa: S102 - made of field names, as dataclasses does
    init = scope["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__module__ = cls.__module__
    cls.__init__ = init  # type: ignore[method-assign]
