"""Which conversations have something new: one question instead of one for each.

The server is asked for the conversations of this client whose last message is not older than
what is known, and for the known ones that such a query does not find: chat rooms, temporary
conversations, those that were left. Protocol: docs/protocol/conversations.md §3.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from trio_realtime._values.conversations import ConversationKind
from trio_realtime._values.errors import MalformedReply
from trio_realtime._values.json import decode_date, dump
from trio_realtime._values.protocol import TEMPORARY_PREFIX
from trio_realtime._values.times import datetime_from_ms, iso_from_datetime, ms_from_datetime
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    GenericCommand,
    JsonObjectMessage,
    OpType,
)

from .delivery import Track
from .mapping.conversations import kind_of

PAGE = 100
"""Conversations in one answer: their last messages come with them."""

IDS_LENGTH = 3500
"""Characters of ids in one command, which may have 5 KB."""

COMPACT_WITH_LAST_MESSAGE = 3


@attrs.frozen
class Last:
    """The last message of a conversation, as far as the server says."""

    cid: str
    kind: ConversationKind
    timestamp: int | None
    """None: there is none, or this kind of conversation does not tell."""
    mid: str | None = None
    spoke_at: int | None = None
    """The time by which the query sorts; usually the same."""


class MembersQuery:
    """The conversations of one client in which something was said since a time, page by page.

    Args:
        client_id: whose conversations.
        since: server time in milliseconds, inclusive.
    """

    def __init__(self, client_id: str, since: int) -> None:
        self._client_id = client_id
        self._since = since
        self._skip = 0
        self._found: set[str] = set()
        self.finished = False

    def command(self) -> GenericCommand:
        """The question for the next page."""
        where = {"m": self._client_id, "lm": {"$gte": _date(self._since)}}
        return _query(where, sort="lm", limit=PAGE, skip=self._skip or None)

    def take(self, page: Sequence[Last]) -> None:
        """A page has come.

        A conversation that speaks meanwhile moves to the end. So that none slips through, the
        next page begins with the time at which this one ends, not behind its last element.
        """
        spoke = [last.spoke_at or 0 for last in page]
        new = {last.cid for last in page} - self._found
        self._found |= new
        self.finished = len(page) < PAGE or not new
        if self.finished:
            return
        if min(spoke) < max(spoke):
            self._since, self._skip = max(spoke), 0
        else:
            self._skip += len(page)


def about_ids(ids: Iterable[str], since: int | None) -> Iterator[tuple[list[str], GenericCommand]]:
    """Questions for these conversations, as many in each as fit.

    Args:
        ids: which ones; temporary ones are asked for in another way.
        since: only if something was said since, in milliseconds; None: in any case.
    """
    stored = [cid for cid in ids if not cid.startswith(TEMPORARY_PREFIX)]
    for some in _portions(stored):
        where: dict[str, Any] = {"objectId": {"$in": some}}
        if since is not None:
            where["lm"] = {"$gte": _date(since)}
        yield some, _query(where, limit=len(some))


def about_temporary(ids: Iterable[str]) -> Iterator[tuple[list[str], GenericCommand]]:
    """The same for the temporary ones among them."""
    for some in _portions([cid for cid in ids if cid.startswith(TEMPORARY_PREFIX)]):
        conv = ConvCommand(limit=len(some), temp_conv_ids=some, flag=COMPACT_WITH_LAST_MESSAGE)
        yield some, GenericCommand(cmd=CommandType.CONV, op=OpType.QUERY, conv_message=conv)


def last_messages(reply: GenericCommand) -> list[Last]:
    """What an answer says.

    Raises:
        MalformedReply: nothing that can be understood.
    """
    conv = reply.conv_message
    results = None if conv is None or conv.results is None else conv.results.data
    try:
        elements = json.loads(results or "[]")
    except (ValueError, RecursionError) as error:
        raise MalformedReply(f"query results are no JSON: {error}") from error
    if not isinstance(elements, list):
        raise MalformedReply("query results are no JSON array")
    return [_last(element) for element in elements]


def changed(track: Track[Any] | None, last: Last) -> bool:
    """Whether a conversation has messages that may not have been delivered."""
    if last.timestamp is None:
        # Service conversations do not say; the others have no message at all.
        return last.kind is ConversationKind.SERVICE
    if track is None or track.mark is None or last.timestamp > track.mark[0]:
        return True
    # Of several messages of one time, any may be the last.
    known = last.mid is not None and last.mid in track.seen
    return last.timestamp == track.mark[0] and not known


def _last(element: Any) -> Last:
    cid = element.get("objectId") if isinstance(element, Mapping) else None
    if not isinstance(cid, str) or not cid:
        raise MalformedReply("a conversation without an id")
    at, mid = element.get("msg_timestamp"), element.get("msg_mid")
    spoke = decode_date(element.get("lm"))
    spoke_at = None if spoke is None else ms_from_datetime(spoke)
    if isinstance(at, int | float) and isinstance(mid, str) and mid and 0 <= at < 2**63:
        return Last(cid, kind_of(element), int(at), mid, spoke_at)
    return Last(cid, kind_of(element), spoke_at, None, spoke_at)


def _query(where: Mapping[str, Any], **options: Any) -> GenericCommand:
    conv = ConvCommand(
        where=JsonObjectMessage(data=dump(where)), flag=COMPACT_WITH_LAST_MESSAGE, **options
    )
    return GenericCommand(cmd=CommandType.CONV, op=OpType.QUERY, conv_message=conv)


def _date(ms: int) -> dict[str, str]:
    return {"__type": "Date", "iso": iso_from_datetime(datetime_from_ms(ms))}


def _portions(ids: Sequence[str]) -> Iterator[list[str]]:
    portion: list[str] = []
    length = 0
    for cid in ids:
        length += len(dump(cid)) + 1
        if portion and length > IDS_LENGTH:
            yield portion
            portion, length = [], len(dump(cid)) + 1
        portion.append(cid)
    if portion:
        yield portion
