"""Whether the server can do its work, found out by doing some."""

from __future__ import annotations

import errno
import os
from math import inf

import attrs
import trio

from .store.interface import Store, StoreError, Tx

OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})

NOBODY = ""
"""No app has this id."""

TRIAL_BYTES = 64 * 1024
"""What is written for a trial: more than most commits of a busy server."""

TRIAL_TIMEOUT = 5.0
"""Seconds a trial may take."""

TRIED_AFTER = 1.0
"""Seconds between two trials, however often somebody asks."""


def no_descriptors(number: int) -> str:
    return f"no file descriptors are left: {os.strerror(number)}"


def unhealthy(problems: list[str]) -> dict[str, object]:
    return {"status": "failing", "problems": problems}


@attrs.define(eq=False)
class Health:
    """Looks for what is wrong."""

    store: Store
    _lock: trio.Lock = attrs.field(factory=trio.Lock)
    _tried_at: float = -inf
    _database: str | None = None

    async def problems(self) -> list[str]:
        """Why the server cannot do its work, in sentences; nothing if it can."""
        async with self._lock:
            if trio.current_time() - self._tried_at >= TRIED_AFTER:
                self._database = await self._database_problem()
                self._tried_at = trio.current_time()
        return [problem for problem in (self._database, _descriptors()) if problem is not None]

    async def _database_problem(self) -> str | None:
        """Commit something, and remove it again, so that the next trial needs room as well."""
        try:
            with trio.move_on_after(TRIAL_TIMEOUT):
                await self.store.write(NOBODY, _put)
                await self.store.write(NOBODY, _delete)
                return None
        except StoreError as error:
            return f"the database cannot be written: {error.__cause__ or error}"
        return f"the database has not answered for {TRIAL_TIMEOUT:g} s"


def _put(tx: Tx) -> None:
    tx.put_document("trial", "trial", {"filler": "x" * TRIAL_BYTES})


def _delete(tx: Tx) -> None:
    tx.delete_document("trial", "trial")


def _descriptors() -> str | None:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return no_descriptors(error.errno or errno.EMFILE)
    return None
