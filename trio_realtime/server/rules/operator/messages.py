"""Messages the operator sends, changes and removes in the name of any client.

Protocol: docs/protocol/rest.md §4, §5 and §6.
"""

from __future__ import annotations

from typing import Any

import attrs

from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.rules.audience import needs
from trio_realtime.server.rules.bodies import (
    RECALLED,
    RECALLED_BODY,
    direct_command,
    lctype_of,
    patch_command,
)
from trio_realtime.server.rules.checks import checked_ids, is_unicode, refuse
from trio_realtime.server.rules.types import (
    NORMAL,
    App,
    Caller,
    Clients,
    Feature,
    Outcome,
    Push,
    Room,
)
from trio_realtime.server.store.ids import message_id
from trio_realtime.server.store.interface import ConversationRow, Kind, MessageRow, NewMessage, Tx
from trio_realtime.wire import CommandType, DirectCommand, GenericCommand

from .result import Result, Told, conversation_of


@attrs.frozen(kw_only=True)
class Sending:
    """What is to be sent, and how."""

    app: App
    sender: str
    body: str
    transient: bool = False
    no_sync: bool = False
    """Sessions of the sender get no copy."""
    push_data: str | None = None
    priority: int = NORMAL
    mention_all: bool = False
    mentions: tuple[str, ...] = ()
    address: str = ""
    """Where the request came from."""
    allowed: frozenset[str] | None = None
    """Who of the members may get it, as the application has said."""


@attrs.frozen
class Receivers:
    """Who would get a message, or an edit, as things stand."""

    names: list[str]
    at: int
    message: MessageRow | None = None
    """The message that is to be edited."""


def receivers_of(tx: Tx, cid: str, sending: Sending, *kinds: Kind) -> Receivers:
    """Who would get a message; refuses what `send` refuses."""
    row = conversation_of(tx, cid, *kinds)
    _check(sending)
    members = [] if row.kind is Kind.ROOM else tx.members(cid)
    return Receivers([name for name in members if name != sending.sender], tx.now)


def told_of_edit(
    tx: Tx, cid: str, mid: str, sender: str, timestamp: int | None, *kinds: Kind
) -> Receivers:
    """Who would hear of an edit; refuses what `edit` refuses."""
    row = conversation_of(tx, cid, *kinds)
    message = _named(tx, cid, mid, sender, timestamp)
    members = [] if row.kind is Kind.ROOM else tx.members(cid)
    return Receivers([name for name in members if name != sender], tx.now, message)


def send(tx: Tx, cid: str, sending: Sending, *kinds: Kind) -> Result:
    """Send to all members of a conversation, or to who is in a chat room."""
    row = conversation_of(tx, cid, *kinds)
    _check(sending)
    message = _stored(tx, row, sending)
    members = [] if row.kind is Kind.ROOM else _narrowed(tx.members(cid), sending)
    if row.kind is Kind.ROOM:
        push = Push(
            Room(cid),
            direct_command(message, transient=sending.transient),
            except_client=sending.sender,
            priority=sending.priority,
        )
    else:
        copy = [] if sending.no_sync or sending.sender in members else [sending.sender]
        push = Push(
            Clients([*members, *copy]),
            direct_command(message, transient=sending.transient),
            except_client=sending.sender if sending.no_sync else None,
            needs=needs(row.kind),
        )
    push = attrs.evolve(
        push, conversation_id=cid, place=None if sending.transient else message.timestamp
    )
    # Who is told of the message are its receivers; a copy is none.
    receivers = push if isinstance(push.to, Room) else attrs.evolve(push, to=Clients(members))
    command = GenericCommand(
        cmd=CommandType.DIRECT,
        direct_message=DirectCommand(
            cid=cid,
            msg=sending.body,
            transient=sending.transient or None,
            push_data=sending.push_data,
        ),
    )
    told = Told(
        Caller(sending.app, sending.sender, address=sending.address),
        command,
        Outcome(pushes=[receivers]),
    )
    return Result(_receipt(message), [push], told=told)


def edit(
    tx: Tx, cid: str, mid: str, sender: str, timestamp: int | None, body: str | None, *kinds: Kind
) -> Result:
    """Replace the body of a message; without a body, recall it."""
    row = conversation_of(tx, cid, *kinds)
    message = _named(tx, cid, mid, sender, timestamp)
    if message.recalled and body is not None:
        refuse(ErrorCode.MESSAGE_NOT_FOUND, "the message was recalled")
    if message.recalled:
        return Result({})
    if body is not None and not is_unicode(body):
        refuse(ErrorCode.UNPARSEABLE_RAW_MESSAGE, "the text is not Unicode")
    patch = tx.patch(
        cid,
        mid,
        body=RECALLED_BODY if body is None else body,
        recalled=body is None,
        mentions=message.mentions if body is not None else (),
        mention_all=message.mention_all and body is not None,
        lctype=RECALLED if body is None else lctype_of(body),
    )
    audience = Room(cid) if row.kind is Kind.ROOM else Clients(tx.members(cid))
    push = Push(
        audience,
        patch_command([patch]),
        needs=Feature.PATCHES | needs(row.kind),
        conversation_id=cid,
    )
    return Result({}, [push])


def delete(tx: Tx, cid: str, mid: str, sender: str, timestamp: int | None, *kinds: Kind) -> Result:
    """Remove the server's copy; clients keep theirs."""
    conversation_of(tx, cid, *kinds)
    _named(tx, cid, mid, sender, timestamp)
    tx.delete_message(cid, mid)
    return Result({})


def _narrowed(members: list[str], sending: Sending) -> list[str]:
    if sending.allowed is None:
        return members
    return [name for name in members if name in sending.allowed or name == sending.sender]


def _check(sending: Sending) -> None:
    checked_ids([sending.sender])
    if sending.mentions:
        checked_ids(sending.mentions)
    for text in (sending.body, sending.push_data or ""):
        if not is_unicode(text):
            refuse(ErrorCode.UNPARSEABLE_RAW_MESSAGE, "the text is not Unicode")


def _stored(tx: Tx, row: ConversationRow, sending: Sending) -> MessageRow:
    """The message with its id and time; a transient one is not kept."""
    if sending.transient:
        return MessageRow(
            id=message_id(),
            conversation_id=row.id,
            kind=row.kind,
            sender=sending.sender,
            timestamp=tx.next_timestamp(row.id),
            body=sending.body,
            mentions=sending.mentions,
            mention_all=sending.mention_all,
        )
    message, _ = tx.append(
        row.id,
        NewMessage(
            sender=sending.sender,
            body=sending.body,
            mentions=sending.mentions,
            mention_all=sending.mention_all,
            push_data=sending.push_data,
            lctype=lctype_of(sending.body),
        ),
    )
    return message


def _named(tx: Tx, cid: str, mid: str, sender: str, timestamp: int | None) -> MessageRow:
    """The message that id, sender and time name together."""
    message = tx.message(cid, mid)
    if message is None or timestamp not in {None, message.timestamp}:
        refuse(ErrorCode.MESSAGE_NOT_FOUND)
    if message.sender != sender:
        refuse(ErrorCode.MESSAGE_OWNERSHIP_REQUIRED)
    return message


def _receipt(message: MessageRow) -> dict[str, Any]:
    return {"msg-id": message.id, "timestamp": message.timestamp}
