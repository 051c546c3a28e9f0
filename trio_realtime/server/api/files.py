"""Files for media messages: announced, uploaded, handed out.

The server answers as the storage service does, and names itself as the place to upload to,
in the simplest of the three ways the SDKs know (``s3``: one PUT of the bytes).

Protocol: docs/protocol/rest.md §9.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import attrs

from trio_realtime._values.texts import is_unicode
from trio_realtime.server.files import records
from trio_realtime.server.files.blobs import Blob, BlobMissing, Blobs, NoRoom
from trio_realtime.server.files.ranges import (
    PROTECTION,
    Span,
    Unsatisfiable,
    disposition,
    extension,
    media_type,
    selected,
)
from trio_realtime.server.files.records import FileRow
from trio_realtime.server.gateway.gateway import Gateway
from trio_realtime.server.http import (
    Elsewhere,
    HttpError,
    Request,
    Response,
    Router,
    json_response,
)
from trio_realtime.server.metrics import log
from trio_realtime.server.rules.types import App
from trio_realtime.server.store.interface import Tx

from .rest import authorized_app, origin_of, shows_master_key

NAME_LENGTH = 1024
KEY_LENGTH = 1024
URL_LENGTH = 8192
META_LENGTH = 16 * 1024
"""Longest ``metaData``, as JSON text."""

READ_SIZE = 256 * 1024
"""Bytes of one part of a download."""

CACHED = "public, max-age=31536000, immutable"
"""The bytes behind a URL never change."""


@attrs.frozen
class Files:
    """The endpoints; `routes` enters them into a router."""

    gateway: Gateway
    blobs: Blobs

    def routes(self, router: Router) -> None:
        """Register every endpoint."""
        router.add("POST", "/1.1/fileTokens", self.announce)
        router.add("PUT", "/uploads/{app}/{token}", self.upload, streams=True)
        router.add("POST", "/1.1/fileCallback", self.callback)
        router.add("POST", "/1.1/files", self.add_external)
        # Early versions of the storage SDK put the name into the path.
        router.add("POST", "/1.1/files/{name}", self.add_external)
        # To SDKs that know files as rows like any other, they are those of a class.
        router.add("POST", "/1.1/classes/_File", self.add_external)
        router.add("GET", "/1.1/classes/_File", self.find)
        router.add("PUT", "/1.1/classes/_File/{id}", self.change)
        for path in ("/1.1/files", "/1.1/classes/_File"):
            router.add("GET", f"{path}/{{id}}", self.describe)
            router.add("DELETE", f"{path}/{{id}}", self.delete)
        router.add("GET", "/files/{app}/{id}/{tail}", self.download)

    async def recover(self) -> None:
        """Decide about what a crash left in transit. Before the first request."""
        apps = {mark_of(app_id): app_id for app_id in self.gateway.apps}
        for name in await self.blobs.in_transit():
            mark, _, rest = name.partition("-")
            app_id, file_id = apps.get(mark), rest.partition("-")[0]
            if app_id is None:
                continue  # of an app that is not served today
            row = await self.gateway.store.read(app_id, finding(file_id))
            if row is not None and row.blob == name:
                await self.blobs.keep(name)
            else:
                await self.blobs.discard(name)

    async def announce(self, request: Request) -> Response:
        """Permit an upload: ``POST /1.1/fileTokens``.

        A key is chosen with the master key. Versions of the storage SDK always send one; without
        the master key the server makes its own, so that nobody takes the key of another's file.
        """
        app = authorized_app(self.gateway, request)
        body = request.json()
        chosen = _text(body, "key", KEY_LENGTH)
        if not shows_master_key(self.gateway, app, request):
            chosen = ""
        name, meta = _name(body), _meta(body)
        self._check_size(meta.get("size"))
        row = FileRow(
            id=records.new_id(),
            name=name,
            mime_type=media_type(body.get("mime_type"), name),
            created_at=self.gateway.config.clock(),
            meta=meta,
            key=chosen or secrets.token_hex(16) + extension(name),
            keep_name=body.get("keep_file_name") is True,
        )
        lifetime = int(self.gateway.config.limits.upload_ttl * 1000)
        token = await self.gateway.store.write(
            app.id, lambda tx: records.announce(tx, row, lifetime)
        )
        origin = origin_of(self.gateway.config, request)
        described = row.json(origin, app.id)
        return json_response(
            {
                **described,
                "provider": "s3",
                "upload_url": f"{origin}/uploads/{quote(app.id, safe='')}/{token}",
                "token": token,
            },
            201,
        )

    async def upload(self, request: Request) -> Response:
        """Take the bytes: ``PUT`` to the ``upload_url``."""
        app, token = self._app(request), request.parameters["token"]
        row = await self.gateway.store.read(app.id, lambda tx: records.announced(tx, token))
        if row is None:
            raise _no_token()
        length = request.headers.get("content-length")
        self._check_size(int(length) if length is not None else None)
        name = f"{mark_of(app.id)}-{row.id}-{secrets.token_hex(16)}"
        try:
            uploaded = await self.receive(request, attrs.evolve(row, blob=name))
        except NoRoom as error:
            # A full disk is no limit of ours.
            cause = error.__cause__
            limit = "file_memory_bytes" if cause is None else None
            self.gateway.server.troubles.note("there was no room for a file", cause or error)
            raise HttpError(507, 507, "There is no room for the file.", limit=limit) from None
        # Cancelled from here on, the blob stays in transit: the write may succeed all the same.
        completed = await self.gateway.store.write(
            app.id, lambda tx: records.complete(tx, token, uploaded)
        )
        if not completed:
            await self.blobs.discard(name)
            raise _no_token()
        await self.blobs.keep(name)
        return attrs.evolve(json_response({}), headers=(("etag", f'"{uploaded.tag}"'),))

    async def callback(self, request: Request) -> Response:
        """Hear how the upload ended: ``POST /1.1/fileCallback``."""
        app = authorized_app(self.gateway, request)
        body = request.json()
        token, result = body.get("token"), body.get("result")
        if not isinstance(result, bool):
            raise HttpError(400, 107, "result is not a boolean.")
        store = self.gateway.store
        if result:
            confirmed = await store.write(app.id, lambda tx: records.confirm(tx, token))
            if confirmed is False:
                raise HttpError(400, 400, "Nothing was uploaded with this token.")
            known = confirmed is not None
        else:
            known, row = await store.write(app.id, lambda tx: records.call_off(tx, token))
            if row is not None:
                await self._remove(app, row)
        if not known:
            raise _no_token()
        return json_response({})

    async def add_external(self, request: Request) -> Response:
        """Remember a file that lies elsewhere: ``POST /1.1/files``, or ``/1.1/files/{name}``."""
        app = authorized_app(self.gateway, request)
        body = request.json()
        name, url = _name(body), _external(_text(body, "url", URL_LENGTH))
        row = FileRow(
            id=records.new_id(),
            name=name,
            mime_type=media_type(body.get("mime_type"), name),
            created_at=self.gateway.config.clock(),
            meta=_meta(body),
            url=url,
        )
        await self.gateway.store.write(app.id, lambda tx: records.add(tx, row))
        described = row.json(origin_of(self.gateway.config, request), app.id)
        location = ("location", f"/1.1/files/{row.id}")
        return attrs.evolve(json_response(described, 201), headers=(location,))

    async def describe(self, request: Request) -> Response:
        """Tell about a file: ``GET /1.1/files/{id}``."""
        app = authorized_app(self.gateway, request)
        row = await self._known(app, request)
        return json_response(row.json(origin_of(self.gateway.config, request), app.id))

    async def find(self, request: Request) -> Response:
        """Only an upstream queries files."""
        authorized_app(self.gateway, request)
        raise Elsewhere(404, 1, "Files are not queried here.")

    async def change(self, request: Request) -> Response:
        """Only an upstream changes what is known of a file."""
        authorized_app(self.gateway, request)
        raise Elsewhere(404, 1, "Files are not changed here.")

    async def delete(self, request: Request) -> Response:
        """Remove a file: ``DELETE /1.1/files/{id}``.

        Needs the master key: everybody in a conversation knows the id of a file sent there.
        """
        app = authorized_app(self.gateway, request, master=True)
        await self._remove(app, await self._known(app, request))
        return json_response({})

    async def download(self, request: Request) -> Response:
        """Hand out the bytes, or a range of them, to anybody who knows the URL."""
        row = await self._row(self._app(request), request)
        if request.parameters["tail"] != row.tail:
            raise _no_file()
        return await self.respond(row, request)

    async def respond(self, row: FileRow, request: Request) -> Response:
        """The bytes of a file, or a range of them."""
        if row.blob is None:
            raise _no_file()
        headers: tuple[tuple[str, str], ...] = (
            ("etag", f'"{row.tag}"'),
            ("accept-ranges", "bytes"),
            ("cache-control", CACHED),
            ("content-disposition", disposition(row.mime_type, row.name)),
            *PROTECTION,
        )
        try:
            span = selected(request.headers, f'"{row.tag}"', row.size)
        except Unsatisfiable:
            return Response(416, headers=(*headers, ("content-range", f"bytes */{row.size}")))
        if isinstance(span, int):
            return Response(span, headers=headers)
        status = 200
        if span.size < row.size:
            status = 206
            place = f"bytes {span.start}-{span.stop - 1}/{row.size}"
            headers = (*headers, ("content-range", place))
        try:
            blob = await self.blobs.open(row.blob)
        except BlobMissing:
            log.error("the bytes of the file %s are missing", row.id)
            raise _no_file() from None
        return Response(
            status,
            content_type=row.mime_type,
            headers=headers,
            content=_BlobPart(blob, span),
        )

    async def receive(self, request: Request, row: FileRow) -> FileRow:
        """Write what arrives; the row with what is known then. Raises `NoRoom`."""
        size, digest = 0, hashlib.sha256()
        async with self.blobs.write(row.blob or "") as writer:
            while part := await request.receive():
                size += len(part)
                self._check_size(size)
                digest.update(part)
                await writer.write(part)
            await writer.finish()
        meta = {**row.meta, "size": size}
        return attrs.evolve(row, size=size, tag=digest.hexdigest()[:32], meta=meta)

    async def _remove(self, app: App, row: FileRow) -> None:
        if row.blob is not None:
            await self.blobs.withdraw(row.blob)
        await self.gateway.store.write(app.id, lambda tx: records.forget(tx, row.id))
        if row.blob is not None:
            await self.blobs.discard(row.blob)

    def _app(self, request: Request) -> App:
        app = self.gateway.apps.get(request.parameters["app"])
        if app is None:
            raise _no_file()
        return app.app

    async def _row(self, app: App, request: Request) -> FileRow:
        row = await self.gateway.store.read(app.id, finding(request.parameters["id"]))
        if row is None:
            raise _no_file()
        return row

    async def _known(self, app: App, request: Request) -> FileRow:
        row = await self.gateway.store.read(app.id, finding(request.parameters["id"]))
        if row is None:
            raise Elsewhere(404, 101, "There is no such file.")
        return row

    def _check_size(self, size: object) -> None:
        if isinstance(size, int | float) and size > self.gateway.config.limits.file_bytes:
            raise HttpError(413, 413, "The file is too large.", limit="file_bytes")


@attrs.define(eq=False)
class _BlobPart:
    """The bytes of a response, read as they are sent."""

    _blob: Blob
    _span: Span

    @property
    def size(self) -> int:
        return self._span.size

    async def read(self) -> bytes:
        span = self._span
        data = await self._blob.read(span.start, min(span.size, READ_SIZE)) if span.size else b""
        self._span = Span(span.start + len(data), span.stop)
        return data

    async def aclose(self) -> None:
        self._blob.close()


def finding(file_id: str) -> Callable[[Tx], FileRow | None]:
    return lambda tx: records.file_row(tx, file_id)


def mark_of(app_id: str) -> str:
    """An app's id as part of the name of a blob."""
    return hashlib.sha256(app_id.encode()).hexdigest()[:16]


def _no_file() -> HttpError:
    return HttpError(404, 101, "There is no such file.")


def _no_token() -> HttpError:
    return HttpError(403, 403, "The token is unknown, used or has expired.")


def _text(body: Mapping[str, Any], name: str, limit: int) -> str:
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > limit or not is_unicode(value):
        raise HttpError(400, 107, f"{name} is not a string of at most {limit} characters.")
    return value


def _name(body: Mapping[str, Any]) -> str:
    name = _text(body, "name", NAME_LENGTH)
    if not name:
        raise HttpError(400, 107, "name is missing.")
    return name


def _meta(body: Mapping[str, Any]) -> Mapping[str, Any]:
    meta = body.get("metaData")
    if meta is None:
        return {}
    try:
        text = json.dumps(meta, ensure_ascii=False, allow_nan=False)
        fits = isinstance(meta, dict) and len(text.encode()) <= META_LENGTH
    except (ValueError, RecursionError):
        fits = False
    if not fits:
        raise HttpError(400, 107, f"metaData is not an object of at most {META_LENGTH} bytes.")
    result: dict[str, Any] = meta
    return result


def _external(url: str) -> str:
    """A URL that is safe to hand to clients: one of the web."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        fine = False
    if not fine or not url.isprintable() or " " in url:
        raise HttpError(400, 107, "url is not an http or https URL.")
    return url
