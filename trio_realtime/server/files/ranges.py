"""How HTTP hands out a file: its type, its parts, and what keeps it from doing harm.

A file is whatever somebody uploaded, and it is served from the origin of this server. So
the type is fixed when the upload is announced, no browser may guess another, only kinds
that cannot contain a program are shown in place, and everything is sandboxed.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Mapping
from urllib.parse import quote

import attrs

FALLBACK_TYPE = "application/octet-stream"

_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105 - a token of HTTP
_VALUE = rf"(?:{_TOKEN}|\"[A-Za-z0-9 !#$%&'()*+,./:;<=>?@^_`|~\[\]{{}}-]*\")"
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?: ?; ?{_TOKEN}={_VALUE}){{0,8}}")
_RANGE = re.compile(r"bytes=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*", re.IGNORECASE | re.ASCII)
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,16}\Z")

# Not the tables of the machine: every server is to answer alike.
_types = mimetypes.MimeTypes()
for _type, _ending in (
    ("image/webp", ".webp"),
    ("image/avif", ".avif"),
    ("audio/aac", ".aac"),
    ("audio/amr", ".amr"),
    ("audio/mp4", ".m4a"),
    ("audio/ogg", ".ogg"),
    ("audio/opus", ".opus"),
):
    _types.add_type(_type, _ending)

_SHOWN = frozenset(
    {
        "image/avif",
        "image/bmp",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/plain",
    }
)
"""Types shown in place besides audio and video. SVG is none of them: it can hold scripts."""

PROTECTION = (
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'; sandbox"),
    # The files are public: pages of any origin may embed them.
    ("cross-origin-resource-policy", "cross-origin"),
)


class Unsatisfiable(Exception):
    """The range lies outside of the file: 416."""


@attrs.frozen
class Span:
    """Part of a file."""

    start: int
    stop: int
    """The first byte that is not part of it."""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.stop - self.start


def extension(name: str) -> str:
    """The ending of a file name with its dot; empty if there is no plain one."""
    found = _EXTENSION.search(name)
    return "" if found is None else found.group()


def media_type(given: object, name: str) -> str:
    """The type a file gets: what the client says if that is well-formed, else by its name."""
    if isinstance(given, str) and len(given) <= 127 and _MEDIA_TYPE.fullmatch(given):
        return given
    guessed, encoding = _types.guess_type("x" + extension(name))
    return FALLBACK_TYPE if guessed is None or encoding is not None else guessed


def disposition(content_type: str, name: str) -> str:
    """``Content-Disposition``: the name, and whether a browser shows the file or saves it."""
    essence = content_type.partition(";")[0].strip().lower()
    shown = essence in _SHOWN or essence.startswith(("audio/", "video/"))
    plain = "".join(
        c if c.isascii() and c.isprintable() and c not in '"\\%/' else "_" for c in name
    )
    return (
        f'{"inline" if shown else "attachment"}; filename="{plain}"; '
        f"filename*=UTF-8''{quote(name, safe='', errors='replace')}"
    )


def byte_range(header: str, size: int) -> Span | None:
    """What ``Range`` asks for; None when it means the whole file.

    Several ranges at once, other units and malformed headers count as none, as HTTP allows.
    Raises `Unsatisfiable`.
    """
    found = _RANGE.fullmatch(header)
    if found is None:
        return None
    first, last = found.groups()
    if not first:
        if not last:
            return None
        if int(last) == 0 or size == 0:
            raise Unsatisfiable
        return Span(max(0, size - int(last)), size)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return Span(start, min(int(last) + 1, size) if last else size)


def _names(header: str, tag: str, *, weakly: bool) -> bool:
    """Whether a list of entity tags names this one; weak ones count only ``weakly``."""
    tags = [item.strip() for item in header.split(",")]
    return "*" in tags or tag in tags or (weakly and f"W/{tag}" in tags)


def selected(headers: Mapping[str, str], tag: str, size: int) -> Span | int:
    """Which part of a file a request gets, or the status that says why none: 304 or 412.

    Raises `Unsatisfiable`.
    """
    if "if-match" in headers and not _names(headers["if-match"], tag, weakly=False):
        return 412
    if "if-none-match" in headers and _names(headers["if-none-match"], tag, weakly=True):
        return 304
    # A part is of use only together with parts of the same file.
    same = headers.get("if-range", tag).strip() == tag
    wanted = byte_range(headers["range"], size) if same and "range" in headers else None
    return Span(0, size) if wanted is None else wanted
