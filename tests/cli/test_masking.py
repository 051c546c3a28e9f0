from __future__ import annotations

import json

import pytest

from trio_realtime._cli.masking import masked_header, masked_target
from trio_realtime._cli.recording import Recorded

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
