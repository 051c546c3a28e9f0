"""The conversations a client knows, kept up to date by the events it receives.

`follow` is the rule: a snapshot and an event give the next snapshot. A broken link may hide
events, so what is known is forgotten with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from trio_realtime._values.conversations import BaseConversation
from trio_realtime._values.events import (
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
)
from trio_realtime._values.messages import BaseMessage

from .mapping import apply_changes
from .unread import Unread


class ConversationCache:
    """What one client knows."""

    def __init__(self, client_id: Callable[[], str], unread: Callable[[str], Unread]) -> None:
        self._client_id = client_id
        self._unread = unread
        self._known: dict[str, BaseConversation] = {}
        self._latest: dict[str, BaseMessage] = {}
        """Messages that the snapshots do not show yet: most are never asked for."""

    def get(self, cid: str) -> BaseConversation | None:
        """The conversation as it is now, as far as this client can tell."""
        known = self._known.get(cid)
        if known is None:
            return None
        message = self._latest.pop(cid, None)
        if message is not None and not _outdated(message, known.last_message):
            known = attrs.evolve(known, last_message=message, last_message_at=message.timestamp)
        known = self._known[cid] = self.counted(known)
        return known

    def counted(self, conversation: BaseConversation) -> BaseConversation:
        """The conversation with its unread counter, which the server tells separately."""
        unread = self._unread(conversation.id)
        if unread == Unread(conversation.unread_count, conversation.unread_mentioned):
            return conversation
        return attrs.evolve(
            conversation, unread_count=unread.count, unread_mentioned=unread.mentioned
        )

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

    def latest(self, message: BaseMessage) -> None:
        """A message was sent or received."""
        cid = message.conversation_id
        if cid in self._known and not _outdated(message, self._latest.get(cid)):
            self._latest[cid] = message

    def follow(self, event: ConversationEvent) -> None:
        """Take an event into account."""
        cid = event.conversation_id
        if cid not in self._known:
            return
        if type(event) is MessageReceived:
            if not event.message.transient:
                self.latest(event.message)
            return
        known = self.get(cid)
        assert known is not None
        self._known[cid] = follow(known, event, self._client_id())


def _outdated(message: BaseMessage, other: BaseMessage | None) -> bool:
    """Whether the other message is a later one."""
    return other is not None and (message.timestamp_ms, message.id) < (
        other.timestamp_ms,
        other.id,
    )


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
