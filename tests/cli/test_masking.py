from __future__ import annotations

import json

import pytest

from trio_realtime._cli.masking import masked_header, masked_reason, masked_target
from trio_realtime._cli.recording import Recorded
from trio_realtime.wire import SessionCommand, WireError, decode_json, encode_message

SECRET = "S3cr3t"


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/v1/route?appId=x&secure=1", "/v1/route?appId=x&secure=1"),
        ("/uploads/app/S3cr3t?again=1", "/uploads/app/***?again=1"),
        ("/uploads/S3cr3t", "/uploads/***"),
        ("/1.1/uploads/S3cr3t/more", "/1.1/uploads/***"),
        ("//uploads//S3cr3t", "//uploads/***"),
        ("/uploads/app/../S3cr3t", "/uploads/***"),
        ("/UPLOADS/app/S3cr3t", "/UPLOADS/app/***"),
        ("/uplo%61ds/app/S3cr3t", "/uplo%61ds/app/***"),
        ("/buckets/b/objects/k/uploads/S3cr3t/1", "/buckets/b/objects/k/uploads/***"),
        ("/x?%74oken=S3cr3t&STATE=1", "/x?%74oken=***&STATE=1"),
        ("/x?ST=S3cr3t&s=S3cr3t;Key=S3cr3t#auth=S3cr3t", "/x?ST=***&s=***;Key=***#auth=***"),
        ("ws://host:1/?session_token=S3cr3t", "ws://host:1/?session_token=***"),
        ("/x?token", "/x?token"),
        ("*", "*"),
    ],
)
def test_targets(target, shown):
    assert masked_target(target) == shown


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"X-LC-Id: app", None),
        (b"Host: x", None),
        (b"X-LC-Key: S3cr3t,master", "X-LC-Key: ***,master"),
        (b"x-lc-im-session-token:S3cr3t", "x-lc-im-session-token: ***"),
        (b"X-LC-Hook-Key : S3cr3t", "X-LC-Hook-Key: ***"),
        (b"X-Uluru-Application-Key: S3cr3t", "X-Uluru-Application-Key: ***"),
        (b"Authorization: UpToken S3cr3t", "Authorization: ***"),
        (b"Cookie: S3cr3t", "Cookie: ***"),
    ],
)
def test_headers(line, shown):
    assert masked_header(line) == shown


def recorded(payload):
    return Recorded("2026-11-21T09:30:00.125Z", 1, "to-server", "json", payload).masked().payload


@pytest.mark.parametrize(
    "flat",
    [
        {"st": "S3cr3t", "s": ["S3cr3t"], "n": "nonce"},
        {"ST": "S3cr3t", "S": {"a": "S3cr3t"}},
        {"sessionMessage": {"st": "S3cr3t", "s": "S3cr3t", "ua": "x"}},
        {"SESSIONMESSAGE": {"directMessage": {"St": "S3cr3t"}}},
        {"deviceToken": "S3cr3t", "DeviceToken": "S3cr3t"},
        {"sessionToken": "S3cr3t", "secrets": ["S3cr3t"], "x": {"y": "S3cr3t"}},
    ],
)
def test_names_that_only_look_like_the_right_ones(flat):
    kept = recorded(json.dumps({"cmd": "session", "op": "open", **flat}))
    assert SECRET not in kept
    assert json.loads(kept).keys() == {"cmd", "op", *flat}


def test_what_people_write_is_kept():
    frame = '{"cmd":"conv", "op":"start", "attr":{"s":1,"st":"x"}, "i":1}'
    assert recorded(frame) == frame


def test_a_frame_without_bottom_gives_nothing_away():
    deep = '{"message":' * 900 + '{"st":"S3cr3t"}' + "}" * 900
    assert SECRET not in recorded(deep)
    assert SECRET not in recorded(f'{{"cmd":"echo","xmessage":{deep}}}')


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("SESSION_TOKEN_EXPIRED", "SESSION_TOKEN_EXPIRED"),
        ("the server is going away, try again.", "the server is going away, try again."),
        ("S3cr3t", "***"),
        ("token=abc", "***"),
        ("the token is " + "aBcDeFgH" * 4, "***"),
        ("bye\nS3cr3t", "***"),
    ],
)
def test_reasons(reason, shown):
    assert masked_reason(reason) == shown


def test_texts_in_fields_that_nobody_knows():
    unknown = bytes.fromhex("92ff0306") + b"S3cr3t" + bytes.fromhex("f8ff0301 c1ff03") + bytes(8)
    session = encode_message(SessionCommand(st="S3cr3t", device_token="S3cr3t")) + unknown
    payload = b"\x08\x00" + b"\xb2\x06" + bytes([len(session)]) + session + unknown
    frame = Recorded("2026-11-21T09:30:00.125Z", 1, "to-server", "protobuf", payload)
    assert frame.command().session_message.st == "S3cr3t"
    safe = frame.masked()
    assert SECRET.encode() not in safe.payload
    assert SECRET.encode().hex() not in safe.readable()
    assert safe.command().session_message.device_token == "***"
    assert safe.readable().count("92ff03032a2a2af8ff0301c1ff030000000000000000") == 2


def test_what_an_undecodable_frame_says_is_not_repeated():
    with pytest.raises(WireError) as caught:
        decode_json('{"cmd": "logs", "direction": "S3cr3t"}')
    assert SECRET not in str(caught.value)
