"""What hooks are asked about a command, and how their answers change it.

Each question first looks at the data, to know the receivers, and to leave alone what the
rule is going to refuse: hooks come after signatures.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import attrs

from trio_realtime._values.errors import ErrorCode
from trio_realtime.server.rules.audience import admit
from trio_realtime.server.rules.bodies import body_of
from trio_realtime.server.rules.checks import check_signature, conv_of
from trio_realtime.server.rules.json import BadJson, dump, parse_object
from trio_realtime.server.rules.types import Caller, Clients, Refusal
from trio_realtime.server.store.interface import Kind, Store, Tx
from trio_realtime.wire import (
    CommandType,
    DirectCommand,
    GenericCommand,
    JsonObjectMessage,
    OpType,
    PatchCommand,
    PatchItem,
)

from .types import (
    Amend,
    Body,
    ConversationStart,
    ConversationUpdate,
    Hooks,
    IncomingMessage,
    MemberChange,
    MessageUpdate,
    Reject,
    Rewrite,
)

T = TypeVar("T")
R = TypeVar("R")

Answer = tuple[GenericCommand, frozenset[str] | None]


class Asked(Protocol):
    """Puts a question to a function of the application: `HookRunner._asked`."""

    async def __call__(
        self, function: Callable[[T], Awaitable[R]], about: T, code: ErrorCode, /
    ) -> R | None: ...


Ask = Callable[[Store, Asked, Caller, GenericCommand], Awaitable[Answer]]


def asker(hooks: Hooks, command: GenericCommand) -> Ask | None:
    """The question that such a command raises, if any."""
    match command.cmd, command.op:
        case CommandType.DIRECT, _ if hooks.message_received is not None:
            return _Message(hooks.message_received)
        case CommandType.PATCH, OpType.MODIFY if hooks.message_update is not None:
            return _Edit(hooks.message_update)
        case CommandType.CONV, OpType.START if hooks.conversation_start is not None:
            return _Start(hooks.conversation_start)
        case CommandType.CONV, OpType.ADD if hooks.conversation_add is not None:
            return _Members(hooks.conversation_add, "invite")
        case CommandType.CONV, OpType.REMOVE if hooks.conversation_remove is not None:
            return _Members(hooks.conversation_remove, "kick")
        case CommandType.CONV, (OpType.UPDATE | OpType.MUTE | OpType.UNMUTE) if (
            hooks.conversation_update is not None
        ):
            return _Update(hooks.conversation_update)
        case _:
            return None


async def _unless_refused(store: Store, app_id: str, look: Callable[[Tx], T]) -> T | None:
    """What a look at the data finds; None if the rule would refuse, and shall do so."""
    try:
        return await store.read(app_id, look)
    except Refusal:
        return None


@attrs.frozen
class _Message:
    function: Callable[[IncomingMessage], Awaitable[Reject | Rewrite | None]]

    async def __call__(
        self, store: Store, asked: Asked, caller: Caller, command: GenericCommand
    ) -> Answer:
        direct = command.direct_message or DirectCommand()
        body = body_of(direct.msg, direct.binary_msg)
        about = None
        if body is not None:
            about = await _unless_refused(
                store, caller.app.id, lambda tx: _incoming(tx, caller, direct, body)
            )
        if about is None:
            return command, None
        answer = await asked(self.function, about, ErrorCode.MESSAGE_REJECTED_BY_APP)
        if not isinstance(answer, Rewrite):
            return command, None
        if answer.body is not None:
            command, direct = copy.copy(command), copy.copy(direct)
            direct.msg, direct.binary_msg = _halves(answer.body)
            command.direct_message = direct
        return command, _narrowed(answer)


def _incoming(tx: Tx, caller: Caller, direct: DirectCommand, body: Body) -> IncomingMessage | None:
    conversation = tx.conversation(direct.cid) if direct.cid else None
    if conversation is None:
        return None
    audience = admit(tx, caller, conversation)
    if direct.dt and tx.sent_before(conversation.id, caller.client_id, direct.dt):
        return None  # sent again: the answer is known
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


@attrs.frozen
class _Edit:
    function: Callable[[MessageUpdate], Awaitable[Reject | Rewrite | None]]

    async def __call__(
        self, store: Store, asked: Asked, caller: Caller, command: GenericCommand
    ) -> Answer:
        patch = command.patch_message or PatchCommand()
        items: list[PatchItem] = []
        kept: frozenset[str] | None = None
        for item in patch.patches:
            approved, narrowed = await self._approved(store, asked, caller, item)
            items.append(approved)
            if narrowed is not None:
                # Several edits have one audience: who may get them all.
                kept = narrowed if kept is None else kept & narrowed
        command, patch = copy.copy(command), copy.copy(patch)
        patch.patches = items
        command.patch_message = patch
        return command, kept

    async def _approved(
        self, store: Store, asked: Asked, caller: Caller, item: PatchItem
    ) -> tuple[PatchItem, frozenset[str] | None]:
        about = await _unless_refused(store, caller.app.id, lambda tx: _edit(tx, caller, item))
        if about is None:
            return item, None
        code = ErrorCode.MESSAGE_UPDATE_REJECTED_BY_APP
        answer = await asked(self.function, about, code)
        if not isinstance(answer, Rewrite):
            return item, None
        if answer.body is not None:
            item = copy.copy(item)
            item.data, item.binary_msg = _halves(answer.body)
        return item, _narrowed(answer)


def _edit(tx: Tx, caller: Caller, item: PatchItem) -> MessageUpdate | None:
    conversation = tx.conversation(item.cid) if item.cid else None
    message = tx.message(conversation.id, item.mid) if conversation and item.mid else None
    if conversation is None or message is None or message.sender != caller.client_id:
        return None
    body = body_of(item.data, item.binary_msg)
    if message.recalled or (body is None and not item.recall):
        return None
    if not item.recall and conversation.kind is not Kind.SERVICE:
        admit(tx, caller, conversation)
    members = () if conversation.kind is Kind.ROOM else tx.members(conversation.id)
    return MessageUpdate(
        sender=caller.client_id,
        conversation_id=conversation.id,
        message_id=message.id,
        receivers=_others(members, caller),
        body="" if body is None else body,
        timestamp=message.timestamp,
        recall=bool(item.recall),
        service=conversation.kind is Kind.SERVICE,
        address=caller.address,
    )


@attrs.frozen
class _Start:
    function: Callable[[ConversationStart], Awaitable[Reject | None]]

    async def __call__(
        self, store: Store, asked: Asked, caller: Caller, command: GenericCommand
    ) -> Answer:
        message = conv_of(command)
        attributes = _attributes(message.attr)

        def signed(tx: Tx) -> bool:
            if not message.temp_conv or message.transient:
                check_signature(tx, caller, message, None, "create")
            return True

        if attributes is not None and await _unless_refused(store, caller.app.id, signed):
            about = ConversationStart(
                actor=caller.client_id,
                members=list(dict.fromkeys([*message.m, caller.client_id])),
                attributes=attributes,
            )
            await asked(self.function, about, ErrorCode.CONVERSATION_REJECTED_BY_APP)
        return command, None


@attrs.frozen
class _Members:
    function: Callable[[MemberChange], Awaitable[Reject | None]]
    action: Any

    async def __call__(
        self, store: Store, asked: Asked, caller: Caller, command: GenericCommand
    ) -> Answer:
        message = conv_of(command)
        members = list(dict.fromkeys(message.m))
        quit_ = self.action == "kick" and members == [caller.client_id]

        def signed(tx: Tx) -> bool:
            if not message.cid or tx.conversation(message.cid) is None:
                return False
            check_signature(tx, caller, message, message.cid, self.action)
            return True

        if not quit_ and await _unless_refused(store, caller.app.id, signed):
            about = MemberChange(
                actor=caller.client_id, conversation_id=message.cid or "", members=members
            )
            await asked(self.function, about, ErrorCode.CONVERSATION_REJECTED_BY_APP)
        return command, None


@attrs.frozen
class _Update:
    function: Callable[[ConversationUpdate], Awaitable[Reject | Amend | None]]

    async def __call__(
        self, store: Store, asked: Asked, caller: Caller, command: GenericCommand
    ) -> Answer:
        message = conv_of(command)
        mute = None if command.op == OpType.UPDATE else command.op == OpType.MUTE
        attributes = _attributes(message.attr) if mute is None else None
        cid = message.cid or ""
        mine = await store.read(
            caller.app.id,
            lambda tx: (
                (row := tx.conversation(cid)) is not None
                and (row.kind is Kind.ROOM or tx.is_member(cid, caller.client_id))
            ),
        )
        if not mine or (mute is None and attributes is None):
            return command, None
        about = ConversationUpdate(
            actor=caller.client_id, conversation_id=cid, attributes=attributes, mute=mute
        )
        answer = await asked(self.function, about, ErrorCode.CONVERSATION_REJECTED_BY_APP)
        if not isinstance(answer, Amend):
            return command, None
        if mute is None and answer.attributes is not None:
            command, message = copy.copy(command), copy.copy(message)
            message.attr = JsonObjectMessage(data=dump(dict(answer.attributes)))
            command.conv_message = message
        elif mute is not None and answer.mute is not None:
            command = copy.copy(command)
            command.op = OpType.MUTE if answer.mute else OpType.UNMUTE
        return command, None


def _attributes(attr: JsonObjectMessage | None) -> dict[str, Any] | None:
    """Attributes of a request; None for what is not JSON, which the rule refuses."""
    try:
        return parse_object(attr.data) if attr is not None and attr.data else {}
    except BadJson:
        return None


def _others(members: Sequence[str], caller: Caller) -> list[str]:
    return [name for name in members if name != caller.client_id]


def _narrowed(answer: Rewrite) -> frozenset[str] | None:
    return None if answer.receivers is None else frozenset(answer.receivers)


def _halves(body: Body) -> tuple[str | None, bytes | None]:
    return (None, body) if isinstance(body, bytes) else (body, None)
