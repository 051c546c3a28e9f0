"""Identifiers the server gives out.

Protocol: docs/protocol/conversations.md §1, docs/protocol/messages.md §2.
"""

from __future__ import annotations

import binascii
import hashlib
import itertools
import json
import os
import secrets

from trio_realtime._values.protocol import TEMPORARY_PREFIX

_process = secrets.token_hex(5)
_counter = itertools.count(secrets.randbelow(1 << 24))
_drawn: list[bytes] = []
"""Random bits that no id has been made of."""
if hasattr(os, "register_at_fork"):
    # Two processes must not draw the same.
    os.register_at_fork(after_in_child=_drawn.clear)
_IN_URLS = bytes.maketrans(b"+/", b"__")


def object_id(now: int) -> str:
    """An id for a conversation or another row: 24 hex characters, ascending with time.

    ``now`` is in milliseconds. As in an ObjectId: seconds, a random mark of this process,
    and a counter.
    """
    return f"{now // 1000 & 0xFFFFFFFF:08x}{_process}{next(_counter) & 0xFFFFFF:06x}"


def temporary_id() -> str:
    """An id for a temporary conversation."""
    return TEMPORARY_PREFIX + secrets.token_hex(16)


def message_id() -> str:
    """An id for a message: 128 random bits in 22 characters that need no escaping in a URL."""
    try:
        drawn = _drawn.pop()
    except IndexError:
        # One call of the system for many ids. Several threads may do so at a time.
        random = os.urandom(16 * 256)
        _drawn.extend(random[at : at + 16] for at in range(16, len(random), 16))
        drawn = random[:16]
    return binascii.b2a_base64(drawn).translate(_IN_URLS)[:22].decode()


def copy_id(mid: str, client_id: str) -> str:
    """The id of a client's copy of a message, the same each time, and unlike any other."""
    digest = hashlib.blake2b(json.dumps([mid, client_id]).encode(), digest_size=16).digest()
    return binascii.b2a_base64(digest).translate(_IN_URLS)[:22].decode()
