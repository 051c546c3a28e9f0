"""Identifiers the server gives out.

Protocol: docs/protocol/conversations.md §1, docs/protocol/messages.md §2.
"""

from __future__ import annotations

import base64
import itertools
import secrets
import uuid

from trio_realtime._values.protocol import TEMPORARY_PREFIX

_process = secrets.token_hex(5)
_counter = itertools.count(secrets.randbelow(1 << 24))


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
    """An id for a message: a random UUID in 22 characters that need no escaping in a URL."""
    while True:
        text = base64.b64encode(uuid.uuid4().bytes)[:22].decode().replace("/", "_")
        if "+" not in text:
            return text
