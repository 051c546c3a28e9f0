"""Storage users, asked for over HTTP: whose session token is this?

LeanCloud's storage service and Parse Server answer the same question in the same way.

Protocol: docs/protocol/session.md §11.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from typing import TYPE_CHECKING

import attrs
import trio

from trio_realtime._io.http import content_of

from .config import UserLookup, UserLookupError
from .rules.types import App

if TYPE_CHECKING:
    import httpx2

KEPT_FOR = 60.0
"""Seconds an answer counts."""
KEPT = 10_000
"""Answers kept at once."""
ANSWER_BYTES = 1024 * 1024
TOKEN_LENGTH = 1024

NOBODY = frozenset({101, 206, 209, 211})
"""Codes by which the storage services say that nobody has this token."""


def storage_users(
    url: str,
    client: httpx2.AsyncClient,
    *,
    timeout: float = 5.0,
) -> UserLookup:
    """The function for `ServerConfig.user_lookup` that asks ``GET {url}/users/me``.

    ``url`` is the base of a storage service with its version or mount, such as
    ``https://storage.example.com/1.1`` or ``https://parse.example.com/parse``. The app's id and
    key and the session token go with the request under the names of both services; the
    ``objectId`` of the answer is the client id. Users that were found are remembered for a
    minute, at most 10,000 of them, so that a token that is revoked may be good for that long.
    The caller owns ``client``. A lookup takes at most ``timeout`` seconds.

    The function raises `UserLookupError` where the service does not answer as it should.

    Protocol: docs/protocol/session.md §11.
    """
    return _Users(f"{url.rstrip('/')}/users/me", client, timeout).find


@attrs.define(eq=False)
class _Users:
    url: str
    client: httpx2.AsyncClient
    seconds: float
    known: OrderedDict[bytes, tuple[float, str]] = attrs.field(factory=OrderedDict)
    """By app and token: until when, and who. The oldest first."""

    async def find(self, app: App, token: str) -> str | None:
        if not token or len(token) > TOKEN_LENGTH or not (token.isascii() and token.isprintable()):
            return None
        key = hashlib.sha256(f"{app.id}\0{token}".encode()).digest()
        found = self.known.get(key)
        if found is not None and trio.current_time() < found[0]:
            return found[1]
        with trio.move_on_after(self.seconds) as scope:
            user = await self.ask(app, token)
        if scope.cancelled_caught:
            raise UserLookupError(f"no answer within {self.seconds:g} s", slow=True)
        self.known.pop(key, None)
        if user is not None:
            self.known[key] = (trio.current_time() + KEPT_FOR, user)
            if len(self.known) > KEPT:
                self.known.popitem(last=False)
        return user

    async def ask(self, app: App, token: str) -> str | None:
        import httpx2  # only servers that ask pay for it

        # Made by hand: what the client remembers, such as cookies, is another user's.
        request = httpx2.Request(
            "GET",
            self.url,
            headers={
                b"Accept": b"application/json",
                b"X-LC-Id": app.id.encode(),
                b"X-LC-Key": app.key.encode(),
                b"X-LC-Session": token.encode(),
                b"X-Parse-Application-Id": app.id.encode(),
                b"X-Parse-REST-API-Key": app.key.encode(),
                b"X-Parse-Session-Token": token.encode(),
            },
        )
        try:
            response = await self.client.send(request, stream=True, follow_redirects=False)
            try:
                content = await content_of(response, ANSWER_BYTES)
            finally:
                await response.aclose()
        except httpx2.HTTPError as error:
            # Its words may repeat a header.
            raise UserLookupError(type(error).__name__) from None
        if content is None:
            raise UserLookupError("the answer is too large")
        return _user(response.status_code, content)


def _user(status: int, content: bytes) -> str | None:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise UserLookupError(f"status {status}, and no JSON object")
    if status == 200:
        user = answer.get("objectId")
        if not isinstance(user, str) or not user:
            raise UserLookupError("the answer has no objectId")
        return user
    if 400 <= status < 500 and answer.get("code") in NOBODY:
        return None
    raise UserLookupError(f"status {status}")
