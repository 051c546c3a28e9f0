"""Texts that have to travel: ids, and whatever is written in UTF-8."""

from __future__ import annotations


def checked_id(value: object, what: str, longest: int) -> str:
    """The value, if it can be an id.

    Raises:
        TypeError: it is no text.
        ValueError: it is empty or too long, or cannot be written in UTF-8.
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} is a text, not {value!r}")
    if not value:
        raise ValueError(f"{what} is empty")
    if len(value) > longest:
        raise ValueError(f"{what} has at most {longest} characters, not {len(value)}")
    return encodable(value, what)


def is_unicode(text: str) -> bool:
    """Whether a text can be written in UTF-8; halves of surrogate pairs cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def encodable(text: str, what: str) -> str:
    """The text, if it can be written in UTF-8.

    Raises:
        ValueError: it contains half of a surrogate pair, which is no character.
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{what} contains half of a character (a lone surrogate)"
                f" at position {error.start}: {text[error.start]!r}"
            ) from None
    return text
