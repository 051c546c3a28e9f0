"""Taking over into the database what stands in its write-ahead log.

SQLite does so in a commit that makes the log too long, and whoever waits for that commit waits for
all the pages since the last time. Here another connection does, beside the writer.
"""

from __future__ import annotations

import contextlib
import sqlite3

import attrs

SECONDS_BETWEEN = 0.5
LOG_PAGES = 16_000
"""Pages of 4 KiB in the log, beyond which the writer does it nevertheless: only in its pauses can the
log begin anew."""


@attrs.frozen
class Checkpoints:
    """A connection that takes over what was committed."""

    connection: sqlite3.Connection

    def take_over(self) -> None:
        """Do it, as far as no reader still needs what was there before. Never raises."""
        # What fails stays in the log, and is taken over next time. If the disk is full, the
        # writer says so.
        with contextlib.suppress(sqlite3.Error):
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()
