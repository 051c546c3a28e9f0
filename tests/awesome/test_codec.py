from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_realtime.awesome import (
    ConversationType,
    CustomMessage,
    Envelope,
    FileMessage,
    FrameError,
    ImageMessage,
    MessageDirection,
    SignalMessage,
    TextMessage,
    decode_envelope,
    decode_message,
)
from trio_realtime.awesome._codec import MAX_DEPTH, MAX_FRAME, encode_envelope, encode_message

pack = msgspec.msgpack.encode
unpack = msgspec.msgpack.decode

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=10)
    | st.floats(allow_nan=False)
    | st.binary(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
TEXTS = st.text(max_size=10)
ENVELOPES = st.fixed_dictionaries(
    {
        "to": TEXTS,
        "sender": TEXTS,
        "conversation_type": st.sampled_from(ConversationType),
        "message_id": st.none() | TEXTS,
        "message_uid": st.none() | TEXTS,
        "sent_time_ms": st.none() | st.integers(-(2**53) + 1, 2**53 - 1),
        "direction": st.none() | st.sampled_from(MessageDirection),
    }
)
SIGNALS = st.none() | TEXTS
MESSAGES = st.one_of(
    st.builds(
        lambda kind, message, signal, fields: kind(message, signal_name=signal, **fields),
        st.sampled_from([TextMessage, ImageMessage, FileMessage]),
        VALUES,
        SIGNALS,
        ENVELOPES,
    ),
    st.builds(lambda s, m, fields: SignalMessage(s, m, **fields), SIGNALS, VALUES, ENVELOPES),
    st.builds(
        lambda content, fields: CustomMessage("VoiceMsg", content, **fields), VALUES, ENVELOPES
    ),
)


@given(MESSAGES)
def test_messages_survive_both_ways(message):
    assert decode_message(encode_message(message)) == message
    envelope = Envelope(0, message, "success!")
    assert decode_envelope(encode_envelope(envelope)) == envelope


def test_what_the_page_shows_is_understood():
    envelope = decode_envelope(
        pack(
            {
                "code": 0,
                "data": {
                    "messageType": "SignalMsg",
                    "sentTime": 1681900543414,
                    "messageUId": "CBE5-1922-F8C9-730B",
                    "conversationType": 0,
                    "to": "allen",
                    "signalName": "login",
                    "from": "server",
                    "messageDirection": 2,
                },
                "errMsg": "success!",
            }
        )
    )
    assert envelope == Envelope(
        0,
        SignalMessage(
            "login",
            to="allen",
            sender="server",
            message_uid="CBE5-1922-F8C9-730B",
            sent_time_ms=1681900543414,
            direction=MessageDirection.RECEIVE,
        ),
        "success!",
    )
    assert envelope.message.sent_time == datetime(2023, 4, 19, 10, 35, 43, 414000, tzinfo=UTC)


@pytest.mark.parametrize("kind", ["TxtMsg", "TextMsg"])
def test_a_text_is_a_text_however_it_is_spelled(kind):
    assert (
        decode_message(pack({"messageType": kind, "message": "top level"})).message == "top level"
    )
    content = {"message": {"test": 123}, "colour": "red"}
    message = decode_message(pack({"messageType": kind, "content": content, "time": 5}))
    assert message.message == {"test": 123}
    assert (message.more_content, message.extra) == ({"colour": "red"}, {"time": 5})
    again = unpack(encode_message(message))
    assert (again["content"], again["time"]) == (content, 5)


def test_what_a_client_sends_has_these_keys():
    sent = unpack(encode_message(TextMessage({"test": 123}, sender="allen", message_id="m1")))
    assert sent == {
        "messageType": "TxtMsg",
        "conversationType": 0,
        "to": "server",
        "from": "allen",
        "messageId": "m1",
        "content": {"message": {"test": 123}},
    }
    assert unpack(encode_message(SignalMessage("start", sender="allen"))) == {
        "messageType": "SignalMsg",
        "conversationType": 0,
        "to": "server",
        "from": "allen",
        "signalName": "start",
    }


def test_unknown_types_numbers_and_contents_pass_through():
    fields = {
        "messageType": "VoiceMsg",
        "conversationType": 99,
        "messageDirection": 7,
        "to": "a",
        "from": "b",
        "content": [1, {"x": b"y"}],
        "whatever": None,
    }
    assert unpack(encode_message(decode_message(pack(fields)))) == fields


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        "text",
        [],
        {},
        {"messageType": 5},
        {"messageType": "TxtMsg", "to": 5},
        {"messageType": "TxtMsg", "conversationType": "private"},
        {"messageType": "TxtMsg", "conversationType": True},
        {"messageType": "TxtMsg", "conversationType": 1e300},
        {"messageType": "TxtMsg", "messageDirection": -(2**60)},
        {"messageType": "TxtMsg", "sentTime": "now"},
        {"messageType": "TxtMsg", "sentTime": float("nan")},
        {"messageType": "TxtMsg", "sentTime": 2**63},
    ],
)
def test_what_is_no_message_is_refused(value):
    with pytest.raises(FrameError):
        decode_message(pack(value))
    with pytest.raises(FrameError):
        decode_envelope(pack({"code": 0, "data": value} if value is not None else value))


@pytest.mark.parametrize("value", [{}, {"code": "0"}, {"code": None}, {"code": 0, "errMsg": 5}])
def test_what_is_no_envelope_is_refused(value):
    with pytest.raises(FrameError):
        decode_envelope(pack(value))


def test_depth_and_size_are_bounded():
    nested = 1
    for _ in range(MAX_DEPTH):
        nested = [nested]
    with pytest.raises(FrameError, match="deep"):
        decode_message(pack({"messageType": "TxtMsg", "content": {"message": nested}}))
    with pytest.raises(FrameError, match="MessagePack"):
        decode_message(b"\x91" * 100_000)
    with pytest.raises(FrameError, match="bytes"):
        decode_message(b"x" * (MAX_FRAME + 1))
    with pytest.raises(FrameError, match="bytes"):
        encode_message(TextMessage("x" * MAX_FRAME))
    with pytest.raises(FrameError, match="express"):
        encode_message(TextMessage(object()))


@given(st.binary(max_size=80))
def test_any_bytes_are_a_message_or_refused(data):
    for decode in (decode_message, decode_envelope):
        with contextlib.suppress(FrameError):
            assert decode(data) is not None


@given(MESSAGES, st.data())
def test_damaged_messages_are_messages_or_refused(message, data):
    damaged = bytearray(encode_message(message))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(FrameError):
        decode_message(bytes(damaged))
