"""Sending messages."""

from __future__ import annotations

from typing import TypeVar

from trio_realtime._client.sending import Sending
from trio_realtime._values.messages import NO_OPTIONS, BaseMessage, SendOptions, send_options_for

from .base import ConversationLike, Operations, id_of

M = TypeVar("M", bound=BaseMessage)


class SendOperations(Operations):
    """Sending."""

    async def send(
        self,
        conversation: ConversationLike,
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

        Protocol: docs/protocol/messages.md §1.
        """
        return await self.sending(conversation, message, options).send(retry=retry)

    def sending(
        self,
        conversation: ConversationLike,
        message: M,
        options: SendOptions = NO_OPTIONS,
    ) -> Sending[M]:
        """A message about to be sent, for those who may cancel it and want to know.

        Its `Sending.send` does what `send` does; where that was cancelled, its status is
        `SendStatus.UNKNOWN` until it is called again, which sends the message only if the
        server does not have it.

        Args: as of `send`.

        Protocol: docs/protocol/messages.md §1.
        """
        return Sending(
            self._session, id_of(conversation), message, send_options_for(message, options)
        )
