"""Messages the operator sends, changes and removes in the name of any client.

Protocol: docs/protocol/rest.md §4, §5 and §6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from msgspec import structs

from trio_realtime._values.errors import ErrorCode
from trio_realtime._values.texts import is_unicode
from trio_realtime.server.rules.audience import needs
from trio_realtime.server.rules.bodies import (
    RECALLED,
    RECALLED_BODY,
    direct_command,
    lctype_of,
    patch_command,
)
from trio_realtime.server.rules.checks import checked_ids, refuse
from trio_realtime.server.rules.types import (
    HIGH,
    NORMAL,
    App,
    Caller,
    Clients,
    Feature,
    Outcome,
    Push,
    Room,
)
from trio_realtime.server.store.ids import copy_id, message_id
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
    to: tuple[str, ...] = ()
    """Of a service: the clients that it speaks to alone."""
    allowed: frozenset[str] | None = None
    """Who of the members may get it, as the application has said."""


@attrs.frozen
class Named:
    """A message, as the operator names it."""

    conversation: str
    message: str
    sender: str
    timestamp: int | None
    to: tuple[str, ...] = ()
    """Of what a service has said to clients alone: to which."""


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
    members = _audience(tx, row, sending.to)
    return Receivers([name for name in members if name != sending.sender], tx.now)


def told_of_edit(tx: Tx, named: Named, *kinds: Kind) -> Receivers:
    """Who would hear of an edit; refuses what `edit` refuses."""
    row = conversation_of(tx, named.conversation, *kinds)
    messages = _all_named(tx, row, named)
    members = _audience(tx, row, named.to)
    return Receivers([name for name in members if name != named.sender], tx.now, messages[0][1])


def _audience(tx: Tx, row: ConversationRow, to: Sequence[str]) -> Sequence[str]:
    if row.kind is Kind.ROOM:
        return []
    return to if row.kind is Kind.SERVICE and to else tx.members(row.id)


def send(tx: Tx, cid: str, sending: Sending, *kinds: Kind) -> Result:
    """Send to all members of a conversation, to who is in a chat room, or of a service to some."""
    row = conversation_of(tx, cid, *kinds)
    _check(sending)
    if row.kind is Kind.SERVICE:
        return _send_alone(tx, row, sending)
    message = _stored(tx, row, sending)
    push = Push(
        Room(cid),
        direct_command(message, transient=sending.transient),
        except_client=sending.sender,
        priority=sending.priority,
        conversation_id=cid,
        place=None if sending.transient else message.timestamp,
    )
    if row.kind is Kind.ROOM:
        return Result(_receipt(message), [push], told=_told(sending, push))
    members = _narrowed(tx.members(cid), sending)
    push = attrs.evolve(
        push,
        to=Clients([*members, *_copy(sending, members)]),
        except_client=sending.sender if sending.no_sync else None,
        needs=needs(row.kind),
        priority=HIGH,
    )
    # Who is told of the message are its receivers; a copy is none.
    told = _told(sending, attrs.evolve(push, to=Clients(members)))
    return Result(_receipt(message), [push], told=told)


def _send_alone(tx: Tx, row: ConversationRow, sending: Sending) -> Result:
    """What a service says to single clients: each has it for himself, with an id of its own."""
    if not sending.to:
        refuse(ErrorCode.INVALID_MESSAGING_TARGET, "to whom does the service speak?")
    receivers = _narrowed(sending.to, sending)
    message = _unstored(tx, row, sending)
    copies = [structs.replace(message, receiver=name) for name in receivers]
    if not sending.transient:
        copies = tx.append_to_lines(row.id, receivers, _new(sending, message.id))
    pushes = [
        Push(
            Clients([copy.receiver or ""]),
            direct_command(copy, transient=sending.transient),
            conversation_id=row.id,
            place=None if sending.transient else copy.timestamp,
        )
        for copy in copies
    ]
    message = copies[0] if copies else message
    whole = Push(
        Clients(receivers),
        direct_command(message, transient=sending.transient),
        conversation_id=row.id,
    )
    own = attrs.evolve(whole, to=Clients(_copy(sending, receivers)))
    return Result(_receipt(message), [*pushes, own], told=_told(sending, whole))


def _copy(sending: Sending, receivers: Sequence[str]) -> list[str]:
    """Who sent it, unless he gets it anyway, or wants none."""
    return [] if sending.no_sync or sending.sender in receivers else [sending.sender]


def _told(sending: Sending, receivers: Push) -> Told:
    command = GenericCommand(
        cmd=CommandType.DIRECT,
        direct_message=DirectCommand(
            cid=receivers.conversation_id,
            msg=sending.body,
            transient=sending.transient or None,
            push_data=sending.push_data,
        ),
    )
    caller = Caller(sending.app, sending.sender, address=sending.address)
    return Told(caller, command, Outcome(pushes=[receivers]))


def edit(tx: Tx, named: Named, body: str | None, *kinds: Kind) -> Result:
    """Replace the body of a message; without a body, recall it."""
    row = conversation_of(tx, named.conversation, *kinds)
    if body is not None and not is_unicode(body):
        refuse(ErrorCode.UNPARSEABLE_RAW_MESSAGE, "the text is not Unicode")
    pushes: list[Push] = []
    for log, message in _all_named(tx, row, named):
        if message.recalled and body is not None:
            refuse(ErrorCode.MESSAGE_NOT_FOUND, "the message was recalled")
        if not message.recalled:
            pushes.append(_edited(tx, row, log, message, body))
    return Result({}, pushes)


def _edited(tx: Tx, row: ConversationRow, log: str, message: MessageRow, body: str | None) -> Push:
    patch = tx.patch(
        log,
        message.id,
        body=RECALLED_BODY if body is None else body,
        recalled=body is None,
        mentions=message.mentions if body is not None else (),
        mention_all=message.mention_all and body is not None,
        lctype=RECALLED if body is None else lctype_of(body),
    )
    audience = Room(row.id) if row.kind is Kind.ROOM else Clients(tx.members(log))
    return Push(
        audience,
        patch_command([patch]),
        needs=Feature.PATCHES | needs(row.kind),
        conversation_id=row.id,
    )


def delete(tx: Tx, named: Named, *kinds: Kind) -> Result:
    """Remove the server's copy; clients keep theirs."""
    row = conversation_of(tx, named.conversation, *kinds)
    for log, message in _all_named(tx, row, named):
        tx.delete_message(log, message.id)
    return Result({})


def _narrowed(members: Sequence[str], sending: Sending) -> Sequence[str]:
    if sending.allowed is None:
        return members
    return [name for name in members if name in sending.allowed or name == sending.sender]


def _check(sending: Sending) -> None:
    checked_ids([sending.sender, *sending.to])
    if sending.mentions:
        checked_ids(sending.mentions)
    for text in (sending.body, sending.push_data or ""):
        if not is_unicode(text):
            refuse(ErrorCode.UNPARSEABLE_RAW_MESSAGE, "the text is not Unicode")


def _stored(tx: Tx, row: ConversationRow, sending: Sending) -> MessageRow:
    """The message with its id and time; a transient one is not kept."""
    if sending.transient:
        return _unstored(tx, row, sending)
    message, _ = tx.append(row.id, _new(sending))
    return message


def _unstored(tx: Tx, row: ConversationRow, sending: Sending) -> MessageRow:
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


def _new(sending: Sending, mid: str | None = None) -> NewMessage:
    return NewMessage(
        sender=sending.sender,
        body=sending.body,
        mentions=sending.mentions,
        mention_all=sending.mention_all,
        push_data=sending.push_data,
        lctype=lctype_of(sending.body),
        id=mid,
        address=sending.address or None,
    )


def _all_named(tx: Tx, row: ConversationRow, named: Named) -> list[tuple[str, MessageRow]]:
    """The message that is named, where it is kept; in as many places as clients are named."""
    if row.kind is not Kind.SERVICE or not named.to:
        return [(row.id, _named(tx, row.id, named))]
    found: list[tuple[str, MessageRow]] = []
    for name in dict.fromkeys(named.to):
        log = tx.lines(name, [row.id]).get(row.id, "")
        copy = attrs.evolve(named, message=copy_id(named.message, name))
        found.append((log, _named(tx, log, named if tx.message(log, named.message) else copy)))
    return found


def _named(tx: Tx, log: str, named: Named) -> MessageRow:
    """The message that id, sender and time name together."""
    message = tx.message(log, named.message)
    if message is None or named.timestamp not in {None, message.timestamp}:
        refuse(ErrorCode.MESSAGE_NOT_FOUND)
    if message.sender != named.sender:
        refuse(ErrorCode.MESSAGE_OWNERSHIP_REQUIRED)
    return message


def _receipt(message: MessageRow) -> dict[str, Any]:
    return {"msg-id": message.id, "timestamp": message.timestamp}
