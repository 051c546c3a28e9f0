"""Events are made for `match`."""

import attrs
import pytest

from trio_realtime._values import events
from trio_realtime._values.events import (
    ConversationEvent,
    ConversationUpdated,
    Event,
    Gap,
    Invited,
    MembersEvent,
    MembershipEvent,
    MembersJoined,
    MessageReceived,
    MessageUpdated,
    SessionConflict,
    SessionEvent,
)
from trio_realtime._values.typed_messages import TextMessage


def describe(event):
    match event:
        case MessageReceived(conversation_id=where, message=TextMessage(text=text, sender=who)):
            return f"{where} {who}: {text}"
        case MembersJoined(by=who, members=members):
            return f"{who} brought {', '.join(members)}"
        case MembershipEvent(conversation_id=where, by=who):
            return f"{who} did something in {where}"
        case SessionEvent():
            return "over"
        case _:
            return "?"


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (MessageReceived("c", TextMessage("hi", sender="Tom")), "c Tom: hi"),
        (MembersJoined("c", "Tom", ("Mary", "Bob")), "Tom brought Mary, Bob"),
        (Invited("c", "Tom"), "Tom did something in c"),
        (SessionConflict(), "over"),
        (Gap("c"), "?"),
    ],
)
def test_match(event, text):
    assert describe(event) == text


def test_one_frozen_hierarchy():
    for name in events.__all__:
        cls = getattr(events, name)
        assert cls.__doc__
        assert attrs.has(cls)
        assert cls.__setattr__ is not object.__setattr__
        if name != "PatchReason":
            assert issubclass(cls, Event)
    assert issubclass(MembersEvent, ConversationEvent)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Invited("c", "Tom").by = "Mary"


def test_times_of_messages_are_times_of_events():
    message = TextMessage("hi", timestamp_ms=1_000, updated_at_ms=2_000)
    assert MessageReceived("c", message).at == message.timestamp
    assert MessageUpdated("c", message).at == message.updated_at
    assert events.MessageRecalled("c", message).at == message.updated_at
    assert ConversationUpdated("c", "Tom", {}, at=message.timestamp).updated_at == message.timestamp


def test_equal_by_value():
    assert Invited("c", "Tom") == Invited("c", "Tom")
    assert Invited("c", "Tom") != events.Kicked("c", "Tom")
    assert len({ConversationUpdated("c", "Tom", {"a": 1}), Invited("c", "Tom")}) == 2
