"""Roles, silence and block lists."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import quote

from trio_realtime._engine.mapping.conversations import role_of
from trio_realtime._values.conversations import ConversationKind, Role

from ._base import ConversationLike, Family, id_of, path_of, several
from ._errors import Unavailable
from ._pages import Pages
from ._values import StoredRole

ROLES_PAGE = 100


class ModerationRequests(Family):
    """Who may do what in a conversation."""

    def roles(
        self, conversation: ConversationLike, *, kind: ConversationKind | None = None
    ) -> AsyncIterator[StoredRole]:
        """The roles that were given in a conversation; whoever is left out is a member.

        ``kind`` tells of an id what kind of conversation it is, a normal one by default; likewise
        in the other methods. Raises `RestError`.

        Protocol: docs/protocol/rest.md §7.
        """
        path, seen = path_of(conversation, "member-infos", kind=kind), 0

        async def fetch(_last: StoredRole | None) -> list[StoredRole]:
            nonlocal seen
            rows = await self._array(path, {"limit": ROLES_PAGE, "skip": seen}, "results")
            seen += len(rows)
            return [_stored(row) for row in rows]

        return Pages(fetch)

    async def set_role(
        self,
        conversation: ConversationLike,
        client_id: str,
        role: Role,
        *,
        kind: ConversationKind | None = None,
    ) -> None:
        """Make a member a manager, or a plain member again; nobody can be made owner.

        Raises:
            RestError: it had no success.

        Protocol: docs/protocol/rest.md §7.
        """
        body = {"clientId": client_id, "role": role.value}
        path = path_of(conversation, "member-infos", kind=kind)
        await self.call("POST", path, body=body, repeatable=True)

    async def silence(
        self,
        conversation: ConversationLike,
        client_ids: Sequence[str],
        *,
        seconds: int | None = None,
        kind: ConversationKind | None = None,
    ) -> None:
        """Forbid clients to send: for good, or for so many seconds, at most a day.

        Raises:
            RestError: it had no success. For several clients and a time, the first may have been
                silenced already.

        Protocol: docs/protocol/rest.md §7.
        """
        if seconds is None:
            path = path_of(conversation, "permanent-silenceds", kind=kind)
            await self._add(path, client_ids)
            return
        path = path_of(conversation, "temporary-silenceds", kind=kind)
        for client_id in several(client_ids):
            body = {"client_id": client_id, "ttl": seconds}
            await self.call("POST", path, body=body, repeatable=True)

    async def unsilence(
        self,
        conversation: ConversationLike,
        client_ids: Sequence[str],
        *,
        kind: ConversationKind | None = None,
    ) -> None:
        """Let clients send again that were silenced for good. Raises `RestError`.

        Protocol: docs/protocol/rest.md §7.
        """
        await self._remove(path_of(conversation, "permanent-silenceds", kind=kind), client_ids)

    def silenced(
        self, conversation: ConversationLike, *, kind: ConversationKind | None = None
    ) -> AsyncIterator[str]:
        """Client ids that are silenced for good. Raises `RestError`.

        Protocol: docs/protocol/rest.md §7.
        """
        return self._ids(path_of(conversation, "permanent-silenceds", kind=kind), "client_ids")

    async def block(
        self,
        conversation: ConversationLike,
        client_ids: Sequence[str],
        *,
        kind: ConversationKind | None = None,
    ) -> None:
        """Put clients out of a conversation and keep them out. Raises `RestError`.

        Protocol: docs/protocol/rest.md §7.
        """
        await self._add(path_of(conversation, "blacklists", kind=kind), client_ids)

    async def unblock(
        self,
        conversation: ConversationLike,
        client_ids: Sequence[str],
        *,
        kind: ConversationKind | None = None,
    ) -> None:
        """Let clients come back. Raises `RestError`.

        Protocol: docs/protocol/rest.md §7.
        """
        await self._remove(path_of(conversation, "blacklists", kind=kind), client_ids)

    def blocked(
        self, conversation: ConversationLike, *, kind: ConversationKind | None = None
    ) -> AsyncIterator[str]:
        """Client ids that a conversation blocks. Raises `RestError`.

        Protocol: docs/protocol/rest.md §7.
        """
        return self._ids(path_of(conversation, "blacklists", kind=kind), "client_ids")

    async def block_for_client(self, client_id: str, conversation: ConversationLike) -> None:
        """Let a client block a conversation: it leaves, and cannot be brought back.

        Raises:
            RestError: it had no success.

        Protocol: docs/protocol/rest.md §7.
        """
        body = {"conv_id": id_of(conversation)}
        await self.call("POST", _of_client(client_id), body=body, repeatable=True)

    async def unblock_for_client(self, client_id: str, conversation: ConversationLike) -> None:
        """Take a conversation off a client's list. Raises `RestError`.

        Protocol: docs/protocol/rest.md §7.
        """
        await self.call("DELETE", _of_client(client_id), body={"conv_id": id_of(conversation)})

    def blocked_by_client(self, client_id: str) -> AsyncIterator[str]:
        """Ids of the conversations that a client blocks. Raises `RestError`.

        Protocol: docs/protocol/rest.md §7.
        """
        return self._ids(_of_client(client_id), "conv_ids")


def _of_client(client_id: str) -> str:
    return f"/1.2/rtm/clients/{quote(client_id, safe='')}/blacklists"


def _stored(row: Any) -> StoredRole:
    given = row if isinstance(row, dict) else {}
    role_id, client = given.get("objectId"), given.get("clientId")
    if not isinstance(role_id, str) or not isinstance(client, str):
        raise Unavailable(f"a role lacks what each has: {str(row)[:200]}")
    return StoredRole(role_id, client, role_of(given.get("role")))
