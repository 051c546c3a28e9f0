"""Who is online."""

from __future__ import annotations

from collections.abc import Iterable

from trio_realtime._client.operands import client_ids
from trio_realtime._engine.mapping import part
from trio_realtime.wire import CommandType, GenericCommand, OpType, SessionCommand

from .base import Operations

AT_ONCE = 20
"""Client ids in one query: docs/protocol/session.md §9."""


class PresenceOperations(Operations):
    """Presence."""

    async def online(self, ids: Iterable[str]) -> list[str]:
        """Which of these clients are online now, in the order asked; any number of them.

        Raises:
            RealtimeError: the server refused, or could not be reached.

        Protocol: docs/protocol/session.md §9.
        """
        asked = client_ids(ids)
        online: set[str] = set()
        for start in range(0, len(asked), AT_ONCE):
            reply = await self._session.request(
                GenericCommand(
                    cmd=CommandType.SESSION,
                    op=OpType.QUERY,
                    session_message=SessionCommand(session_peer_ids=asked[start : start + AT_ONCE]),
                )
            )
            online.update(part(reply, reply.session_message).online_session_peer_ids)
        return [one for one in asked if one in online]
