"""Regular expressions from strangers: translated, and refused if they could run for long.

A pattern is written for PCRE and run by `re`, which backtracks and cannot be interrupted.
So its cost is estimated first. Every part that can match in several ways multiplies the
ways to try: an optional part by two, an alternative by the number of branches, an unbounded
repeat by the length of the subject. Where such parts are nested the number explodes, and
the pattern is refused; otherwise the estimate gives the longest subject it may be tried on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from .interface import QueryError

LIMIT = "regex_steps"
_PATTERN_AT_MOST = 1000
REGEX_STEPS = 20_000_000
"""What a search may cost if nothing else is said."""
_SUBJECT_AT_LEAST = 100
"""A pattern that cannot be tried on this many characters is of no use."""

_OPTIONS = {"i": re.IGNORECASE, "m": re.MULTILINE, "x": re.VERBOSE, "s": re.DOTALL}

_POSIX_CLASSES = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r"\s",
    "word": r"\w",
    "punct": r"!-/:-@\[-`{-~",
    "xdigit": "0-9A-Fa-f",
}

_SIMPLE = {op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN, op.AT}


@lru_cache(maxsize=256)
def compile_regex(
    pattern: str, options: str = "", steps: int = REGEX_STEPS
) -> Callable[[str], bool]:
    """A function that searches a text for a pattern in so many steps. Raises `QueryError`.

    The function itself raises `QueryError` for a text that is too long for its pattern.
    """
    if len(pattern) > _PATTERN_AT_MOST:
        raise QueryError("the regular expression is too long")
    if not set(options) <= set(_OPTIONS):
        raise QueryError(f"unknown regular expression options {options!r}")
    flags = sum(_OPTIONS[option] for option in set(options))
    try:
        translated = "".join(_translate(pattern))
        longest = _longest_subject(parser.parse(translated, flags), len(translated), steps)
        search = re.compile(translated, flags).search
    except (re.error, OverflowError, RecursionError, ValueError) as exc:
        raise QueryError(f"illegal regular expression: {exc}") from exc

    def matches(subject: str) -> bool:
        if len(subject) > longest:
            raise QueryError("the regular expression is too expensive for the data", LIMIT)
        return search(subject) is not None

    return matches


def _translate(pattern: str) -> Iterator[str]:
    r"""Spell PCRE the way `re` does: \Q…\E, \h, \z, POSIX classes, brackets in classes."""
    position, in_class = 0, False
    while position < len(pattern):
        char, pair = pattern[position], pattern[position : position + 2]
        if pair == r"\Q":
            end = pattern.find(r"\E", position)
            end = len(pattern) if end < 0 else end
            yield re.escape(pattern[position + 2 : end])
            position = end + 2
        elif char == "\\":
            space = r" \t" if in_class else r"[ \t]"
            yield {r"\E": "", r"\h": space, r"\z": r"\Z", r"\Z": r"(?=\n?\Z)"}.get(pair, pair)
            position += 2
        elif not in_class:
            in_class = char == "["
            opening = re.match(r"\[\^?\]?", pattern[position:]) if in_class else None
            text = opening.group() if opening else char
            # In PCRE a bracket that comes first in a class is an ordinary character.
            yield text.replace("]", r"\]")
            position += len(text)
        elif posix := re.match(r"\[:(\w+):\]", pattern[position:]):
            if posix[1] not in _POSIX_CLASSES:
                raise ValueError(f"unknown class {posix[1]}")
            yield _POSIX_CLASSES[posix[1]]
            position += posix.end()
        else:
            in_class = char != "]"
            # Python reserves doubled signs for set operations of the future.
            doubled = pair in {"--", "&&", "||", "~~"}
            yield "\\" + char if char == "[" or doubled else char
            position += 1


def _longest_subject(tree: Any, size: int, steps_at_most: int) -> int:
    """How long a subject may be so that searching takes a bounded number of steps."""
    steps, degree = _cost(tree)
    if not _anchored(tree):
        degree += 1
    # Each way is abandoned after as many steps as the pattern has, at most; commonly few.
    allowed = steps_at_most / (steps * max(1, size // 16))
    longest = _PATTERN_AT_MOST**2 if not degree else int(min(allowed, 1e18) ** (1 / degree))
    if allowed < 1 or longest < _SUBJECT_AT_LEAST:
        raise QueryError("the regular expression is too expensive", LIMIT)
    return longest


def _anchored(tree: Any) -> bool:
    if not tree or tree.state.flags & re.MULTILINE:
        return False
    code, argument = tree[0]
    return code is op.AT and argument in {op.AT_BEGINNING, op.AT_BEGINNING_STRING}


def _cost(tree: Any) -> tuple[int, int]:
    """The ways to match, as a factor and a power of the subject's length."""
    factor, degree = 1, 0
    for code, argument in tree:
        more, deeper = _cost_of(code, argument)
        factor, degree = factor * more, degree + deeper
    return factor, degree


def _cost_of(code: Any, argument: Any) -> tuple[int, int]:
    if code in _SIMPLE:
        return 1, 0
    if code is op.SUBPATTERN:
        return _cost(argument[3])
    if code is op.BRANCH:
        costs = [_cost(branch) for branch in argument[1]]
        return sum(cost for cost, _ in costs), max(degree for _, degree in costs)
    if code in {op.ASSERT, op.ASSERT_NOT}:
        return _cost(argument[1])
    if code in {op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT}:
        least, most, body = argument
        inner = _cost(body)
        if most == 1:
            return inner[0] + 1, inner[1]
        if inner != (1, 0):
            raise QueryError("the regular expression repeats what already varies")
        if most is op.MAXREPEAT:
            # A long minimum is walked through on every way.
            return 1 + least, 1
        return max(1, int(most)), 0
    raise QueryError("the regular expression uses a feature that is not supported")
