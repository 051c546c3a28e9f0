from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_realtime.server.rules.json import (
    MAX_DEPTH,
    BadJson,
    changed,
    date_json,
    iso,
    json_text,
    parse_object,
    touched,
)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)
keys = st.text("abc", min_size=1, max_size=2)
documents = st.dictionaries(keys, values, max_size=4)


@given(st.dictionaries(st.text(), values))
def test_what_is_dumped_is_parsed_again(document):
    text = json_text(document)
    assert parse_object(text) == document
    assert parse_object(json.dumps(document, indent=1)) == document


@given(st.text('{}[]":\\,1ae '))
def test_any_text_is_an_object_or_bad(text):
    try:
        expected = json.loads(text)
    except ValueError:
        expected = None
    try:
        assert parse_object(text) == expected
    except BadJson:
        assert not isinstance(expected, dict)


@given(st.integers(1, 2 * MAX_DEPTH), st.booleans())
def test_depth_counts_brackets_outside_of_strings(depth, quoted):
    inner = "[" * (depth - 1) + "]" * (depth - 1) if depth > 1 else "1"
    if quoted:
        assert parse_object('{"a":"\\"' + "[{" * 100 + '","b":1}') == {
            "a": '"' + "[{" * 100,
            "b": 1,
        }
    text = '{"a":' + inner + "}"
    if depth <= MAX_DEPTH:
        assert parse_object(text) == json.loads(text)
    else:
        with pytest.raises(BadJson, match="deeper"):
            parse_object(text)


@pytest.mark.parametrize(
    "text", ['"' * 200_001, '"\\' * 100_000, '{"' + '\\"' * 100_000, "[]" * 100_000]
)
def test_long_nonsense_is_refused_in_linear_time(text):
    with pytest.raises(BadJson):
        parse_object(text)


@given(st.integers(0, 4_000_000_000_000))
def test_iso_is_utc_with_milliseconds(ms):
    text = iso(ms)
    assert len(text) == 24
    assert text.endswith("Z")
    moment = datetime.fromisoformat(text)
    assert (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000 == pytest.approx(ms)


def test_date_json():
    assert date_json(0) == {"__type": "Date", "iso": "1970-01-01T00:00:00.000Z"}


@given(
    documents, st.dictionaries(keys, values.filter(lambda v: not isinstance(v, dict)), max_size=4)
)
def test_plain_changes_are_like_an_update_of_a_dict(document, changes):
    before = json_text(document)
    result = changed(document, changes)
    assert result == {**document, **changes}
    assert json_text(document) == before
    assert touched(result, changes) == {key: result[key] for key in changes}


@given(documents, st.lists(keys, min_size=2, max_size=4), st.integers())
def test_a_path_reaches_its_place_and_nothing_else(document, parts, value):
    path = ".".join(parts)
    try:
        result = changed(document, {path: value})
    except BadJson:
        place = document
        for key in parts[:-1]:
            place = place.get(key, {})
            if not isinstance(place, dict):
                return
        raise
    nested = touched(result, [path])
    for key in parts:
        assert list(nested) == [key]
        nested = nested[key]
    assert nested == value
    assert {k: v for k, v in result.items() if k != parts[0]} == {
        k: v for k, v in document.items() if k != parts[0]
    }
    gone = changed(result, {path: {"__op": "Delete"}})
    assert touched(gone, [path]) == {}


@given(st.lists(values, max_size=5), st.lists(values, max_size=5))
def test_array_operations_agree_with_a_model(items, objects):
    def run(name):
        return changed({"a": items}, {"a": {"__op": name, "objects": objects}})["a"]

    def same(one, other):
        return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)

    def among(value, others):
        return any(same(value, other) for other in others)

    assert run("Add") == items + objects
    assert same(run("Remove"), [item for item in items if not among(item, objects)])
    unique = list(items)
    for item in objects:
        if not among(item, unique):
            unique.append(item)
    assert len(run("AddUnique")) == len(unique)
    assert all(among(item, unique) for item in run("AddUnique"))
