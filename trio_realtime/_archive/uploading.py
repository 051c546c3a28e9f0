"""Bringing the files of an archive into a running server, under the URLs that messages bear."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import trio

from trio_realtime.rest import Refused, RestClient

from .archive import blob_path, read_manifest, rows_of
from .errors import ArchiveDamaged, ArchiveError, UnexpectedAnswer
from .importing import Counts, Importer
from .sources import Note

BATCH = 200
AT_ONCE = 4
LARGEST = 1024 * 1024 * 1024
"""Bytes of a file that is read at once; servers take less."""

Row = dict[str, Any]


@attrs.define
class FileImporter:
    """Sends the files of archives."""

    rest: RestClient
    importer: Importer
    dry_run: bool = False

    async def run(self, path: Path) -> None:
        """Bring the files of an archive that are not on the server.

        Raises:
            RestError: the server does not answer, or refuses.
            ArchiveError: the archive is damaged, or the server is none of ours.
        """
        rows = await trio.to_thread.run_sync(_files_of, path)
        counts = self.importer.counts.setdefault("files", Counts()) if rows else Counts()
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            missing = await self._missing(batch, path, counts)
            counts.known += len(batch) - len(missing)
            limiter = trio.CapacityLimiter(AT_ONCE)
            async with trio.open_nursery() as nursery:
                for row in missing:
                    nursery.start_soon(self._send, path, row, counts, limiter)

    async def _missing(self, batch: list[Row], path: Path, counts: Counts) -> list[Row]:
        urls = [row["url"] for row in batch]
        try:
            answer = await self.rest.call(
                "POST", "/trio-realtime/missing-files", body={"urls": urls}, repeatable=True
            )
        except Refused:
            # One of them is no URL of a file; which one, it says of each by itself.
            if len(batch) > 1:
                alone = [await self._missing([row], path, counts) for row in batch]
                return [row for rows in alone for row in rows]
            self._skip(path, batch[0], "its URL is none of a file", counts)
            counts.known -= 1
            return []
        missing = answer.get("missing") if isinstance(answer, dict) else None
        if not isinstance(missing, list):
            raise UnexpectedAnswer("The server does not take files. Is it trio-realtime?")
        return [row for row in batch if row["url"] in missing]

    async def _send(
        self, path: Path, row: Row, counts: Counts, limiter: trio.CapacityLimiter
    ) -> None:
        async with limiter:
            if self.dry_run:
                counts.new += 1
                return
            try:
                content = await trio.to_thread.run_sync(_content, path, row)
            except (ArchiveError, OSError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                self._skip(path, row, f"its bytes cannot be read: {reason}", counts)
                return
            params = {"url": row["url"], "sha256": row["sha256"], "type": row.get("type")}
            try:
                await self.rest.call(
                    "PUT", "/trio-realtime/import-file", params=params, content=content
                )
            except Refused as error:
                self._skip(path, row, str(error), counts)
                return
            counts.new += 1
            self.importer.rows += 1

    def _skip(self, path: Path, row: Row, reason: str, counts: Counts) -> None:
        counts.skipped += 1
        self.importer.skip(Note(f"{path}: {row['url']}", 0, reason))


def _files_of(path: Path) -> list[Row]:
    """The files of an archive that are here, each URL once. Reads the disk."""
    found: dict[str, Row] = {}
    for row in _rows(path):
        url = row.get("url")
        if isinstance(url, str) and isinstance(row.get("sha256"), str):
            found[url] = row
    return list(found.values())


def _rows(path: Path) -> Iterator[Row]:
    for part in read_manifest(path).of("files"):
        for row, _ in rows_of(path, part):
            yield row


def _content(path: Path, row: Row) -> bytes:
    blob = blob_path(path, row["sha256"])
    if blob.stat().st_size > LARGEST:
        raise ArchiveDamaged(f"it has more than {LARGEST:,} bytes")
    return blob.read_bytes()
