"""Sending messages."""

from __future__ import annotations

from typing import TypeVar

from trio_realtime._conversations import BaseConversation
from trio_realtime._errors import CommandError, MalformedReply
from trio_realtime._json import dump
from trio_realtime._messages import (
    NO_OPTIONS,
    BaseMessage,
    MessageStatus,
    SendOptions,
    send_options_for,
    with_envelope,
)
from trio_realtime._size import MAX_COMMAND, check_size
from trio_realtime.wire import CommandType, DirectCommand, GenericCommand

from ._base import Operations, id_of, part

M = TypeVar("M", bound=BaseMessage)

ENVELOPE = 512
"""Bytes that everything but contents can take, an upper bound."""


class SendOperations(Operations):
    """Sending."""

    async def send(
        self,
        conversation: BaseConversation | str,
        message: M,
        options: SendOptions = NO_OPTIONS,
        *,
        retry: bool = True,
    ) -> M:
        """Send a message; returns it with its id, time, sender and status.

        Waits for the connection if it is down, and returns when the server has stored the
        message. If the link breaks in between, the message is sent again after resuming, and
        the server keeps one. There is no time-out: bound it with a cancel scope. Messages
        sent to one conversation are stored in the order in which they were sent.

        Args:
            conversation: where to send it, by value or by id.
            message: what to send. Its ``mentions`` and ``mention_all`` count.
            options: receipt, transient, will, priority and push data.
            retry: off: fail at once with `ConnectionLost` without a connection, or when it
                breaks.

        Raises:
            InvalidMessagingTarget: no such conversation, or not a member.
            Silenced: this client may not send here.
            RejectedByApp: a hook of the application refused.
            MessageTooLarge: it does not fit into one command; nothing was sent.
            CommandError: the server refused for another reason.
            ConnectionLost: with ``retry`` off, see there.
            RealtimeError: the client has ended.

        Protocol: messages.md §1.
        """
        session = self._session
        cid = id_of(conversation)
        options = send_options_for(message, options)
        # The token of a message that was sent before belongs to that sending.
        dt = (not message.id and message.dt) or session.new_token()
        command = _direct(session.client_id, cid, message, options, dt)
        if not _is_small(command):
            check_size(command)
        if retry:
            reply = await session.insist(command)
        else:
            reply = await session.request(command, retry=False)
        ack = part(reply, reply.ack_message)
        if ack.code is not None:
            raise CommandError.from_wire(ack.code, ack.reason, None, ack.app_code, ack.app_msg)
        if not ack.uid or ack.t is None:
            raise MalformedReply("the acknowledgement of a message lacks its id or time")
        stored = not (options.transient or options.will)
        if stored:
            session.delivery.sent(cid, ack.t, ack.uid)
        sent = with_envelope(
            message,
            {
                "id": ack.uid,
                "conversation_id": cid,
                "sender": session.client_id,
                "timestamp_ms": ack.t,
                "status": MessageStatus.SENT,
                "updated_at_ms": None,
                "delivered_at_ms": None,
                "read_at_ms": None,
                "mentioned": False,
                "receipt": bool(options.receipt),
                "transient": bool(options.transient),
                "dt": dt,
            },
        )
        if stored:
            session.conversations.latest(sent)
        return sent


def _is_small(command: GenericCommand) -> bool:
    """Whether it fits for certain; most messages need not be encoded to know."""
    direct = command.direct_message
    assert direct is not None
    # A character takes at most four bytes.
    characters = len(direct.msg or "") + len(direct.push_data or "") + len(direct.cid or "")
    characters += sum(len(pid) + 1 for pid in direct.mention_pids)
    return characters * 4 + len(direct.binary_msg or b"") + ENVELOPE <= MAX_COMMAND


def _direct(
    client_id: str, cid: str, message: BaseMessage, options: SendOptions, dt: str
) -> GenericCommand:
    body = message.payload()
    direct = DirectCommand(
        msg=body if isinstance(body, str) else None,
        r=options.receipt or None,
        cid=cid,
        transient=options.transient or None,
        dt=dt,
        push_data=None if options.push_data is None else dump(options.push_data),
        will=options.will or None,
        binary_msg=None if isinstance(body, str) else body,
        mention_pids=list(message.mentions),
        mention_all=message.mention_all,
    )
    # In the order of the schema, with a place for the serial id: the fastest to encode.
    return GenericCommand(
        cmd=CommandType.DIRECT,
        peer_id=client_id,
        i=0,
        priority=None if options.priority is None else int(options.priority),
        direct_message=direct,
    )
