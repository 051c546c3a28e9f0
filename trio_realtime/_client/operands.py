"""What operations are given: conversations, ids and messages, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trio_realtime._engine.command_size import MAX_COMMAND
from trio_realtime._values.checks import checked_count
from trio_realtime._values.conversations import BaseConversation
from trio_realtime._values.json import dump
from trio_realtime._values.messages import BaseMessage
from trio_realtime._values.protocol import MAX_CLIENT_ID
from trio_realtime._values.results import MemberChange
from trio_realtime._values.texts import checked_id
from trio_realtime._values.typed_messages import TextMessage

ConversationLike = BaseConversation | MemberChange[BaseConversation] | str
"""What names a conversation: a snapshot, what `add_members` and its like returned, or the id."""


IDS_IN_A_COMMAND = MAX_COMMAND - 1024
"""Bytes of the ids in one command; the rest is for what else it says."""

MAX_PAGE = 1000
MAX_CURSOR = 1024
"""Characters of what says where the next page begins."""
MAX_CONVERSATION_ID = 256
"""Characters: no service gives ids as long as this."""


def id_of(conversation: ConversationLike) -> str:
    """The id of a conversation given as value or as id.

    Raises:
        TypeError: it is neither.
        ValueError: it is no id.
    """
    if not isinstance(conversation, str):
        if isinstance(conversation, BaseConversation | MemberChange):
            return checked_id(conversation.id, "a conversation id", MAX_CONVERSATION_ID)
        raise TypeError(f"expected a conversation or its id, not {conversation!r}")
    return checked_id(conversation, "a conversation id", MAX_CONVERSATION_ID)


def conversation_ids(conversations: Iterable[ConversationLike]) -> list[str]:
    """The ids of several conversations in the order given.

    Raises:
        TypeError: one was given instead of several, or something else.
        ValueError: one of them is no id.
    """
    if isinstance(conversations, str) or not isinstance(conversations, Iterable):
        raise TypeError(f"expected several conversations or ids, not {conversations!r}")
    return [id_of(one) for one in conversations]


def client_ids(ids: Iterable[str] | str) -> list[str]:
    """Distinct client ids in the order given.

    Raises:
        TypeError: one of them is not a string, or one string was given instead of several.
        ValueError: one of them is no client id.
    """
    if isinstance(ids, str):
        raise TypeError(f"expected several client ids, not the single string {ids!r}")
    try:
        distinct = list(dict.fromkeys(ids))
    except TypeError:
        raise TypeError(f"expected several client ids, not {ids!r}") from None
    return [checked_id(one, "a client id", MAX_CLIENT_ID) for one in distinct]


def checked_page_size(limit: int, of: str = "elements") -> int:
    """The size of a page, if it can be one.

    Raises:
        TypeError: it is no integer.
        ValueError: it is not from 1 to 1000.
    """
    if not 1 <= checked_count(limit, "limit") <= MAX_PAGE:
        raise ValueError(f"a page has 1 to {MAX_PAGE} {of}, not {limit}")
    return limit


def cursor(after: str | None) -> str | None:
    """Where a page begins, if it can be told.

    Raises:
        TypeError: it is no text.
        ValueError: it is none that a page before has given.
    """
    return None if after is None else checked_id(after, "after", MAX_CURSOR)


def pages_of_ids(ids: Iterable[str], most: int = 1000) -> Iterator[list[str]]:
    """Ids in as many parts as commands are needed to carry them."""
    page: list[str] = []
    room = IDS_IN_A_COMMAND
    for one in ids:
        # What an id takes in JSON, which is more than it takes in protobuf.
        size = len(dump(one)) * (1 if one.isascii() else 4) + 1
        if page and (size > room or len(page) == most):
            yield page
            page, room = [], IDS_IN_A_COMMAND
        page.append(one)
        room -= size
    if page:
        yield page


def message_of(message: BaseMessage | str) -> BaseMessage:
    """The message to send; a text is a `TextMessage`.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(message, BaseMessage):
        return message
    if isinstance(message, str):
        return TextMessage(message)
    raise TypeError(f"expected a message or a text, not {message!r}")
