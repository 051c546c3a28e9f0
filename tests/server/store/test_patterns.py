from __future__ import annotations

import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_realtime.server.store import patterns
from trio_realtime.server.store.errors import QueryError
from trio_realtime.server.store.patterns import check_pattern


def matches(pattern, options, text, **more):
    return patterns.matches(pattern, options, text.encode(), **more)


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
        (r"[&&~~||]", "", "|", "a"),
        (r"[[]", "", "[", "]"),
        (r"[\Q]^\E]$", "", "^", "Q"),
        (r"[[:^digit:]]", "", "a", "1"),
        (r"\é", "", "é", "e"),
        (r"\d\w\s", "", "1a ", "١a "),
        ("a$", "", "ba\n", "a\nb"),
        (r"a\ b[ #]c", "x", "a b#c", "ab#c"),
        ("(a+)+$", "", "aaa", "aab"),
        ("(a|aa)+$", "", "aaa", "aab"),
        ("(.*a){20}", "", "a" * 20, "a" * 19),
        ("a?" * 40 + "a" * 40, "", "a" * 40, "a" * 39),
        ("a(?i)b", "", "aB", "AB"),
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
        ("", "", "anything", None),
    ],
)
def test_patterns(pattern, options, yes, no):
    assert matches(pattern, options, yes)
    assert no is None or not matches(pattern, options, no)


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a)\1",
        r"(?P<n>a)(?P=n)",
        "(a)?(?(1)b|c)",
        "(?=a)a",
        "(?<!a)b",
        "a++",
        "(?>a)",
        "((a{1000}){1000}){1000}",
        "(?:(?:a{0,99}){0,99}){0,99}",
        ".{0,999}.{0,999}.{0,999}x",
        r"(\pL\pN){500}",
        "(" * 400,
        "a" * 1001,
        "[z-a]",
        "[&&~~||--]",
        "*",
        "a{2,1}",
        "[[:nonsense:]]",
        "\\",
        "\ud800",
    ],
    ids=lambda pattern: ascii(pattern)[:30],
)
def test_expensive_and_illegal_patterns(pattern, capfd):
    with pytest.raises(QueryError):
        check_pattern(pattern)
    assert capfd.readouterr() == ("", "")


def test_options_are_known():
    with pytest.raises(QueryError, match="options"):
        check_pattern("a", "g")


def test_what_is_too_large_names_the_limit():
    with pytest.raises(QueryError) as caught:
        check_pattern(r"(\pL\pN){500}")
    assert caught.value.limit == "regex_steps"


def test_a_search_is_bounded_by_both_factors():
    assert matches("abc", "", "x" * 100_000 + "abc")
    assert matches("abc", "", "x" * 90 + "abc", steps=1000)
    with pytest.raises(QueryError, match="expensive") as caught:
        matches("abc", "", "x" * 1000 + "abc", steps=1000)
    assert caught.value.limit == "regex_steps"
    with pytest.raises(QueryError, match="expensive"):
        matches("abc" * 100, "", "x" * 90, steps=1000)


def test_others_run_during_a_search():
    """The worst pattern that is accepted does not keep the interpreter's lock."""
    pattern, text = "(x?){500}x{500}", "ax " * 20_000
    check_pattern(pattern)
    begun, ended = threading.Event(), threading.Event()
    turns = []

    def take_turns():
        begun.set()
        while not ended.wait(0.001):
            turns.append(None)

    other = threading.Thread(target=take_turns)
    other.start()
    begun.wait()
    before = len(turns)
    matches(pattern, "", text, steps=10**10)
    during = len(turns) - before
    ended.set()
    other.join()
    # Were the lock kept, there could be one.
    assert during >= 5


QUOTED_PART = st.text(max_size=20)


@given(QUOTED_PART, QUOTED_PART, QUOTED_PART)
def test_quoting_matches_literally(before, text, after):
    quoted = r"\Q" + text.replace(r"\E", r"\E\\E\Q") + r"\E"
    assert matches(quoted, "", before + text + after)
    assert matches(f"^{quoted}$", "", text)
    assert matches(quoted, "", before) == (text in before)


@given(st.text(alphabet=r"ab.*+?()[]{}|^$\QE-1,:=!<P&~ #", max_size=30), st.sampled_from("imxs"))
def test_any_pattern_is_taken_or_refused(pattern, option):
    try:
        check_pattern(pattern, option)
    except QueryError:
        return
    for subject in ("", "ab" * 40, pattern):
        assert matches(pattern, option, subject) in {True, False}


PLAIN = st.text(alphabet="ab.?^()|1-", max_size=10)


@given(PLAIN, st.text(alphabet="ab1", max_size=6))
def test_what_needs_no_translation_means_the_same(pattern, subject):
    try:
        check_pattern(pattern)
        expected = re.search(pattern, subject)
    except (QueryError, re.error):
        return
    assert matches(pattern, "", subject) == (expected is not None)
