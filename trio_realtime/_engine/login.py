"""One client's session: its login, its token, and the watermarks that resume it.

Protocol: docs/protocol/session.md §1, §3, §4, §6.
"""

from __future__ import annotations

import uuid

import attrs

from trio_realtime._values.events import (
    Blocked,
    Invited,
    Kicked,
    Muted,
    Unblocked,
    Unmuted,
)
from trio_realtime.wire import CommandType, GenericCommand, OpType, SessionCommand

CONFIG_BITMAP = 0b1011_1011
"""Edits and recalls, temporary conversations, acknowledged transients, reliable
notifications, partial failures, ``peerId`` may be absent: docs/protocol/session.md §4."""

PersonalNotice = Invited | Kicked | Blocked | Unblocked | Muted | Unmuted

PERSONAL_NOTICES: dict[OpType, type[PersonalNotice]] = {
    OpType.JOINED: Invited,
    OpType.LEFT: Kicked,
    OpType.BLOCKED: Blocked,
    OpType.UNBLOCKED: Unblocked,
    OpType.SHUTUPED: Muted,
    OpType.UNSHUTUPED: Unmuted,
}
"""What is said about this client itself, and the event it becomes; a server keeps it for replay.

Protocol: docs/protocol/session.md §7.
"""

USER_AGENT = "trio-realtime/0.1.0"

IM_SERVICE = 2


@attrs.frozen
class Signature:
    """Permission for one operation, made with the master key by the application.

    Protocol: docs/protocol/signatures.md §1.
    """

    signature: str
    timestamp: int
    """As signed: milliseconds (or, from old signers, seconds) since the epoch."""
    nonce: str


@attrs.define
class LoginState:
    """What a client says when it logs in, and what it must remember to come back.

    Times are milliseconds of the clock named: ``server`` times come from the server,
    ``now`` is the local clock.
    """

    app_id: str
    client_id: str | None
    """None until the server has made one up."""
    tag: str | None = None
    device_id: str = attrs.field(factory=lambda: str(uuid.uuid4()))
    token: str | None = None
    token_expires_at: int = 0
    """Local clock."""
    returned_at: int = 0
    """Server time of the latest login."""
    opened_at: int | None = None
    """Server time of the first login: nothing older was missed."""
    patch_watermark: int | None = None
    """Server time of the newest edit known."""
    unread_watermark: int | None = None
    """``notifTime`` of the last unread push."""
    notification_watermark: int | None = None
    """Server time of the last membership notification known."""
    anew: bool = False
    """Whether this is the first login of this run, and the rest is known from an earlier one."""

    @property
    def assigned_id(self) -> str:
        """The id of a client that is logged in."""
        assert self.client_id is not None, "not logged in yet"
        return self.client_id

    @property
    def begun(self) -> bool:
        """Whether the client has been logged in before."""
        return self.opened_at is not None

    def can_resume(self, now: int) -> bool:
        """Whether a token is at hand that should still be valid."""
        return self.token is not None and now < self.token_expires_at

    def open_command(self, now: int, signature: Signature | None) -> GenericCommand:
        """The command that logs in, or resumes: docs/protocol/session.md §1.1."""
        # What an earlier run left is worth a login like the first one, if not its token.
        again = self.begun and (not self.anew or self.can_resume(now))
        session = SessionCommand(ua=USER_AGENT, config_bitmap=CONFIG_BITMAP, r=again)
        if again:
            if self.can_resume(now):
                session.st = self.token
            session.last_unread_notif_time = self.unread_watermark
        else:
            session.device_id = self.device_id
        session.last_patch_time = self.patch_watermark if self.begun else now
        # Repeated on resuming too: a server that has forgotten the token still knows
        # which slot and which device this is.
        if self.tag is not None:
            session.tag = self.tag
            session.device_id = self.device_id
        _sign(session, signature)
        return self._command(OpType.OPEN, session)

    def refresh_command(self, signature: Signature | None) -> GenericCommand:
        """The command that exchanges the token for a new one: docs/protocol/session.md §3."""
        session = SessionCommand(ua=USER_AGENT, st=self.token)
        _sign(session, signature)
        return self._command(OpType.REFRESH, session)

    def close_command(self) -> GenericCommand:
        """The command that logs out: docs/protocol/session.md §2."""
        return GenericCommand(
            cmd=CommandType.SESSION,
            op=OpType.CLOSE,
            peer_id=self.client_id,
            service=IM_SERVICE,
        )

    def opened(self, reply: GenericCommand, now: int) -> None:
        """Take over what the ``opened`` or ``refreshed`` reply says.

        Protocol: docs/protocol/session.md §1.2.
        """
        if reply.peer_id:
            self.client_id = reply.peer_id
        session = reply.session_message
        if session is not None and session.st:
            self.token = session.st
            self.token_expires_at = now + (session.st_ttl or 0) * 1000
        if reply.op != OpType.OPENED:
            return
        self.anew = False
        self.returned_at = server_now = reply.server_ts or now
        if self.opened_at is None:
            self.opened_at = server_now
            self.patch_watermark = server_now
            self.notification_watermark = server_now

    def forget_token(self) -> None:
        """The server said 4112: the next opening goes without it."""
        self.token = None
        self.token_expires_at = 0

    def expire_token(self) -> None:
        """The REST API said 4112: the token must be renewed before it is used again."""
        self.token_expires_at = 0

    def saw(self, push: GenericCommand) -> None:
        """Advance the watermarks by a push: docs/protocol/session.md §6, §7."""
        if push.server_ts and (push.notification_type == 1 or push.op in PERSONAL_NOTICES):
            self.notification_watermark = max(self.notification_watermark or 0, push.server_ts)
        if push.unread_message is not None and push.unread_message.notif_time:
            self.unread_watermark = push.unread_message.notif_time
        if push.patch_message is not None:
            for patch in push.patch_message.patches:
                if patch.patch_timestamp:
                    self.patch_watermark = max(self.patch_watermark or 0, patch.patch_timestamp)

    def _command(self, op: OpType, session: SessionCommand) -> GenericCommand:
        return GenericCommand(
            cmd=CommandType.SESSION,
            op=op,
            app_id=self.app_id,
            peer_id=self.client_id,
            service=IM_SERVICE,
            session_message=session,
        )


def _sign(session: SessionCommand, signature: Signature | None) -> None:
    if signature is not None:
        session.s = signature.signature
        session.t = signature.timestamp
        session.n = signature.nonce
