"""What the server pushes to one client: told apart, and passed on to those whom it concerns."""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from trio_realtime._engine.login import LoginState
from trio_realtime._engine.mapping import events_from_command, message_from_direct
from trio_realtime._values.conversations import ConversationKind
from trio_realtime._values.errors import CommandError, RealtimeError
from trio_realtime._values.events import (
    Gap,
    MessageReceived,
    SessionClosed,
    SessionConflict,
    UnreadUpdated,
)
from trio_realtime._values.messages import BaseMessage
from trio_realtime._values.times import datetime_from_ms
from trio_realtime.wire import CommandType, DirectCommand, GenericCommand, OpType

from .catch_up import CatchUp
from .inbox import Inbox
from .missed_notices import MissedNotices

logger = logging.getLogger("trio_realtime")


class Pushes:
    """Handles the pushes for one client, without waiting.

    Args:
        login: who the client is, and up to when it has heard.
        inbox: takes the events.
        catch_up: learns of what may have been missed before a push.
        notices: knows which news about the client have been told already.
        on_closed: called when the server has closed the session.
    """

    def __init__(
        self,
        login: LoginState,
        inbox: Inbox,
        catch_up: CatchUp,
        notices: MissedNotices,
        *,
        on_closed: Callable[[RealtimeError], None],
    ) -> None:
        self._login = login
        self._inbox = inbox
        self._catch_up = catch_up
        self._notices = notices
        self._on_closed = on_closed
        self._cut: set[str] = set()
        """Conversations of which only the latest missed messages were pushed."""

    def receive(self, command: GenericCommand) -> None:
        """Handle one push."""
        self._login.saw(command)
        if command.server_ts:
            self._inbox.delivery.hear(command.server_ts, trio.current_time())
        if command.cmd == CommandType.DIRECT:
            direct = command.direct_message
            if direct is None or not direct.cid:
                logger.warning("dropped a message that names no conversation")
            else:
                self._message(direct.cid, direct)
        elif command.cmd == CommandType.SESSION:
            self._closed(command)
        else:
            self._news(command)

    def _message(self, cid: str, direct: DirectCommand) -> None:
        inbox, offline = self._inbox, bool(direct.offline)
        inbox.delivery.hear(direct.timestamp or 0, trio.current_time())
        if direct.conv_type == ConversationKind.CHAT_ROOM:
            inbox.rooms.add(cid)
        self._catch_up.spoke(cid, direct.conv_type, offline=offline)
        me = self._login.assigned_id
        message = message_from_direct(direct, inbox.registry, me)
        if not (offline or message.transient):
            self._catch_up.heard(cid, message.timestamp_ms)
        if offline and direct.has_more:
            # Only the latest are pushed.
            self._catch_up.shows(cid, direct.conv_type, (message.timestamp_ms, message.id))
            self._tell_cut(cid, message)
        inbox.deliver(MessageReceived(cid, message, own=message.sender == me))
        if direct.conv_type is not None:
            inbox.delivery.of_kind(cid, direct.conv_type)

    def _tell_cut(self, cid: str, pushed: BaseMessage) -> None:
        """Tell that there are messages before this one, if no catching up will find them."""
        if cid in self._cut:
            return
        until: int | None = pushed.timestamp_ms
        if self._catch_up.returned:
            delivery = self._inbox.delivery
            until = delivery.unfetched_until(cid, pushed.timestamp_ms, pushed.id)
        if until is not None:
            self._cut.add(cid)
            self._inbox.deliver(Gap(cid, missing_until=datetime_from_ms(until)))

    def _news(self, command: GenericCommand) -> None:
        inbox = self._inbox
        for event in events_from_command(command, inbox.registry, self._login.assigned_id):
            if isinstance(event, UnreadUpdated):
                self._catch_up.unread(event)
            if self._notices.note(event):
                inbox.received(event)
                inbox.deliver(event)

    def _closed(self, command: GenericCommand) -> None:
        session = command.session_message
        if command.op != OpType.CLOSED or session is None:
            return
        error = CommandError.from_wire(session.code or 0, session.reason or "", session.detail)
        if session.code == 4111:
            self._inbox.hub.publish(SessionConflict(reason=session.reason or ""))
        else:
            self._inbox.hub.publish(SessionClosed(error=error))
        self._on_closed(error)
