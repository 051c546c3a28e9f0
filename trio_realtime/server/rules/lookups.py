"""Small questions about a conversation, and do-not-disturb.

Protocol: docs/protocol/conversations.md §5.2.

Who is in a chat room the bus knows, so those answers are completed there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.store.interface import Kind, Tx
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    GenericCommand,
    JsonObjectMessage,
    OpType,
)

from .checks import (
    MAX_MEMBERS,
    conv_of,
    existing,
    page_size,
    refuse,
    refuse_blocked,
    require_member,
)
from .json import iso, json_text
from .types import Caller, CountRoom, FindInRooms, ListRoom, Outcome

_MAX_ONLINE = 50


def count(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``count``: how many members; in a chat room, how many are there now."""
    row = existing(tx, conv_of(command).cid)
    refuse_blocked(tx, row, caller.client_id)
    if caller.app.members_only and row.kind in {Kind.NORMAL, Kind.TEMPORARY}:
        require_member(tx, caller, row)
    message = ConvCommand(cid=row.id)
    if row.kind is not Kind.ROOM:
        message.count = tx.member_count(row.id)
        return Outcome(_result(message))

    def complete(count: int) -> None:
        message.count = count

    return Outcome(_result(message), presence=CountRoom(row.id, complete))


def members(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``members``: some of those in a chat room now, or the first members."""
    request = conv_of(command)
    row = existing(tx, request.cid)
    limit = page_size(request.limit, default=_MAX_ONLINE, most=_MAX_ONLINE)
    message = ConvCommand(cid=row.id)
    if row.kind is not Kind.ROOM:
        require_member(tx, caller, row)
        message.m = tx.members(row.id)[:limit]
        return Outcome(_result(message))

    refuse_blocked(tx, row, caller.client_id)

    def complete(present: Sequence[str]) -> None:
        message.m = list(present)

    return Outcome(_result(message), presence=ListRoom(row.id, limit, complete))


def is_member(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``is_member``: in which of these conversations the caller is."""
    cids = list(dict.fromkeys(conv_of(command).cids))[:MAX_MEMBERS]
    own = tx.joined(caller.client_id, cids)
    answer = {cid: cid in own for cid in cids}
    rooms = [row.id for row in tx.conversations(cids).values() if row.kind is Kind.ROOM]
    results = JsonObjectMessage(data=json_text(answer))

    def complete(present_in: Collection[str]) -> None:
        results.data = json_text({cid: yes or cid in present_in for cid, yes in answer.items()})

    step = FindInRooms(rooms, caller.client_id, complete) if rooms else None
    return Outcome(_result(ConvCommand(results=results)), presence=step)


def mute(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``mute``: no push notifications from this conversation for the caller."""
    return _set_muted(tx, caller, command, muted=True)


def unmute(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``unmute``: the opposite."""
    return _set_muted(tx, caller, command, muted=False)


def _set_muted(tx: Tx, caller: Caller, command: GenericCommand, *, muted: bool) -> Outcome:
    row = existing(tx, conv_of(command).cid)
    if row.kind is Kind.TEMPORARY:
        refuse(ErrorCode.CONVERSATION_READ_ONLY)
    if row.kind is Kind.ROOM:
        refuse_blocked(tx, row, caller.client_id)
    else:
        require_member(tx, caller, row)
    tx.set_muted(row.id, caller.client_id, muted)
    current = existing(tx, row.id)
    reply = GenericCommand(
        cmd=CommandType.CONV,
        op=OpType.UPDATED,
        conv_message=ConvCommand(cid=row.id, udate=iso(current.updated_at)),
    )
    return Outcome(reply)


def _result(message: ConvCommand) -> GenericCommand:
    return GenericCommand(cmd=CommandType.CONV, op=OpType.RESULT, conv_message=message)
