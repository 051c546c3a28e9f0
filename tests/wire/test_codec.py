from __future__ import annotations

import copy

import pytest
from betterproto2 import Message
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.wire.oracle import google, google_proto2
from tests.wire.strategies import ANY_MESSAGE, COMMANDS, INT64, MESSAGE_CLASSES, messages
from trio_realtime.wire import (
    AckCommand,
    CommandType,
    ConvCommand,
    DirectCommand,
    GenericCommand,
    JsonObjectMessage,
    LogsCommand,
    OpType,
    QueryDirection,
    SessionCommand,
    UnreadCommand,
    UnreadTuple,
    WireError,
    decode,
    decode_message,
    encode,
    encode_message,
)
from trio_realtime.wire._varint import dump_varint, load_varint

relaxed = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def state(message: Message) -> object:
    """Everything a message holds, with presence, lists and unknown fields."""
    return (
        type(message),
        message._unknown_fields,
        [
            (name, state(value) if isinstance(value, Message) else value)
            for name in message._betterproto.meta_by_field_name
            for value in [getattr(message, name)]
        ],
    )


@relaxed
@given(ANY_MESSAGE)
def test_bytes_are_those_of_betterproto(message):
    assert encode_message(message) == bytes(message)


@relaxed
@given(ANY_MESSAGE)
def test_reads_what_betterproto_reads(message):
    data = bytes(message)
    ours = decode_message(type(message), data)
    assert ours == message
    assert state(ours) == state(type(message).parse(data))


@relaxed
@given(ANY_MESSAGE)
def test_google_agrees(message):
    data = encode_message(message)
    theirs = google(type(message).__name__).FromString(data)
    assert theirs.SerializeToString(deterministic=True) == data


@pytest.mark.parametrize("cls", MESSAGE_CLASSES)
def test_fields_are_declared_in_the_order_of_their_numbers(cls):
    numbers = [meta.number for meta in cls._betterproto.meta_by_field_name.values()]
    assert numbers == sorted(numbers)


@relaxed
@given(st.data())
def test_a_message_followed_by_another_is_merged_as_google_merges(data):
    cls = data.draw(st.sampled_from(MESSAGE_CLASSES))
    parts = data.draw(st.lists(messages(cls).map(encode_message), min_size=2, max_size=4))
    ours = decode_message(cls, b"".join(parts))
    theirs = google(cls.__name__).FromString(b"".join(parts))
    assert encode_message(ours) == theirs.SerializeToString(deterministic=True)


def field(number, payload):
    return dump_varint(number << 3 | 2) + dump_varint(len(payload)) + payload


@pytest.mark.parametrize(
    ("cut", "rest"),
    [("0a02", "7001"), ("7a02", "7001"), ("75", "70017001")],
    ids=["known field", "unknown field", "fixed size"],
)
def test_of_messages_to_be_merged_none_runs_on_into_the_next(cut, rest):
    parts = [b"", bytes.fromhex(cut), bytes.fromhex(rest)]
    data = b"\x08\x0b" + b"".join([field(107, part) for part in parts])
    with pytest.raises(DecodeError):
        google("GenericCommand").FromString(data)
    with pytest.raises(WireError):
        decode(data)


def test_of_messages_to_be_merged_the_later_ones_may_lack_what_is_required():
    attr, empty = field(103, b"\x0a\x02{}"), field(103, b"")
    data = b"\x08\x01" + field(110, attr) + field(110, empty + empty)
    theirs = google_proto2("GenericCommand").FromString(data)
    assert encode(decode(data)) == theirs.SerializeToString(deterministic=True)


UNKNOWN_FIELDS = st.lists(
    st.one_of(
        st.builds(lambda n, v: dump_varint(n << 3) + dump_varint(v), st.just(900), st.just(7)),
        st.binary(max_size=150).map(lambda b: dump_varint(901 << 3 | 2) + dump_varint(len(b)) + b),
        st.binary(min_size=4, max_size=4).map(lambda b: dump_varint(902 << 3 | 5) + b),
        st.binary(min_size=8, max_size=8).map(lambda b: dump_varint((2**29 - 1) << 3 | 1) + b),
    ),
    max_size=4,
).map(b"".join)


@relaxed
@given(COMMANDS, UNKNOWN_FIELDS, UNKNOWN_FIELDS)
def test_unknown_fields_survive_behind_the_known_ones(command, before, after):
    data = encode_message(command)
    read = decode_message(GenericCommand, before + data + after)
    assert read == command
    assert encode_message(read) == data + before + after
    theirs = google("GenericCommand").FromString(before + data + after)
    assert theirs.SerializeToString(deterministic=True) == data + before + after


def test_unknown_fields_survive_inside_sub_messages():
    direct = bytes.fromhex("5a0163a03807")
    data = bytes.fromhex("0802c206") + bytes((len(direct),)) + direct
    assert encode(decode(data)) == data


def test_an_unknown_enum_value_is_an_unnamed_member():
    command = decode(b"\x08\x63\x10\xc8\x01")
    assert command.cmd == 99
    assert isinstance(command.cmd, CommandType)
    assert isinstance(command.op, OpType)
    assert encode(command) == b"\x08\x63\x10\xc8\x01"


@given(INT64)
def test_varints_round_trip(n):
    encoded = dump_varint(n & (2**64 - 1))
    assert load_varint(encoded + b"\xff", 0) == (n & (2**64 - 1), len(encoded))


@pytest.mark.parametrize(
    ("command", "data"),
    [
        (GenericCommand(cmd=CommandType.SESSION), "0800"),
        (GenericCommand(cmd=CommandType.ECHO, i=0), "080e2800"),
        (
            GenericCommand(cmd=CommandType.SESSION, session_message=SessionCommand(r=False)),
            "0800b206022800",
        ),
        (
            GenericCommand(cmd=CommandType.CONV, conv_message=ConvCommand(flag=0)),
            "0801f206025000",
        ),
        (
            GenericCommand(cmd=CommandType.ACK, ack_message=AckCommand(code=0)),
            "0803ca06020800",
        ),
        (
            GenericCommand(cmd=CommandType.DIRECT, direct_message=DirectCommand(msg="", cid="")),
            "0802c206040a005a00",
        ),
        (
            GenericCommand(
                cmd=CommandType.DIRECT,
                direct_message=DirectCommand(binary_msg=b"", to_peer_ids=[""]),
            ),
            "0802c206053a009a0100",
        ),
    ],
)
def test_explicit_zero_values_survive(command, data):
    assert encode(command).hex() == data
    assert state(decode(bytes.fromhex(data))) == state(command)


def test_absent_is_none_and_repeated_is_an_own_list():
    first, second = decode(b"\x08\x01\xf2\x06\x00"), decode(b"\x08\x01\xf2\x06\x00")
    assert first.peer_id is None
    assert first.i is None
    assert first.conv_message is not None
    assert second.conv_message is not None
    assert first.conv_message.m == []
    first.conv_message.m.append("Tom")
    assert second.conv_message.m == []


def test_an_absent_command_type_is_a_session_only_with_a_session_message():
    assert decode(bytes.fromhex("1004b20600")).cmd is CommandType.SESSION
    with pytest.raises(WireError):
        decode(bytes.fromhex("1004"))
    with pytest.raises(WireError):
        decode(b"")


def test_a_command_without_type_is_not_written():
    with pytest.raises(WireError):
        encode(GenericCommand(session_message=SessionCommand()))


@pytest.mark.parametrize(
    "bad",
    [
        GenericCommand(cmd=CommandType.ACK, i=2**31),
        GenericCommand(cmd=CommandType.ACK, i=-(2**31) - 1),
        GenericCommand(cmd=CommandType.ACK, server_ts=2**63),
        GenericCommand(cmd=CommandType.ACK, server_ts=-(2**63) - 1),
        GenericCommand(cmd=CommandType.ACK, peer_id="\ud800"),
        GenericCommand(cmd=CommandType.ACK, peer_id=b"Tom"),
        GenericCommand(cmd=CommandType.ACK, i="1"),
        GenericCommand(cmd=CommandType.ACK, i=1.0),
        GenericCommand(cmd=CommandType.CONV, conv_message=ConvCommand(m=[None])),
        GenericCommand(cmd=CommandType.CONV, conv_message="text"),
        GenericCommand(cmd=CommandType.CONV, conv_message=ConvCommand(where=JsonObjectMessage())),
        GenericCommand(
            cmd=CommandType.UNREAD, unread_message=UnreadCommand(convs=[UnreadTuple(cid="c")])
        ),
        GenericCommand(cmd=CommandType.DIRECT, direct_message=DirectCommand(binary_msg="text")),
    ],
)
def test_a_value_that_does_not_fit_is_our_error(bad):
    with pytest.raises(WireError):
        encode(bad)


def test_a_name_that_is_no_field_is_our_error():
    command = GenericCommand(cmd=CommandType.ECHO)
    command.peerId = "Tom"
    with pytest.raises(WireError):
        encode(command)


@given(INT64)
@example(2**32 + 5)
def test_excess_bits_of_small_integers_are_dropped_as_google_does(n):
    data = b"\x08\x03\x28" + dump_varint(n & (2**64 - 1))
    ours, theirs = decode(data), google("GenericCommand").FromString(data)
    assert ours.i == theirs.i
    logs = b"\x50" + dump_varint(n & (2**64 - 1))
    direction = decode_message(LogsCommand, logs).direction
    assert isinstance(direction, QueryDirection)
    assert direction == google("LogsCommand").FromString(logs).direction


@given(st.sampled_from([bytearray, memoryview]))
def test_any_buffer_will_do(buffer):
    assert decode(buffer(b"\x08\x0e\x28\x07")).i == 7


def test_a_decoded_message_is_a_complete_betterproto_message():
    command = GenericCommand(
        cmd=CommandType.DIRECT, i=3, direct_message=DirectCommand(msg="hi", r=False)
    )
    read = decode(encode(command))
    assert repr(read) == repr(command)
    assert read.to_dict() == {"cmd": "DIRECT", "i": 3, "directMessage": {"msg": "hi", "r": False}}
    assert GenericCommand.from_dict(read.to_dict()) == command
    assert copy.deepcopy(read) == command
    assert read.is_set("i")
    assert not read.is_set("peer_id")
    assert bool(read)
    assert not decode_message(GenericCommand, b"")


def test_the_oracle_can_refuse():
    with pytest.raises(DecodeError):
        google("GenericCommand").FromString(b"\x08")
