from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_realtime.server.files.ranges import (
    Span,
    Unsatisfiable,
    byte_range,
    disposition,
    extension,
    media_type,
)

SAFE_HEADER = re.compile(r"[\x20-\x7e]*")


@pytest.mark.parametrize(
    ("given_type", "name", "expected"),
    [
        ("image/png", "x.gif", "image/png"),
        ("text/plain; charset=utf-8", "x", "text/plain; charset=utf-8"),
        ('text/plain;charset="a b"', "x", 'text/plain;charset="a b"'),
        (None, "x.PNG", "image/png"),
        (None, "x.webp", "image/webp"),
        (None, "x.m4a", "audio/mp4"),
        (None, "x.tar.gz", "application/octet-stream"),
        (None, "x.unheardof", "application/octet-stream"),
        (None, "http://e.com/x.png", "image/png"),
        (None, "data:text/html,x", "application/octet-stream"),
        (None, "", "application/octet-stream"),
        ("image/png\n", "x.gif", "image/gif"),
        ("a/b/c", "x.gif", "image/gif"),
        (["image/png"], "x.gif", "image/gif"),
    ],
)
def test_the_type_is_what_was_said_or_follows_from_the_name(given_type, name, expected):
    assert media_type(given_type, name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x.png", ".png"),
        ("a.b.c", ".c"),
        ("x", ""),
        ("x.", ""),
        ("x.p/g", ""),
        ("x.png\n", ""),
        ("x." + "y" * 17, ""),
        ("x.é", ""),
    ],
)
def test_an_extension_is_plain_or_none(name, expected):
    assert extension(name) == expected


@given(st.text(), st.one_of(st.none(), st.text(), st.from_regex(r"[a-z]+/[a-z]+.*")))
def test_no_header_can_be_broken_out_of(name, mime_type):
    kind = media_type(mime_type, name)
    assert SAFE_HEADER.fullmatch(kind)
    header = disposition(kind, name)
    assert SAFE_HEADER.fullmatch(header)
    form = r"(inline|attachment); filename=\"[^\"\\]*\"; filename\*=UTF-8''[A-Za-z0-9%._~-]*"
    assert re.fullmatch(form, header)


@given(st.text(max_size=40))
def test_any_text_is_a_range_or_none(text):
    byte_range(text, 100)


@given(
    st.integers(0, 10**18 - 1) | st.none(), st.integers(0, 10**18 - 1) | st.none(), st.integers(0)
)
def test_a_range_lies_within_the_file(first, last, size):
    text = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    try:
        span = byte_range(text, size)
    except Unsatisfiable:
        assert (first or 0) >= size if first is not None else 0 in {last, size}
        return
    if span is None:
        assert (first is None and last is None) or (first or 0) > (last or 0)
        return
    assert 0 <= span.start < span.stop <= size
    if first is None:
        assert span == Span(max(0, size - last), size)
    else:
        assert span == Span(first, size if last is None else min(last + 1, size))
