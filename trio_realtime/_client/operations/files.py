"""Files for messages: up and down."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import trio

from trio_realtime._client.uploading import upload
from trio_realtime._values.errors import RealtimeError
from trio_realtime._values.files import File
from trio_realtime._values.local_file import LocalFile, UploadProgress
from trio_realtime._values.texts import checked_id

from .base import Operations

MAX_TEXT = 2048
"""Characters of a URL, and of what else is said of a file."""


class FileOperations(Operations):
    """Files."""

    async def upload(
        self,
        file: LocalFile,
        *,
        progress: trio.MemorySendChannel[UploadProgress] | None = None,
    ) -> File:
        """Upload a file, and return what a message needs to refer to it.

        Name, MIME type and size are filled in; with the extra ``[media]`` also width and
        height of images, and the duration of recordings. If it fails or is cancelled, the
        server is told, and no half of a file is left.

        Args:
            file: made by `LocalFile.from_path` or `LocalFile.from_bytes`.
            progress: told how far it is; reports that find the channel full are left out.

        Raises:
            FileUploadError: the file could not be uploaded.
            OSError: the file could not be read.
            RealtimeError: the server refused, or could not be reached.

        Protocol: docs/protocol/rest.md §9.
        """
        if not isinstance(file, LocalFile):
            raise TypeError(f"a file to upload is made by File.from_path, not {file!r}")
        return await upload(self._session, file, progress)

    async def register_file(self, url: str, *, name: str, mime_type: str | None = None) -> File:
        """Remember a file that lies elsewhere, so that it has an id.

        A message can also refer to a URL as it is: ``File("https://...")``.

        Raises:
            TypeError, ValueError: one of these is no text that can be sent.
            RealtimeError: the server refused, or could not be reached.

        Protocol: docs/protocol/rest.md §9.
        """
        for what, text in ("url", url), ("name", name), ("mime_type", mime_type or "-"):
            checked_id(text, what, MAX_TEXT)
        body = {
            "name": name,
            "url": url,
            "mime_type": mime_type,
            "metaData": {"__source": "external"},
        }
        answer = await self._session.rest.post("/1.1/files", body)
        return File(url, id=answer.get("objectId"), name=name, mime_type=mime_type)

    @asynccontextmanager
    async def download(self, file: File) -> AsyncGenerator[AsyncIterator[bytes]]:
        """The bytes of a file, piece by piece, for the time of the block.

        ``async with tom.download(message.file) as pieces: async for piece in pieces: ...``
        The block may be left at any time.

        Raises:
            RealtimeError: the file could not be fetched.
        """
        import httpx2

        client = self._session.http.client
        try:
            async with client.stream("GET", file.url, timeout=60.0) as response:
                if not response.is_success:
                    raise RealtimeError(
                        f"{file.url} answered with HTTP status {response.status_code}"
                    )
                async with aclosing(response.aiter_bytes()) as pieces:
                    yield pieces
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise RealtimeError(f"{file.url} could not be fetched: {error!r}") from error
