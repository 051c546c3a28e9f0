"""One sending of a message: what becomes of it, and how it is taken up again."""

from __future__ import annotations

from enum import Enum
from typing import Any, Generic, TypeVar

import attrs
import trio

from trio_realtime._engine.command_size import MAX_COMMAND, check_size
from trio_realtime._engine.mapping import part
from trio_realtime._values.checks import checked_flag
from trio_realtime._values.errors import (
    CommandError,
    MalformedReply,
)
from trio_realtime._values.json import dump
from trio_realtime._values.local_file import UploadProgress
from trio_realtime._values.messages import BaseMessage, MessageStatus, SendOptions, with_envelope
from trio_realtime._values.texts import checked_id, encodable
from trio_realtime._values.typed_messages import TypedMessage, files_to_upload
from trio_realtime.wire import CommandType, DirectCommand, GenericCommand

from .operands import client_ids
from .session_view import SessionView
from .uploading import upload

__all__ = ["SendStatus", "Sending"]

M = TypeVar("M", bound=BaseMessage)

ENVELOPE = 512
"""Bytes that everything but contents can take, an upper bound."""
MAX_TOKEN = 128
"""Characters of the token of a sending; ours have less than 40."""


class SendStatus(Enum):
    """What became of a message that was sent. Protocol: docs/protocol/messages.md §1."""

    ACCEPTED = "accepted"
    """The server has stored it (or, if it is transient, passed it on)."""
    REJECTED = "rejected"
    """It was refused, or could not be sent at all, and is not stored."""
    UNKNOWN = "unknown"
    """Nobody waited for the answer: the wait was cancelled, or the client ended."""


class Sending(Generic[M]):
    """One message on its way, which can be taken up again after the wait was cancelled.

    Made by `IMClient.sending`. All attempts carry the same token, so that the server keeps
    one message and answers each of them with the same id and time.
    """

    def __init__(
        self,
        session: SessionView,
        conversation_id: str,
        message: M,
        options: SendOptions,
        progress: trio.MemorySendChannel[UploadProgress] | None = None,
    ) -> None:
        self._session = session
        self._options = options
        self._progress = progress
        self._message = message
        self._begun = False
        self.conversation_id = conversation_id
        """Where it goes."""
        # The token of a message that was sent before belongs to that sending.
        self.dt: str = (not message.id and message.dt) or session.new_token()
        """The token by which the server recognises it. A message with this `dt` continues the
        same sending in another run of the program."""
        self.status: SendStatus | None = None
        """What became of it; None: not sent yet, or under way."""

    def __repr__(self) -> str:
        status = "not finished" if self.status is None else self.status.value
        return f"<Sending of {self.message!r} to {self.conversation_id}: {status}>"

    @property
    def message(self) -> M:
        """As it was given, with its status: being sent, or failed.

        Once it is accepted, it has its id, time and sender too. Where it is unknown what became
        of it, it still counts as being sent.
        """
        if self.status is SendStatus.ACCEPTED or not self._begun:
            return self._message
        failed = self.status is SendStatus.REJECTED
        status = MessageStatus.FAILED if failed else MessageStatus.SENDING
        return with_envelope(self._message, {"status": status})

    async def send(self, *, retry: bool = True) -> M:
        """Send it, or find out what became of it; returns the message once it is accepted.

        After that it returns at once. See `IMClient.send` for the rest and for what it raises.
        """
        if self.status is SendStatus.ACCEPTED:
            return self._message
        checked_flag(retry, "retry")
        session = self._session
        self.status = None
        self._begun = True
        try:
            if files_to_upload(self._message):
                self._message = await uploaded(session, self._message, self._progress)
            command = self._command()
        except Exception:
            self.status = SendStatus.REJECTED
            raise
        except BaseException:
            self.status = SendStatus.UNKNOWN
            raise
        try:
            if retry:
                reply = await session.insist(command, self._replied)
            else:
                reply = await session.request(command, repeat="never", on_reply=self._replied)
            self._message = self._accepted(command, reply)
        except CommandError as error:
            # The end of the client is told with an error of the server too.
            ended = error is session.error
            self.status = SendStatus.UNKNOWN if ended else SendStatus.REJECTED
            raise
        except BaseException:
            self.status = SendStatus.UNKNOWN
            raise
        self.status = SendStatus.ACCEPTED
        return self._message

    def _command(self) -> GenericCommand:
        """What is sent, if it can be."""
        command = _direct(
            self._session.client_id, self.conversation_id, self._message, self._options, self.dt
        )
        if not _is_small(command):
            check_size(command)
        return command

    def _replied(self, reply: GenericCommand) -> None:
        """What is stored is known as this client's own before a history can show it."""
        ack = reply.ack_message
        if self._options.transient or self._options.will or ack is None or ack.code is not None:
            return
        if ack.uid and ack.t is not None:
            self._session.sent(self.conversation_id, ack.t, ack.uid)

    def _accepted(self, command: GenericCommand, reply: GenericCommand) -> M:
        session, options, cid = self._session, self._options, self.conversation_id
        ack = part(reply, reply.ack_message)
        if ack.code is not None:
            raise CommandError.from_wire(ack.code, ack.reason, None, ack.app_code, ack.app_msg)
        if not ack.uid or ack.t is None:
            raise MalformedReply("the acknowledgement of a message lacks its id or time")
        stored = not (options.transient or options.will)
        sent = with_envelope(
            self._message,
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
                "dt": self.dt,
            },
        )
        if isinstance(sent, TypedMessage):
            assert command.direct_message is not None
            sent = sent.as_stored(command.direct_message.msg or "")
        if stored:
            session.conversations.latest(sent)
        return sent


async def uploaded(
    session: SessionView,
    message: M,
    progress: trio.MemorySendChannel[UploadProgress] | None = None,
) -> M:
    """The message with its files where others can see them."""
    pending = files_to_upload(message)
    if not pending:
        return message
    files: dict[str, Any] = {
        name: await upload(session, file, progress) for name, file in pending.items()
    }
    return attrs.evolve(message, **files)


def _is_small(command: GenericCommand) -> bool:
    """Whether it fits for certain; most messages need not be encoded to know."""
    direct = command.direct_message
    assert direct is not None
    # A character takes at most four bytes.
    characters = len(direct.msg or "") + len(direct.push_data or "")
    characters += len(direct.cid or "") + len(direct.dt or "")
    if direct.mention_pids:
        characters += sum(len(pid) + 1 for pid in direct.mention_pids)
    return characters * 4 + len(direct.binary_msg or b"") + ENVELOPE <= MAX_COMMAND


def _direct(
    client_id: str, cid: str, message: BaseMessage, options: SendOptions, dt: str
) -> GenericCommand:
    body = message.payload()
    text = encodable(body, "the text of a message") if isinstance(body, str) else None
    direct = DirectCommand(
        msg=text,
        r=options.receipt or None,
        cid=cid,
        transient=options.transient or None,
        dt=checked_id(dt, "the dt of a message", MAX_TOKEN),
        push_data=None if options.push_data is None else dump(options.push_data),
        will=options.will or None,
        binary_msg=None if isinstance(body, str) else body,
        mention_pids=client_ids(message.mentions) if message.mentions else [],
        mention_all=checked_flag(message.mention_all, "mention_all"),
    )
    # In the order of the schema, with a place for the serial id: the fastest to encode.
    return GenericCommand(
        cmd=CommandType.DIRECT,
        peer_id=client_id,
        i=0,
        priority=None if options.priority is None else int(options.priority),
        direct_message=direct,
    )
