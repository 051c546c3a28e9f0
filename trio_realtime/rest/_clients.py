"""Clients, and their subscriptions of service conversations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import quote

from trio_realtime._engine.login import Signature
from trio_realtime._values.conversations import ConversationKind
from trio_realtime._values.times import datetime_from_ms, ms_from_datetime

from ._base import ConversationLike, Family, id_of, path_of, several, strings
from ._errors import Unavailable
from ._pages import Pages
from ._values import Statistics, Subscription

ASKED_AT_ONCE = 20
SUBSCRIBERS_PAGE = 50


class ClientRequests(Family):
    """Clients and subscribers."""

    async def online(self, client_ids: Sequence[str]) -> list[str]:
        """Those of these clients that are online; asked for twenty at a time.

        Raises:
            RestError: it had no success.

        Protocol: docs/protocol/rest.md §7.
        """
        asked, found = several(client_ids), []
        for start in range(0, len(asked), ASKED_AT_ONCE):
            body = {"client_ids": asked[start : start + ASKED_AT_ONCE]}
            path = "/1.2/rtm/clients/check-online"
            answer = await self._object("POST", path, body=body, repeatable=True)
            found += strings(answer.get("results"))
        return found

    async def unread_count(
        self, client_id: str, conversation: ConversationLike | None = None
    ) -> int:
        """How many messages a client has not read, altogether or of one conversation.

        Raises:
            RestError: it had no success.

        Protocol: docs/protocol/rest.md §7.
        """
        params = {"conv_id": None if conversation is None else id_of(conversation)}
        return await self._number(_path(client_id, "unread-count"), "count", params)

    async def kick(self, client_id: str, reason: str | None = None) -> None:
        """Force all sessions of a client off-line, with a reason of at most 20 characters.

        Raises:
            RestError: it had no success.

        Protocol: docs/protocol/rest.md §7.
        """
        body = {} if reason is None else {"reason": reason}
        await self.call("POST", _path(client_id, "kick"), body=body, repeatable=True)

    async def sign(self, user_session_token: str) -> tuple[str, Signature]:
        """The client id of a storage user, and a signature with which it may log in.

        Raises:
            RestError: it had no success.

        Protocol: docs/protocol/rest.md §7.
        """
        params = {"session_token": user_session_token}
        answer = await self._object("GET", "/1.2/rtm/clients/sign", params=params)
        values = [answer.get(name) for name in ("client_id", "signature", "nonce", "timestamp")]
        client, signature, nonce, timestamp = values
        if not all(isinstance(one, str) for one in values[:3]) or not isinstance(timestamp, int):
            raise Unavailable("the server has answered without a signature")
        return str(client), Signature(str(signature), timestamp, str(nonce))

    async def statistics(self) -> Statistics:
        """How many clients are online, and were today. Raises `RestError`.

        Protocol: docs/protocol/rest.md §7.
        """
        result = (await self._object("GET", "/1.2/rtm/stats")).get("result")
        found = result if isinstance(result, dict) else {}
        online, today = found.get("online_user_count"), found.get("user_count_today")
        if not isinstance(online, int) or not isinstance(today, int):
            raise Unavailable("the server has answered without numbers")
        return Statistics(online, today)

    async def subscribe(self, conversation: ConversationLike, client_id: str) -> None:
        """Let a client subscribe to a service conversation. Raises `RestError`.

        Protocol: docs/protocol/rest.md §6.
        """
        path = _subscribers(conversation)
        await self.call("POST", path, body={"client_id": client_id}, repeatable=True)

    async def unsubscribe(self, conversation: ConversationLike, client_id: str) -> None:
        """End a subscription. Raises `RestError`.

        Protocol: docs/protocol/rest.md §6.
        """
        await self.call("DELETE", _subscribers(conversation, client_id))

    async def subscriber_count(self, conversation: ConversationLike) -> int:
        """How many subscribers a service conversation has. Raises `RestError`.

        Protocol: docs/protocol/rest.md §6.
        """
        return await self._number(_subscribers(conversation, "count"), "count")

    def subscribers(self, conversation: ConversationLike) -> AsyncIterator[Subscription]:
        """All subscriptions of a service conversation. Raises `RestError`.

        Protocol: docs/protocol/rest.md §6.
        """

        async def fetch(last: Subscription | None) -> list[Subscription]:
            after = None if last is None else last.client_id
            return await self.subscriber_page(conversation, after=after)

        return Pages(fetch)

    async def subscriber_page(
        self, conversation: ConversationLike, *, after: str | None = None
    ) -> list[Subscription]:
        """One page of `subscribers`: at most 50, those behind a client; empty at the end."""
        params = {"limit": SUBSCRIBERS_PAGE, "client_id": after}
        rows = await self._array(_subscribers(conversation), params)
        return [_subscription(row) for row in rows]

    def subscriptions(self, client_id: str) -> AsyncIterator[Subscription]:
        """The service conversations that a client has subscribed to. Raises `RestError`.

        Protocol: docs/protocol/rest.md §6.
        """

        async def fetch(last: Subscription | None) -> list[Subscription]:
            params: dict[str, Any] = {"limit": SUBSCRIBERS_PAGE}
            if last is not None:
                at = ms_from_datetime(last.since)
                params |= {"conv_id": last.conversation_id, "timestamp": at}
            rows = await self._array(_path(client_id, "service-conversations"), params)
            return [_subscription(row) for row in rows]

        return Pages(fetch)

    async def _number(self, path: str, key: str, params: Any = None) -> int:
        count = (await self._object("GET", path, params=params)).get(key)
        if not isinstance(count, int):
            raise Unavailable(f"GET {path} was answered without a number")
        return count


def _path(client_id: str, what: str) -> str:
    return f"/1.2/rtm/clients/{quote(client_id, safe='')}/{what}"


def _subscribers(conversation: ConversationLike, *rest: str) -> str:
    return path_of(conversation, "subscribers", *rest, kind=ConversationKind.SERVICE)


def _subscription(row: Any) -> Subscription:
    given = row if isinstance(row, dict) else {}
    cid, client, at = (given.get(name) for name in ("conv_id", "subscriber", "timestamp"))
    if not isinstance(cid, str) or not isinstance(client, str) or not isinstance(at, int):
        raise Unavailable(f"a subscription lacks what each has: {str(row)[:200]}")
    return Subscription(cid, client, datetime_from_ms(at))
