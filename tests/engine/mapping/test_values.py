"""Messages, conversations, attributes and results, as commands describe them."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_realtime._engine import mapping
from trio_realtime._values.conversations import (
    ChatRoom,
    Conversation,
    MemberInfo,
    Role,
    ServiceConversation,
    TemporaryConversation,
)
from trio_realtime._values.errors import BlockedError, CommandError, MalformedReply, RejectedByApp
from trio_realtime._values.messages import BinaryMessage, Message, MessageStatus
from trio_realtime._values.registry import MessageRegistry
from trio_realtime._values.results import Failure, PartialResult
from trio_realtime._values.typed_messages import TextMessage
from trio_realtime.wire import (
    BlacklistCommand,
    ConvCommand,
    DirectCommand,
    ErrorCommand,
    LogItem,
)

REGISTRY = MessageRegistry()
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
HELLO = '{"_lctext":"hello","_lctype":-1}'


def received(**fields):
    return mapping.message_from_direct(DirectCommand(cid="c", **fields), REGISTRY, "me")


def test_delivered_message():
    message = received(
        id="m", from_peer_id="Tom", timestamp=5, patch_timestamp=7, transient=True, msg=HELLO
    )
    assert message == TextMessage(
        "hello",
        id="m",
        conversation_id="c",
        sender="Tom",
        timestamp_ms=5,
        updated_at_ms=7,
        transient=True,
        status=MessageStatus.SENT,
    )
    assert message.payload() == HELLO
    assert received(msg="42").body == "42"
    assert received().body == ""
    binary = received(binary_msg=b"")
    assert isinstance(binary, BinaryMessage)
    assert binary.payload() == b""


@pytest.mark.parametrize(
    ("fields", "mentioned"),
    [
        ({}, False),
        ({"mention_pids": ["me"]}, True),
        ({"mention_pids": ["you"]}, False),
        ({"mention_all": True}, True),
        ({"mention_all": True, "from_peer_id": "me"}, False),
        ({"mention_pids": ["me"], "from_peer_id": "me"}, False),
    ],
)
def test_mentions(fields, mentioned):
    message = received(**{"from_peer_id": "Tom", **fields})
    assert message.mentioned is mentioned
    assert message.mentions == tuple(fields.get("mention_pids", ()))
    assert message.mention_all is fields.get("mention_all", False)


def logged(**fields):
    return mapping.message_from_log_item(LogItem(**fields), "c", REGISTRY, "me")


def test_message_in_history():
    message = logged(
        msg_id="m", from_="Tom", timestamp=5, patch_timestamp=6, ack_at=7, read_at=8, data=HELLO,
        mention_all=True,
    )  # fmt: skip
    assert message == TextMessage(
        "hello",
        id="m",
        conversation_id="c",
        sender="Tom",
        timestamp_ms=5,
        updated_at_ms=6,
        delivered_at_ms=7,
        read_at_ms=8,
        status=MessageStatus.DELIVERED,
        mention_all=True,
        mentioned=True,
    )
    assert logged(data="x").status is MessageStatus.SENT
    assert logged(data="AP8=", bin=True).data == b"\x00\xff"
    assert isinstance(logged(data="é", bin=True), Message)
    assert logged().body == ""


def mapped(data):
    return mapping.conversation_from_json(data, NOW, REGISTRY, "me")


def test_normal_conversation():
    data = {
        "objectId": "5f",
        "name": "Film",
        "m": ["me", "Tom"],
        "c": "Tom",
        "mu": ["me"],
        "lm": {"__type": "Date", "iso": "2026-07-01T11:00:00.000Z"},
        "createdAt": "2026-07-01T09:00:00.000Z",
        "updatedAt": "2026-07-01T10:00:00.000Z",
        "tr": False,
        "sys": False,
        "unique": True,
        "uniqueId": "61e5",
        "conv_type": 1,
        "topic": "noir",
        "muted": "no meaning here",
        "attr": {"type": "private"},
        "msg": HELLO,
        "msg_mid": "m",
        "msg_from": "Tom",
        "msg_timestamp": 5,
        "patch_timestamp": 7,
        "mention_all": False,
        "mention_pids": ["me"],
    }
    assert mapped(data) == Conversation(
        "5f",
        name="Film",
        members=("me", "Tom"),
        creator="Tom",
        created_at=NOW - timedelta(hours=3),
        updated_at=NOW - timedelta(hours=2),
        last_message_at=NOW - timedelta(hours=1),
        last_message=TextMessage(
            "hello",
            id="m",
            conversation_id="5f",
            sender="Tom",
            timestamp_ms=5,
            updated_at_ms=7,
            status=MessageStatus.SENT,
            mentions=("me",),
            mentioned=True,
        ),
        muted=True,
        muted_members=("me",),
        unique=True,
        unique_id="61e5",
        attributes={"topic": "noir", "muted": "no meaning here", "attr": {"type": "private"}},
    )


@pytest.mark.parametrize(
    ("data", "conversation"),
    [
        ({"objectId": "1"}, Conversation("1")),
        ({"objectId": "1", "tr": True}, ChatRoom("1")),
        ({"objectId": "1", "conv_type": 2}, ChatRoom("1")),
        ({"objectId": "1", "conv_type": 77}, Conversation("1")),
        ({"objectId": "1", "sys": True}, ServiceConversation("1")),
        (
            {"objectId": "1", "sys": True, "joined": True, "joinedAt": 0, "muted": True},
            ServiceConversation(
                "1", joined=True, muted=True, joined_at=datetime(1970, 1, 1, tzinfo=UTC)
            ),
        ),
        ({"objectId": "_tmp:1"}, TemporaryConversation("_tmp:1")),
        (
            {"objectId": "_tmp:1", "temp": True, "ttl": 60},
            TemporaryConversation("_tmp:1", expires_at=NOW + timedelta(minutes=1)),
        ),
        (
            {"objectId": "_tmp:1", "ttl": 1e15},
            TemporaryConversation("_tmp:1", expires_at=datetime.max.replace(tzinfo=UTC)),
        ),
        ({"objectId": "1", "ttl": 60}, Conversation("1", attributes={"ttl": 60})),
        ({"objectId": "1", "lm": "2026-07-01T12:00:00Z"}, Conversation("1", last_message_at=NOW)),
        ({"objectId": "1", "m": "Tom", "c": 5, "name": None, "lm": 5}, Conversation("1")),
        ({"objectId": "1", "msg": HELLO}, Conversation("1")),
    ],
)
def test_kinds_and_oddities(data, conversation):
    assert mapped(data) == conversation
    assert type(mapped(data)) is type(conversation)


def test_binary_last_message():
    data = {"objectId": "1", "msg": "AP8=", "bin": True, "msg_mid": "m"}
    assert mapped(data).last_message.data == b"\x00\xff"


def test_results():
    def results(text):
        return mapping.conversations_from_results(text, NOW, REGISTRY, "me")

    assert results('[{"objectId":"1"},{"objectId":"2"}]') == [Conversation("1"), Conversation("2")]
    assert results("[]") == []
    deep = '[{"objectId":"1","a":' + '{"a":' * 900 + "1" + "}" * 901 + "]"
    for text in ("", "{}", "[5]", "[{}]", '[{"objectId":""}]', "[" * 99_999, deep):
        with pytest.raises(MalformedReply):
            results(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
KEYS = [
    "name", "m", "c", "mu", "lm", "createdAt", "conv_type", "tr", "sys", "temp", "ttl", "joined",
    "joinedAt", "msg", "bin", "msg_mid", "msg_from", "msg_timestamp", "patch_timestamp",
    "mention_all", "mention_pids", "unique", "uniqueId", "extra",
]  # fmt: skip


@given(st.dictionaries(st.sampled_from(KEYS), JSON), st.sampled_from(["1", "_tmp:1"]))
def test_any_description_with_an_id_is_a_conversation(data, cid):
    assert mapped({**data, "objectId": cid}).id == cid


def test_member_info():
    row = {"clientId": "Tom", "cid": "5f", "role": "Manager", "objectId": "x"}
    assert mapping.member_info_from_json(row) == MemberInfo("5f", "Tom", Role.MANAGER)
    assert mapping.member_info_from_json(row | {"role": 5}).role is Role.MEMBER
    for odd in (None, {}, {"clientId": "Tom"}):
        with pytest.raises(MalformedReply):
            mapping.member_info_from_json(odd)


def test_attributes_of_a_new_conversation():
    made = mapping.attributes_for_create("Film", {"foo": 1, "when": NOW})
    assert made == {
        "foo": 1,
        "when": {"__type": "Date", "iso": "2026-07-01T12:00:00.000Z"},
        "name": "Film",
    }
    assert mapping.attributes_for_create(None, {}) == {}
    with pytest.raises(ValueError, match="createdAt, m"):
        mapping.attributes_for_create(None, {"m": [], "createdAt": 1, "a": 1})
    with pytest.raises(ValueError, match="name"):
        mapping.attributes_for_create("Film", {"name": "x"})


def test_attributes_of_an_update():
    assert mapping.attributes_for_update({"attr.a": (1,)}) == {"attr.a": [1]}
    with pytest.raises(ValueError, match="nothing"):
        mapping.attributes_for_update({})
    with pytest.raises(ValueError, match=r"m\.0"):
        mapping.attributes_for_update({"m.0": "x"})


@pytest.mark.parametrize(
    ("changes", "after"),
    [
        ({"a": 1}, {"a": 1, "b": {"c": 1}}),
        ({"b": 2}, {"b": 2}),
        ({"b.d": 2}, {"b": {"c": 1, "d": 2}}),
        ({"b.c": {"__op": "Delete"}}, {"b": {}}),
        ({"b": {"__op": "Delete"}}, {}),
        ({"x": {"__op": "Delete"}, "x.y": {"__op": "Delete"}}, {"b": {"c": 1}}),
        ({"x.y": 1, "x.z": 2}, {"b": {"c": 1}, "x": {"y": 1, "z": 2}}),
        ({"b.c.d": 1}, {"b": {"c": {"d": 1}}}),
        ({"n": {"__op": "Increment", "amount": 1}}, {"b": {"c": 1}}),
    ],
)
def test_changes_applied(changes, after):
    before = Conversation("1", attributes={"b": {"c": 1}}).attributes
    assert mapping.apply_changes(before, changes) == after
    assert before == {"b": {"c": 1}}


@pytest.mark.parametrize("reply", [ConvCommand, BlacklistCommand])
def test_partial_results(reply):
    failed = ErrorCommand(code=4548, reason="BLOCKED_BY_CONV", detail="no", pids=["c", "d"])
    result = mapping.partial_result(reply(allowed_pids=["a", "b"], failed_pids=[failed]))
    error = CommandError.from_wire(4548, "BLOCKED_BY_CONV", "no")
    assert result == PartialResult(("a", "b"), (Failure(("c", "d"), error),))
    assert type(result.failures[0].error) is BlockedError


def test_error_from_command():
    command = ErrorCommand(code=4402, reason="R", detail="d", app_code=7, app_msg="m")
    error = mapping.error_from_command(command)
    assert type(error) is RejectedByApp
    assert (error.reason, error.detail, error.app_code, error.app_message) == ("R", "d", 7, "m")
    assert type(mapping.error_from_command(ErrorCommand())) is CommandError


def test_what_is_read_can_be_written_again():
    data = {"objectId": "1", "a": {"__type": "Date", "iso": "2026-07-01T12:00:00.000Z"}, "b": [1]}
    attributes = mapped(data).attributes
    assert mapping.attributes_for_update(attributes) == {"a": data["a"], "b": [1]}
    assert json.loads(json.dumps(mapped(data).to_json()["attributes"])) == {
        "a": data["a"],
        "b": [1],
    }
