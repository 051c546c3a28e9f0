"""Regular expressions from strangers: searched in linear time, with other threads running.

A pattern is written for PCRE and run by RE2, whose time grows with the length of the pattern
times the length of the text, and no further. What would need more is refused: backreferences,
looking ahead or behind, possessive and atomic groups. Both factors are bounded here.

`re` of the standard library is no choice: it backtracks, cannot be interrupted, and keeps
all other threads waiting meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import re2

from .errors import QueryError

LIMIT = "regex_steps"
REGEX_STEPS = 20_000_000
"""What one search may cost if nothing else is said: instructions of the compiled pattern times
bytes of the text. A step takes some nanoseconds at most, most often far less."""

_PATTERN_AT_MOST = 1000
_COMPILED_AT_MOST = 128 * 1024
"""Bytes of a compiled pattern and its caches: some 5,000 instructions, compiled in
a few milliseconds."""

_FLAGS = "ims"
_FREE_SPACING = "x"
_OPTIONS = frozenset(_FLAGS + _FREE_SPACING)

# What PCRE writes otherwise than RE2.
_ESCAPES = {r"\E": "", r"\h": r"[ \t]", r"\Z": r"\n?\z"}
_ESCAPES_IN_CLASS = {r"\E": "", r"\h": r" \t"}
_END = r"(?:$|\n\z)"
"""``$``: PCRE also means the place before a newline at the very end."""

_CLASS_BEGINS = re.compile(r"\[\^?\]?")
_POSIX_CLASS = re.compile(r"\[:\^?\w+:\]")
_SPACE = re.compile(r"\s+|#[^\n]*")


def check_pattern(pattern: str, options: str = "") -> None:
    """Raise `QueryError` unless a pattern is legal, and not too large."""
    _compiled(pattern, options)


def matches(pattern: str, options: str, text: bytes, steps: int = REGEX_STEPS) -> bool:
    """Whether a pattern is found in a text of UTF-8. Raises `QueryError`, also for too long a
    text.
    """
    compiled = _compiled(pattern, options)
    if len(text) * compiled.programsize > steps:
        raise QueryError("the regular expression is too expensive for the data", LIMIT)
    return compiled.search(text) is not None


@lru_cache(maxsize=128)
def _compiled(pattern: str, options: str) -> Any:
    if len(pattern) > _PATTERN_AT_MOST:
        raise QueryError("the regular expression is too long")
    if not set(options) <= _OPTIONS:
        raise QueryError(f"unknown regular expression options {options!r}")
    flags = "".join(flag for flag in _FLAGS if flag in options)
    text = "".join(_translated(pattern, free_spacing=_FREE_SPACING in options))
    settings = re2.Options()
    settings.max_mem = _COMPILED_AT_MOST
    settings.log_errors = False
    settings.never_capture = True
    try:
        return re2.compile(f"(?{flags}:{text})" if flags else text, settings)
    except UnicodeEncodeError as exc:
        raise QueryError("illegal regular expression: not a text") from exc
    except re2.error as exc:
        message = exc.args[0]
        reason = message.decode() if isinstance(message, bytes) else str(message)
        if "too large" in reason:
            raise QueryError("the regular expression is too expensive", LIMIT) from exc
        raise QueryError(f"illegal regular expression: {reason}") from exc


def _translated(pattern: str, *, free_spacing: bool) -> Iterator[str]:
    r"""Spell PCRE the way RE2 does: \Q…\E in classes too, \h, \Z, $, free spacing."""
    position, in_class = 0, False
    while position < len(pattern):
        char, pair = pattern[position], pattern[position : position + 2]
        if pair == r"\Q":
            end = pattern.find(r"\E", position)
            end = len(pattern) if end < 0 else end
            yield from map(_literal, pattern[position + 2 : end])
            position = end + 2
        elif char == "\\":
            known = _ESCAPES_IN_CLASS if in_class else _ESCAPES
            yield known.get(pair, pair if pair.isascii() else pair[1:])
            position += 2
        elif in_class and (posix := _POSIX_CLASS.match(pattern, position)):
            yield posix.group()
            position = posix.end()
        elif not in_class and (begin := _CLASS_BEGINS.match(pattern, position)):
            # A bracket that comes first in a class is an ordinary character.
            in_class = True
            yield begin.group()
            position = begin.end()
        elif not in_class and free_spacing and (space := _SPACE.match(pattern, position)):
            position = space.end()
        elif in_class:
            in_class = char != "]"
            yield char
            position += 1
        else:
            yield _END if char == "$" else char
            position += 1


def _literal(char: str) -> str:
    return char if char.isalnum() or not char.isascii() else f"\\x{ord(char):02x}"
