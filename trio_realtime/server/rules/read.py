"""Read marks, unread counters, and how far the others have read.

Protocol: docs/protocol/messages.md §4 and §5, docs/protocol/conversations.md §5.2,
docs/protocol/session.md §6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.store.interface import Kind, MessageRow, ReadMarks, Tx, UnreadRow
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    GenericCommand,
    MaxReadTuple,
    OpType,
    ReadCommand,
    ReadTuple,
    UnreadCommand,
)

from .ack import receipts
from .audience import needs
from .bodies import unread_tuple
from .checks import conv_of, existing, refuse, require_kind
from .types import Caller, Clients, Outcome, Push

_EVERYTHING = 2**63 - 1

UNREAD_AT_MOST = 100

_CONVERSATIONS_AT_ONCE = 50
"""How many conversations an unread push after login covers."""


def read(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``read``: the caller has read these conversations, up to a message or altogether.

    Nobody waits for an answer; conversations that are not the caller's are passed over. The
    new counters go to all sessions of the caller, the acting one included.
    """
    targets = {target.cid or "": target for target in _targets(command)}
    own = tx.joined(caller.client_id, list(targets))
    conversations = tx.conversations(list(own))
    kinds = {cid: row.kind for cid, row in conversations.items() if row.kind is not Kind.ROOM}
    lines = _lines(tx, caller.client_id, [cid for cid in targets if cid not in own], kinds)
    marked: list[str] = []
    news: list[Push] = []
    for cid, target in targets.items():
        logs = [log for log in (cid if cid in kinds else None, lines.get(cid)) if log]
        upto = _upto(tx, logs, target)
        if upto is None:
            continue
        for log in logs:
            newly = tx.mark_read(log, caller.client_id, upto)
            marked.append(log)
            if kinds.get(cid, Kind.SERVICE) is not Kind.SERVICE:
                news += receipts(_newest_of_each(newly), caller.client_id, tx.now, read=True)
    counters = tx.unread_in(caller.client_id, marked)
    return Outcome(pushes=[*_counter_pushes(tx, caller, counters), *news])


def _lines(
    tx: Tx, client_id: str, strange: Sequence[str], kinds: Mapping[str, Kind]
) -> Mapping[str, str]:
    """What services say to the client alone, by the service: also of those it has not joined."""
    asked = [*strange, *(cid for cid, kind in kinds.items() if kind is Kind.SERVICE)]
    return tx.lines(client_id, asked) if asked else {}


def _targets(command: GenericCommand) -> list[ReadTuple]:
    """Every conversation of a command once, whichever of its three forms it has."""
    message = command.read_message or ReadCommand()
    old = [*([message.cid] if message.cid else []), *message.cids]
    targets = [*message.convs, *(ReadTuple(cid=cid) for cid in old)]
    return list({target.cid: target for target in targets}.values())


def _upto(tx: Tx, logs: Sequence[str], target: ReadTuple) -> int | None:
    if target.timestamp is not None:
        return target.timestamp
    if target.mid:
        found = (tx.message(log, target.mid) for log in logs)
        return next((message.timestamp for message in found if message is not None), None)
    return _EVERYTHING


def _newest_of_each(messages: list[MessageRow]) -> list[MessageRow]:
    """Of messages in ascending order, the last one of each sender."""
    return list({message.sender: message for message in messages}.values())


def _counter_pushes(tx: Tx, caller: Caller, rows: list[UnreadRow]) -> list[Push]:
    """One push, or two if only some sessions may hear of temporary conversations."""
    pushes: list[Push] = []
    for temporary in (False, True):
        some = [row for row in rows if (row.conversation.kind is Kind.TEMPORARY) is temporary]
        if some:
            kind = some[0].conversation.kind
            command = _unread_command(tx, caller.client_id, some)
            pushes.append(Push(Clients([caller.client_id]), command, needs=needs(kind)))
    return pushes


def _unread_command(tx: Tx, client_id: str, rows: list[UnreadRow]) -> GenericCommand:
    counters = [unread_tuple(row) for row in _of_services_as_one(tx, client_id, rows)]
    return GenericCommand(
        cmd=CommandType.UNREAD,
        unread_message=UnreadCommand(convs=counters, notif_time=tx.now),
    )


def _of_services_as_one(tx: Tx, client_id: str, rows: list[UnreadRow]) -> list[UnreadRow]:
    """One counter for a service: for what it says to all subscribers, and to the client alone."""
    services = [row.conversation.told_as for row in rows if row.conversation.kind is Kind.SERVICE]
    lines = tx.lines(client_id, services) if services else {}
    if not lines:
        return rows
    asked = [*tx.joined(client_id, list(lines)), *lines.values()]
    halves: dict[str, list[UnreadRow]] = {}
    for row in tx.unread_in(client_id, asked):
        halves.setdefault(row.conversation.told_as, []).append(row)
    whole = {cid: _sum(both) for cid, both in halves.items()}
    return list(
        {
            row.conversation.told_as: whole.get(row.conversation.told_as, row) for row in rows
        }.values()
    )


def _sum(rows: list[UnreadRow]) -> UnreadRow:
    newest = [row.newest for row in rows if row.newest is not None]
    return attrs.evolve(
        rows[0],
        count=min(sum(row.count for row in rows), UNREAD_AT_MOST),
        mentioned=any(row.mentioned for row in rows),
        newest=max(newest, key=lambda message: message.timestamp, default=None),
    )


def unread_push(
    tx: Tx, client_id: str, since: int | None, *, temporary: bool = True
) -> GenericCommand | None:
    """The counters for a session that has just logged in; None if there is no news.

    ``since`` is the ``lastUnreadNotifTime`` of the login; without it, every conversation
    with unread messages is news. ``temporary`` tells whether the session knows temporary
    conversations.
    """
    if since is not None:
        # After the clock was set back, what is older than a time of before is unknown.
        since = None if since > tx.now else tx.earliest(since)
    rows = tx.unread_of(client_id, since=since, limit=_CONVERSATIONS_AT_ONCE)
    if not temporary:
        rows = [row for row in rows if row.conversation.kind is not Kind.TEMPORARY]
    return _unread_command(tx, client_id, rows) if rows else None


def unread_counters(tx: Tx, client_id: str, cids: Sequence[str]) -> GenericCommand | None:
    """The counters of these conversations as they are now; None if none is the client's."""
    mine = tx.joined(client_id, cids)
    lines = tx.lines(client_id, cids)
    rows = tx.unread_in(client_id, [cid for cid in cids if cid in mine] + [*lines.values()])
    return _unread_command(tx, client_id, rows) if rows else None


def max_read(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``conv/max_read``: how far others have received and read.

    The plain form is about the other member of a conversation of two.
    """
    request = conv_of(command)
    conversation = existing(tx, request.cid)
    require_kind(conversation, Kind.NORMAL, Kind.TEMPORARY)
    cid = conversation.id
    if not tx.is_member(cid, caller.client_id):
        refuse(ErrorCode.CONVERSATION_MEMBERSHIP_REQUIRED)
    reply = ConvCommand(cid=cid)
    if request.query_all_members:
        reply.max_read_tuples = [
            MaxReadTuple(
                pid=marks.client_id,
                max_ack_timestamp=marks.acked,
                max_read_timestamp=marks.read,
            )
            for marks in tx.marks(cid)
            if marks.client_id != caller.client_id and marks.acked is not None
        ]
    else:
        others = _other(tx, caller, cid, request.target_client_id)
        if others is not None:
            reply.max_ack_timestamp = others.acked
            reply.max_read_timestamp = others.read
    return Outcome(GenericCommand(cmd=CommandType.CONV, op=OpType.MAX_READ, conv_message=reply))


def _other(tx: Tx, caller: Caller, cid: str, target: str | None) -> ReadMarks | None:
    if target:
        return next(iter(tx.marks(cid, [target])), None)
    others = [marks for marks in tx.marks(cid) if marks.client_id != caller.client_id]
    return others[0] if len(others) == 1 else None
