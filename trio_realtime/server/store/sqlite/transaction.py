"""The transaction rules see."""

from __future__ import annotations

from .conversations import Conversations
from .imports import Imports
from .installations import Installations
from .lines import Lines
from .members import Members
from .overview import Overview
from .receipts import Receipts
from .records import Records


class SqliteTx(Conversations, Imports, Installations, Lines, Members, Overview, Receipts, Records):
    """`Tx` on SQLite: valid while its rule runs."""
