"""What the families of requests have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from trio_realtime._values.conversations import BaseConversation, ConversationKind
from trio_realtime._values.registry import MessageRegistry

from ._errors import Unavailable
from ._pages import Pages
from ._requests import Requests

ConversationLike = BaseConversation | str
"""A conversation, or its id."""

PATHS: Mapping[ConversationKind, str] = {
    ConversationKind.NORMAL: "conversations",
    ConversationKind.CHAT_ROOM: "chatrooms",
    ConversationKind.SERVICE: "service-conversations",
    ConversationKind.TEMPORARY: "conversations",
}


class Family:
    """The base of each family of requests."""

    def __init__(self, requests: Requests, registry: MessageRegistry) -> None:
        self._requests = requests
        self._registry = registry

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        content: bytes | None = None,
        repeatable: bool | None = None,
        patience: float | None = None,
    ) -> Any:
        """Make any request, in the pace and with the patience of the others; its JSON.

        Args:
            method: ``GET``, ``POST``, ``PUT`` or ``DELETE``.
            path: the path with its version, for instance ``/1.1/date``.
            params: the query; what is no text is written as JSON, None is left out.
            body: JSON to send.
            content: bytes to send instead.
            repeatable: whether to ask again when no answer came, though it may have been carried
                out. By default all but ``POST``.
            patience: seconds for which to repeat it, if not those of `open_rest`.

        Raises:
            RestError: it had no success, see there.

        Protocol: docs/protocol/rest.md §1.
        """
        return await self._requests.call(
            method,
            path,
            params=params,
            body=body,
            content=content,
            repeatable=repeatable,
            patience=patience,
        )

    async def _object(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        value = await self.call(method, path, **options)
        if not isinstance(value, dict):
            raise Unavailable(f"{method} {path} was answered with something else than an object")
        return value

    async def _array(
        self, path: str, params: Mapping[str, Any], key: str | None = None
    ) -> list[Any]:
        """The objects in the answer of a GET, or in the array under a key of it."""
        value = await self.call("GET", path, params=params)
        if key is not None and isinstance(value, dict):
            value = value.get(key)
        if not isinstance(value, list):
            raise Unavailable(f"GET {path} was answered with something else than an array")
        return value

    async def _add(self, path: str, client_ids: Sequence[str]) -> None:
        """Put clients on a list."""
        await self.call("POST", path, body={"client_ids": several(client_ids)}, repeatable=True)

    async def _remove(self, path: str, client_ids: Sequence[str]) -> None:
        """Take clients off a list."""
        await self.call("DELETE", path, body={"client_ids": several(client_ids)})

    def _ids(self, path: str, key: str) -> AsyncIterator[str]:
        """All ids of a list that comes in pages with cursors."""
        after: str | None = None
        more = True

        async def fetch(_last: str | None) -> list[str]:
            nonlocal after, more
            while more:
                page = await self._object("GET", path, params={"limit": 100, "next": after})
                following = page.get("next")
                more = isinstance(following, str) and following not in {"", after}
                after = following
                if found := strings(page.get(key)):
                    return found
            return []

        return Pages(fetch)


def path_of(
    conversation: ConversationLike, *rest: str, kind: ConversationKind | None = None
) -> str:
    """The path of a conversation, by its kind; of an id alone, that of normal ones."""
    if isinstance(conversation, BaseConversation):
        kind = conversation.kind
    segments = [PATHS[kind or ConversationKind.NORMAL], id_of(conversation), *rest]
    return "/1.2/rtm/" + "/".join(quote(segment, safe="") for segment in segments)


def id_of(conversation: ConversationLike) -> str:
    """The id of a conversation. Raises `ValueError` for an empty one."""
    cid = conversation if isinstance(conversation, str) else conversation.id
    if not cid:
        raise ValueError("the id of a conversation is needed, and is not empty")
    return cid


def several(client_ids: Sequence[str]) -> list[str]:
    """Client ids as a list. Raises `TypeError` for a single text."""
    if isinstance(client_ids, str):
        raise TypeError(f"expected several client ids, not the single string {client_ids!r}")
    return list(client_ids)


def strings(value: Any) -> list[str]:
    """The texts in an array; nothing of anything else."""
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
