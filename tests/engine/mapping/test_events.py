"""Pushes and replayed notifications, as events."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_realtime._engine.mapping import events_from_command, events_from_notification
from trio_realtime._values import events
from trio_realtime._values.conversations import ConversationKind, MemberInfo, Role
from trio_realtime._values.errors import ErrorCode
from trio_realtime._values.messages import BinaryMessage
from trio_realtime._values.registry import MessageRegistry
from trio_realtime._values.typed_messages import RecalledMessage, TextMessage
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    ConvMemberInfo,
    GenericCommand,
    JsonObjectMessage,
    OpType,
    PatchCommand,
    PatchItem,
    RcpCommand,
    UnreadCommand,
    UnreadTuple,
)

REGISTRY = MessageRegistry()
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
NOON_MS = 1_782_907_200_000
HELLO = '{"_lctext":"hello","_lctype":-1}'


def translated(**fields):
    return list(events_from_command(GenericCommand(**fields), REGISTRY, "me"))


def conv(op, **fields):
    message = ConvCommand(cid="c", init_by="Tom", udate="2026-07-01T12:00:00.000Z", **fields)
    return translated(cmd=CommandType.CONV, op=op, server_ts=5, conv_message=message)


@pytest.mark.parametrize(
    ("op", "event"),
    [
        (OpType.JOINED, events.Invited),
        (OpType.LEFT, events.Kicked),
        (OpType.BLOCKED, events.Blocked),
        (OpType.UNBLOCKED, events.Unblocked),
        (OpType.SHUTUPED, events.Muted),
        (OpType.UNSHUTUPED, events.Unmuted),
    ],
)
def test_what_is_done_to_me(op, event):
    assert conv(op) == [event("c", "Tom", at=NOON)]


@pytest.mark.parametrize(
    ("op", "event"),
    [
        (OpType.MEMBERS_JOINED, events.MembersJoined),
        (OpType.MEMBERS_LEFT, events.MembersLeft),
        (OpType.MEMBERS_BLOCKED, events.MembersBlocked),
        (OpType.MEMBERS_UNBLOCKED, events.MembersUnblocked),
        (OpType.MEMBERS_SHUTUPED, events.MembersMuted),
        (OpType.MEMBERS_UNSHUTUPED, events.MembersUnmuted),
    ],
)
def test_what_is_done_to_members(op, event):
    assert conv(op, m=["a", "b"]) == [event("c", "Tom", ("a", "b"), at=NOON)]


def test_role_changed():
    changed = conv(OpType.MEMBER_INFO_CHANGED, info=ConvMemberInfo(pid="a", role="Manager"))
    info = MemberInfo("c", "a", Role.MANAGER)
    assert changed == [events.MemberInfoUpdated("c", "Tom", info, at=NOON)]
    (odd,) = conv(OpType.MEMBER_INFO_CHANGED, info=ConvMemberInfo(pid="a", role="King"))
    assert odd.info.role is Role.MEMBER


def test_attributes_changed():
    attr = JsonObjectMessage(data='{"attr.a":1,"b":{"__type":"Date","iso":"2026-07-01T12:00:00Z"}}')
    modified = JsonObjectMessage(data='{"attr":{"a":1}}')
    (event,) = conv(OpType.UPDATED, attr=attr, attr_modified=modified)
    assert event == events.ConversationUpdated(
        "c", "Tom", {"attr.a": 1, "b": NOON}, {"attr": {"a": 1}}, at=NOON
    )
    assert event.updated_at == NOON


@pytest.mark.parametrize("text", ["", "5", "{", '{"a":' * 900 + "1" + "}" * 900, "[" * 99_999])
def test_attributes_that_are_none(text):
    (event,) = conv(OpType.UPDATED, attr=JsonObjectMessage(data=text))
    assert isinstance(event, events.ConversationUpdated)
    assert event.modified is None


def test_time_of_a_membership_event():
    def at(**fields):
        (event,) = translated(
            cmd=CommandType.CONV,
            op=OpType.JOINED,
            server_ts=fields.pop("server_ts", None),
            conv_message=ConvCommand(cid="c", **fields),
        )
        return event.at

    assert at(udate="2026-07-01T12:00:00.000Z", server_ts=5) == NOON
    assert at(server_ts=NOON_MS) == NOON
    assert at(udate="noon", server_ts=NOON_MS) == NOON
    assert at() is None


def patch(op=OpType.MODIFY, **fields):
    item = PatchItem(cid="c", mid="m", from_="Tom", timestamp=5, patch_timestamp=7, **fields)
    return translated(cmd=CommandType.PATCH, op=op, patch_message=PatchCommand(patches=[item]))


def test_edit():
    (event,) = patch(data=HELLO, mention_pids=["me"])
    assert isinstance(event, events.MessageUpdated)
    assert event.reason is None
    message = event.message
    assert isinstance(message, TextMessage)
    assert (message.text, message.id, message.sender) == ("hello", "m", "Tom")
    assert (message.timestamp_ms, message.updated_at_ms, message.mentioned) == (5, 7, True)
    (event,) = patch(binary_msg=b"\x01")
    assert isinstance(event.message, BinaryMessage)


@pytest.mark.parametrize("data", [None, '{"_lctype":-127}'])
def test_recall(data):
    (event,) = patch(recall=True, data=data)
    assert isinstance(event, events.MessageRecalled)
    assert isinstance(event.message, RecalledMessage)
    assert event.message.id == "m"


def test_reason_of_an_edit():
    (event,) = patch(data="***", patch_code=-4408, patch_reason="words")
    assert event.reason == events.PatchReason(-4408, "words")
    (event,) = patch(data="x", patch_code=4402)
    assert event.reason.code is ErrorCode.MESSAGE_REJECTED_BY_APP


def test_acknowledged_edit_is_no_event():
    assert patch(op=OpType.MODIFIED, data="x") == []


def test_receipts():
    def rcp(**fields):
        return translated(
            cmd=CommandType.RCP, rcp_message=RcpCommand(cid="c", id="m", t=NOON_MS, **fields)
        )

    assert rcp(from_="Tom") == [events.MessageDelivered("c", "m", "Tom", at=NOON)]
    assert rcp(read=True) == [events.MessageRead("c", "m", at=NOON)]


def test_unread_counts():
    known = UnreadTuple(
        cid="c", unread=3, mid="m", timestamp=5, from_="Tom", data=HELLO, mentioned=True,
        conv_type=1,
    )  # fmt: skip
    bare = UnreadTuple(cid="d", unread=0, mid="m")
    binary = UnreadTuple(cid="e", unread=1, mid="m", binary_msg=b"\x01", conv_type=9)
    notification = UnreadCommand(convs=[known, bare, binary], notif_time=NOON_MS)
    first, second, third = translated(cmd=CommandType.UNREAD, unread_message=notification)
    assert (first.conversation_id, first.count, first.mentioned) == ("c", 3, True)
    assert (first.kind, first.at) == (ConversationKind.NORMAL, NOON)
    assert first.last_message.text == "hello"
    assert second == events.UnreadUpdated("d", 0, at=NOON)
    assert isinstance(third.last_message, BinaryMessage)
    assert third.kind is None


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"cmd": CommandType.ECHO},
        {"cmd": CommandType.CONV, "op": OpType.JOINED},
        {"cmd": CommandType.CONV, "op": OpType.JOINED, "conv_message": ConvCommand()},
        {"cmd": CommandType.CONV, "conv_message": ConvCommand(cid="c")},
        {"cmd": CommandType.CONV, "op": OpType.STARTED, "conv_message": ConvCommand(cid="c")},
        {
            "cmd": CommandType.CONV,
            "op": OpType.MEMBER_INFO_CHANGED,
            "conv_message": ConvCommand(cid="c", info=ConvMemberInfo()),
        },
        {"cmd": CommandType.PATCH, "op": OpType.MODIFY},
        {
            "cmd": CommandType.PATCH,
            "op": OpType.MODIFY,
            "patch_message": PatchCommand(patches=[PatchItem(cid="c")]),
        },
        {"cmd": CommandType.RCP},
        {"cmd": CommandType.RCP, "rcp_message": RcpCommand(cid="c")},
        {"cmd": CommandType.UNREAD},
        {"cmd": CommandType.UNREAD, "unread_message": UnreadCommand(convs=[UnreadTuple()])},
    ],
)
def test_incomplete_pushes_are_no_events(fields):
    assert translated(**fields) == []


def replayed(item):
    return list(events_from_notification(item, REGISTRY, "me"))


def test_replayed_notifications():
    item = {
        "cmd": "conv",
        "op": "members-joined",
        "cid": "c",
        "initBy": "Tom",
        "m": ["a"],
        "udate": "2026-07-01T12:00:00.000Z",
        "serverTs": 5,
        "notificationType": 1,
    }
    assert replayed(item) == [events.MembersJoined("c", "Tom", ("a",), at=NOON)]
    assert replayed(item | {"op": "joined"}) == [events.Invited("c", "Tom", at=NOON)]
    role = item | {"op": "member-info-changed", "info": {"pid": "a", "role": "Manager"}}
    (event,) = replayed(role)
    assert event.info == MemberInfo("c", "a", Role.MANAGER)
    updated = item | {"op": "updated", "attr": {"a.b": 1}, "attrModified": {"a": {"b": 1}}}
    (event,) = replayed(updated)
    assert (event.attributes, event.modified) == ({"a.b": 1}, {"a": {"b": 1}})
    read = {"cmd": "rcp", "id": "m", "cid": "c", "t": NOON_MS, "read": True, "from": "Tom"}
    assert replayed(read) == [events.MessageRead("c", "m", "Tom", at=NOON)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
KEYS = ["cid", "initBy", "m", "udate", "attr", "attrModified", "info", "serverTs", "id", "t"]


@given(
    st.sampled_from(["conv", "rcp", "x", None]),
    st.sampled_from(["joined", "members-left", "updated", "member-info-changed", "x", None]),
    st.dictionaries(st.sampled_from(KEYS), JSON),
)
def test_replayed_notifications_never_fail(cmd, op, fields):
    for event in replayed({"cid": "c", **fields, "cmd": cmd, "op": op}):
        assert isinstance(event, events.ConversationEvent)
