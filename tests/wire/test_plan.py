# ruff: noqa: RUF009 - fields are declared as the generated classes do
from __future__ import annotations

from dataclasses import dataclass

import betterproto2
import pytest

from tests.wire.strategies import MESSAGE_CLASSES
from trio_realtime import wire
from trio_realtime.wire._plan import plan_of


@dataclass(eq=False, repr=False)
class Temperature(betterproto2.Message):
    degrees: float | None = betterproto2.field(1, betterproto2.TYPE_DOUBLE, optional=True)


@dataclass(eq=False, repr=False)
class Counters(betterproto2.Message):
    counts: list[int] = betterproto2.field(1, betterproto2.TYPE_INT32, repeated=True)


@dataclass(eq=False, repr=False)
class Implicit(betterproto2.Message):
    count: int = betterproto2.field(1, betterproto2.TYPE_INT32)


@pytest.mark.parametrize("cls", [Temperature, Counters, Implicit])
def test_what_the_schema_does_not_use_is_refused(cls):
    with pytest.raises(TypeError, match=cls.__name__):
        plan_of(cls)


@pytest.mark.parametrize("cls", MESSAGE_CLASSES)
def test_a_plan_is_made_once_and_covers_every_field(cls):
    plan = plan_of(cls)
    assert plan_of(cls) is plan
    fields = cls._betterproto.meta_by_field_name
    assert set(plan.writers) == {*fields, "_unknown_fields"}
    assert {name for name, _, _ in plan.readers.values()} == set(fields)


def test_every_message_and_enum_is_exported():
    generated = {name for name in vars(wire._realtime) if name in wire._realtime.__all__}
    renamed = {"LogsCommandQueryDirection", "SystemInfoDeviceType"}
    assert generated - renamed <= set(wire.__all__)
    assert wire.QueryDirection is wire._realtime.LogsCommandQueryDirection
    assert wire.DeviceType is wire._realtime.SystemInfoDeviceType
