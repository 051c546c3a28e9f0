from __future__ import annotations

import base64
import json
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_realtime._cli.decode import shown
from trio_realtime._cli.readable import MASK, masked, readable
from trio_realtime._cli.recording import Recorded, RecordingError, from_fields
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    DirectCommand,
    ErrorCommand,
    GenericCommand,
    OpType,
    SessionCommand,
    WireError,
    decode,
    encode,
    encode_json,
)

ECHO = "080e2807"
START = (
    "0801101e2802f2062a0a066c65657965680a05776368656e1801"
    "ba06160a147b22666f6f223a312c226e616d65223a226e227d"
)
START_READ = """\
conv/start  i=2
    convMessage
        m: ["leeyeh", "wchen"]
        unique: true
        attr: {"foo": 1, "name": "n"}"""
LOGIN = GenericCommand(
    cmd=CommandType.SESSION,
    op=OpType.OPEN,
    peer_id="Tom",
    session_message=SessionCommand(t=1, s="a signature", ua="js/5", st="a token"),
)


def run(*arguments, given=b""):
    done = subprocess.run(
        [sys.executable, "-m", "trio_realtime", "decode", *map(str, arguments)],
        input=given,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    return done.returncode, done.stdout.decode(), done.stderr.decode().strip()


@pytest.mark.parametrize(
    "line",
    [
        START,
        START.upper(),
        f"  `{START[:20]} {START[20:]}`\n",
        base64.b64encode(bytes.fromhex(START)).decode(),
        encode_json(decode(bytes.fromhex(START))),
    ],
)
def test_a_frame_is_understood_however_it_is_written(line):
    assert shown(line) == START_READ


def test_every_kind_of_value_is_named_as_in_the_protocol():
    command = GenericCommand(
        cmd=CommandType.CONV,
        op=OpType.MEMBERS_JOINED,
        conv_message=ConvCommand(temp_conv_ttl=60, m=["a"]),
    )
    assert readable(command).splitlines() == [
        "conv/members-joined",
        "    convMessage",
        '        m: ["a"]',
        "        tempConvTTL: 60",
    ]


def test_a_message_is_shown_as_what_it_holds_and_a_time_as_a_time():
    direct = DirectCommand(msg='{"_lctext":"起床！"}', timestamp=1_700_000_000_123, transient=False)
    said = readable(GenericCommand(cmd=CommandType.DIRECT, direct_message=direct))
    assert '        msg: {"_lctext": "起床！"}' in said
    assert "timestamp: 1700000000123 (2023-11-14T22:13:20.123Z)" in said
    assert "transient: false" in said


def test_unknown_fields_are_shown():
    assert shown(ECHO + "f8ff0301") == "echo  i=7\n    unknown fields: f8ff0301"


def test_unknown_commands_and_operations_are_numbers():
    assert shown("08e70710e807") == "999/1000"


@given(st.text())
def test_nothing_in_a_frame_reaches_the_terminal_but_what_can_be_printed(text):
    direct = DirectCommand(msg=text, from_peer_id=text)
    command = GenericCommand(cmd=CommandType.DIRECT, peer_id=text, direct_message=direct)
    try:
        encode(command)
    except WireError:
        return  # a lone surrogate can be in no frame
    assert readable(command).replace("\n", "").isprintable()


@given(st.binary() | st.text().map(str.encode))
def test_nothing_but_a_sentence_comes_of_garbage(data):
    for line in (data.hex(), base64.b64encode(data).decode(), data.decode("utf-8", "replace")):
        with suppress(WireError, RecordingError):
            assert shown(line)


def test_secrets_are_masked_and_the_original_is_left_alone():
    said = readable(masked(LOGIN))
    assert f's: "{MASK}"' in said
    assert f'st: "{MASK}"' in said
    assert 'ua: "js/5"' in said
    assert "a token" not in said
    assert "a signature" not in said
    assert LOGIN.session_message.st == "a token"


@pytest.mark.parametrize(
    ("dialect", "payload"),
    [
        ("protobuf", encode(LOGIN)),
        ("base64", base64.b64encode(encode(LOGIN)).decode()),
        ("base64", encode(LOGIN)),
        ("json", encode_json(LOGIN)),
    ],
)
def test_what_is_recorded_can_be_read_and_holds_no_secrets(dialect, payload):
    frame = Recorded("2026-11-21T09:30:00.000Z", 3, "to-server", dialect, payload)
    line = frame.masked().line()
    assert from_fields(json.loads(line)) == frame.masked()
    assert shown(line) == f"2026-11-21T09:30:00.000Z [3] → {readable(masked(LOGIN))}"
    for secret in ("a token", "a signature"):
        assert secret not in line
        assert base64.b64encode(secret.encode()).decode()[:8] not in line


def test_what_holds_no_secrets_is_recorded_as_it_was():
    odd = '{"op":"open", "cmd":"session", "peculiar":1}'
    frame = Recorded("t", 1, "to-server", "json", odd)
    assert frame.masked().payload is odd
    assert json.loads(
        Recorded("t", 1, "to-server", "json", odd[:-1] + ',"st":"x"}').masked().payload
    ) == {"op": "open", "cmd": "session", "peculiar": 1, "st": MASK}


RECORD = json.loads(Recorded("t", 1, "to-client", "protobuf", bytes.fromhex(ECHO)).line())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dialect": "morse"}, "'dialect' should be protobuf or base64 or json"),
        ({"direction": "up"}, "'direction' should be to-server or to-client"),
        ({"connection": "1"}, "'connection' should be a number"),
        ({"time": None}, "'time' should be a text"),
        ({"binary": 1}, "'binary' should be true or false"),
        ({"frame": "???"}, "'frame' is not base64"),
        ({"frame": "AAAA"}, "a recorded frame that is no command"),
        ({"binary": False}, "a text frame in a binary sub-protocol"),
    ],
)
def test_a_damaged_record_is_told_what_is_wrong_with_it(change, said):
    with pytest.raises(ValueError, match="frame") as caught:
        shown(json.dumps(RECORD | change))
    assert said in str(caught.value)


def test_program_reads_arguments():
    assert run(START, ECHO) == (0, f"{START_READ}\necho  i=7\n", "")


def test_program_reads_lines_of_the_standard_input():
    assert run(given=f"{ECHO}\n\n{START}\n".encode()) == (0, f"echo  i=7\n{START_READ}\n", "")


def test_program_goes_on_after_a_malformed_line_and_says_where_it_was(tmp_path):
    file = tmp_path / "session.jsonl"
    file.write_bytes(b"\xff\xfe\n" + json.dumps(RECORD).encode() + b'\n{"cmd": oops}\n08\n')
    status, said, complaint = run(file)
    assert status == 1
    assert said == "t [1] ← echo  i=7\n"
    first, second, third = complaint.splitlines()
    assert first == f"trio-realtime: {file}, line 1: neither hex, base64 nor JSON."
    assert second.startswith(f"trio-realtime: {file}, line 3: JSON with a mistake at column 9")
    assert third == (
        f"trio-realtime: {file}, line 4: hex of 1 bytes that are no command: "
        "the data ends within a field."
    )


def test_program_says_what_cannot_be_read(tmp_path):
    file = tmp_path / "mine"
    file.write_text(ECHO)
    file.chmod(0)
    try:
        file.read_text()
    except PermissionError:
        assert run(file) == (2, "", f"trio-realtime: {file} cannot be read: Permission denied.")
    else:  # a superuser may read everything
        assert run(file)[0] == 0


def test_an_argument_that_is_neither_frame_nor_file():
    assert run("nonsense!") == (
        1,
        "",
        "trio-realtime: argument, line 1: neither hex, base64 nor JSON.",
    )


def test_program_ends_in_peace_when_nobody_reads_on():
    program = subprocess.Popen(
        [sys.executable, "-m", "trio_realtime", "decode"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    program.stdout.close()
    program.stdin.write(f"{ECHO}\n".encode())
    program.stdin.close()
    complaint = program.stderr.read()
    program.stderr.close()
    assert (program.wait(60), complaint) == (0, b"")


def test_a_recorded_time_may_hold_no_tricks():
    line = json.dumps(RECORD | {"time": "\x1b[2J"})
    assert "\x1b" not in shown(line)
    assert decode(bytes.fromhex(ECHO)) == from_fields(RECORD).command()


def test_a_refusal_is_readable():
    refusal = ErrorCommand(code=4201, reason="INVALID_MESSAGING_TARGET")
    said = readable(GenericCommand(cmd=CommandType.ERROR, i=4, error_message=refusal))
    assert said.splitlines()[0] == "error  i=4"
    assert "        code: 4201" in said
