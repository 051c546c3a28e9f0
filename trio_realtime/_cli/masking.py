"""What is shown of URLs and headers: all but what is secret."""

from __future__ import annotations

import re
from urllib.parse import unquote

from .readable import SECRET_FIELDS
from .unknown_fields import MASK

SECRET_HEADER = re.compile(
    rb"^(x-(?:lc|avoscloud|uluru)-(?!id\s*:)[\w-]+|authorization|cookie)\s*:\s*(.*)$", re.IGNORECASE
)
SECRET_NAME = re.compile(r"key|token|sign|secret|password|auth|session", re.IGNORECASE)
UPLOADS = "uploads"
WORDS = re.compile(r"[A-Za-z_]{1,24}(?:[ ,.:;']{1,2}[A-Za-z_]{1,24})*[.!]?")
"""What is no token: those have digits, or no end."""


def masked_target(target: str) -> str:
    """The target of a request, or a URL, without tokens, keys and signatures.

    Servers read names that are written in unusual ways; whatever might be one of them is masked.
    """
    path, *parts = re.split(r"([?#&;])", target)
    return _masked_path(path) + "".join(map(_masked_part, parts))


def masked_header(line: bytes) -> str | None:
    """A line of a head that holds a secret, without it; None if it holds none."""
    match = SECRET_HEADER.match(line)
    if match is None:
        return None
    master = ",master" if match[2].strip().endswith(b",master") else ""
    return f"{match[1].decode('latin-1')}: {MASK}{master}"


def masked_reason(reason: str) -> str:
    """Why a connection was closed, in words; anything may stand there."""
    return reason if WORDS.fullmatch(reason) else MASK


def _masked_path(path: str) -> str:
    """Without the token of an upload: ``/uploads/{app}/{token}``."""
    names = [unquote(name).lower() for name in path.split("/")]
    if UPLOADS not in names:
        return path
    segments = path.split("/")
    match segments:
        case ["", _, app, _] if names[1] == UPLOADS and app:
            return f"/{segments[1]}/{app}/{MASK}"
    return "/".join([*segments[: names.index(UPLOADS) + 1], MASK])


def _masked_part(part: str) -> str:
    name, equals, _ = part.partition("=")
    known = unquote(name)
    secret = equals and (known.lower() in SECRET_FIELDS or SECRET_NAME.search(known))
    return f"{name}={MASK}" if secret else part
