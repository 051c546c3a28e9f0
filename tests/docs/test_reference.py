"""The tables of the protocol reference agree with the code that goes by them."""

from __future__ import annotations

import hmac
import re
from hashlib import md5, sha1

import pytest

from tests.docs.citations import REFERENCE
from tests.wire.oracle import google_proto2
from tests.wire.test_vectors import VECTORS
from trio_realtime import ErrorCode
from trio_realtime.wire import decode, encode

pytestmark = pytest.mark.docs

HEADING = re.compile(r"^#{2,3} (.+)$")
FOREIGN = {1002}
"""Codes that other SDKs alone raise, of those that are named like the server's."""
WIRE_TYPES = {3: "int64", 5: "int32", 8: "bool", 9: "string", 12: "bytes"}


def rows(page: str) -> list[tuple[str, list[str]]]:
    """The rows of all tables of a page, each with the heading above it."""
    heading, found = "", []
    for line in (REFERENCE / page).read_text("utf-8").splitlines():
        if match := HEADING.match(line):
            heading = match[1].split(" (")[0]
        elif line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            found.append((heading, cells))
    return found


def written_fields() -> set[tuple[str, int, str, str, str]]:
    """Message, number, name, type and label of each field in the tables."""
    found = set()
    message = ""
    for heading, cells in rows("schema.md"):
        if heading.startswith("Messages that exist only"):
            message = cells[0] or message
            cells = [*cells[1:], "optional"]  # noqa: PLW2901 - what the text below the table says
        else:
            message = heading
        if (
            len(cells) >= 4
            and cells[0].isdigit()
            and cells[3] in {"optional", "required", "repeated"}
        ):
            found.add((message, int(cells[0]), cells[1].strip("`"), cells[2], cells[3]))
    return found


def type_name(field) -> str:
    named = field.message_type or field.enum_type
    return named.name if named else WIRE_TYPES[field.type]


def label(field) -> str:
    return "repeated" if field.is_repeated else "required" if field.is_required else "optional"


def test_fields_are_those_of_the_schema():
    file = google_proto2("GenericCommand").DESCRIPTOR.file
    schema = {
        (message.name, field.number, field.name, type_name(field), label(field))
        for message in file.message_types_by_name.values()
        for field in message.fields
    }
    assert written_fields() == schema


@pytest.mark.parametrize(
    ("heading", "scope", "name"),
    [
        ("CommandType", None, "CommandType"),
        ("OpType", None, "OpType"),
        ("StatusType", None, "StatusType"),
        ("LogsCommand.QueryDirection", "LogsCommand", "QueryDirection"),
        ("DeviceType", "SystemInfo", "DeviceType"),
    ],
)
def test_enums_are_those_of_the_schema(heading, scope, name):
    file = google_proto2("GenericCommand").DESCRIPTOR.file
    enums = file.message_types_by_name[scope] if scope else file
    values = enums.enum_types_by_name[name].values
    written = {
        (int(cells[0]), cells[1].split("`")[1].upper())
        for above, cells in rows("schema.md")
        if above == heading and cells[0].isdigit()
    }
    assert written == {
        (value.number, value.name) for value in values if not value.name.endswith("_UNSPECIFIED")
    }


def test_frames_are_read_and_written_as_they_stand():
    frames = {
        cells[1].strip("`").replace(" ", "")
        for above, cells in rows("schema.md")
        if above == "Byte-level test vectors" and "…" not in cells[1] and "`" in cells[1]
    }
    assert frames
    assert {encode(decode(bytes.fromhex(frame))).hex() for frame in frames} == frames
    assert frames <= {vector.values[0] for vector in VECTORS}


def test_error_codes_are_those_of_the_table():
    written = {
        (int(cells[0]), cells[1].split()[0])
        for _, cells in rows("errors.md")
        if cells[0].isdigit() and re.match(r"[A-Z_]+( |$)", cells[1])
    }
    known = {(code.value, name) for name, code in ErrorCode.__members__.items()}
    assert {code for code, _ in written} - FOREIGN == {code for code, _ in known}
    assert {(code, name) for code, name in written if code not in FOREIGN} <= known


def test_signatures_are_those_of_their_strings():
    text = (REFERENCE / "signatures.md").read_text("utf-8")
    (app,) = re.findall(r"App id `(\w+)`", text)
    (key,) = re.findall(r"master key\s`(\w+)`", text)
    shown = re.findall(rf"`({app}:[^`…]+)` \| `([0-9a-f]{{40}})` \|", text)
    assert shown
    for message, signature in shown:
        assert hmac.new(key.encode(), message.encode(), sha1).hexdigest() == signature
    digests = re.findall(r"MD5\(`([^`]+)`\) \| `([0-9a-f]{32})` \|", text)
    assert digests
    for message, digest in digests:
        assert md5(message.encode()).hexdigest() == digest
