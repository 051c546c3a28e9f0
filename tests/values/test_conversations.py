"""Conversations, their JSON, times and frozen mappings."""

import copy
import json
import pickle
from datetime import UTC, datetime, timedelta, timezone

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_realtime._values import json as _json
from trio_realtime._values import times as _times
from trio_realtime._values.conversations import (
    BaseConversation,
    ChatRoom,
    Conversation,
    ConversationKind,
    MemberInfo,
    Role,
    ServiceConversation,
    TemporaryConversation,
)
from trio_realtime._values.typed_messages import TextMessage

JULY = datetime(2026, 7, 1, 12, tzinfo=UTC)

FULL = Conversation(
    "5f",
    name="Film",
    members=("a", "b"),
    creator="a",
    created_at=JULY,
    updated_at=JULY,
    last_message_at=JULY,
    last_message=TextMessage("hi", id="m", conversation_id="5f", timestamp_ms=5),
    muted=True,
    muted_members=["a"],
    unread_count=3,
    unread_mentioned=True,
    last_delivered_at=JULY,
    last_read_at=JULY,
    unique=True,
    unique_id="61e5",
    attributes={"attr": {"tags": [1, {"x": None}]}, "when": JULY},
)


@pytest.mark.parametrize(
    ("conversation", "kind"),
    [
        (FULL, ConversationKind.NORMAL),
        (Conversation("1"), ConversationKind.NORMAL),
        (ChatRoom("2", name="Hall"), ConversationKind.CHAT_ROOM),
        (ServiceConversation("3", joined=False, joined_at=JULY), ConversationKind.SERVICE),
        (TemporaryConversation("_tmp:4", expires_at=JULY), ConversationKind.TEMPORARY),
    ],
)
def test_json_round_trip(conversation, kind):
    assert conversation.kind is kind
    restored = BaseConversation.from_json(json.loads(json.dumps(conversation.to_json())))
    assert type(restored) is type(conversation)
    assert restored == conversation
    assert type(conversation).from_json(conversation.to_json()) == conversation


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"kind": "normal"},
        {"kind": "secret", "id": "1"},
        {"kind": "normal", "id": "1", "created_at": "yesterday"},
        {"kind": "normal", "id": "1", "members": "Tom"},
        {"kind": "normal", "id": "1", "attributes": [1]},
        {"kind": "normal", "id": "1", "last_message": {"bin": True, "data": "!"}},
        {"kind": "chat_room", "id": "1"},
    ],
)
def test_json_that_is_no_conversation(data):
    with pytest.raises(ValueError, match="not a"):
        Conversation.from_json(data)


def test_values_are_immutable_and_equal():
    tags = ["a"]
    chat = Conversation("1", members=["Tom"], attributes={"tags": tags})
    tags.append("b")
    assert chat == Conversation("1", members=("Tom",), attributes={"tags": ["a"]})
    assert chat.attributes["tags"] == ("a",)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        chat.name = "x"
    with pytest.raises(TypeError):
        chat.attributes["x"] = 1
    assert chat != attrs.evolve(chat, name="x")
    assert chat != ChatRoom("1", members=["Tom"], attributes={"tags": ["a"]})
    assert len({chat, attrs.evolve(chat), attrs.evolve(chat, name="x")}) == 2
    assert copy.deepcopy(FULL) == pickle.loads(pickle.dumps(FULL)) == FULL


def test_encoded_dates_become_datetimes():
    encoded = {"__type": "Date", "iso": "2026-07-01T12:00:00.000Z"}
    chat = Conversation("1", attributes={"a": encoded, "b": [{"c": encoded}]})
    assert chat.attributes["a"] == JULY
    assert chat.attributes["b"][0]["c"] == JULY
    assert chat.to_json()["attributes"] == {"a": encoded, "b": [{"c": encoded}]}
    odd = {"__type": "Date", "iso": 5}
    assert Conversation("1", attributes={"a": odd}).attributes["a"] == odd


def test_mistakes():
    with pytest.raises(TypeError, match="single string"):
        Conversation("1", members="Tom")
    with pytest.raises(TypeError, match="mapping"):
        Conversation("1", attributes=[])
    with pytest.raises(ValueError, match="time zone"):
        Conversation("1", created_at=datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake


def test_member_info():
    assert MemberInfo("1", "Tom", Role.OWNER).is_owner
    assert not MemberInfo("1", "Tom").is_owner


@given(st.datetimes(timezones=st.timezones()))
def test_times_there_and_back(moment):
    ms = _times.ms_from_datetime(moment)
    assert timedelta(0) <= moment - _times.datetime_from_ms(ms) < _times.MILLISECOND
    try:
        iso = _times.iso_from_datetime(moment)
    except ValueError as error:
        # The local year 1 or 9999 may be another year in UTC.
        assert "out of range" in str(error)  # noqa: PT017 - only some examples raise
        return
    assert _times.ms_from_datetime(_times.datetime_from_iso(iso)) == ms


@given(st.integers())
def test_any_number_is_some_time(ms):
    assert _times.datetime_from_ms(ms).tzinfo is UTC


@given(st.text())
def test_any_text_is_a_time_or_none(text):
    assert isinstance(_json.decode_date(text), datetime | None)


def test_times():
    beijing = datetime(2026, 7, 1, 20, tzinfo=timezone(timedelta(hours=8)))
    assert _times.iso_from_datetime(beijing) == "2026-07-01T12:00:00.000Z"
    assert _times.datetime_from_iso("2026-07-01T12:00:00.000Z") == JULY
    assert _times.datetime_from_iso("2026-07-01T12:00:00") == JULY
    assert _times.datetime_from_iso("2026-07-01T20:00:00+08:00").tzinfo is UTC
    assert _times.optional_datetime(None) is None
    assert _times.optional_datetime(0) == _times.EPOCH
    assert abs(_times.utc_now() - datetime.now(UTC)) < timedelta(minutes=1)
    with pytest.raises(ValueError, match="out of range"):
        _times.datetime_from_iso("0001-01-01T00:00:00+10:00")
    with pytest.raises(ValueError, match="time zone"):
        _times.ms_from_datetime(datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake


def test_frozen_mapping():
    frozen = _json.freeze({"a": {"b": [1]}})
    assert frozen == {"a": {"b": (1,)}}
    assert frozen != {"a": 1}
    assert repr(frozen) == "{'a': {'b': (1,)}}"
    assert _json.thaw(frozen) == {"a": {"b": [1]}}
    assert _json.freeze(frozen) is frozen
    match frozen:
        case {"a": {"b": (one,)}}:
            assert one == 1
        case _:
            pytest.fail("no match")
    with pytest.raises(TypeError, match="keys"):
        _json.thaw({1: 2})
    with pytest.raises(TypeError, match="object"):
        _json.thaw([object()])
