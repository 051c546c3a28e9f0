"""Bringing rows into a running server, in batches; again, nothing happens to what is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import trio

from trio_realtime._io.exception_groups import single_error
from trio_realtime.rest import RestClient

from .errors import UnexpectedAnswer
from .sources import Batch, Item, Note

COUNTS = ("new", "changed", "known", "placeholders")


@attrs.define
class Counts:
    """What became of the rows of a kind."""

    new: int = 0
    changed: int = 0
    known: int = 0
    placeholders: int = 0
    """Conversations that were made because messages name them and nothing else does."""
    skipped: int = 0


@attrs.define
class Importer:
    """Sends what is read to a server."""

    rest: RestClient
    dry_run: bool = False
    note: Callable[[Note], None] = lambda _: None
    """Hears of each row that is not imported."""
    counts: dict[str, Counts] = attrs.field(factory=dict)
    notes: int = 0
    rows: int = 0
    file: str = ""
    """What is being read."""

    async def run(self, items: Iterator[Item]) -> None:
        """Import everything.

        Raises:
            RestError: the server does not answer, or refuses.
            ArchiveError: something cannot be read, or the server is none of ours.
        """
        # What comes next is read while the server stores what came before.
        send, receive = trio.open_memory_channel[Item](0)
        with single_error():
            async with trio.open_nursery() as nursery, receive:
                nursery.start_soon(_read, items, send)
                async for item in receive:
                    if isinstance(item, Note):
                        self.skip(item)
                    else:
                        await self._send(item)

    async def _send(self, batch: Batch) -> None:
        self.file = batch.file
        path = f"/trio-realtime/import/{batch.kind}"
        params = {"dry_run": "true"} if self.dry_run else None
        content = b"\n".join(batch.lines)
        answer = await self.rest.call("POST", path, params=params, content=content, repeatable=True)
        counts = self.counts.setdefault(batch.kind, Counts())
        try:
            for name in COUNTS:
                setattr(counts, name, getattr(counts, name) + int(answer[name]))
            skipped: list[tuple[int, Any]] = [(int(at), why) for at, why in answer["skipped"]]
            notes = [Note(batch.file, batch.numbers[at], str(why)) for at, why in skipped]
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise UnexpectedAnswer(
                "The server has not said what became of the rows. Is it trio-realtime?"
            ) from error
        counts.skipped += len(notes)
        self.rows += len(batch.lines)
        for note in notes:
            self.skip(note)

    def skip(self, note: Note) -> None:
        """Count and tell what is not imported."""
        self.notes += 1
        self.note(note)


async def _read(items: Iterator[Item], send: trio.MemorySendChannel[Item]) -> None:
    async with send:
        while (item := await trio.to_thread.run_sync(next, items, None)) is not None:
            await send.send(item)
