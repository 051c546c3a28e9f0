"""What hooks are told of a command that was carried out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import attrs

from trio_realtime.server.rules.checks import conv_of
from trio_realtime.server.rules.types import Caller, Clients, Outcome, Presence, Push
from trio_realtime.wire import CommandType, DirectCommand, GenericCommand, OpType

from .types import ConversationStarted, Hooks, MemberChange, ReceiversOffline, SentMessage

_ROOM_SHOWN = 1000
"""How many of those in a chat room are named."""


@attrs.frozen
class News:
    """A call to make."""

    function: Callable[[Any], Awaitable[object]]
    about: object
    push_data: str | None = None


def news_of(
    hooks: Hooks,
    caller: Caller,
    command: GenericCommand,
    decided: Outcome,
    presence: Presence,
) -> Iterator[News]:
    """The calls that a command's outcome gives cause for."""
    if command.cmd == CommandType.DIRECT:
        # A repeat and a will push nothing: nothing was sent.
        for push in decided.pushes:
            yield from _message(hooks, caller, command, push, presence)
    elif command.cmd == CommandType.CONV and decided.reply is not None:
        yield from _conversation(hooks, caller, decided.reply, conv_of(command).cid)


def _message(
    hooks: Hooks, caller: Caller, command: GenericCommand, push: Push, presence: Presence
) -> Iterator[News]:
    asked = command.direct_message or DirectCommand()
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
        yield News(
            hooks.message_sent,
            SentMessage(
                sender=caller.client_id,
                conversation_id=cid,
                message_id=sent.id or "",
                online=online,
                offline=offline,
                body=body,
                timestamp=timestamp,
                transient=bool(sent.transient),
                receipt=bool(asked.r),
                address=caller.address,
            ),
        )
    function = hooks.receivers_offline or hooks.send_push
    if function is not None and offline and not sent.transient:
        away = set(offline)
        yield News(
            function,
            ReceiversOffline(
                sender=caller.client_id,
                conversation_id=cid,
                offline=offline,
                body=body,
                timestamp=timestamp,
                mention_all=bool(sent.mention_all),
                mentioned=[name for name in sent.mention_pids if name in away],
            ),
            asked.push_data,
        )


def _conversation(
    hooks: Hooks, caller: Caller, reply: GenericCommand, cid: str | None
) -> Iterator[News]:
    message = conv_of(reply)
    cid = message.cid or cid or ""
    if reply.op == OpType.STARTED:
        if hooks.conversation_started is not None and not message.existing:
            yield News(hooks.conversation_started, ConversationStarted(conversation_id=cid))
        return
    functions = {
        OpType.ADDED: hooks.conversation_added,
        OpType.REMOVED: hooks.conversation_removed,
    }
    function = functions.get(reply.op) if reply.op is not None else None
    if function is not None and message.allowed_pids:
        yield News(
            function,
            MemberChange(actor=caller.client_id, conversation_id=cid, members=message.allowed_pids),
        )
