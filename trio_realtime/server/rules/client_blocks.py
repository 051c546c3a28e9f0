"""The list of conversations that a client blocks: docs/protocol/conversations.md §8.

The store keeps block lists by conversation. This direction is rarer, and kept as small
documents under keys that begin with the client.
"""

from __future__ import annotations

from collections.abc import Sequence

from trio_realtime.server.store.interface import Tx

_TABLE = "client-blocks"
_MAX_CURSOR = 128


def blockers(tx: Tx, cid: str, client_ids: Sequence[str]) -> set[str]:
    """Those of these clients who have blocked the conversation."""
    keys = {_prefix(client_id) + cid: client_id for client_id in client_ids}
    return {keys[key] for key in tx.which_documents(_TABLE, list(keys))}


def blocked_among(tx: Tx, client_id: str, cids: Sequence[str]) -> list[str]:
    """Those of these conversations that the client has blocked."""
    prefix = _prefix(client_id)
    found = tx.which_documents(_TABLE, [prefix + cid for cid in cids])
    return [cid for cid in cids if prefix + cid in found]


def block_conversation(tx: Tx, client_id: str, cid: str) -> None:
    """Note that the client blocks the conversation."""
    tx.put_document(_TABLE, _prefix(client_id) + cid, {"at": tx.now})


def unblock_conversation(tx: Tx, client_id: str, cid: str) -> None:
    """Forget it."""
    tx.delete_document(_TABLE, _prefix(client_id) + cid)


def blocked_page(
    tx: Tx, client_id: str, *, limit: int, after: str | None = None
) -> tuple[list[str], str | None]:
    """A page of the conversations the client blocks, and the cursor of the next page."""
    prefix = _prefix(client_id)
    start = prefix + after if after and len(after) <= _MAX_CURSOR else None
    rows = tx.documents(_TABLE, prefix=prefix, after=start, limit=limit + 1)
    cids = [key.removeprefix(prefix) for key, _ in rows[:limit]]
    return cids, cids[-1] if cids and len(rows) > limit else None


def _prefix(client_id: str) -> str:
    # The length keeps ids that contain the separator apart.
    return f"{len(client_id)}:{client_id}:"
