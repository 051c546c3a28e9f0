"""Conversations of all kinds, and who belongs to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import attrs

from trio_realtime._engine.mapping.conversations import conversation_from_json
from trio_realtime._values.conversations import (
    BaseConversation,
    ChatRoom,
    ConversationKind,
)
from trio_realtime._values.errors import MalformedReply
from trio_realtime._values.json import thaw
from trio_realtime._values.times import utc_now

from ._base import PATHS, ConversationLike, Family, id_of, path_of, several, strings
from ._errors import Unavailable
from ._pages import Pages

LARGEST_PAGE = 1000
CLASS = "/1.1/classes/_Conversation"


@attrs.frozen
class CreationCursor:
    """Where a page in the order of creation ended."""

    created_at: str
    """When the last row was created, as the server writes it."""
    seen: frozenset[str]
    """Ids of all rows of that moment that have come."""

    def follow(self, page: list[Any], path: str) -> tuple[list[dict[str, Any]], CreationCursor]:
        """The rows of a page that have not come yet, and where to go on.

        Raises:
            Unavailable: they are in no such order.
        """
        created_at, seen, fresh = self.created_at, set(self.seen), []
        before = self.created_at
        for row in page:
            at, name = (
                (row.get("createdAt"), row.get("objectId")) if isinstance(row, dict) else (0, 0)
            )
            if not isinstance(at, str) or not isinstance(name, str):
                raise Unavailable(f"GET {path} was answered with rows without id or creation")
            if at < before:
                raise Unavailable(f"GET {path} was answered in another order than asked for")
            before = at
            if at == self.created_at and name in self.seen:
                continue
            if at != created_at:
                created_at, seen = at, set()
            seen.add(name)
            fresh.append(row)
        return fresh, CreationCursor(created_at, frozenset(seen))


class ConversationRequests(Family):
    """Conversations and members."""

    async def create_conversation(
        self,
        members: Sequence[str],
        *,
        name: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        unique: bool = False,
    ) -> BaseConversation:
        """Create a conversation of these members, who are told.

        Args:
            members: client ids, at most 500.
            name: what it is called.
            attributes: columns of its own; at most 5 KB as JSON.
            unique: whether to find the one that the same members have already.

        Raises:
            RestError: it had no success. Unless ``unique`` it is not repeated by itself.

        Protocol: docs/protocol/rest.md §3.
        """
        given = {"m": several(members), **({"unique": True} if unique else {})}
        return await self._create(ConversationKind.NORMAL, given, name, attributes, unique)

    async def create_chat_room(
        self, *, name: str | None = None, attributes: Mapping[str, Any] | None = None
    ) -> BaseConversation:
        """Create a chat room. Arguments and errors as of `create_conversation`.

        Protocol: docs/protocol/rest.md §5.
        """
        return await self._create(ConversationKind.CHAT_ROOM, {}, name, attributes)

    async def create_service_conversation(
        self, *, name: str | None = None, attributes: Mapping[str, Any] | None = None
    ) -> BaseConversation:
        """Create a service conversation. Arguments and errors as of `create_conversation`.

        Protocol: docs/protocol/rest.md §6.
        """
        return await self._create(ConversationKind.SERVICE, {}, name, attributes)

    async def _create(
        self,
        kind: ConversationKind,
        given: dict[str, Any],
        name: str | None,
        attributes: Mapping[str, Any] | None,
        repeatable: bool = False,
    ) -> BaseConversation:
        body = {**thaw(attributes or {}), **given, **({} if name is None else {"name": name})}
        path = f"/1.2/rtm/{PATHS[kind]}"
        row = await self._object("POST", path, body=body, repeatable=repeatable)
        # Rows of chat rooms and services are answered without what they were given.
        marks = {ConversationKind.CHAT_ROOM: "tr", ConversationKind.SERVICE: "sys"}
        return self._conversation({**body, **({marks[kind]: True} if kind in marks else {}), **row})

    async def conversation(self, conversation: ConversationLike) -> BaseConversation:
        """The conversation of this id, of whatever kind, as it is now.

        Raises:
            NotFound: there is none.
            RestError: it had no success for another reason.

        Protocol: docs/protocol/rest.md §8.
        """
        path = f"{CLASS}/{quote(id_of(conversation), safe='')}"
        return self._conversation(await self._object("GET", path))

    async def conversation_page(
        self,
        where: Mapping[str, Any] | None = None,
        *,
        order: str = "objectId",
        limit: int = 100,
        skip: int = 0,
    ) -> list[BaseConversation]:
        """One page of the conversations that a condition holds for, of all kinds.

        Args:
            where: the condition, as in ``{"m": "Tom", "topic": {"$in": ["film", "music"]}}``.
            order: keys to sort by, divided by commas; with ``-`` in front, descending.
            limit: at most so many, up to 1,000.
            skip: pass over so many.

        Raises:
            RestError: it had no success.

        Protocol: docs/protocol/rest.md §8.
        """
        params = {"where": thaw(where or {}), "order": order, "limit": limit, "skip": skip}
        rows = await self._array(CLASS, params, "results")
        return [self._conversation(row) for row in rows]

    def conversations(
        self, where: Mapping[str, Any] | None = None, *, page: int = LARGEST_PAGE
    ) -> AsyncIterator[BaseConversation]:
        """All conversations that a condition holds for, in the order in which they were created.

        Raises:
            RestError: it had no success.

        Protocol: docs/protocol/rest.md §8.
        """
        cursor: CreationCursor | None = None

        async def fetch(_last: BaseConversation | None) -> list[BaseConversation]:
            nonlocal cursor
            rows, cursor = await self.created_page("_Conversation", where, cursor, limit=page)
            return [self._conversation(row) for row in rows]

        return Pages(fetch)

    async def created_page(
        self,
        class_name: str,
        where: Mapping[str, Any] | None = None,
        cursor: CreationCursor | None = None,
        *,
        limit: int = LARGEST_PAGE,
    ) -> tuple[list[dict[str, Any]], CreationCursor | None]:
        """A page of the rows of a class in the order of their creation, and where to go on.

        Unlike `rows_page` it is right for ids of any form: the service keeps those of its own and
        those that were imported apart. An empty page is the end.

        Args:
            class_name: for instance ``_Conversation``.
            where: a condition.
            cursor: where the page before ended.
            limit: at most so many, up to 1,000.

        Raises:
            RestError: it had no success.

        Protocol: docs/protocol/rest.md §8.
        """
        path = f"/1.1/classes/{quote(class_name, safe='')}"
        skip = 0
        while True:
            params = {
                "where": _created_since(thaw(where or {}), cursor),
                "order": "createdAt,objectId",
                "limit": limit,
                "skip": skip or None,
            }
            page = await self._array(path, params, "results")
            fresh, following = (cursor or CreationCursor("", frozenset())).follow(page, path)
            if fresh or not page:
                return fresh, following
            # All of one moment, and known: what is behind them?
            skip += len(page)

    async def count(self, where: Mapping[str, Any] | None = None) -> int:
        """How many conversations a condition holds for. Raises `RestError`.

        Protocol: docs/protocol/rest.md §8.
        """
        params = {"where": thaw(where or {}), "count": 1, "limit": 0}
        found = (await self._object("GET", CLASS, params=params)).get("count")
        if not isinstance(found, int):
            raise Unavailable("the server has not counted")
        return found

    def rows(
        self, class_name: str, where: Mapping[str, Any] | None = None, *, page: int = LARGEST_PAGE
    ) -> AsyncIterator[dict[str, Any]]:
        """All rows of a class of the storage service, in the order of their ids, as they come.

        For classes with ids that the service has made itself; see `created_page`.

        Args:
            class_name: for instance ``_ConversationMemberInfo``.
            where: a condition, not about ``objectId``.
            page: rows of one request, at most 1,000.

        Raises:
            ValueError: the condition is about ``objectId``.
            RestError: it had no success.

        Protocol: docs/protocol/rest.md §8.
        """

        async def fetch(last: dict[str, Any] | None) -> list[dict[str, Any]]:
            after = "" if last is None else last["objectId"]
            return await self.rows_page(class_name, where, after=after, limit=page)

        return Pages(fetch)

    async def rows_page(
        self,
        class_name: str,
        where: Mapping[str, Any] | None = None,
        *,
        after: str = "",
        limit: int = LARGEST_PAGE,
    ) -> list[dict[str, Any]]:
        """One page of `rows`: those with ids behind ``after``; empty at the end."""
        if "objectId" in (where or {}):
            raise ValueError("the condition may not be about objectId, which the pages go by")
        condition = {**thaw(where or {}), **({"objectId": {"$gt": after}} if after else {})}
        params = {"where": condition, "order": "objectId", "limit": limit}
        path = f"/1.1/classes/{quote(class_name, safe='')}"
        rows = await self._array(path, params, "results")
        if not all(isinstance(row, dict) and isinstance(row.get("objectId"), str) for row in rows):
            raise Unavailable(f"GET {path} was answered with rows without objectId")
        ids = [after, *(row["objectId"] for row in rows)]
        if any(first >= second for first, second in pairwise(ids)):
            raise Unavailable(f"GET {path} was answered in another order than asked for")
        return rows

    async def update_conversation(
        self, conversation: ConversationLike, changes: Mapping[str, Any]
    ) -> None:
        """Change name and columns of a conversation; its members are told.

        Args:
            conversation: the conversation, or its id.
            changes: values, or operations such as ``{"__op": "Delete"}``, by key or dotted path.

        Raises:
            RestError: it had no success.

        Protocol: docs/protocol/rest.md §8.
        """
        path = f"{CLASS}/{quote(id_of(conversation), safe='')}"
        # Increments count each time.
        repeatable = not any(
            isinstance(value, Mapping) and "__op" in value for value in changes.values()
        )
        await self.call("PUT", path, body=thaw(changes), repeatable=repeatable)

    async def delete_conversation(self, conversation: ConversationLike) -> None:
        """Remove a conversation with all that was said in it. Raises `RestError`.

        Protocol: docs/protocol/rest.md §8.
        """
        await self.call("DELETE", f"{CLASS}/{quote(id_of(conversation), safe='')}")

    async def members(self, conversation: ConversationLike) -> list[str]:
        """Client ids of the members; of a chat room (passed as `ChatRoom`), some who are there.

        Raises:
            RestError: it had no success.

        Protocol: docs/protocol/rest.md §3 and §5.
        """
        answer = await self._object("GET", path_of(conversation, "members"))
        return strings(answer.get("result"))

    async def add_members(self, conversation: ConversationLike, client_ids: Sequence[str]) -> None:
        """Make clients members; they and the others are told. Raises `RestError`.

        Protocol: docs/protocol/rest.md §3.
        """
        await self._add(path_of(conversation, "members"), client_ids)

    async def remove_members(
        self, conversation: ConversationLike, client_ids: Sequence[str]
    ) -> None:
        """End memberships; they and the others are told. Raises `RestError`.

        Protocol: docs/protocol/rest.md §3.
        """
        await self._remove(path_of(conversation, "members"), client_ids)

    async def muted_members(self, conversation: ConversationLike) -> list[str]:
        """Members that do not want to be disturbed. Raises `RestError`.

        Protocol: docs/protocol/rest.md §3.
        """
        answer = await self._object("GET", path_of(conversation, "mutes"))
        return strings(answer.get("result"))

    async def mute(self, conversation: ConversationLike, client_ids: Sequence[str]) -> None:
        """Set do-not-disturb for members. Raises `RestError`.

        Protocol: docs/protocol/rest.md §3.
        """
        await self._add(path_of(conversation, "mutes"), client_ids)

    async def unmute(self, conversation: ConversationLike, client_ids: Sequence[str]) -> None:
        """Lift do-not-disturb. Raises `RestError`.

        Protocol: docs/protocol/rest.md §3.
        """
        await self._remove(path_of(conversation, "mutes"), client_ids)

    async def online_count(self, room: ChatRoom | str) -> int:
        """How many are in a chat room now. Raises `RestError`.

        Protocol: docs/protocol/rest.md §5.
        """
        path = path_of(room, "members", "online-count", kind=ConversationKind.CHAT_ROOM)
        count = (await self._object("GET", path)).get("result")
        if not isinstance(count, int):
            raise Unavailable(f"GET {path} was answered without a number")
        return count

    def _conversation(self, row: Any) -> BaseConversation:
        try:
            return conversation_from_json(row, utc_now(), self._registry, "")
        except MalformedReply as error:
            raise Unavailable(f"a conversation in an answer cannot be read: {error}") from error


def _created_since(where: dict[str, Any], cursor: CreationCursor | None) -> dict[str, Any]:
    if cursor is None or not cursor.created_at:
        return where
    since = {"createdAt": {"$gte": {"__type": "Date", "iso": cursor.created_at}}}
    return {"$and": [where, since]} if "createdAt" in where else {**where, **since}
