"""Sending a message: what is kept, and who gets it.

This is the rule that runs most, one after another for all senders of a store. For a message
between members it asks the store four things: the conversation, its members, whether the
sender is silenced, and to append.

Protocol: docs/protocol/messages.md §1, §10 and §11.
"""

from __future__ import annotations

import base64
import hashlib
import json

from trio_realtime._values.errors import ErrorCode
from trio_realtime._values.protocol import TEMPORARY_PREFIX
from trio_realtime.server.store.ids import message_id
from trio_realtime.server.store.interface import ConversationRow, Kind, MessageRow, NewMessage, Tx
from trio_realtime.wire import AckCommand, CommandType, DirectCommand, GenericCommand

from .audience import audience_of, needs
from .bodies import body_json, body_of, direct_command, lctype_of
from .checks import refuse
from .json import date_json
from .types import NORMAL, Caller, Clients, Feature, KeepWill, Outcome, Push, Refusal, Room, Will

SERVICE_MESSAGES = "_SysMessage"
"""The documents with what clients send to service conversations, under the keys
``{conversation id}/{message id}``. Protocol: docs/protocol/rest.md §6.
"""


def send(tx: Tx, caller: Caller, command: GenericCommand) -> Outcome:
    """``direct``: a message of any sort, to a conversation of any kind."""
    direct = command.direct_message
    if direct is None or not direct.cid:
        refuse(ErrorCode.INVALID_MESSAGING_TARGET)
    conversation = _conversation(tx, direct.cid)
    try:
        audience = audience_of(tx, caller, conversation)
    except Refusal:
        # Sent again by somebody who was thrown out meanwhile: the first one did arrive.
        first = direct.dt and tx.sent_before(conversation.id, caller.client_id, direct.dt)
        if not first:
            raise
        return Outcome(_ack(first.id, first.timestamp))
    body = body_of(direct.msg, direct.binary_msg)
    if body is None:
        refuse(ErrorCode.UNPARSEABLE_RAW_MESSAGE, "a message has one body, text or binary")
    mentions = tuple(dict.fromkeys(direct.mention_pids)) if direct.mention_pids else ()
    if direct.will or direct.transient:
        message = MessageRow(
            id=message_id(),
            conversation_id=conversation.id,
            kind=conversation.kind,
            sender=caller.client_id,
            timestamp=tx.next_timestamp(conversation.id),
            body=body,
            mentions=mentions,
            mention_all=bool(direct.mention_all),
        )
        return _leave_unstored(caller, command, message, audience)
    if audience is None:
        return _file(tx, caller, direct, conversation, body)
    message, new = tx.append(
        conversation.id,
        NewMessage(
            sender=caller.client_id,
            body=body,
            dt=direct.dt or None,
            mentions=mentions,
            mention_all=bool(direct.mention_all),
            receipt=bool(direct.r),
            push_data=direct.push_data,
            lctype=lctype_of(body),
            address=caller.address or None,
        ),
    )
    reply = _ack(message.id, message.timestamp)
    if not new:
        return Outcome(reply)
    return Outcome(reply, [_push(command, message, audience, place=message.timestamp)])


def will_pushes(tx: Tx, caller: Caller, will: Will) -> list[Push]:
    """The will of a lost session, for those who may hear it now: docs/protocol/messages.md §10."""
    direct = will.command.direct_message
    assert direct is not None
    body = body_of(direct.msg, direct.binary_msg)
    try:
        conversation = _conversation(tx, direct.cid or "")
        audience = audience_of(tx, caller, conversation)
    except Refusal:
        return []
    if audience is None or body is None:
        return []
    message = MessageRow(
        id=will.message_id,
        conversation_id=conversation.id,
        kind=conversation.kind,
        sender=caller.client_id,
        timestamp=tx.next_timestamp(conversation.id),
        body=body,
        mentions=tuple(dict.fromkeys(direct.mention_pids)),
        mention_all=bool(direct.mention_all),
    )
    return [_push(will.command, message, audience, transient=bool(direct.transient))]


def _conversation(tx: Tx, cid: str) -> ConversationRow:
    conversation = tx.conversation(cid)
    if conversation is None:
        if cid.startswith(TEMPORARY_PREFIX):
            refuse(ErrorCode.CONVERSATION_NOT_FOUND)
        refuse(ErrorCode.INVALID_MESSAGING_TARGET)
    return conversation


def _leave_unstored(
    caller: Caller,
    command: GenericCommand,
    message: MessageRow,
    audience: Clients | Room | None,
) -> Outcome:
    """A transient message goes to those who are online now, a will when the session is lost."""
    direct = command.direct_message
    assert direct is not None
    reply = _ack(message.id, message.timestamp)
    if direct.will:
        # Without an audience there is nobody to hear it.
        will = None if audience is None else Will(command, message.id)
        return Outcome(reply, presence=KeepWill(will))
    pushes: list[Push] = []
    if audience is not None:
        pushes.append(_push(command, message, audience, transient=bool(direct.transient)))
    acknowledged = Feature.TRANSIENT_ACKS in caller.features
    return Outcome(reply if acknowledged else None, pushes)


def _file(
    tx: Tx,
    caller: Caller,
    direct: DirectCommand,
    conversation: ConversationRow,
    body: str | bytes,
) -> Outcome:
    """A message to a service: one way, kept for whoever answers in its name."""
    mid = _service_message_id(conversation.id, caller.client_id, direct.dt)
    key = f"{conversation.id}/{mid}"
    first = tx.document(SERVICE_MESSAGES, key)
    if first is not None:
        return Outcome(_ack(mid, first["timestamp"]))
    timestamp = tx.next_timestamp(conversation.id)
    data, binary = body_json(body)
    now = date_json(tx.now)
    row = {
        "msgId": mid,
        "conv": {
            "__type": "Pointer",
            "className": "_Conversation",
            "objectId": conversation.id,
        },
        "from": caller.client_id,
        "fromIp": caller.address,
        "data": data,
        "bin": binary,
        "timestamp": timestamp,
        "createdAt": now,
        "updatedAt": now,
    }
    tx.put_document(SERVICE_MESSAGES, key, row)
    return Outcome(_ack(mid, timestamp), filed=row)


def is_repeat(tx: Tx, caller: Caller, conversation: ConversationRow, direct: DirectCommand) -> bool:
    """Whether nothing would come of a message but the acknowledgement of the first one."""
    if not direct.dt or direct.transient or direct.will:
        return False
    if conversation.kind is Kind.SERVICE:
        mid = _service_message_id(conversation.id, caller.client_id, direct.dt)
        return tx.document(SERVICE_MESSAGES, f"{conversation.id}/{mid}") is not None
    return tx.sent_before(conversation.id, caller.client_id, direct.dt) is not None


def _service_message_id(cid: str, sender: str, dt: str | None) -> str:
    """An id that is the same whenever a ``dt`` is repeated, and looks like any other."""
    if not dt:
        return message_id()
    name = json.dumps([cid, sender, dt]).encode()
    digest = hashlib.blake2b(name, digest_size=16).digest()
    return base64.urlsafe_b64encode(digest)[:22].decode()


def _push(
    command: GenericCommand,
    message: MessageRow,
    audience: Clients | Room,
    *,
    transient: bool = False,
    place: int | None = None,
) -> Push:
    push = direct_command(message, transient=transient)
    if isinstance(audience, Room):
        # The sender sees his own words in a room nowhere, not even on his other devices.
        priority = command.priority if command.priority in {1, 2, 3} else None
        return Push(
            audience,
            push,
            except_client=message.sender,
            priority=priority or NORMAL,
            conversation_id=message.conversation_id,
            place=place,
        )
    return Push(
        audience,
        push,
        except_actor=True,
        needs=needs(message.kind),
        conversation_id=message.conversation_id,
        place=place,
    )


def _ack(mid: str, timestamp: int) -> GenericCommand:
    # No code: even a zero would be an error to the sender.
    return GenericCommand(cmd=CommandType.ACK, ack_message=AckCommand(uid=mid, t=timestamp))
