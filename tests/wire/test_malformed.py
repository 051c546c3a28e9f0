from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.wire.oracle import google, google_proto2
from tests.wire.strategies import COMMANDS, MESSAGE_CLASSES, messages
from trio_realtime.wire import (
    GenericCommand,
    WireError,
    decode,
    decode_message,
    encode_message,
)
from trio_realtime.wire._plan import REQUIRED

relaxed = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param("08", id="tag without value"),
        pytest.param("0880", id="varint cut"),
        pytest.param("c2", id="tag cut"),
        pytest.param("0802c206", id="length missing"),
        pytest.param("0802c20602", id="sub-message missing"),
        pytest.param("0802c206020a", id="sub-message cut"),
        pytest.param("08022203546f", id="string cut"),
        pytest.param("08022280", id="length cut"),
        pytest.param("0802c206030a0268692801", id="string longer than its message"),
        pytest.param("0802c2060220802801", id="varint straddles the end of its message"),
        pytest.param("08022802c20601", id="sub-message overruns the frame"),
        pytest.param("080222ffffffffffffffffff01", id="length of 64 bits"),
        pytest.param("0802228080808008", id="length of 2 GiB"),
        pytest.param("088080808080808080808001", id="varint of eleven bytes"),
        pytest.param("08ffffffffffffffffff02", id="varint of 65 bits"),
        pytest.param("08ff" * 12, id="endless varint"),
        pytest.param("080200", id="field number 0"),
        pytest.param("080202", id="field number 0, a string"),
        pytest.param("0802808080801001", id="field number of 30 bits"),
        pytest.param("0a0102", id="cmd as a string"),
        pytest.param("0d02000000", id="cmd as fixed32"),
        pytest.param("08022003", id="peerId as a number"),
        pytest.param("08022a0108", id="serial id packed"),
        pytest.param("0802c00601", id="directMessage as a number"),
        pytest.param("0802c306c406", id="directMessage as a group"),
        pytest.param("0802c33ec43e", id="unknown group"),
        pytest.param("0802c43e", id="end of a group"),
        pytest.param("0802c63e", id="wire type 6"),
        pytest.param("0802c73e", id="wire type 7"),
        pytest.param("0802c13e0102", id="unknown fixed64 cut"),
        pytest.param("0802c53e0102", id="unknown fixed32 cut"),
        pytest.param("0802c23e0541", id="unknown bytes cut"),
        pytest.param("0802c03e80", id="unknown varint cut"),
        pytest.param("0802c03e" + "ff" * 11, id="unknown varint too long"),
        pytest.param("08022201ff", id="not UTF-8"),
        pytest.param("08022203eda080", id="a surrogate in UTF-8"),
        pytest.param("08022202c080", id="overlong UTF-8"),
        pytest.param("0802c206033a01ff", id="not UTF-8, repeated"),
        pytest.param("", id="nothing"),
        pytest.param("2801", id="no cmd"),
    ],
)
def test_malformed_frames_are_refused(frame):
    with pytest.raises(WireError):
        decode(bytes.fromhex(frame))


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param("880002", id="a tag longer than needed"),
        pytest.param("08828000", id="a number longer than needed"),
        pytest.param("080222838000546f6d", id="a length longer than needed"),
        pytest.param("0802c20600", id="an empty sub-message"),
        pytest.param("0802f8ffffff0f01", id="the highest field number"),
    ],
)
def test_unusual_frames_are_accepted(frame):
    data = bytes.fromhex(frame)
    ours, theirs = decode(data), google("GenericCommand").FromString(data)
    assert encode_message(ours) == theirs.SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name, fields in REQUIRED.items() for field in fields]
)
def test_required_fields_are_required(name, field):
    cls = next(cls for cls in MESSAGE_CLASSES if cls.__name__ == name)
    values = {"code": 0, "reason": "", "data": "", "cid": "", "unread": 0}
    complete = cls(**{f: values[f] for f in REQUIRED[name]})
    data = encode_message(complete)
    assert decode_message(cls, data) == complete
    assert google_proto2(name).FromString(data).IsInitialized()
    setattr(complete, field, None)
    with pytest.raises(WireError):
        encode_message(complete)
    with pytest.raises(WireError):
        decode_message(cls, bytes(complete))
    assert not google_proto2(name).FromString(bytes(complete)).IsInitialized()


def test_the_required_fields_are_those_of_the_original():
    assert REQUIRED == {
        "JsonObjectMessage": ("data",),
        "UnreadTuple": ("cid", "unread"),
        "ErrorCommand": ("code", "reason"),
        "ReadTuple": ("cid",),
    }


def judge(cls, data: bytes) -> None:
    """What we accept, Google accepts and understands alike; what Google refuses, we refuse."""
    try:
        ours = decode_message(cls, data)
    except WireError:
        return
    theirs = google(cls.__name__).FromString(data)
    assert encode_message(ours) == theirs.SerializeToString(deterministic=True)


@settings(max_examples=500)
@given(st.binary(max_size=60))
def test_random_bytes(data):
    judge(GenericCommand, data)
    with contextlib.suppress(WireError):
        decode(data)


@settings(max_examples=500, parent=relaxed)
@given(COMMANDS.map(encode_message), st.data())
def test_mutated_frames(frame, data):
    mutant = bytearray(frame)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutant)))
        action = data.draw(st.sampled_from(["flip", "cut", "insert", "remove"]))
        if action == "cut":
            del mutant[at:]
        elif action == "insert":
            mutant[at:at] = data.draw(st.binary(min_size=1, max_size=4))
        elif at < len(mutant):
            if action == "flip":
                mutant[at] ^= 1 << data.draw(st.integers(0, 7))
            else:
                del mutant[at]
    judge(GenericCommand, bytes(mutant))


@relaxed
@given(st.data())
def test_every_cut_is_refused_or_understood(data):
    cls = data.draw(st.sampled_from(MESSAGE_CLASSES))
    frame = encode_message(data.draw(messages(cls)))
    for end in range(len(frame)):
        judge(cls, frame[:end])


def test_deep_nesting_is_not_followed():
    nested = b""
    for _ in range(2000):
        nested = b"\xc2\x3e" + length(nested) + nested
    command = decode(b"\x08\x02" + nested)
    assert encode_message(command) == b"\x08\x02" + nested
    with pytest.raises(WireError):
        decode(b"\x08\x02" + b"\xc3\x3e" * 100_000)


def length(data: bytes) -> bytes:
    size, encoded = len(data), bytearray()
    while size >= 0x80:
        encoded.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes((*encoded, size))


def test_repetitions_cost_linear_time():
    # Quadratic copying would take minutes here.
    unknown = b"\xc0\x3e\x01" * 300_000
    assert decode(b"\x08\x02" + unknown)._unknown_fields == unknown
    pieces = (b"\xc2\x06\x03" + b"\xc0\x3e\x01") * 200_000
    command = decode(b"\x08\x02" + pieces)
    assert command.direct_message is not None
    assert len(command.direct_message._unknown_fields) == 600_000
    members = b"\x0a\x00" * 300_000
    command = decode(b"\x08\x01\xf2\x06" + length(members) + members)
    assert command.conv_message is not None
    assert len(command.conv_message.m) == 300_000
    assert len(encode_message(command)) > 600_000
