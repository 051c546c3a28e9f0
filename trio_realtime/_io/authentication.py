"""How one client proves who it is: signatures, and the token of its session.

Protocol: docs/protocol/session.md §1, §3, §11, docs/protocol/signatures.md.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
import trio

from trio_realtime._engine.login import LoginState, Signature
from trio_realtime._engine.signing import (
    ConversationSigner,
    LoginSigner,
    sign_command,
    signing,
)
from trio_realtime._values.errors import (
    CommandError,
    MalformedReply,
    RealtimeError,
    RemoteProtocolError,
    SessionTokenExpired,
)
from trio_realtime._values.texts import checked_id
from trio_realtime._values.times import now_ms
from trio_realtime.wire import BlacklistCommand, ConvCommand, GenericCommand, OpType

from .command_channel import CommandChannel

logger = logging.getLogger("trio_realtime")

RENEW_AHEAD = 300.0
"""Seconds before its end at which a token is renewed, or half its life if that is shorter."""
MAX_TOKEN = 1024
"""Characters of a session token."""
RENEW_AGAIN = 60.0
"""Seconds after which a renewal that failed is tried again."""


def _token(_: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        checked_id(value, attribute.name, MAX_TOKEN)


def _signer(_: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not callable(value):
        raise TypeError(f"{attribute.name} is a function that signs, not {value!r}")


@attrs.frozen(kw_only=True)
class Credentials:
    """By what a client may prove who it is, and what it may do."""

    user_session_token: str | None = attrs.field(default=None, validator=_token)
    """Of a storage user, whose login the server signs."""
    sign_login: LoginSigner | None = attrs.field(default=None, validator=_signer)
    sign_conversation: ConversationSigner | None = attrs.field(default=None, validator=_signer)
    sign_block_list: ConversationSigner | None = attrs.field(default=None, validator=_signer)


class Authentication:
    """Logs one client in, and keeps its token.

    Args:
        login: what is known of the login.
        credentials: what the application gave.
        commands: the way to the server.
        sign_user: has the server sign the login of a storage user, by his session token.
        on_login: called in the moment the server lets the client in, and pushes may follow;
            with whether it had been in before.
        on_due: called when `renew_at` has changed.
        on_identity: called when the client id has become known before the login; may refuse it.
        on_late: sees the answer to a login for which nobody waits any more.
    """

    def __init__(
        self,
        login: LoginState,
        credentials: Credentials,
        commands: CommandChannel,
        *,
        sign_user: Callable[[str], Awaitable[Any]],
        on_login: Callable[[bool], None],
        on_due: Callable[[], None],
        on_identity: Callable[[], None],
        on_late: Callable[[GenericCommand], None],
    ) -> None:
        self._login = login
        self._credentials = credentials
        self._commands = commands
        self._sign_user = sign_user
        self._on_login = on_login
        self._on_due = on_due
        self._on_identity = on_identity
        self._on_late = on_late
        self.renew_at: float = float("inf")
        """When the token is to be renewed by itself."""

    async def log_in(self) -> None:
        """Open the session, or open it again.

        Raises:
            CommandError: the server refused.
            RealtimeError: it could not be reached.
        """
        try:
            await self._open()
        except CommandError as error:
            # A token from an earlier run of the program is worth nothing any more, whatever
            # the reason; else it has expired.
            expired = isinstance(error, SessionTokenExpired)
            if self._login.token is None or not (expired or self._login.anew):
                raise
            self._login.forget_token()
            await self._open()

    async def _open(self) -> None:
        login = self._login
        signature = None
        if not (login.begun and login.can_resume(now_ms())):
            signature = await self._signature()
        command = login.open_command(now_ms(), signature)
        await self._commands.exchange(command, self._opened, self._on_late)

    def _opened(self, reply: GenericCommand) -> None:
        if reply.op != OpType.OPENED:
            raise RemoteProtocolError(f"session/open was answered with {reply.cmd}/{reply.op}")
        returned = self._login.begun
        self._granted(reply)
        if self._login.client_id is None:
            raise RemoteProtocolError("the server assigned no client id")
        self._on_login(returned)

    async def token(self) -> str | None:
        """A session token that is valid, renewed if need be.

        Raises:
            CommandError: the server refused.
            RealtimeError: the server could not be reached.
        """
        if not self._login.can_resume(now_ms()):
            await self._renew()
        return self._login.token

    def is_due(self, now: float) -> bool:
        """Whether the time has come for `keep_token`; says so once."""
        if now < self.renew_at:
            return False
        self.renew_at = float("inf")
        return True

    async def keep_token(self) -> None:
        """Renew the token ahead of its end; without success the old one serves on."""
        try:
            await self._renew()
        except RealtimeError as error:
            logger.warning("the session token could not be renewed: %s", error)
            if self._login.can_resume(now_ms()):
                self._renew_in(RENEW_AGAIN)

    async def _renew(self) -> None:
        command = self._login.refresh_command(await self._signature())
        self._granted(await self._commands.request(command, internal=True))

    def _granted(self, reply: GenericCommand) -> None:
        self._login.opened(reply, now_ms())
        ttl = reply.session_message.st_ttl if reply.session_message is not None else None
        if ttl:
            self._renew_in(ttl - min(RENEW_AHEAD, ttl / 2))

    def _renew_in(self, delay: float) -> None:
        self.renew_at = trio.current_time() + delay
        self._on_due()

    async def _signature(self) -> Signature | None:
        credentials = self._credentials
        if credentials.user_session_token is not None:
            return await self._user_signature(credentials.user_session_token)
        if credentials.sign_login is None:
            return None
        async with signing():
            return await credentials.sign_login(self._login.client_id)

    async def _user_signature(self, user_session_token: str) -> Signature:
        """Have the server sign the login of a storage user: docs/protocol/session.md §11."""
        answer = await self._sign_user(user_session_token)
        try:
            signature = Signature(answer["signature"], answer["timestamp"], answer["nonce"])
            client_id = answer.get("client_id")
        except (KeyError, TypeError, AttributeError) as error:
            raise MalformedReply("the signature for the user's login is incomplete") from error
        if self._login.client_id is None:
            if not isinstance(client_id, str):
                raise MalformedReply(
                    "the server signs this user's login but does not say the client id: "
                    "pass the user's object id as client_id"
                )
            self._login.client_id = client_id
            self._on_identity()
        return signature

    async def sign_conversation(
        self, conv: ConvCommand, cid: str | None, targets: Sequence[str], action: str
    ) -> None:
        """Have an operation on a conversation signed, if the application signs them."""
        signer = self._credentials.sign_conversation
        await sign_command(signer, conv, cid, self._login.assigned_id, targets, action)

    async def sign_block_list(
        self, command: BlacklistCommand, cid: str, targets: Sequence[str], action: str
    ) -> None:
        """Have a change of a block list signed, if the application signs them."""
        signer = self._credentials.sign_block_list
        await sign_command(signer, command, cid, self._login.assigned_id, targets, action)
