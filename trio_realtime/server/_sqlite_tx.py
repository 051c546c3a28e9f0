"""The transaction rules see."""

from __future__ import annotations

from ._sqlite_conversations import Conversations
from ._sqlite_members import Members
from ._sqlite_receipts import Receipts
from ._sqlite_records import Records


class SqliteTx(Conversations, Members, Receipts, Records):
    """`Tx` on SQLite: valid while its rule runs."""
