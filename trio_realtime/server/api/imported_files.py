"""Files of another service, handed out under the paths that they had there.

Messages bear the URLs of their files as they were when they were sent. Once the host of those URLs
leads here, they are good again. So what is asked for at a path of no route may be such a file.

Protocol: docs/protocol/exports.md §6.
"""

from __future__ import annotations

import secrets
from urllib.parse import unquote, urlsplit

import attrs

from trio_realtime._values.texts import is_unicode
from trio_realtime.server.files import records
from trio_realtime.server.files.blobs import NoRoom
from trio_realtime.server.files.ranges import media_type
from trio_realtime.server.files.records import FileRow
from trio_realtime.server.gateway.gateway import Gateway
from trio_realtime.server.http import HttpError, Request, Response, Router, json_response
from trio_realtime.server.store.interface import Tx

from .files import NAME_LENGTH, URL_LENGTH, Files, mark_of
from .operator import BAD_PARAMETER, Operator, ids, text

PATHS = "file-paths"
"""Documents that tell the id of a file by the path that it had."""

ASKED_AT_ONCE = 1000


@attrs.frozen
class ImportedFiles:
    """The endpoints; `routes` enters them into a router."""

    gateway: Gateway
    files: Files

    def routes(self, router: Router) -> None:
        """Register every endpoint."""
        router.add("POST", "/trio-realtime/missing-files", self.missing)
        router.add("PUT", "/trio-realtime/import-file", self.take, streams=True)
        router.otherwise(self.download)

    async def missing(self, request: Request) -> Response:
        """Which of these URLs have no file here."""
        operator = Operator(self.gateway)
        app = operator.app(request)
        urls = ids(request.json(), "urls", most=ASKED_AT_ONCE)
        paths = {url: _path_of(url) for url in urls}

        def rule(tx: Tx) -> list[str]:
            known = tx.which_documents(PATHS, list(paths.values()))
            return [url for url in urls if paths[url] not in known]

        return json_response({"missing": await operator.read(app, rule)})

    async def take(self, request: Request) -> Response:
        """Take the bytes of a file: ``url``, ``sha256`` and its type stand in the query."""
        app = Operator(self.gateway).app(request)
        url, sha256 = text(request.query, "url"), text(request.query, "sha256")
        path = _path_of(url)
        name = path.rpartition("/")[2][:NAME_LENGTH] or "file"
        row = FileRow(
            id=records.new_id(),
            name=name,
            mime_type=media_type(request.query.get("type") or None, name),
            created_at=self.gateway.config.clock(),
            meta={},
            key=name,
        )
        row = attrs.evolve(row, blob=f"{mark_of(app.id)}-{row.id}-{secrets.token_hex(16)}")
        assert row.blob is not None
        try:
            taken = await self.files.receive(request, row)
        except NoRoom as error:
            self.gateway.server.troubles.note("there was no room for a file", error)
            raise HttpError(507, 507, "There is no room for the file.") from None
        if not sha256.startswith(taken.tag):
            await self.files.blobs.discard(row.blob)
            raise HttpError(400, BAD_PARAMETER, "The bytes have another SHA-256.")

        def add(tx: Tx) -> bool:
            if tx.document(PATHS, path) is not None:
                return False
            records.add(tx, taken)
            tx.put_document(PATHS, path, {"id": taken.id})
            return True

        # Cancelled from here on, the blob stays in transit: the write may succeed all the same.
        if await self.gateway.store.write(app.id, add):
            await self.files.blobs.keep(row.blob)
        else:
            await self.files.blobs.discard(row.blob)
        return json_response({})

    async def download(self, request: Request) -> Response | None:
        """Hand out the file that had this path, if there was one."""
        path = unquote(request.path)

        def find(tx: Tx) -> FileRow | None:
            found = tx.document(PATHS, path)
            return None if found is None else records.file_row(tx, found["id"])

        if "\0" not in path and len(path) <= URL_LENGTH and is_unicode(path):
            for app_id in self.gateway.apps:
                row = await self.gateway.store.read(app_id, find)
                if row is not None:
                    return await self.files.respond(row, request)
        return None


def _path_of(url: str) -> str:
    """The path of a URL, as it is found by. Raises `HttpError` 400."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        good = False
    path = unquote(parts.path) if good else ""
    if (
        not good
        or len(url) > URL_LENGTH
        or path in {"", "/"}
        or "\0" in path
        or not is_unicode(path)
    ):
        raise HttpError(400, BAD_PARAMETER, "A URL of a file is of http or https, with a path.")
    return path
