from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.strategies import MESSAGE_CLASSES, messages
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    ErrorCommand,
    GenericCommand,
    JsonObjectMessage,
    LogsCommand,
    OpType,
    QueryDirection,
    SessionCommand,
    UnreadCommand,
    UnreadTuple,
    WireError,
    decode_json,
    encode_json,
)
from trio_realtime.wire._flat_json import MAX_DEPTH, NOT_KNOWN, PAYLOADS


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("{}", GenericCommand(cmd=CommandType.ECHO)),
        (
            '{"cmd":"session","op":"open","appId":"a","peerId":"Tom","ua":"js/2.4.0","i":-7}',
            GenericCommand(
                cmd=CommandType.SESSION,
                op=OpType.OPEN,
                app_id="a",
                peer_id="Tom",
                i=-7,
                session_message=SessionCommand(ua="js/2.4.0"),
            ),
        ),
        (
            (
                '{"cmd":"conv","op":"members-joined","i":1,"m":["Jerry"],"cid":"c","tempConvTTL":60,'
                '"failedPids":[{"code":4548,"reason":"BLOCKED_BY_CONV","pids":["Spike"]}],'
                '"attr":{"name":"猫","deep":[1,{"x":null}]}}'
            ),
            GenericCommand(
                cmd=CommandType.CONV,
                op=OpType.MEMBERS_JOINED,
                i=1,
                conv_message=ConvCommand(
                    m=["Jerry"],
                    cid="c",
                    temp_conv_ttl=60,
                    failed_pids=[ErrorCommand(code=4548, reason="BLOCKED_BY_CONV", pids=["Spike"])],
                    attr=JsonObjectMessage(data='{"name":"猫","deep":[1,{"x":null}]}'),
                ),
            ),
        ),
        (
            '{"cmd":"logs","cid":"c","limit":20,"direction":"NEW"}',
            GenericCommand(
                cmd=CommandType.LOGS,
                logs_message=LogsCommand(cid="c", limit=20, direction=QueryDirection.NEW),
            ),
        ),
        (
            '{"cmd":"unread","convs":[{"cid":"c","unread":0,"from":"Tom","binaryMsg":"AQID"}]}',
            GenericCommand(
                cmd=CommandType.UNREAD,
                unread_message=UnreadCommand(
                    convs=[UnreadTuple(cid="c", unread=0, from_="Tom", binary_msg=b"\1\2\3")]
                ),
            ),
        ),
    ],
)
def test_both_directions(text, command):
    assert decode_json(text) == command
    assert json.loads(encode_json(command)) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ('{"cmd":"direct","r":1}', "r", True),
        ('{"cmd":"direct","r":false}', "r", False),
        ('{"cmd":"direct","msg":{"_lctype":-1}}', "msg", '{"_lctype":-1}'),
        ('{"cmd":"direct","cid":null}', "cid", None),
    ],
)
def test_what_older_clients_write(text, name, value):
    assert getattr(decode_json(text).direct_message, name) == value


def test_other_spellings_of_older_clients():
    assert decode_json('{"cmd":"direct","level":3}').priority == 3
    patched = decode_json('{"cmd":"patch","op":"modify","patches":[{"meintonPids":["Tom"]}]}')
    assert patched.patch_message.patches[0].mention_pids == ["Tom"]


def test_unknown_keys_are_ignored():
    assert decode_json('{"cmd":"ack","read":true,"x":{}}').ack_message is not None


@pytest.mark.parametrize("flat", [{"cmd": "nope"}, {"cmd": "conv", "op": "nope"}])
def test_a_name_that_nobody_knows_is_like_a_number_that_nobody_knows(flat):
    command = decode_json(json.dumps({**flat, "i": 3, "cid": "c"}))
    assert command.i == 3
    unknown = command.cmd if command.op is None else command.op
    assert unknown == NOT_KNOWN
    assert decode_json(encode_json(command)) == command


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '"x"',
        "{",
        b"\xff\xfe{}",
        '{"i":1}',
        '{"cmd":"logs","direction":"nope"}',
        '{"cmd":2.5}',
        '{"cmd":"conv","op":"op-unspecified"}',
        '{"cmd":"conv","m":"Tom"}',
        '{"cmd":"conv","m":[1]}',
        '{"cmd":"conv","limit":4294967296}',
        '{"cmd":"conv","limit":true}',
        '{"cmd":"direct","r":2}',
        '{"cmd":"direct","binaryMsg":"é"}',
        '{"cmd":"direct","timestamp":1e400}',
        '{"cmd":"read","convs":[{}]}',
        '{"cmd":"read","convs":{}}',
        '{"cmd":"unread","convs":[7]}',
        '{"cmd":"conv","attr":' + "[" * 100_000,
        '{"cmd":"conv","attr":' + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1) + "}",
    ],
)
def test_what_is_no_command_is_refused(text):
    with pytest.raises(WireError):
        decode_json(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)
keys = st.sampled_from(
    ["cmd", "op", "i", "m", "cid", "attr", "convs", "patches", "r", "msg", "direction", "t"]
)


@given(st.dictionaries(keys, json_values, max_size=6), st.sampled_from(sorted(CommandType)))
def test_nothing_but_wire_errors_escapes(flat, cmd):
    flat.setdefault("cmd", cmd.name.lower())
    try:
        command = decode_json(json.dumps(flat))
    except WireError:
        return
    again = decode_json(encode_json(command))
    assert json.loads(encode_json(again)) == json.loads(encode_json(command))


@given(st.binary(max_size=60))
def test_no_bytes_do_harm(data):
    with suppress(WireError):
        decode_json(data)


CLASS_OF = {cls.__name__.lower(): cls for cls in MESSAGE_CLASSES}


@pytest.mark.parametrize("cmd", [c for c in PAYLOADS if c is not CommandType.DATA])
@given(data=st.data())
def test_every_command_survives_the_way_there_and_back(cmd, data):
    cls = CLASS_OF[PAYLOADS[cmd].removesuffix("_message") + "command"]
    payload = data.draw(messages(cls))
    command = GenericCommand(cmd=cmd, i=1, **{PAYLOADS[cmd]: payload})
    try:
        text = encode_json(command)
        back = decode_json(text)
    except WireError:
        return  # unknown enum members and texts that are no JSON have no spelling
    assert json.loads(encode_json(back)) == json.loads(text)
