"""What the application is asked before a command is carried out.

Questions are made inside the transaction that would carry the command out, so that they
speak of the data as the commands before it have left them. What the rule is going to refuse
is not asked about: hooks come after signatures.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs

from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.rules.audience import audience_of
from trio_realtime.server.rules.bodies import body_of
from trio_realtime.server.rules.checks import check_signature, conv_of, existing, require_member
from trio_realtime.server.rules.direct import is_repeat
from trio_realtime.server.rules.json import BadJson, parse_object
from trio_realtime.server.rules.types import Caller, Clients
from trio_realtime.server.store.interface import Kind, Tx
from trio_realtime.wire import (
    CommandType,
    ConvCommand,
    DirectCommand,
    GenericCommand,
    OpType,
    PatchCommand,
    PatchItem,
)

from .types import (
    ConversationStart,
    ConversationUpdate,
    Hooks,
    IncomingMessage,
    MemberChange,
    MessageUpdate,
)

HookFunction = Callable[[Any], Awaitable[Any]]


@attrs.frozen
class Question:
    """One call to make, and the error a refusal becomes."""

    hook: str
    function: HookFunction
    about: Any
    code: ErrorCode
    part: int = 0
    """Which item of an edit it is about."""


_HOOKS: dict[tuple[CommandType | None, OpType | None], tuple[str, ErrorCode]] = {
    (CommandType.PATCH, OpType.MODIFY): (
        "message_update",
        ErrorCode.MESSAGE_UPDATE_REJECTED_BY_APP,
    ),
    (CommandType.CONV, OpType.START): (
        "conversation_start",
        ErrorCode.CONVERSATION_REJECTED_BY_APP,
    ),
    (CommandType.CONV, OpType.ADD): ("conversation_add", ErrorCode.CONVERSATION_REJECTED_BY_APP),
    (CommandType.CONV, OpType.REMOVE): (
        "conversation_remove",
        ErrorCode.CONVERSATION_REJECTED_BY_APP,
    ),
    **dict.fromkeys(
        [(CommandType.CONV, op) for op in (OpType.UPDATE, OpType.MUTE, OpType.UNMUTE)],
        ("conversation_update", ErrorCode.CONVERSATION_REJECTED_BY_APP),
    ),
}


def hook_before(
    hooks: Hooks, command: GenericCommand
) -> tuple[str, HookFunction, ErrorCode] | None:
    """The hook that such a command concerns, whatever the data are; None if there is none."""
    if command.cmd == CommandType.DIRECT:
        named = "message_received", ErrorCode.MESSAGE_REJECTED_BY_APP
    else:
        found = _HOOKS.get((command.cmd, command.op))
        if found is None:
            return None
        named = found
    name, code = named
    function = getattr(hooks, name)
    return None if function is None else (name, function, code)


def questions_before(
    hooks: Hooks, tx: Tx, caller: Caller, command: GenericCommand
) -> list[Question]:
    """What the application is to be asked about a command now.

    Raises `Refusal` where the rule does. Nothing is asked about what the rule refuses for
    its form, and about what changes nothing.
    """
    hook = hook_before(hooks, command)
    if hook is None:
        return []
    name, function, code = hook
    if command.cmd == CommandType.PATCH:
        items = (command.patch_message or PatchCommand()).patches
        abouts: list[Any] = [_edit(tx, caller, item) for item in items]
    else:
        abouts = [_about(tx, caller, command)]
    return [
        Question(name, function, about, code, part)
        for part, about in enumerate(abouts)
        if about is not None
    ]


def _about(tx: Tx, caller: Caller, command: GenericCommand) -> object:
    match command.cmd, command.op:
        case CommandType.DIRECT, _:
            return _incoming(tx, caller, command.direct_message or DirectCommand())
        case _, OpType.START:
            return _start(tx, caller, conv_of(command))
        case _, OpType.ADD:
            return _change(tx, caller, conv_of(command))
        case _, OpType.REMOVE:
            quits = set(conv_of(command).m) == {caller.client_id}
            return None if quits else _change(tx, caller, conv_of(command), kick=True)
        case _:
            mute = None if command.op == OpType.UPDATE else command.op == OpType.MUTE
            return _update(tx, caller, conv_of(command), mute)


def _incoming(tx: Tx, caller: Caller, direct: DirectCommand) -> IncomingMessage | None:
    conversation = tx.conversation(direct.cid) if direct.cid else None
    body = body_of(direct.msg, direct.binary_msg)
    if conversation is None or body is None or is_repeat(tx, caller, conversation, direct):
        return None
    audience = audience_of(tx, caller, conversation)
    members = audience.ids if isinstance(audience, Clients) else ()
    return IncomingMessage(
        sender=caller.client_id,
        conversation_id=conversation.id,
        receivers=_others(members, caller),
        body=body,
        timestamp=tx.now,
        transient=bool(direct.transient),
        receipt=bool(direct.r),
        service=conversation.kind is Kind.SERVICE,
        address=caller.address,
    )


def _edit(tx: Tx, caller: Caller, item: PatchItem) -> MessageUpdate | None:
    conversation = tx.conversation(item.cid) if item.cid else None
    message = tx.message(conversation.id, item.mid) if conversation and item.mid else None
    if conversation is None or message is None or message.sender != caller.client_id:
        return None
    if conversation.kind is Kind.SERVICE:
        return None
    body = body_of(item.data, item.binary_msg)
    if message.recalled or (body is None and not item.recall):
        return None
    if not item.recall:
        audience_of(tx, caller, conversation)
    members = () if conversation.kind is Kind.ROOM else tx.members(conversation.id)
    return MessageUpdate(
        sender=caller.client_id,
        conversation_id=conversation.id,
        message_id=message.id,
        receivers=_others(members, caller),
        body="" if body is None else body,
        timestamp=message.timestamp,
        recall=bool(item.recall),
        service=False,
        address=caller.address,
    )


def _start(tx: Tx, caller: Caller, message: ConvCommand) -> ConversationStart | None:
    attributes = _attributes(message, caller)
    if attributes is None:
        return None
    if not message.temp_conv or message.transient:
        check_signature(tx, caller, message, None, "create")
    members = list(dict.fromkeys([*message.m, caller.client_id]))
    return ConversationStart(actor=caller.client_id, members=members, attributes=attributes)


def _change(
    tx: Tx, caller: Caller, message: ConvCommand, *, kick: bool = False
) -> MemberChange | None:
    row = existing(tx, message.cid)
    check_signature(tx, caller, message, row.id, "kick" if kick else "invite")
    members = list(dict.fromkeys(message.m))
    return MemberChange(actor=caller.client_id, conversation_id=row.id, members=members)


def _update(
    tx: Tx, caller: Caller, message: ConvCommand, mute: bool | None
) -> ConversationUpdate | None:
    row = existing(tx, message.cid)
    attributes = _attributes(message, caller) if mute is None else None
    if mute is None and attributes is None:
        return None
    if row.kind is not Kind.ROOM:
        require_member(tx, caller, row)
    return ConversationUpdate(
        actor=caller.client_id, conversation_id=row.id, attributes=attributes, mute=mute
    )


def _attributes(message: ConvCommand, caller: Caller) -> dict[str, Any] | None:
    """Attributes of a request; None for what is not JSON, which the rule refuses."""
    text = message.attr.data if message.attr is not None else None
    try:
        return parse_object(text or "{}", caller.json_depth)
    except BadJson:
        return None


def _others(members: Sequence[str], caller: Caller) -> list[str]:
    return [name for name in members if name != caller.client_id]
