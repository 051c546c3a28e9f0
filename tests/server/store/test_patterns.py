from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_realtime.server.store.interface import QueryError
from trio_realtime.server.store.patterns import compile_regex


@pytest.mark.parametrize(
    ("pattern", "options", "yes", "no"),
    [
        (r"\Qa.b\E", "", "xa.bx", "xaxbx"),
        (r"^\Qa.b\E", "", "a.bx", "xa.b"),
        (r"\Qa.b\E$", "", "xa.b", "a.bx"),
        (r"\Qa\E\\E\Qb\E", "", r"a\Eb", "ab"),
        (r"\Qopen (", "", "open (", "open"),
        (r"a\Eb", "", "ab", "a"),
        ("abc", "i", "xABC", "ab"),
        ("^b", "m", "a\nb", "ab"),
        ("a.b", "s", "a\nb", "ab"),
        ("a b # comment", "x", "ab", "a b"),
        ("a.b", "", "axb", "a\nb"),
        (r"^\d{3}-\d+$", "", "123-4567", "12-4567"),
        (r"[[:alpha:]]+[^[:digit:]]", "", "ab-", "12"),
        (r"[a[]x", "", "[x", "bx"),
        (r"[]a]x", "", "]x", "bx"),
        (r"[^]a]x", "", "bx", "]x"),
        (r"[&&~~||--]", "", "|", "a"),
        (r"[\d\-]", "", "-", "a"),
        (r"a\z", "", "ba", "a\n"),
        (r"a\Z", "", "a\n", "a\nb"),
        (r"a\hb", "", "a\tb", "a\nb"),
        (r"[\h]b", "", " b", "ab"),
        ("colou?r", "", "color", "colr"),
        ("cat|dog", "", "a dog", "a pig"),
        ("^(cat|dog)s?$", "", "cats", "catss"),
        ("(ab)+c", "", "ababc", "abab"),
        ("电影", "", "看电影", "电 影"),
        ("(?=a)a", "", "a", "b"),
        ("", "", "anything", None),
    ],
)
def test_patterns(pattern, options, yes, no):
    matches = compile_regex(pattern, options)
    assert matches(yes)
    assert no is None or not matches(no)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a*)*b",
        "(a|aa)+$",
        "(a|b|ab)*c",
        "(a?)+b",
        "(.*a){20}",
        "((a{1000}){1000}){1000}",
        "a?" * 40 + "a" * 40,
        ".*.*.*.*=",
        "(x+x+)+y",
        r"(a)\1",
        r"(?P<n>a)(?P=n)",
        "(a)?(?(1)b|c)",
        "(?:(?:a{0,9}){0,9}){0,9}",
        "(ax|bx)(cx|dx)" * 30,
        ".{0,999}.{0,999}.{0,999}x",
        "(" * 400,
        "(" * 490 + ")" * 490,
        "a" * 1001,
        "[z-a]",
        "*",
        "a{2,1}",
        "[[:nonsense:]]",
        "\\",
        "a(?i)b",
        "a{99999999999999999999}",
    ],
    ids=lambda pattern: pattern[:30],
)
def test_expensive_and_illegal_patterns(pattern):
    with pytest.raises(QueryError):
        compile_regex(pattern)


def test_options_are_known():
    with pytest.raises(QueryError, match="options"):
        compile_regex("a", "g")


def test_long_subjects_are_only_for_cheap_patterns():
    assert compile_regex(r"\Qneedle\E")("x" * 100_000 + "needle")
    assert compile_regex("a.*b")("a" * 200 + "b")
    with pytest.raises(QueryError, match="expensive"):
        compile_regex("a.*b.*c")("a" * 10_000)


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_quoting_matches_literally(before, text, after):
    quoted = r"\Q" + text.replace(r"\E", r"\E\\E\Q") + r"\E"
    assert compile_regex(quoted)(before + text + after)
    assert compile_regex(f"^{quoted}$")(text)
    assert compile_regex(quoted)(before) == (text in before)


@given(st.text(alphabet=r"ab.*+?()[]{}|^$\QE-1,:=!<P&~", max_size=30), st.sampled_from("imxs"))
def test_any_pattern_is_compiled_or_refused(pattern, option):
    try:
        matches = compile_regex(pattern, option)
    except QueryError:
        return
    for subject in ("", "ab" * 40, pattern):
        assert matches(subject) in {True, False}


@given(st.text(alphabet="ab.?^$[]()|1-", max_size=10), st.text(alphabet="ab1", max_size=6))
def test_what_needs_no_translation_means_the_same(pattern, subject):
    try:
        matches = compile_regex(pattern)
        expected = re.search(pattern, subject)
    except (QueryError, re.error):
        return
    if "[" not in pattern:
        assert matches(subject) == (expected is not None)
