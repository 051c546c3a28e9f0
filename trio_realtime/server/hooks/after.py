"""What the application is told after a command was carried out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import attrs

from trio_realtime.server.rules.bodies import body_of
from trio_realtime.server.rules.checks import conv_of
from trio_realtime.server.rules.types import Caller, Clients, Outcome, Presence, Push
from trio_realtime.server.store.interface import Kind
from trio_realtime.wire import CommandType, DirectCommand, GenericCommand, OpType

from .types import ConversationStarted, Hooks, MemberChange, ReceiversOffline, SentMessage

_ROOM_SHOWN = 1000
"""How many of those in a chat room are named."""


@attrs.frozen
class Call:
    """One call to make."""

    hook: str
    function: Callable[[Any], Awaitable[object]]
    about: object


@attrs.frozen
class OfflineCall:
    """The absent receivers of a message, and the push its sender chose for them."""

    about: ReceiversOffline
    push_data: str | None = None


def calls_after(
    hooks: Hooks,
    caller: Caller,
    command: GenericCommand,
    decided: Outcome,
    presence: Presence,
) -> Iterator[Call | OfflineCall]:
    """The calls that a command's outcome gives cause for."""
    if command.cmd == CommandType.DIRECT:
        asked = command.direct_message or DirectCommand()
        if decided.filed is not None:
            yield from _to_service(hooks, caller, asked, decided)
        # A repeat and a will push nothing: nothing was sent.
        for push in decided.pushes:
            yield from _message(hooks, caller, asked, push, presence)
    elif command.cmd == CommandType.CONV and decided.reply is not None:
        yield from _conversation(hooks, caller, decided.reply, conv_of(command).cid)


def _to_service(
    hooks: Hooks, caller: Caller, asked: DirectCommand, decided: Outcome
) -> Iterator[Call]:
    assert decided.filed is not None
    body = body_of(asked.msg, asked.binary_msg)
    if hooks.message_sent is not None and body is not None:
        about = SentMessage(
            sender=caller.client_id,
            conversation_id=asked.cid or "",
            message_id=decided.filed["msgId"],
            online=[],
            offline=[],
            body=body,
            timestamp=decided.filed["timestamp"],
            receipt=bool(asked.r),
            service=True,
            address=caller.address,
        )
        yield Call("message_sent", hooks.message_sent, about)


def _message(
    hooks: Hooks, caller: Caller, asked: DirectCommand, push: Push, presence: Presence
) -> Iterator[Call | OfflineCall]:
    sent = push.command.direct_message
    assert sent is not None
    body = (sent.binary_msg or b"") if sent.msg is None else sent.msg
    cid, timestamp = sent.cid or "", sent.timestamp or 0
    if isinstance(push.to, Clients):
        receivers = [name for name in push.to.ids if name != caller.client_id]
        online = presence.online(receivers)
        here = set(online)
        offline = [name for name in receivers if name not in here]
    else:
        inside = presence.room_members(cid, _ROOM_SHOWN)
        online = [name for name in inside if name != caller.client_id]
        offline = []
    if hooks.message_sent is not None:
        about = SentMessage(
            sender=caller.client_id,
            conversation_id=cid,
            message_id=sent.id or "",
            online=online,
            offline=offline,
            body=body,
            timestamp=timestamp,
            transient=bool(sent.transient),
            receipt=bool(asked.r),
            service=sent.conv_type == Kind.SERVICE,
            address=caller.address,
        )
        yield Call("message_sent", hooks.message_sent, about)
    wanted = hooks.receivers_offline is not None or hooks.send_push is not None
    if wanted and offline and not sent.transient and not asked.will:
        away = set(offline)
        everybody = bool(sent.mention_all)
        absent = ReceiversOffline(
            sender=caller.client_id,
            conversation_id=cid,
            offline=offline,
            body=body,
            timestamp=timestamp,
            mention_all=everybody,
            mentioned=[] if everybody else [name for name in sent.mention_pids if name in away],
        )
        yield OfflineCall(absent, asked.push_data)


def _conversation(
    hooks: Hooks, caller: Caller, reply: GenericCommand, cid: str | None
) -> Iterator[Call]:
    message = conv_of(reply)
    cid = message.cid or cid or ""
    if reply.op == OpType.STARTED:
        if hooks.conversation_started is not None and not message.existing:
            about = ConversationStarted(conversation_id=cid)
            yield Call("conversation_started", hooks.conversation_started, about)
        return
    change = MemberChange(actor=caller.client_id, conversation_id=cid, members=message.allowed_pids)
    if not message.allowed_pids:
        return
    if reply.op == OpType.ADDED and hooks.conversation_added is not None:
        yield Call("conversation_added", hooks.conversation_added, change)
    elif reply.op == OpType.REMOVED and hooks.conversation_removed is not None:
        yield Call("conversation_removed", hooks.conversation_removed, change)
