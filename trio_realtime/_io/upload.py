"""Carrying a file to where its provider wants it. Protocol: docs/protocol/rest.md §9."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

import attrs
import trio

from trio_realtime._values.errors import FileUploadError
from trio_realtime._values.local_file import LocalFile

if TYPE_CHECKING:
    import httpx2

SHARD = 16 * 1024 * 1024
SHARDED_FROM = 64 * 1024 * 1024
"""Bytes from which a file goes to qiniu in parts."""
QINIU = "https://upload.qiniup.com"
STALLED = 60.0
"""Seconds without any progress after which an upload has failed."""

CHUNK = 64 * 1024

Report = Callable[[int], None]


@attrs.define(eq=False)
class _Body(AsyncIterator[bytes]):
    """A part of the file between two pieces of text, read piece by piece.

    Not a generator: whoever sends it may stop at any time.
    """

    _upload: Upload
    _left: int
    _before: bytes = b""
    _after: bytes = b""

    async def __anext__(self) -> bytes:
        if self._before:
            before, self._before = self._before, b""
            return before
        if self._left:
            chunk = await self._upload.read(min(CHUNK, self._left))
            self._left -= len(chunk)
            return chunk
        if self._after:
            after, self._after = self._after, b""
            return after
        raise StopAsyncIteration


class Upload:
    """One upload, with the token that was given for it."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        file: LocalFile,
        token: Mapping[str, Any],
        report: Report,
    ) -> None:
        self._client = client
        self._file = file
        self._token = token
        self._report = report
        self._sent = 0
        self._source: BinaryIO

    async def run(self) -> None:
        """Carry the bytes over.

        Raises:
            FileUploadError: the provider is unknown or refused.
        """
        provider = self._token.get("provider")
        ways = {"s3": self._s3, "qcloud": self._qcloud, "qiniu": self._qiniu}
        if provider not in ways:
            raise FileUploadError(f"files of this app lie at {provider!r}, which is not known")
        self._source = await self._file.run(self._file.open)
        try:
            await ways[provider]()
        finally:
            self._source.close()

    async def read(self, size: int) -> bytes:
        """The next bytes of the file, at most ``size``; what was read before is on its way."""
        self._report(self._sent)
        chunk = await self._file.run(self._source.read, size)
        if not chunk:
            raise FileUploadError(f"{self._file.name} became shorter while it was uploaded")
        self._sent += len(chunk)
        return chunk

    async def _s3(self) -> None:
        headers = {
            "Content-Type": str(self._token.get("mime_type") or self._file.mime_type),
            "Cache-Control": "public, max-age=31536000",
            "Content-Length": str(self._file.size),
        }
        await self._send("PUT", self._url(), headers, _Body(self, self._file.size))
        self._report(self._file.size)

    async def _qcloud(self) -> None:
        url = f"{self._url()}?sign={quote(str(self._token.get('token')), safe='')}"
        await self._form(url, {"op": "upload"}, "fileContent")

    async def _qiniu(self) -> None:
        if self._file.size >= SHARDED_FROM:
            await self._qiniu_parts()
            return
        fields = {
            "name": self._file.name,
            "key": str(self._token.get("key")),
            "token": str(self._token.get("token")),
        }
        await self._form(self._url(QINIU), fields, "file")

    async def _qiniu_parts(self) -> None:
        key = base64.urlsafe_b64encode(str(self._token.get("key")).encode()).decode()
        base = f"{self._url(QINIU)}/buckets/{self._token.get('bucket')}/objects/{key}/uploads"
        headers = {"Authorization": f"UpToken {self._token.get('token')}"}
        upload = (await self._send("POST", base, headers)).get("uploadId")
        if not isinstance(upload, str) or not upload:
            raise FileUploadError("the provider gave no id for an upload in parts")
        whole = False
        try:
            await self._qiniu_all(f"{base}/{upload}", headers)
            whole = True
        finally:
            if not whole:
                await self._forget_parts(f"{base}/{upload}", headers)
        self._report(self._file.size)

    async def _qiniu_all(self, place: str, headers: Mapping[str, str]) -> None:
        parts = []
        for number, start in enumerate(range(0, self._file.size, SHARD), 1):
            stop = min(start + SHARD, self._file.size)
            answer = await self._send(
                "PUT",
                f"{place}/{number}",
                {
                    **headers,
                    "Content-Type": "application/octet-stream",
                    "Content-Length": str(stop - start),
                },
                _Body(self, stop - start),
            )
            etag = answer.get("etag")
            if not isinstance(etag, str) or not etag:
                raise FileUploadError(f"the provider did not confirm part {number} of the file")
            parts.append({"partNumber": number, "etag": etag})
        done = {"parts": parts, "fname": self._file.name, "mimeType": self._file.mime_type}
        await self._send("POST", place, headers, json=done)

    async def _forget_parts(self, place: str, headers: Mapping[str, str]) -> None:
        """Have the provider drop what it got; also when cancelled, but not for long."""
        import httpx2

        with trio.move_on_after(2.0, shield=True), suppress(FileUploadError, httpx2.HTTPError):
            await self._send("DELETE", place, headers)

    async def _form(self, url: str, fields: Mapping[str, str], part: str) -> None:
        """A multipart form whose last part is the file, streamed."""
        boundary = secrets.token_hex(16)
        name = self._file.name.replace("\\", "_").replace('"', "_")
        name = "".join(c if c.isprintable() else "_" for c in name)
        head = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in fields.items()
        ) + (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{part}"; filename="{name}"\r\n'
            f"Content-Type: {self._file.mime_type}\r\n\r\n"
        )
        before, after = head.encode(), f"\r\n--{boundary}--\r\n".encode()

        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(before) + self._file.size + len(after)),
        }
        await self._send("POST", url, headers, _Body(self, self._file.size, before, after))
        self._report(self._file.size)

    def _url(self, default: str | None = None) -> str:
        url = self._token.get("upload_url") or default
        if not isinstance(url, str):
            raise FileUploadError("the server did not say where to upload")
        return url.rstrip("/")

    async def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: AsyncIterator[bytes] | None = None,
        json: Any = None,
    ) -> Mapping[str, Any]:
        import httpx2

        from .http_streams import Body, Parts

        request = self._client.build_request(method, url, headers=dict(headers), json=json)
        if content is None:
            request.stream = Body(request.content)
        else:
            request = httpx2.Request(method, url, headers=request.headers, stream=Parts(content))
        request.extensions["timeout"] = httpx2.Timeout(STALLED).as_dict()
        response = await self._client.send(request)
        if not response.is_success:
            raise FileUploadError(
                f"uploading {self._file.name} was refused with HTTP status {response.status_code}"
            )
        try:
            answer = response.json()
        except ValueError:
            return {}
        return answer if isinstance(answer, dict) else {}
