"""An application's own message types: what their annotations say is what arrives."""

import enum
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

import attrs
import pytest

from trio_realtime import (
    File,
    GeoPoint,
    Message,
    TextMessage,
    TypedMessage,
    message_field,
    message_type,
)
from trio_realtime._values.registry import MessageRegistry


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


@attrs.frozen
class Item:
    name: str
    tags: list[str] = attrs.Factory(list)


@dataclass
class Place:
    at: GeoPoint


@message_type(7)
@attrs.frozen(kw_only=True)
class Order(TypedMessage):
    names: list[str] = attrs.Factory(list)
    prices: dict[str, float] = attrs.Factory(dict)
    nested: dict[str, Any] = attrs.Factory(dict)
    pair: tuple[str, int] | None = None
    chosen: set[str] = attrs.Factory(set)
    colour: Colour | None = None
    mode: Literal["fast", "slow"] = "fast"
    items: list[Item] = attrs.Factory(list)
    place: Place | None = None
    due: datetime | None = None
    price: Decimal | None = None
    key: uuid.UUID | None = None
    picture: File | None = None
    where: GeoPoint | None = None
    anything: Any = None
    read: Sequence[str] = attrs.Factory(list)
    view: Mapping[str, int] = attrs.Factory(dict)
    count: int | None = 5
    raw: bytes = b""
    by_number: dict[int, Item] = attrs.Factory(dict)
    by_level: dict[Level, float] = attrs.Factory(dict)


REGISTRY = MessageRegistry([Order])


@pytest.mark.parametrize(
    "order",
    [
        Order(names=["a", "b"]),
        Order(prices={"a": 1.5}, nested={"a": [1, {"b": None}]}),
        Order(pair=("a", 1), chosen={"x", "y"}, colour=Colour.RED, mode="slow"),
        Order(items=[Item("a", ["t"])], place=Place(GeoPoint(1, 2))),
        Order(due=datetime(2026, 7, 1, 12, 0, 0, 5000, tzinfo=UTC), price=Decimal("1.10")),
        Order(key=uuid.UUID(int=7), picture=File("u", id="f", width=3), where=GeoPoint(1.5, 2)),
        Order(anything=[{"a": [1]}], read=["a"], view={"a": 1}, raw=b"\x00\xff"),
        Order(count=None),
        Order(by_number={-5: Item("a")}, by_level={Level.LOW: 0.5}),
    ],
)
def test_what_was_sent_is_what_arrives(order):
    arrived = REGISTRY.parse(order.payload(), {})
    assert arrived == order
    for field in attrs.fields(Order):
        assert type(getattr(arrived, field.name)) is type(getattr(order, field.name))
    assert order.as_stored(order.payload()) == order


def test_what_arrives_can_be_written_as_json():
    arrived = REGISTRY.parse(Order(names=["a"], nested={"a": {"b": [1]}}).payload(), {})
    assert json.dumps([arrived.names, arrived.nested]) == '[["a"], {"a": {"b": [1]}}]'


@pytest.mark.parametrize(
    "content",
    [
        {"names": "ab"},
        {"names": ["a", 1]},
        {"prices": [["a", 1]]},
        {"prices": {"a": "1"}},
        {"pair": ["a"]},
        {"colour": "green"},
        {"mode": "slower"},
        {"items": [{"name": 5}]},
        {"due": "tomorrow"},
        {"where": {"latitude": 99, "longitude": 0}},
        {"names": None},
        {"by_number": {"five": {"name": "a"}}},
        {"by_number": {"5": {"name": 5}}},
    ],
)
def test_what_does_not_fit_its_annotation_is_plain_text(content):
    body = json.dumps({**content, "_lctype": 7})
    assert REGISTRY.parse(body, {}) == Message(body)


def test_a_value_that_is_no_json_is_refused():
    with pytest.raises(TypeError, match="complex cannot be expressed in JSON"):
        Order(anything=1j).payload()


def test_what_json_cannot_tell_is_gone_once_stored():
    sent = Order(
        anything=("a",),
        due=datetime(2026, 7, 1, microsecond=1234, tzinfo=UTC),
        attributes={"when": datetime(2026, 7, 1, tzinfo=UTC)},
        id="m",
    )
    stored = sent.as_stored(sent.payload())
    assert stored == REGISTRY.parse(sent.payload(), {"id": "m"})
    assert stored.anything == ["a"]
    assert stored.due == datetime(2026, 7, 1, microsecond=1000, tzinfo=UTC)
    assert stored.attributes == {"when": "2026-07-01T00:00:00.000Z"}
    plain = TextMessage("x")
    assert plain.as_stored(plain.payload()) is plain


@message_type(8)
class Later(TypedMessage):
    """Names a class that is defined below it."""

    parts: "list[Part] | None" = None


@attrs.frozen
class Part:
    name: str


def test_annotations_may_look_ahead():
    registry = MessageRegistry([Later])
    assert registry.parse(Later([Part("a")]).payload(), {}) == Later([Part("a")])


def test_a_type_may_come_from_no_module():
    names = {"__name__": "nowhere", "TypedMessage": TypedMessage}
    exec("class Made(TypedMessage):\n    floor: 'int | None' = None", names)
    made = message_type(8)(names["Made"])
    assert MessageRegistry([made]).parse(made(3).payload(), {}) == made(3)


def test_an_annotation_that_cannot_be_read_is_named():
    @message_type(9)
    class Wave(TypedMessage):
        shape: complex = 0j

    @message_type(9)
    class Lost(TypedMessage):
        shape: "Nowhere" = None  # noqa: F821 - that is the point

    @message_type(9)
    class Described(TypedMessage):
        shape: complex = message_field(decode=complex, encode=str, default=0j)

    with pytest.raises(TypeError, match=r"Wave\.shape cannot be read from JSON as .*complex"):
        MessageRegistry([Wave])
    with pytest.raises(TypeError, match=r"Lost\.shape: name 'Nowhere' is not defined"):
        MessageRegistry([Lost])
    registry = MessageRegistry([Described])
    assert registry.parse(Described(1j).payload(), {}) == Described(1j)
