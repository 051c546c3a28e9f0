"""The list of conversations a client wants nothing to do with: docs/protocol/conversations.md §8.

The store keeps block lists by conversation. This direction is rarer, and kept as small
documents under keys that begin with the client.
"""

from __future__ import annotations

from trio_realtime.server.store.interface import Tx

_TABLE = "client-blocks"
_MAX_CURSOR = 128


def shuns(tx: Tx, client_id: str, cid: str) -> bool:
    """Whether the client has blocked the conversation."""
    return tx.document(_TABLE, _prefix(client_id) + cid) is not None


def shun(tx: Tx, client_id: str, cid: str) -> None:
    """Note that the client blocks the conversation."""
    tx.put_document(_TABLE, _prefix(client_id) + cid, {"at": tx.now})


def unshun(tx: Tx, client_id: str, cid: str) -> None:
    """Forget it."""
    tx.delete_document(_TABLE, _prefix(client_id) + cid)


def shunned(
    tx: Tx, client_id: str, *, limit: int, after: str | None = None
) -> tuple[list[str], str | None]:
    """A page of the conversations the client blocks, and the cursor of the next page."""
    prefix = _prefix(client_id)
    start = prefix + after if after and len(after) <= _MAX_CURSOR else None
    rows = tx.documents(_TABLE, prefix=prefix, after=start, limit=limit + 1)
    cids = [key.removeprefix(prefix) for key, _ in rows[:limit]]
    return cids, cids[-1] if len(rows) > limit else None


def _prefix(client_id: str) -> str:
    # The length keeps ids that contain the separator apart.
    return f"{len(client_id)}:{client_id}:"
