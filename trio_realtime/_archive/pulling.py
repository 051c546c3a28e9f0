"""Bringing an archive up to date with a server: one round after another.

A round is planned at once and written into the manifest; then its parts are read, several at a
time. A program that ends in between, however it ends, leaves a round that the next one goes on with.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs
import trio

from trio_realtime._io.exception_groups import single_error
from trio_realtime._values.json import decode_date
from trio_realtime._values.times import iso_from_datetime, utc_now
from trio_realtime.rest import Refused, RestClient

from .archive import Archive
from .media import FileReader
from .messages import OVERLAP, Known, MessageReader
from .progress import Progress
from .tables import CLASSES, TableReader

MARGIN = timedelta(minutes=10)
"""By how much rows are asked for again that changed before the last round began."""

FIRST_PATIENCE = 30.0
"""Seconds in which the server has to answer for the first time."""


@attrs.frozen(kw_only=True)
class Scope:
    """What a round is about."""

    at_once: int = 4
    """Requests under way at a time, about so many."""
    files: bool = True
    lists: bool = True
    again: float = OVERLAP / 1000
    """Seconds of history before the end of the last round that are read again."""
    all_lists: bool = False
    """Whether lists are asked for of all conversations, not only of those that have changed."""
    all_subscribers: bool = True
    """Likewise new subscribers."""


@attrs.define
class Puller:
    """Fills an archive from a server."""

    rest: RestClient
    archive: Archive
    files: FileReader
    progress: Progress
    _known: Known = attrs.field(factory=Known)

    async def round(self, scope: Scope) -> None:
        """Go on with the round that was begun, or begin one, until it is complete.

        Raises:
            RestError: the server does not answer, or refuses.
            ArchiveError: the disk fails, the archive is damaged, or an answer makes no sense.
        """
        manifest = self.archive.manifest
        messages = MessageReader(self.rest, self.archive, self.progress, self._known)
        tables = TableReader(self.rest, self.archive, self.progress, scope.at_once)
        with single_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.archive.keep_committing)
                if manifest.complete or not manifest.round:
                    await self._begin(messages, tables, scope)
                await self._read(messages, tables, scope)
                self.archive.note(complete=True)
                await self.archive.commit()
                nursery.cancel_scope.cancel()
        self.progress.rounds += 1

    async def _begin(self, messages: MessageReader, tables: TableReader, scope: Scope) -> None:
        self.progress.stage = "looking"
        started = await self._server_time()
        ends = await messages.ends()
        # From here on in one go: what is committed is the round before, or this one.
        manifest = self.archive.manifest
        before = None if manifest.started_at is None else decode_date(manifest.started_at)
        self.archive.note(
            round=manifest.round + 1,
            complete=False,
            since=None if before is None else iso_from_datetime(before - MARGIN),
            started_at=iso_from_datetime(started),
        )
        messages.plan(ends, int(scope.again * 1000))
        tables.plan(all_lists=scope.all_lists, all_subscribers=scope.all_subscribers)
        self.files.plan()
        self.archive.changed()
        await self.archive.commit()

    async def _read(self, messages: MessageReader, tables: TableReader, scope: Scope) -> None:
        self.progress.stage = "messages"

        async def conversations() -> None:
            await tables.read_class("conversations")
            if scope.lists:
                await tables.read_lists()
            await tables.read_subscribers()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(conversations)
            for kind in CLASSES:
                if kind != "conversations":
                    nursery.start_soon(tables.read_class, kind)
            await messages.read(scope.at_once)
            self.progress.stage = "conversations"
        if scope.files:
            self.progress.stage = "files"
            await self.files.read()
        self.progress.stage = ""

    async def _server_time(self) -> datetime:
        """The time by the server's clock; by our own if it does not tell."""
        try:
            said = await self.rest.call("GET", "/1.1/date", patience=FIRST_PATIENCE)
        except Refused:
            said = None
        return decode_date(said) or utc_now()
