"""A file on its way up: announced, carried, confirmed. Protocol: docs/protocol/rest.md §9."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import trio

from trio_realtime._io.media import measure
from trio_realtime._io.upload import Upload
from trio_realtime._values.errors import FileUploadError, MalformedReply, RealtimeError
from trio_realtime._values.files import File
from trio_realtime._values.local_file import LocalFile, UploadProgress

from .session_view import SessionView


async def upload(
    session: SessionView,
    file: LocalFile,
    progress: trio.MemorySendChannel[UploadProgress] | None,
) -> File:
    """Upload a file; see `FileOperations.upload`."""
    import httpx2

    def report(sent: int) -> None:
        if progress is not None:
            with suppress(trio.WouldBlock, trio.BrokenResourceError):
                progress.send_nowait(UploadProgress(sent, file.size))

    known = await file.run(measure, file)
    rest = session.rest
    metadata = {"size": file.size, **known}
    token = await rest.post(
        "/1.1/fileTokens",
        {"name": file.name, "mime_type": file.mime_type, "metaData": metadata},
    )
    if not isinstance(token, Mapping) or not isinstance(token.get("url"), str):
        raise MalformedReply("the answer to an announced file says nothing of its place")
    done = False
    try:
        client = session.http.client
        await Upload(client, file, token, report).run()
        done = True
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise FileUploadError(f"uploading {file.name} failed: {error!r}") from error
    finally:
        await _tell(session, token, done=done)
    return File(
        token["url"],
        id=token.get("objectId"),
        name=file.name,
        mime_type=file.mime_type,
        size=file.size,
        **known,
    )


async def _tell(session: SessionView, token: Mapping[str, Any], *, done: bool) -> None:
    """Confirm an upload, or take the announcement back."""
    body = {"token": token.get("token"), "result": done}
    # Also when cancelled, or the server would keep waiting for the bytes.
    with trio.move_on_after(20.0 if done else 2.0, shield=not done):
        try:
            await session.rest.post("/1.1/fileCallback", body)
        except RealtimeError:
            # The answer changes nothing: docs/protocol/rest.md §9.
            return
