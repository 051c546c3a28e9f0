"""What the database knows about files: rules on documents, and the forms of a file in JSON.

An upload is announced first (``uploads``, one document per token); when its bytes are there
the file itself comes into being (``files``). What is announced and never uploaded therefore
leaves nothing but a document, and that goes when it is too old.

Protocol: docs/protocol/rest.md §9.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import attrs

from trio_realtime.server.store.interface import Tx

FILES = "files"
UPLOADS = "uploads"

BUCKET = "files"
"""The protocol asks for a bucket's name; there is only one."""

_STAMP = 13
"""Digits of a time in milliseconds: keys of equal length sort as their times do."""

_PURGED_AT_ONCE = 20


@attrs.frozen(kw_only=True)
class FileRow:
    """One file, as stored."""

    id: str
    name: str
    mime_type: str
    created_at: int
    meta: Mapping[str, Any]
    key: str = ""
    keep_name: bool = False
    """End the URL with the name instead of the key."""
    url: str | None = None
    """For a file that lies elsewhere."""
    blob: str | None = None
    size: int = 0
    tag: str = ""
    """The entity tag without its quotes."""

    @property
    def tail(self) -> str:
        """The last segment of the URL, not escaped."""
        text = (self.name if self.keep_name else self.key).replace("\\", "/").rpartition("/")[2]
        return "file" if text in {"", ".", ".."} else text

    def url_at(self, origin: str, app_id: str) -> str:
        """The URL that clients fetch the file from."""
        if self.url is not None:
            return self.url
        return f"{origin}/files/{quote(app_id, safe='')}/{self.id}/{quote(self.tail, safe='')}"

    def json(self, origin: str, app_id: str) -> dict[str, Any]:
        """The form every SDK reads."""
        time = datetime.fromtimestamp(self.created_at / 1000, UTC)
        stamp = time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {
            "objectId": self.id,
            "name": self.name,
            "url": self.url_at(origin, app_id),
            "mime_type": self.mime_type,
            "bucket": BUCKET if self.url is None else "",
            "key": self.key,
            "metaData": dict(self.meta),
            "createdAt": stamp,
            "updatedAt": stamp,
        }


def new_id() -> str:
    """An id for a file. Its URL consists of it, so it must not be guessable."""
    return secrets.token_hex(12)


def announce(tx: Tx, row: FileRow, lifetime: int) -> str:
    """Expect an upload for so many milliseconds; the token that permits it."""
    _purge(tx)
    token = f"{tx.now + lifetime:0{_STAMP}d}-{secrets.token_hex(24)}"
    key = _document_key(token)
    assert key is not None
    tx.put_document(UPLOADS, key, {"row": attrs.asdict(row), "uploaded": False})
    return token


def announced(tx: Tx, token: object) -> FileRow | None:
    """The file a token permits to upload, now and only once."""
    upload = _upload(tx, token)
    return None if upload is None or upload["uploaded"] else _row(upload["row"])


def complete(tx: Tx, token: str, row: FileRow) -> bool:
    """Let the uploaded file exist; False if somebody was faster or called it off."""
    if announced(tx, token) is None:
        return False
    key = _document_key(token)
    assert key is not None
    tx.put_document(UPLOADS, key, {"row": {"id": row.id}, "uploaded": True})
    tx.put_document(FILES, row.id, attrs.asdict(row))
    return True


def confirm(tx: Tx, token: object) -> bool | None:
    """Spend the token of a file that is uploaded; None if there is no such token, False if
    nothing was uploaded yet.
    """
    upload = _upload(tx, token)
    if upload is None:
        return None
    if upload["uploaded"]:
        tx.delete_document(UPLOADS, _document_key(token) or "")
    return bool(upload["uploaded"])


def call_off(tx: Tx, token: object) -> tuple[bool, FileRow | None]:
    """Spend a token; whether it existed, and the file to be removed if it was uploaded."""
    upload = _upload(tx, token)
    if upload is None:
        return False, None
    tx.delete_document(UPLOADS, _document_key(token) or "")
    return True, file_row(tx, upload["row"]["id"]) if upload["uploaded"] else None


def file_row(tx: Tx, file_id: str) -> FileRow | None:
    """A file that exists."""
    document = tx.document(FILES, file_id)
    return None if document is None else _row(document)


def add(tx: Tx, row: FileRow) -> None:
    """Let a file that lies elsewhere exist."""
    tx.put_document(FILES, row.id, attrs.asdict(row))


def forget(tx: Tx, file_id: str) -> bool:
    """Let a file no longer exist; whether it did."""
    return tx.delete_document(FILES, file_id)


def _upload(tx: Tx, token: object) -> Mapping[str, Any] | None:
    key = _document_key(token)
    if key is None or int(key[:_STAMP]) <= tx.now:
        return None
    return tx.document(UPLOADS, key)


def _document_key(token: object) -> str | None:
    """Where a token is found: it carries its end, and only its digest is stored."""
    if not isinstance(token, str):
        return None
    stamp = token[:_STAMP]
    if not (len(stamp) == _STAMP and stamp.isascii() and stamp.isdigit()):
        return None
    return f"{stamp}-{hashlib.sha256(token.encode('utf-8', 'replace')).hexdigest()}"


def _purge(tx: Tx) -> None:
    """Drop the oldest announcements that nobody can make use of any more."""
    for key, _ in tx.documents(UPLOADS, limit=_PURGED_AT_ONCE):
        if int(key[:_STAMP]) > tx.now:
            return
        tx.delete_document(UPLOADS, key)


def _row(document: Mapping[str, Any]) -> FileRow:
    return FileRow(**document)
