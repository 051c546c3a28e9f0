"""Sending messages, and reading back what was said."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

import attrs

from trio_realtime._conversations import BaseConversation
from trio_realtime._errors import CommandError, MalformedReply, MessageTooLarge
from trio_realtime._json import dump
from trio_realtime._mapping import message_from_log_item
from trio_realtime._messages import BaseMessage, MessageStatus, SendOptions, send_options_for
from trio_realtime.wire import (
    CommandType,
    DirectCommand,
    GenericCommand,
    LogsCommand,
    QueryDirection,
    encode,
)

from ._base import Operations, id_of, part

M = TypeVar("M", bound=BaseMessage)

MAX_COMMAND = 5 * 1024
"""Bytes of one command from a client: transport.md §3."""

ENVELOPE = 512
"""Bytes that everything but contents can take, an upper bound."""
SERIAL = 6
"""Bytes of the serial id, which is given at transmission."""

NO_OPTIONS = SendOptions()


class MessageOperations(Operations):
    """Messages and history."""

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
        cid = id_of(conversation)
        options = send_options_for(message, options)
        dt = message.dt or str(uuid.uuid4())
        command = _direct(cid, message, options, dt)
        command.peer_id = self._session.client_id
        _check_size(command)
        reply = await self._session.request(command, retry=retry, insist=retry)
        ack = part(reply, reply.ack_message)
        if ack.code is not None:
            raise CommandError.from_wire(ack.code, ack.reason, None, ack.app_code, ack.app_msg)
        if not ack.uid or ack.t is None:
            raise MalformedReply("the acknowledgement of a message lacks its id or time")
        if not options.transient and not options.will:
            self._session.delivery.sent(cid, ack.t, ack.uid)
        return attrs.evolve(
            message,
            id=ack.uid,
            conversation_id=cid,
            sender=self._session.client_id,
            timestamp_ms=ack.t,
            status=MessageStatus.SENT,
            receipt=bool(options.receipt),
            transient=bool(options.transient),
            dt=dt,
        )

    async def history(
        self,
        conversation: BaseConversation | str,
        *,
        oldest_first: bool = False,
        page_size: int = 100,
    ) -> AsyncIterator[BaseMessage]:
        """Walk through all messages of a conversation, newest first or oldest first.

        Asks the server for pages as needed. Messages that arrive meanwhile do not disturb:
        none is skipped or repeated.

        Raises:
            MembershipRequired: not a member.
            RealtimeError: the server refused otherwise, or could not be reached.

        Protocol: messages.md §7.
        """
        cid = id_of(conversation)
        start: BaseMessage | None = None
        while True:
            page = await self._page(cid, start, newer=oldest_first, limit=page_size)
            for message in page if oldest_first else reversed(page):
                yield message
            if len(page) < page_size:
                return
            start = page[-1] if oldest_first else page[0]

    async def _page(
        self, cid: str, start: BaseMessage | None, *, newer: bool, limit: int
    ) -> Sequence[BaseMessage]:
        logs = LogsCommand(cid=cid, l=limit)
        if start is not None:
            logs.t = start.timestamp_ms
            logs.mid = start.id
        logs.direction = QueryDirection.NEW if newer else QueryDirection.OLD
        reply = await self._session.request(GenericCommand(cmd=CommandType.LOGS, logs_message=logs))
        session = self._session
        return [
            message_from_log_item(item, cid, session.registry, session.client_id)
            for item in part(reply, reply.logs_message).logs
        ]


def _check_size(command: GenericCommand) -> None:
    direct = command.direct_message
    assert direct is not None
    # A character takes at most four bytes; most messages need not be encoded to know.
    characters = len(direct.msg or "") + len(direct.push_data or "") + len(direct.cid or "")
    characters += sum(len(pid) + 1 for pid in direct.mention_pids)
    if characters * 4 + len(direct.binary_msg or b"") + ENVELOPE <= MAX_COMMAND:
        return
    size = len(encode(command)) + SERIAL
    if size > MAX_COMMAND:
        raise MessageTooLarge(size, MAX_COMMAND)


def _direct(cid: str, message: BaseMessage, options: SendOptions, dt: str) -> GenericCommand:
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
    priority = None if options.priority is None else int(options.priority)
    return GenericCommand(cmd=CommandType.DIRECT, priority=priority, direct_message=direct)
