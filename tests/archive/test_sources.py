"""What the console exports, in all its forms."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_realtime._archive import sources
from trio_realtime._archive.archive import open_archive
from trio_realtime._archive.bson import BadBson, documents
from trio_realtime._archive.errors import ArchiveError
from trio_realtime._archive.sources import LONGEST_LINE, Batch, Note, read_sources

HEADER = b'#filetype:JSON-streaming {"type":"Class","class":"_Conversation"}\n'
ROWS = [
    {"objectId": f"64b0c0ffee{number:014x}", "createdAt": "2026-03-01T08:00:00.123Z", "m": ["ann"]}
    for number in range(5)
]
LINES = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)


def read(*paths):
    """Rows with their kinds, and notes."""
    rows, notes = [], []
    for item in read_sources(list(paths)):
        if isinstance(item, Note):
            notes.append(item)
        else:
            rows += [(item.kind, json.loads(text)) for text in item.lines]
    return rows, notes


def only(paths):
    rows, notes = read(*paths)
    assert notes == []
    assert {kind for kind, _ in rows} == {"conversations"}
    return [row for _, row in rows]


def tar_of(path, files):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("_Conversation.0.jsonl", HEADER + LINES),
        ("anything.jsonl", HEADER + LINES),
        ("_Conversation.jsonl", LINES),
        ("_Conversation_all.json", HEADER + LINES + b"\n\n"),
        ("_Conversation.json", b"\xef\xbb\xbf" + json.dumps(ROWS).encode()),
        ("_Conversation.json", json.dumps(ROWS, indent=1).encode()),
        ("_Conversation.json", json.dumps({"results": ROWS}).encode()),
        ("_Conversation.0.jsonl", (HEADER + LINES).replace(b"\n", b"\r\n")),
        ("_Conversation.0.jsonl", HEADER + LINES.rstrip()),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_forms_of_an_export(name, data, packed, tmp_path):
    file = tmp_path / (name + ".gz" * packed)
    file.write_bytes(gzip.compress(data) if packed else data)
    assert only([file]) == ROWS
    assert only([tmp_path]) == ROWS


def test_a_tar_with_several_classes_in_any_order(tmp_path):
    info = {"objectId": "1", "cid": ROWS[0]["objectId"], "clientId": "ann", "role": "Manager"}
    tar_of(
        tmp_path / "export.tar.gz",
        {
            "x/_ConversationMemberInfo.0.jsonl": json.dumps(info).encode(),
            "x/_User.0.jsonl": b'{"objectId":"u"}\n',
            "x/_Conversation.1.jsonl": LINES[len(LINES) // 5 * 2 :],
            "x/_Conversation.0.jsonl": HEADER + LINES[: len(LINES) // 5 * 2],
        },
    )
    rows, notes = read(tmp_path / "export.tar.gz")
    assert [kind for kind, _ in rows] == ["conversations"] * 5 + ["member-infos"]
    assert [note.reason for note in notes] == ["the class _User is not imported"]


def test_parts_are_read_in_their_order(tmp_path):
    for number in (0, 2, 10):
        row = json.dumps({"objectId": str(number)}).encode()
        (tmp_path / f"_Conversation.{number}.jsonl").write_bytes(row)
    assert [row["objectId"] for row in only([tmp_path])] == ["0", "2", "10"]


def test_line_numbers_are_those_of_the_file(tmp_path):
    file = tmp_path / "_Conversation.0.jsonl"
    file.write_bytes(HEADER + b"\n" + LINES)
    (batch,) = [item for item in read_sources([file]) if isinstance(item, Batch)]
    assert batch.numbers == [3, 4, 5, 6, 7]


def test_separators_within_texts_end_no_line(tmp_path):
    row = {"objectId": "x", "name": "a\u2028b\u2029c\x0bd\x85e"}
    file = tmp_path / "_Conversation.0.jsonl"
    file.write_bytes(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    assert only([file]) == [row]


def test_a_relation_is_not_imported(tmp_path):
    header = b'#filetype:JSON-streaming {"type":"Relation","class":"_Conversation"}\n'
    (tmp_path / "_Conversation.0.jsonl").write_bytes(header + LINES)
    rows, notes = read(tmp_path)
    assert rows == []
    assert "Relation" in notes[0].reason


def test_a_row_of_ten_megabytes_is_passed_over(tmp_path):
    large = json.dumps({"objectId": "x", "a": "y" * 10_000_000}).encode()
    (tmp_path / "_Conversation.0.jsonl").write_bytes(HEADER + large + b"\n" + LINES)
    rows, notes = read(tmp_path)
    assert [row for _, row in rows] == ROWS
    assert (notes[0].number, f"{LONGEST_LINE:,}" in notes[0].reason) == (2, True)


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".tar.gz"])
def test_a_truncated_file_says_so_and_gives_what_it_has(suffix, tmp_path):
    file = tmp_path / f"_Conversation{suffix}"
    rows = b"".join(
        json.dumps({"objectId": str(number), "x": [hash((number, n)) for n in range(20)]}).encode()
        + b"\n"
        for number in range(3000)
    )
    if suffix == ".tar.gz":
        tar_of(file, {"_Conversation.0.jsonl": rows})
    else:
        file.write_bytes(gzip.compress(rows))
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    found, notes = read(file)
    assert len(found) <= 3000
    assert any("cannot be read" in note.reason for note in notes)


def test_there_is_nothing(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ArchiveError):
            read(path)


# BSON.


def bson(value, kind=None):
    """A document, or the bytes of a value with its type."""

    def element(name, value):
        kind, data = encoded(value)
        return bytes([kind]) + name.encode() + b"\0" + data

    def document(items):
        body = b"".join(element(name, one) for name, one in items) + b"\0"
        return struct.pack("<i", len(body) + 4) + body

    def encoded(value):
        match value:
            case bool():
                return 0x08, bytes([value])
            case None:
                return 0x0A, b""
            case int() if abs(value) < 2**31:
                return 0x10, struct.pack("<i", value)
            case int():
                return 0x12, struct.pack("<q", value)
            case float():
                return 0x01, struct.pack("<d", value)
            case str():
                data = value.encode() + b"\0"
                return 0x02, struct.pack("<i", len(data)) + data
            case bytes() if len(value) == 12:
                return 0x07, value
            case {"ms": ms}:
                return 0x09, struct.pack("<q", ms)
            case dict():
                return 0x03, document(value.items())
            case list():
                return 0x04, document((str(n), one) for n, one in enumerate(value))
        raise AssertionError(value)

    return document(value.items())


def test_a_backup(tmp_path):
    row = {
        "_id": bytes.fromhex("64b0c0ffee00000000000001"),
        "m": ["ann", "bob"],
        "tr": False,
        "n": 2**40,
        "x": 1.5,
        "none": None,
        "attr": {"a": [{"b": "\u2028"}]},
        "createdAt": {"ms": 1_772_352_000_000},
        "lm": {"ms": 1_772_352_000_001},
    }
    data = bson(row) + bson({"_id": "plain", "createdAt": {"ms": 0}})
    (tmp_path / "_Conversation.bson.gz").write_bytes(gzip.compress(data))
    assert only([tmp_path]) == [
        {
            "objectId": "64b0c0ffee00000000000001",
            "m": ["ann", "bob"],
            "tr": False,
            "n": 2**40,
            "x": 1.5,
            "none": None,
            "attr": {"a": [{"b": "\u2028"}]},
            "createdAt": "2026-03-01T08:00:00.000Z",
            "lm": {"__type": "Date", "iso": "2026-03-01T08:00:00.001Z"},
        },
        {"objectId": "plain", "createdAt": "1970-01-01T00:00:00.000Z"},
    ]


def test_a_document_that_is_wrong_spoils_no_other():
    good = bson({"_id": "x"})
    strange = bytearray(bson({"_id": 5}))
    strange[4] = 0x13
    found = list(documents(io.BytesIO(good + bytes(strange) + good)))
    assert [type(one) for one in found] == [dict, BadBson, dict]


@given(st.binary(max_size=200), st.integers(0, 60))
def test_any_bytes_are_an_error_or_documents(data, cut):
    whole = bson({"_id": "x", "m": ["ann"], "d": {"ms": 5}})
    for given_bytes in (data, whole[:cut] + data, struct.pack("<i", len(data) + 4) + data):
        try:
            for one in documents(io.BytesIO(given_bytes)):
                assert isinstance(one, dict | BadBson)
        except BadBson:
            pass


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=40), st.data())
def test_messages_are_read_by_conversation_in_their_order(places, data):
    """With their own line numbers, whatever lies between them, and however far is looked ahead."""
    lines = [json.dumps({"to": to, "n": n}).encode() for to, n in places]
    for bad in data.draw(st.lists(st.sampled_from([b"", b"{", b"7", b'{"to":5}', b"\xff"]))):
        lines.insert(data.draw(st.integers(0, len(lines))), bad)
    numbered = list(enumerate(lines, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "WINDOW_ROWS", data.draw(st.integers(1, 50)))
        patch.setattr(sources, "WINDOW_BYTES", data.draw(st.integers(1, 2000)))
        read = list(sources._by_conversation(iter(numbered), "file", {}))
    assert sorted(read) == numbered
    for place in "abc":
        mine = f'"{place}"'.encode()
        assert [n for n, line in read if mine in line] == [
            n for n, line in numbered if mine in line
        ]


async def test_rows_that_are_not_taken_are_named_by_their_own_lines(tmp_path):
    path = tmp_path / "archive"
    async with open_archive(path, app_id="x") as archive:
        part = archive.manifest.new_part("messages", complete=True)
        await archive.append(part, [{"to": to, "n": n} for n, to in enumerate("cab" * 3)])
    (batch,) = read_sources([path])
    assert [json.loads(line)["n"] + 1 for line in batch.lines] == batch.numbers
    assert batch.numbers == [2, 5, 8, 3, 6, 9, 1, 4, 7]
