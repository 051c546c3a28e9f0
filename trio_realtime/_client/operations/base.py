"""What all operations share: the session they go through, and the checks of their replies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from trio_realtime._io.session import ClientSession
from trio_realtime._values.conversations import BaseConversation
from trio_realtime._values.errors import MalformedReply
from trio_realtime._values.results import MemberChange
from trio_realtime.wire import GenericCommand

T = TypeVar("T")


class Operations:
    """Base of the operations of `IMClient`."""

    _session: ClientSession


ConversationLike = BaseConversation | MemberChange[BaseConversation] | str
"""What names a conversation: a snapshot, what `add_members` and its like returned, or the id."""


def id_of(conversation: ConversationLike) -> str:
    """The id of a conversation given as value or as id.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(conversation, str):
        if not conversation:
            raise ValueError("the conversation id is empty")
        return conversation
    if isinstance(conversation, BaseConversation | MemberChange):
        return conversation.id
    raise TypeError(f"expected a conversation or its id, not {conversation!r}")


def client_ids(ids: Iterable[str] | str) -> list[str]:
    """Distinct client ids in the order given.

    Raises:
        TypeError: one of them is not a string, or one string was given instead of several.
        ValueError: one of them is empty.
    """
    if isinstance(ids, str):
        raise TypeError(f"expected several client ids, not the single string {ids!r}")
    distinct = list(dict.fromkeys(ids))
    for one in distinct:
        if not isinstance(one, str):
            raise TypeError(f"a client id is a string, not {one!r}")
        if not one:
            raise ValueError("a client id is empty")
    return distinct


def part(reply: GenericCommand, message: T | None) -> T:
    """The part of a reply that must be there."""
    if message is None:
        raise MalformedReply(f"the reply {reply.cmd}/{reply.op} lacks its content")
    return message
