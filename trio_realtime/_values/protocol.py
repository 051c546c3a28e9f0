"""Constants of the protocol that both sides count on."""

from __future__ import annotations

TEMPORARY_PREFIX = "_tmp:"
"""Ids of temporary conversations begin with this, and no others do.

Protocol: docs/protocol/conversations.md §1.
"""

MAX_CLIENT_ID = 64
"""Characters of the longest client id: docs/protocol/session.md §1."""

TOKEN_GRACE_MS = 48 * 3600 * 1000
"""How long after its expiry a session token still tells who logged in.

Protocol: docs/protocol/session.md §1.3.
"""

CONVERSATION_KEYS = frozenset(
    {
        "objectId", "m", "c", "mu", "lm", "createdAt", "updatedAt", "tr", "sys", "unique",
        "uniqueId", "conv_type", "temp", "msg", "bin", "msg_mid", "msg_from", "msg_timestamp",
        "patch_timestamp", "mention_all", "mention_pids",
    }
)  # fmt: skip
"""Keys of a conversation's JSON that the server sets, whatever its kind; ``name`` is the
application's own.

Protocol: docs/protocol/conversations.md §3.
"""

SERVICE_KEYS = frozenset({"joined", "joinedAt", "muted"})
"""Keys that the server sets in the JSON of service conversations alone."""

TEMPORARY_KEYS = frozenset({"ttl"})
"""Keys that the server sets in the JSON of temporary conversations alone."""
