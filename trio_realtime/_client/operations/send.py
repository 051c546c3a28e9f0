"""Sending messages."""

from __future__ import annotations

from typing import Any, TypeVar, overload

import trio

from trio_realtime._client.operands import ConversationLike, id_of, message_of
from trio_realtime._client.sending import Sending
from trio_realtime._values.local_file import UploadProgress
from trio_realtime._values.messages import NO_OPTIONS, BaseMessage, SendOptions, send_options_for
from trio_realtime._values.typed_messages import TextMessage

from .base import Operations

M = TypeVar("M", bound=BaseMessage)


class SendOperations(Operations):
    """Sending."""

    @overload
    async def send(
        self,
        conversation: ConversationLike,
        message: M,
        options: SendOptions = NO_OPTIONS,
        *,
        retry: bool = True,
        progress: trio.MemorySendChannel[UploadProgress] | None = None,
    ) -> M: ...

    @overload
    async def send(
        self,
        conversation: ConversationLike,
        message: str,
        options: SendOptions = NO_OPTIONS,
        *,
        retry: bool = True,
        progress: trio.MemorySendChannel[UploadProgress] | None = None,
    ) -> TextMessage: ...

    async def send(
        self,
        conversation: ConversationLike,
        message: BaseMessage | str,
        options: SendOptions = NO_OPTIONS,
        *,
        retry: bool = True,
        progress: trio.MemorySendChannel[UploadProgress] | None = None,
    ) -> BaseMessage:
        """Send a message; returns it with its id, time, sender and status.

        Waits for the connection if it is down, and returns when the server has stored the
        message. If the link breaks in between, the message is sent again after resuming, and
        the server keeps one. There is no time-out: bound it with a cancel scope. Messages
        sent to one conversation are stored in the order in which they were sent.

        Args:
            conversation: where to send it, by value or by id.
            message: what to send; a text becomes a `TextMessage`. Its ``mentions`` and
                ``mention_all`` count. Files that it carries and that are still to be uploaded
                are uploaded first.
            options: receipt, transient, will, priority and push data.
            retry: off: fail at once with `ConnectionLost` without a connection, or when it
                breaks.
            progress: told how far an upload is, as by `IMClient.upload`.

        Raises:
            TypeError, ValueError: it is no message, or one that cannot be written down.
            FileUploadError: a file of it could not be uploaded; nothing was sent.
            InvalidMessagingTarget: no such conversation, or not a member.
            Silenced: this client may not send here.
            RejectedByApp: a hook of the application refused.
            MessageTooLarge: it does not fit into one command; nothing was sent.
            CommandError: the server refused for another reason.
            ConnectionLost: with ``retry`` off, see there.
            RealtimeError: the client has ended.

        Protocol: docs/protocol/messages.md §1.
        """
        sending: Sending[Any] = self.sending(conversation, message, options, progress=progress)
        sent: BaseMessage = await sending.send(retry=retry)
        return sent

    @overload
    def sending(
        self,
        conversation: ConversationLike,
        message: M,
        options: SendOptions = NO_OPTIONS,
        *,
        progress: trio.MemorySendChannel[UploadProgress] | None = None,
    ) -> Sending[M]: ...

    @overload
    def sending(
        self,
        conversation: ConversationLike,
        message: str,
        options: SendOptions = NO_OPTIONS,
        *,
        progress: trio.MemorySendChannel[UploadProgress] | None = None,
    ) -> Sending[TextMessage]: ...

    def sending(
        self,
        conversation: ConversationLike,
        message: BaseMessage | str,
        options: SendOptions = NO_OPTIONS,
        *,
        progress: trio.MemorySendChannel[UploadProgress] | None = None,
    ) -> Sending[Any]:
        """A message about to be sent, for those who may cancel it and want to know.

        Its `Sending.send` does what `send` does; where that was cancelled, its status is
        `SendStatus.UNKNOWN` until it is called again, which sends the message only if the
        server does not have it.

        Args: as of `send`.

        Protocol: docs/protocol/messages.md §1.
        """
        content = message_of(message)
        if not isinstance(options, SendOptions):
            raise TypeError(f"options are SendOptions(...), not {options!r}")
        return Sending(
            self._session,
            id_of(conversation),
            content,
            send_options_for(content, options),
            progress,
        )
