"""Sending in anybody's name, and reading what was said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from trio_realtime._engine.mapping.messages import decoded, envelope
from trio_realtime._values.conversations import ConversationKind
from trio_realtime._values.messages import BaseMessage, MessagePriority
from trio_realtime._values.times import ms_from_datetime

from ._base import ConversationLike, Family, id_of, path_of, several
from ._errors import Unavailable
from ._pages import Pages
from ._values import SentMessage, StoredMessage

LARGEST_PAGE = 1000
BROADCASTS = "/1.2/rtm/broadcasts"

Point = StoredMessage | datetime
"""A place in a history: a message, or a time."""


class MessageRequests(Family):
    """Messages."""

    async def send(
        self,
        conversation: ConversationLike,
        message: BaseMessage | str,
        *,
        sender: str,
        kind: ConversationKind | None = None,
        to: Sequence[str] = (),
        transient: bool = False,
        sync: bool = True,
        push_data: str | None = None,
        priority: MessagePriority | None = None,
        mentions: Sequence[str] = (),
        mention_all: bool = False,
    ) -> SentMessage:
        """Send a message as any client, member or not.

        It is not repeated by itself if no answer comes, since it may have been sent.

        Args:
            conversation: a conversation, a chat room, or the id of one.
            message: what to say: a message with a text, or a text.
            sender: the client id in whose name it is sent.
            kind: of an id, what kind of conversation it is; a normal one by default, with ``to`` a
                service.
            to: client ids to whom a service speaks, to each of them alone, 1 to 20; they need not
                have subscribed.
            transient: whether only who is online gets it, and nobody keeps it.
            sync: whether the sender's own sessions get a copy; not those in chat rooms.
            push_data: what offline receivers are notified with, as JSON.
            priority: of messages in chat rooms.
            mentions: client ids of who is mentioned, at most 20.
            mention_all: whether everybody is.

        Raises:
            RestError: it had no success.

        Protocol: docs/protocol/rest.md §4 and §6.
        """
        body: dict[str, Any] = {"from_client": sender, "message": _text(message)}
        body |= {"to_clients": several(to)} if to else {}
        body |= {"transient": True} if transient else {}
        body |= {} if sync else {"no_sync": True}
        body |= {} if push_data is None else {"push_data": push_data}
        body |= {} if priority is None else {"priority": priority.name.lower()}
        body |= {"mention_client_ids": several(mentions)} if mentions else {}
        body |= {"mention_all": True} if mention_all else {}
        kind = kind or (ConversationKind.SERVICE if to else None)
        path = path_of(conversation, "messages", kind=kind)
        return _sent(await self._object("POST", path, body=body))

    async def broadcast(
        self,
        conversation: ConversationLike,
        message: BaseMessage | str,
        *,
        sender: str,
        push_data: str | None = None,
    ) -> SentMessage:
        """Say something to all subscribers of a service conversation.

        Arguments, repetition and errors are those of `send`.

        Protocol: docs/protocol/rest.md §6.
        """
        body = {"from_client": sender, "message": _text(message)}
        body |= {} if push_data is None else {"push": push_data}
        path = path_of(conversation, "broadcasts", kind=ConversationKind.SERVICE)
        return _sent(await self._object("POST", path, body=body))

    async def broadcast_to_all(
        self,
        conversation: ConversationLike,
        message: BaseMessage | str,
        *,
        sender: str,
        valid_till: datetime | None = None,
        transient: bool = False,
        push_data: str | None = None,
    ) -> SentMessage:
        """Say something to all clients of the app in the name of a service conversation.

        Whoever logs in until ``valid_till`` gets it too: 31 days from now at most, and by default;
        with ``transient`` only who is online. The rest, and the errors, are as of `send`.

        Protocol: docs/protocol/rest.md §6.
        """
        body: dict[str, Any] = {"from_client": sender, "message": _text(message)}
        body["conv_id"] = id_of(conversation)
        body |= {} if valid_till is None else {"valid_till": ms_from_datetime(valid_till)}
        body |= {"transient": True} if transient else {}
        body |= {} if push_data is None else {"push": push_data}
        return _sent(await self._object("POST", BROADCASTS, body=body))

    async def broadcasts(self, conversation: ConversationLike | None = None) -> list[StoredMessage]:
        """What was said to all clients and is valid now, newest first. Raises `RestError`.

        Protocol: docs/protocol/rest.md §6.
        """
        cid = None if conversation is None else id_of(conversation)
        params = {"limit": LARGEST_PAGE, "conv_id": cid}
        return [self._stored(row) for row in await self._array(BROADCASTS, params)]

    async def withdraw_broadcast(self, message_id: str) -> None:
        """Take back what was said to all clients: who does not have it yet gets it no more.

        Raises:
            RestError: it had no success.

        Protocol: docs/protocol/rest.md §6.
        """
        await self.call("DELETE", f"{BROADCASTS}/{quote(message_id, safe='')}")

    async def edit(
        self,
        stored: StoredMessage,
        message: BaseMessage | str,
        *,
        kind: ConversationKind | None = None,
    ) -> None:
        """Replace what a message says, for everybody who has it.

        ``kind`` is that of its conversation; chat rooms, and what a service has said to a client
        alone, are known by the message. Raises `RestError`.

        Protocol: docs/protocol/rest.md §4.
        """
        body = {**_naming(stored), **_receiver(stored), "message": _text(message)}
        await self.call("PUT", _path(stored, kind), body=body)

    async def recall(self, stored: StoredMessage, *, kind: ConversationKind | None = None) -> None:
        """Take a message back, from everybody who has it. Arguments and errors as of `edit`.

        Protocol: docs/protocol/rest.md §4.
        """
        body = {**_naming(stored), **_receiver(stored)}
        await self.call("PUT", _path(stored, kind) + "/recall", body=body)

    async def delete_message(
        self, stored: StoredMessage, *, kind: ConversationKind | None = None
    ) -> None:
        """Remove the server's copy of a message; clients keep theirs. As `edit`.

        Protocol: docs/protocol/rest.md §4.
        """
        path = _path(stored, kind)
        if stored.receiver is not None:
            rest = ("subscribers", stored.receiver, "messages", stored.id)
            path = path_of(stored.conversation_id, *rest, kind=ConversationKind.SERVICE)
        await self.call("DELETE", path, params=_naming(stored))

    async def history_page(
        self,
        conversation: ConversationLike | None = None,
        *,
        sender: str | None = None,
        subscriber: str | None = None,
        start: Point | None = None,
        end: Point | None = None,
        include_start: bool = False,
        include_end: bool = False,
        oldest_first: bool = False,
        limit: int = LARGEST_PAGE,
    ) -> list[StoredMessage]:
        """One page of what was said, newest first unless ``oldest_first``.

        Args:
            conversation: where; None for everywhere.
            sender: with no conversation, by whom, in conversations and chat rooms.
            subscriber: with a service conversation, what this client was told there: as one of
                all, and alone.
            start: where the page begins; by default at the newest message, with
                ``oldest_first`` at the first.
            end: where it ends at the latest.
            include_start: whether what is exactly at ``start`` belongs to it.
            include_end: whether what is exactly at ``end`` does.
            oldest_first: the other direction.
            limit: at most so many, up to 1,000.

        A page shorter than ``limit`` is not the last one; the last one is empty.

        Raises:
            RestError: it had no success.

        Protocol: docs/protocol/rest.md §4.
        """
        params: dict[str, Any] = {"limit": limit}
        for point, time, mid in (
            (start, "timestamp", "msgid"),
            (end, "till_timestamp", "till_msgid"),
        ):
            if isinstance(point, StoredMessage):
                params |= {time: point.timestamp_ms, mid: point.id}
            elif point is not None:
                params[time] = ms_from_datetime(point)
        flags = {
            "include_start": include_start,
            "include_stop": include_end,
            "reversed": oldest_first,
        }
        params |= {name: value for name, value in flags.items() if value}
        if conversation is not None and subscriber is not None:
            rest = ("subscribers", subscriber, "messages")
            path = path_of(id_of(conversation), *rest, kind=ConversationKind.SERVICE)
        elif conversation is not None:
            path = path_of(conversation, "messages")
        elif sender is not None:
            path = f"/1.2/rtm/clients/{quote(sender, safe='')}/messages"
        else:
            path = "/1.2/rtm/messages"
        return [self._stored(row) for row in await self._array(path, params)]

    def history(
        self,
        conversation: ConversationLike | None = None,
        *,
        sender: str | None = None,
        subscriber: str | None = None,
        start: Point | None = None,
        end: Point | None = None,
        oldest_first: bool = False,
        page: int = LARGEST_PAGE,
    ) -> AsyncIterator[StoredMessage]:
        """Everything that was said, page by page. Arguments and errors as of `history_page`.

        Protocol: docs/protocol/rest.md §4.
        """

        async def fetch(last: StoredMessage | None) -> list[StoredMessage]:
            return await self.history_page(
                conversation,
                sender=sender,
                subscriber=subscriber,
                start=start if last is None else last,
                end=end,
                oldest_first=oldest_first,
                limit=page,
            )

        return Pages(fetch)

    def _stored(self, row: Any) -> StoredMessage:
        if not isinstance(row, dict):
            raise Unavailable("a message of the history is no object")
        values = [row.get(name) for name in ("msg-id", "to", "from", "data", "timestamp")]
        mid, cid, sender, data, timestamp = values
        if (
            not all(isinstance(value, str) for value in values[:4])
            or not isinstance(timestamp, int)
            or not mid
        ):
            raise Unavailable(f"a message of the history lacks what each has: {str(row)[:200]}")
        receiver = row.get("to-client")
        body = decoded(str(data), binary=row.get("bin") is True)
        fields = envelope(str(mid), str(cid), str(sender), timestamp)
        return StoredMessage(
            id=str(mid),
            conversation_id=str(cid),
            sender=str(sender),
            timestamp_ms=timestamp,
            message=self._registry.parse(body, fields),
            is_room=row.get("is-room") is True,
            receiver=receiver if isinstance(receiver, str) else None,
            row=row,
        )


def _text(message: BaseMessage | str) -> str:
    payload = message if isinstance(message, str) else message.payload()
    if not isinstance(payload, str):
        raise TypeError("over REST only messages with a text can be sent, no binary ones")
    return payload


def _sent(answer: dict[str, Any]) -> SentMessage:
    found = answer if "msg-id" in answer else answer.get("result")
    mid = found.get("msg-id") if isinstance(found, dict) else None
    timestamp = found.get("timestamp") if isinstance(found, dict) else None
    if not isinstance(mid, str) or not isinstance(timestamp, int):
        raise Unavailable("the server has not said which message it has taken")
    return SentMessage(mid, timestamp)


def _naming(stored: StoredMessage) -> dict[str, Any]:
    return {"from_client": stored.sender, "timestamp": stored.timestamp_ms}


def _receiver(stored: StoredMessage) -> dict[str, Any]:
    return {} if stored.receiver is None else {"to_clients": [stored.receiver]}


def _path(stored: StoredMessage, kind: ConversationKind | None) -> str:
    if stored.receiver is not None:
        kind = ConversationKind.SERVICE
    if kind is None and stored.is_room:
        kind = ConversationKind.CHAT_ROOM
    return path_of(id_of(stored.conversation_id), "messages", stored.id, kind=kind)
