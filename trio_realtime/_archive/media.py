"""Copying the files that messages refer to into an archive, under the digests of their bytes.

What stands in a message was written by a user: a URL may lead anywhere, also into the network of
whoever makes the copy. So only public addresses are asked, and those that the owner names.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import socket
import ssl
from collections.abc import Collection, Iterator, Mapping
from contextlib import aclosing
from itertools import islice
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import attrs
import httpx2
import trio

from trio_realtime._engine.backoff import Backoff
from trio_realtime._io.durable_files import private
from trio_realtime._io.http import Http, reason_of
from trio_realtime.transport import StreamOpener

from .archive import Archive, blob_path, write_error
from .progress import Progress

AT_ONCE = 4
BATCH = 16
ATTEMPTS = 3
STALLED = 60.0
"""Seconds without a byte after which a download has failed."""

REDIRECTS = 5
LARGEST_FILE = 4 * 1024 * 1024 * 1024

Row = dict[str, Any]


class Unreachable(Exception):
    """Why a file could not be had; ``lasting`` if asking again will not help."""

    def __init__(self, reason: str, *, lasting: bool) -> None:
        super().__init__(reason)
        self.lasting = lasting


@attrs.define(eq=False)
class FileReader:
    """Copies files in one run."""

    archive: Archive
    progress: Progress
    hosts: Collection[str] = ()
    """Whose addresses need not be public."""
    open_stream: StreamOpener | None = None
    ssl_context: ssl.SSLContext | None = None
    largest: int = LARGEST_FILE
    _seen: set[bytes] = attrs.field(factory=set)
    _numbers: Iterator[int] = attrs.field(factory=lambda: iter(range(1 << 62)))

    def plan(self) -> None:
        """Have the part go on."""
        parts = self.archive.manifest.of("files")
        part = parts[-1] if parts else self.archive.manifest.new_part("files")
        part.complete = False

    async def read(self) -> None:
        """Copy what the messages in the archive refer to and is not here. Raises `ArchiveError`."""
        part = self.archive.manifest.of("files")[-1]
        if part.complete:
            return
        await self.archive.commit()
        again = await trio.to_thread.run_sync(self._load)
        http = Http(
            open_stream=public_only(self.open_stream, self.hosts), ssl_context=self.ssl_context
        )
        try:
            for start in range(0, len(again), BATCH):
                rows = await self._fetch_all(http, again[start : start + BATCH])
                await self.archive.append(part, [row for row in rows if "sha256" in row])
            found = self._references(dict(part.cursor or {}))
            places = part.cursor
            while taken := await trio.to_thread.run_sync(lambda: list(islice(found, BATCH))):
                wanted = []
                for one, places in taken:  # noqa: B007 - the last ones count
                    if one is not None and (mark := _mark(one["url"])) not in self._seen:
                        self._seen.add(mark)
                        wanted.append(one)
                rows = await self._fetch_all(http, wanted)
                await self.archive.append(part, rows, cursor=places)
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(2):
                await http.aclose()
        part.complete = True
        self.archive.changed()

    def _load(self) -> list[Row]:
        """Know what is here; what could not be had, and may be had now. Reads the disk."""
        failed: dict[str, Row] = {}
        for part in self.archive.manifest.of("files"):
            for row, _ in self.archive.rows(part):
                self._seen.add(_mark(str(row.get("url"))))
                url, sha256 = str(row.get("url")), row.get("sha256")
                here = sha256 is not None and blob_path(self.archive.path, sha256).exists()
                if here or (sha256 is None and row.get("lasting") is True):
                    failed.pop(url, None)
                else:
                    failed[url] = row
        return [{"url": url, "id": row.get("id")} for url, row in failed.items()]

    def _references(self, places: dict[str, int]) -> Iterator[tuple[Row | None, dict[str, int]]]:
        """Files that messages behind these places refer to, each with the places behind it.

        Now and then None with places, so that these move on where nobody sends files.
        """
        for part in self.archive.manifest.of("messages"):
            start, place = places.get(part.file, 0), None
            for row, place in self.archive.rows(part, start):
                reference = file_of(row)
                if reference is not None:
                    places[part.file] = place
                    yield reference, dict(places)
            if place is not None:
                places[part.file] = place
                yield None, dict(places)

    async def _fetch_all(self, http: Http, wanted: list[Row]) -> list[Row]:
        rows: list[Row] = [{} for _ in wanted]
        limiter = trio.CapacityLimiter(AT_ONCE)

        async def one(number: int, reference: Row) -> None:
            async with limiter:
                rows[number] = await self._fetch(http, reference)

        async with trio.open_nursery() as nursery:
            for number, reference in enumerate(wanted):
                nursery.start_soon(one, number, reference)
        return rows

    async def _fetch(self, http: Http, reference: Row) -> Row:
        backoff = Backoff(longest=30.0)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                row = {**reference, **await self._download(http, reference["url"])}
            except Unreachable as error:
                if error.lasting or attempt == ATTEMPTS:
                    self.progress.files_failed += 1
                    return {**reference, "error": str(error), "lasting": error.lasting}
            else:
                self.progress.files += 1
                self.progress.file_bytes += row["size"]
                return row
            backoff.attempted()
            await trio.sleep(backoff.next_delay())
        raise AssertionError  # pragma: no cover - the last attempt has returned

    async def _download(self, http: Http, url: str) -> Row:
        incoming = self.archive.incoming(next(self._numbers))
        try:
            file = await trio.to_thread.run_sync(_created, incoming)
        except OSError as error:
            raise write_error(self.archive.path, error) from error
        kept = False
        try:
            row = await self._receive(http, url, file)
            file.close()
            await trio.to_thread.run_sync(self.archive.keep, incoming, row["sha256"])
            kept = True
        except OSError as error:
            raise write_error(self.archive.path, error) from error
        finally:
            file.close()
            if not kept:
                incoming.unlink(missing_ok=True)
        return row

    async def _receive(self, http: Http, url: str, file: IO[bytes]) -> Row:
        try:
            client = http.client
            request = client.build_request("GET", url)
            response = await _in_time(client.send(request, stream=True, follow_redirects=True))
            try:
                if response.status_code != 200:
                    status = response.status_code
                    raise Unreachable(
                        f"status {status}", lasting=400 <= status < 500 and status not in {408, 429}
                    )
                size, digest = await self._copy(response, file)
            finally:
                with trio.CancelScope(shield=True), trio.move_on_after(1):
                    await response.aclose()
        except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError, ValueError) as error:
            lasting = isinstance(
                error, httpx2.InvalidURL | httpx2.UnsupportedProtocol | UnicodeError | ValueError
            )
            said = reason_of(error)
            raise Unreachable(said[:200], lasting=lasting or NOT_PUBLIC in said) from error
        kind = response.headers.get("content-type", "")[:200]
        return {"sha256": digest, "size": size, "type": kind}

    async def _copy(self, response: httpx2.Response, file: IO[bytes]) -> tuple[int, str]:
        size, digest = 0, hashlib.sha256()
        async with aclosing(response.aiter_bytes()) as parts:
            while True:
                part = await _in_time(anext(parts, b""))
                if not part:
                    break
                size += len(part)
                if size > self.largest:
                    raise Unreachable(f"more than {self.largest:,} bytes", lasting=True)
                digest.update(part)
                await trio.to_thread.run_sync(file.write, part)
        await trio.to_thread.run_sync(_synced, file)
        return size, digest.hexdigest()


NOT_PUBLIC = "is not a public address"


class PrivateAddress(OSError):
    """A host of a message that is in somebody's own network."""


def public_only(open_stream: StreamOpener | None, hosts: Collection[str]) -> StreamOpener:
    """Opens streams to these hosts, and to others with public addresses only."""

    async def connect(host: str, port: int) -> trio.abc.Stream:
        if host in hosts:
            if open_stream is not None:
                return await open_stream(host, port)
            return await trio.open_tcp_stream(host, port)
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        for address in addresses:
            if not _is_public(address):
                raise PrivateAddress(f"{host} {NOT_PUBLIC}")
        # The very address that was looked at: a name may lead elsewhere the next time.
        return await (open_stream or trio.open_tcp_stream)(addresses[0], port)

    return connect


def file_of(row: Mapping[str, Any]) -> Row | None:
    """The file that a message refers to: its URL, and its id where it is known."""
    data = row.get("data")
    if not isinstance(data, str) or '"_lcfile"' not in data:
        return None
    try:
        file = json.loads(data)["_lcfile"]
        url, file_id = file["url"], file.get("objId")
        parts = urlsplit(url)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return None
    if not isinstance(url, str) or parts.scheme not in {"http", "https"} or not parts.hostname:
        return None
    return {"url": url, "id": file_id if isinstance(file_id, str) else None}


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_global


def _mark(url: str) -> bytes:
    return hashlib.blake2b(url.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def _created(path: Path) -> IO[bytes]:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    return open(path, "wb", opener=private)


def _synced(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


async def _in_time(waiting: Any) -> Any:
    try:
        with trio.fail_after(STALLED):
            return await waiting
    except trio.TooSlowError:
        raise Unreachable(f"no byte for {STALLED:g} seconds", lasting=False) from None
