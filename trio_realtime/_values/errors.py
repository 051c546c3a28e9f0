"""What can go wrong, as one tree under `RealtimeError`. Protocol: docs/protocol/errors.md."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from .error_codes import ErrorCode, Retry

__all__ = [
    "BlockedError",
    "ClientAlreadyOpen",
    "ClientClosed",
    "CommandError",
    "CommandTimeout",
    "ConnectFailed",
    "ConnectionLost",
    "ConversationFull",
    "ConversationNotFound",
    "ConversationReadOnly",
    "ErrorCode",
    "FileUploadError",
    "InvalidMessagingTarget",
    "KickedError",
    "LocalProtocolError",
    "LoginError",
    "MalformedReply",
    "MembershipRequired",
    "MessageNotFound",
    "MessageOwnershipRequired",
    "MessageTooLarge",
    "OperationUnauthorized",
    "OwnerPromotionNotAllowed",
    "PluginError",
    "QuotaExceeded",
    "RealtimeError",
    "RejectedByApp",
    "RemoteProtocolError",
    "Retry",
    "RoutingError",
    "ServerError",
    "SessionConflictError",
    "SessionRequired",
    "SessionTokenExpired",
    "SignatureFailed",
    "SigningError",
    "Silenced",
    "SlowConsumer",
    "StateDamaged",
    "StateError",
    "StateInUse",
    "TemporaryConversationExpired",
]


class RealtimeError(Exception):
    """Every failure this package expects. Catch it to catch them all."""


# Connection


class ConnectFailed(RealtimeError):
    """No connection could be made.

    Why: the address is wrong, the network is down, or the server refused. The cause is in
    `__cause__`. What to do: check the address, and whether the server is up; ``open_client``
    tries again by itself if it is told to with ``connect_retry``.
    """

    def __init__(
        self, message: str = "", *, status: int | None = None, retry: Retry | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status of the answer, if there was one."""
        self.retry: Retry = _retry_after(status) if retry is None else retry
        """Whether trying again can help: `Retry.NEVER` where the address or the application is
        refused, `Retry.LATER` where nobody answers."""


class RoutingError(ConnectFailed):
    """The router did not say where to connect.

    Why: the application id is unknown to it, or what answered is no router. What to do:
    check ``app_id`` and ``server``.
    """


class ConnectionLost(RealtimeError):
    """The connection ended before the answer came.

    Why: the network failed, or the server closed. Whether the server still carried out the
    command is not known. What to do: nothing, if the operation is retried by the client;
    otherwise try again.
    """

    def __init__(self, code: int | None = None, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code: ErrorCode | int | None = None if code is None else ErrorCode.of(code)
        """WebSocket close code, if a closing frame was seen."""
        self.reason = reason
        """What the server, or the network, said."""

    def __str__(self) -> str:
        parts = ["connection lost"]
        if self.code is not None:
            parts.append(f" ({_named(self.code)})")
        if self.reason:
            parts.append(f": {self.reason}")
        return "".join(parts)


class CommandTimeout(RealtimeError):
    """No answer came in time.

    Why: the server is overloaded or the link is half dead. Whether the command was carried
    out is not known. What to do: try again; what is sent with the same ``dt`` arrives once.
    """

    def __init__(self, command: object = None, op: object = None, seconds: float = 0.0) -> None:
        super().__init__(command, op, seconds)
        self.command: str = _spelled(command)
        """Name of the command, as in the protocol."""
        self.op: str = _spelled(op)
        """Name of its operation; empty for commands that have none."""
        self.seconds = seconds
        """How long it was waited for."""

    def __str__(self) -> str:
        asked = "/".join(part for part in (self.command, self.op) if part) or "command"
        return f"no answer to {asked} in {self.seconds:g} seconds"


class ClientClosed(RealtimeError):
    """The client was closed.

    Why: an operation was begun, or still waiting, when ``async with open_client`` ended.
    What to do: keep the client open for as long as it is used.
    """


class SlowConsumer(RealtimeError):
    """A subscription was not read fast enough, and its buffer overflowed.

    Only this subscription ends; the client and other subscriptions go on. What to do: do
    slow work in another task, subscribe to less, or ask for a larger buffer; then
    subscribe again and read the history of what was missed.
    """

    def __init__(self, dropped: int, since: datetime | None = None) -> None:
        super().__init__(dropped, since)
        self.dropped = dropped
        """How many events were lost."""
        self.since = since
        """Time of the first lost event, if it has one."""

    def __str__(self) -> str:
        since = "" if self.since is None else f" since {self.since.isoformat()}"
        return f"subscription too slow: {self.dropped} events dropped{since}"


# State that is kept between runs of a program


class StateError(RealtimeError):
    """The state of a client could not be read or written.

    Why: the disk is full, permissions are missing, or the state is of another client or of a
    later version. What to do: see to the file, or name another one.
    """


class StateInUse(StateError):
    """Another client, perhaps of another program, uses the same state.

    What to do: let each client have a file of its own, and run the program once.
    """


class StateDamaged(StateError):
    """What is there is no state.

    What to do: restore it, or remove it: the client then begins at its login.
    """


# Protocol


class LocalProtocolError(RealtimeError):
    """The program asked for what the protocol does not allow. What to do: mend the program."""


class ClientAlreadyOpen(LocalProtocolError):
    """A client with this id is open on this connection already.

    Why: what the server pushes names the client id, so that two of one id on one connection
    could not be told apart. What to do: give one of them a connection of its own, or let
    several loops subscribe to one client.
    """


class MessageTooLarge(LocalProtocolError):
    """A command is larger than the protocol allows (5 KB); it was not sent.

    What to do: send less, or upload a file and send a message that refers to it.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(size, limit)
        self.size = size
        """Bytes of the encoded command."""
        self.limit = limit
        """Bytes allowed."""

    def __str__(self) -> str:
        return (
            f"the command has {self.size} bytes, {self.size - self.limit} more than"
            f" the {self.limit} allowed; nothing was sent"
        )


class SigningError(RealtimeError):
    """The application's signer failed; nothing was sent. The cause is in ``__cause__``.

    What to do: mend the function passed as ``sign_login``, ``sign_conversation`` or
    ``sign_block_list``.
    """


class PluginError(RealtimeError):
    """A plugin failed while the client was being made. The cause is in ``__cause__``.

    What to do: mend the plugin that the text names. Other hooks that fail are told as the event
    `PluginFailed`.
    """

    def __init__(self, plugin: str, error: Exception) -> None:
        super().__init__(plugin, error)
        self.plugin = plugin
        """Name of the plugin."""

    def __str__(self) -> str:
        plugin, error = self.args
        return f"the plugin {plugin} failed: {error!r}"


class OwnerPromotionNotAllowed(LocalProtocolError):
    """Nobody can be made owner of a conversation: its creator is.

    Protocol: docs/protocol/errors.md (5130).
    """

    code = ErrorCode.OWNER_PROMOTION_NOT_ALLOWED

    def __str__(self) -> str:
        return super().__str__() or f"{_named(self.code)}: {self.code.advice}"


class RemoteProtocolError(RealtimeError):
    """The server broke the protocol. What to do: report it to those who run the server."""


class MalformedReply(RemoteProtocolError):
    """A reply lacks what it must have, or cannot be understood."""


class FileUploadError(RealtimeError):
    """A file could not be uploaded. The cause, if any, is in `__cause__`."""


# Refusals by the server


class CommandError(RealtimeError):
    """The server refused a command.

    Compare `code` with members of `ErrorCode`, or catch the subclass that fits.
    """

    def __init__(
        self,
        code: int,
        reason: str | None = None,
        detail: str | None = None,
        app_code: int | None = None,
        app_message: str | None = None,
    ) -> None:
        super().__init__(code, reason, detail, app_code, app_message)
        self.code: ErrorCode | int = ErrorCode.of(code)
        """An `ErrorCode`, or a number the protocol does not list."""
        self.reason: str = reason or (self.code.name if isinstance(self.code, ErrorCode) else "")
        """The name of the code as the server spells it."""
        self.detail: str | None = detail or None
        """What the server adds in words."""
        self.app_code = app_code
        """A code chosen by a hook of the application."""
        self.app_message: str | None = app_message or None
        """A text chosen by a hook of the application."""

    @classmethod
    def from_wire(
        cls,
        code: int,
        reason: str | None = None,
        detail: str | None = None,
        app_code: int | None = None,
        app_message: str | None = None,
    ) -> CommandError:
        """The error for a refusal, of the subclass that belongs to its code."""
        return _BY_CODE.get(code, cls)(code, reason, detail, app_code, app_message)

    @property
    def retry(self) -> Retry:
        """Whether trying again can help; `Retry.NEVER` for a code not listed."""
        return self.code.retry if isinstance(self.code, ErrorCode) else Retry.NEVER

    def __str__(self) -> str:
        explanation = self.detail
        if explanation is None and isinstance(self.code, ErrorCode):
            explanation = self.code.advice
        parts = [f"{self.reason or 'refused'} ({int(self.code)})"]
        if explanation:
            parts.append(f": {explanation}")
        if self.app_code is not None or self.app_message:
            parts.append(f" [application: {_joined(self.app_code, self.app_message)}]")
        return "".join(parts)


class LoginError(CommandError):
    """The server does not let this client in.

    Why: unknown application, client id too long, a bad signature, a banned user, no quota.
    What to do: mend what the code names; trying again does not help. Ends the client.
    """


class SessionConflictError(CommandError):
    """Another device logged in with the same client id and tag (4111).

    What to do: tell the user; log in again only if he wants to. Ends the client.
    Protocol: docs/protocol/session.md §5.
    """


class SessionTokenExpired(CommandError):
    """The session token is no longer valid (4112). The client logs in anew by itself."""


class KickedError(CommandError):
    """The application ended the sessions of this client (4115). Ends the client."""


class SessionRequired(CommandError):
    """The server knows no session for this client (4105). The client logs in again."""


class QuotaExceeded(CommandError):
    """Too many commands in a short time. What to do: slow down and try later."""


class SignatureFailed(CommandError):
    """The signature of an operation is wrong, missing or expired.

    What to do: check clock, master key and order of the signed parts in the program that
    signs. Protocol: docs/protocol/signatures.md. (A bad *login* signature is a `LoginError`.)
    """


class ConversationNotFound(CommandError):
    """No conversation has this id (4303)."""


class ConversationFull(CommandError):
    """The conversation has as many members as it may have (4304)."""


class RejectedByApp(CommandError):
    """A hook of the application refused; see `app_code`, `app_message` and `detail`."""


class ConversationReadOnly(CommandError):
    """The conversation, or its list of members, cannot be changed (4307)."""


class OperationUnauthorized(CommandError):
    """The operation takes a higher role in the conversation (4320)."""


class MembershipRequired(CommandError):
    """Only members of the conversation may do this. What to do: join it first."""


class InvalidMessagingTarget(MembershipRequired):
    """A message was sent where this client is no member, or to nowhere (4401)."""


class Silenced(CommandError):
    """This client may read but not send: permanently (4563) or for some time (4315)."""


class BlockedError(CommandError):
    """The conversation blocks this client (4548)."""


class MessageNotFound(CommandError):
    """The message to change does not exist (4404)."""


class MessageOwnershipRequired(CommandError):
    """Only its author may edit or recall a message (4403)."""


class TemporaryConversationExpired(CommandError):
    """The temporary conversation is over (4323). What to do: create a new one."""


class ServerError(CommandError):
    """A fault in the server. What to do: try later."""


_CLASSES: dict[type[CommandError], tuple[int, ...]] = {
    LoginError: (4100, 4102, 4103, 4106, 4110, 4113),
    SessionConflictError: (4111,),
    SessionTokenExpired: (4112,),
    KickedError: (4115,),
    SessionRequired: (4105,),
    QuotaExceeded: (4116, 4318),
    SignatureFailed: (4302, 4546),
    ConversationNotFound: (4303,),
    ConversationFull: (4304,),
    RejectedByApp: (4305, 4402, 4405),
    ConversationReadOnly: (4307,),
    OperationUnauthorized: (4320,),
    MembershipRequired: (4309, 4312, 4317),
    InvalidMessagingTarget: (4401,),
    Silenced: (4315, 4563),
    BlockedError: (4548,),
    MessageNotFound: (4404,),
    MessageOwnershipRequired: (4403,),
    TemporaryConversationExpired: (4323,),
    ServerError: (4117, 4200, 4201, 4300, 4301, 4306, 4310, 4311),
}
_BY_CODE: Mapping[int, type[CommandError]] = {
    code: error for error, codes in _CLASSES.items() for code in codes
}


PASSING_STATUS = frozenset({408, 425, 429})


def _retry_after(status: int | None) -> Retry:
    passing = status is None or status >= 500 or status in PASSING_STATUS
    return Retry.LATER if passing else Retry.NEVER


def _named(code: int) -> str:
    return f"{code.name} {int(code)}" if isinstance(code, ErrorCode) else str(code)


def _spelled(member: object) -> str:
    name = getattr(member, "name", None)
    if isinstance(name, str):
        return name.lower()
    return "" if member is None else str(member)


def _joined(*parts: object) -> str:
    return " ".join(str(part) for part in parts if part is not None)
