"""The conversations a client knows, kept up to date by the events it receives.

`follow` is the rule: a snapshot and an event give the next snapshot. A broken link may hide
events, so what is known is forgotten with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from ._conversations import BaseConversation
from ._events import (
    ConversationEvent,
    ConversationUpdated,
    Invited,
    Kicked,
    MembersJoined,
    MembersLeft,
    MessageDelivered,
    MessageRead,
    MessageRecalled,
    MessageReceived,
    MessageUpdated,
    UnreadUpdated,
)
from ._mapping import apply_changes
from ._messages import BaseMessage


class ConversationCache:
    """What one client knows."""

    def __init__(self, client_id: Callable[[], str]) -> None:
        self._client_id = client_id
        self._known: dict[str, BaseConversation] = {}
        self._latest: dict[str, BaseMessage] = {}
        """Messages that the snapshots do not show yet: most are never asked for."""

    def get(self, cid: str) -> BaseConversation | None:
        """The conversation as it is now, as far as this client can tell."""
        known = self._known.get(cid)
        if known is not None and cid in self._latest:
            message = self._latest.pop(cid)
            known = attrs.evolve(known, last_message=message, last_message_at=message.timestamp)
            self._known[cid] = known
        return known

    def put(self, conversation: BaseConversation) -> None:
        """This is the truth about a conversation, from the server or from an operation."""
        self._latest.pop(conversation.id, None)
        self._known[conversation.id] = conversation

    def forget(self, cid: str) -> None:
        """Ask again next time."""
        self._known.pop(cid, None)
        self._latest.pop(cid, None)

    def clear(self) -> None:
        """Events may have been missed: nothing is known any more."""
        self._known.clear()
        self._latest.clear()

    def sent(self, message: BaseMessage) -> None:
        """This client sent a message."""
        if message.conversation_id in self._known:
            self._latest[message.conversation_id] = message

    def follow(self, event: ConversationEvent) -> None:
        """Take an event into account."""
        cid = event.conversation_id
        if cid not in self._known:
            return
        if type(event) is MessageReceived:
            if not event.message.transient:
                self._latest[cid] = event.message
            return
        known = self.get(cid)
        assert known is not None
        self._known[cid] = follow(known, event, self._client_id())


def follow(known: BaseConversation, event: ConversationEvent, client_id: str) -> BaseConversation:
    """The snapshot after an event."""
    changes = _changes(known, event, client_id)
    return attrs.evolve(known, **changes) if changes else known


def _changes(known: BaseConversation, event: ConversationEvent, me: str) -> dict[str, Any]:
    members = known.members
    match event:
        case Invited():
            return _changed_at(event.at) | {"members": _with(members, (me,))}
        case Kicked():
            return _changed_at(event.at) | {"members": _without(members, (me,))}
        case MembersJoined(members=joined):
            return _changed_at(event.at) | {"members": _with(members, joined)}
        case MembersLeft(members=left):
            return _changed_at(event.at) | {"members": _without(members, left)}
        case ConversationUpdated():
            return _changed_at(event.at) | updated(
                known, event.attributes if event.modified is None else event.modified
            )
        case MessageUpdated(message=message) | MessageRecalled(message=message):
            if known.last_message is not None and known.last_message.id == message.id:
                return {"last_message": message}
        case UnreadUpdated(count=count, mentioned=mentioned):
            return {"unread_count": count, "unread_mentioned": mentioned}
        case MessageDelivered(at=at) if at is not None:
            return {"last_delivered_at": max(at, known.last_delivered_at or at)}
        case MessageRead(at=at) if at is not None:
            return {"last_read_at": max(at, known.last_read_at or at)}
    return {}


def updated(known: BaseConversation, changes: Any) -> dict[str, Any]:
    """What an update of attributes changes in a snapshot."""
    own = dict(changes)
    result: dict[str, Any] = {}
    if "name" in own:
        name = own.pop("name")
        result["name"] = name if isinstance(name, str) else None
    if own:
        result["attributes"] = apply_changes(known.attributes, own)
    return result


def _changed_at(at: Any) -> dict[str, Any]:
    return {} if at is None else {"updated_at": at}


def _with(members: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*members, *more)))


def _without(members: tuple[str, ...], fewer: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(member for member in members if member not in fewer)
