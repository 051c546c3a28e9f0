"""How one client proves who it is: signatures, and the token of its session.

Protocol: docs/protocol/session.md §1, §3, §11, docs/protocol/signatures.md.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from trio_realtime._engine.login import Signature
from trio_realtime._engine.signing import sign_command, signing
from trio_realtime._values.errors import (
    MalformedReply,
    RealtimeError,
    RemoteProtocolError,
    SessionTokenExpired,
)
from trio_realtime._values.times import now_ms
from trio_realtime.wire import BlacklistCommand, ConvCommand, GenericCommand, OpType

if TYPE_CHECKING:
    from .session import Session

logger = logging.getLogger("trio_realtime")

RENEW_AHEAD = 300.0
"""Seconds before its end at which a token is renewed, or half its life if that is shorter."""
RENEW_AGAIN = 60.0
"""Seconds after which a renewal that failed is tried again."""


class Authentication:
    """The credentials of one client."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.renew_at = float("inf")
        """When the token is to be renewed by itself."""

    async def log_in(self) -> None:
        """Open the session, or open it again.

        Raises:
            CommandError: the server refused.
            RealtimeError: it could not be reached.
        """
        login = self._session.login
        try:
            await self._open()
        except SessionTokenExpired:
            if login.token is None:
                raise
            login.forget_token()
            await self._open()

    async def _open(self) -> None:
        session, login = self._session, self._session.login
        signature = None
        if not (login.begun and login.can_resume(now_ms())):
            signature = await self._signature()

        def opened(reply: GenericCommand) -> None:
            if reply.op != OpType.OPENED:
                raise RemoteProtocolError(f"session/open was answered with {reply.cmd}/{reply.op}")
            again = login.begun
            self._granted(reply)
            if login.client_id is None:
                raise RemoteProtocolError("the server assigned no client id")
            session.opened(again=again)

        await session.exchange(login.open_command(now_ms(), signature), opened)

    async def token(self) -> str | None:
        """A session token that is valid, renewed if need be.

        Raises:
            CommandError: the server refused.
            RealtimeError: the server could not be reached.
        """
        if not self._session.login.can_resume(now_ms()):
            await self._renew()
        return self._session.login.token

    def tick(self, now: float) -> None:
        """Renew the token in the background if its time has come."""
        if now >= self.renew_at:
            self.renew_at = float("inf")
            self._session.connection.start_soon(self._keep_token)

    async def _keep_token(self) -> None:
        """Renew the token ahead of its end; without success the old one serves on."""
        try:
            await self._renew()
        except RealtimeError as error:
            logger.warning("the session token could not be renewed: %s", error)
            if self._session.login.can_resume(now_ms()):
                self._renew_in(RENEW_AGAIN)

    async def _renew(self) -> None:
        command = self._session.login.refresh_command(await self._signature())
        self._granted(await self._session.request(command))

    def _granted(self, reply: GenericCommand) -> None:
        self._session.login.opened(reply, now_ms())
        ttl = reply.session_message.st_ttl if reply.session_message is not None else None
        if ttl:
            self._renew_in(ttl - min(RENEW_AHEAD, ttl / 2))

    def _renew_in(self, delay: float) -> None:
        self.renew_at = trio.current_time() + delay
        self._session.connection.arm_timer(self._session.due_at)

    async def _signature(self) -> Signature | None:
        config, login = self._session.config, self._session.login
        if config.user_session_token is not None:
            return await self._user_signature(config.user_session_token)
        if config.sign_login is None:
            return None
        async with signing():
            return await config.sign_login(login.client_id)

    async def _user_signature(self, user_session_token: str) -> Signature:
        """Have the server sign the login of a storage user: docs/protocol/session.md §11."""
        answer = await self._session.rest.sign(user_session_token)
        try:
            signature = Signature(answer["signature"], answer["timestamp"], answer["nonce"])
            client_id = answer.get("client_id")
        except (KeyError, TypeError, AttributeError) as error:
            raise MalformedReply("the signature for the user's login is incomplete") from error
        login = self._session.login
        if login.client_id is None:
            if not isinstance(client_id, str):
                raise MalformedReply(
                    "the server signs this user's login but does not say the client id: "
                    "pass the user's object id as client_id"
                )
            login.client_id = client_id
        return signature

    async def sign_conversation(
        self, conv: ConvCommand, cid: str | None, targets: Sequence[str], action: str
    ) -> None:
        """Have an operation on a conversation signed, if the application signs them."""
        signer = self._session.config.sign_conversation
        await sign_command(signer, conv, cid, self._session.client_id, targets, action)

    async def sign_block_list(
        self, command: BlacklistCommand, cid: str, targets: Sequence[str], action: str
    ) -> None:
        """Have a change of a block list signed, if the application signs them."""
        signer = self._session.config.sign_block_list
        await sign_command(signer, command, cid, self._session.client_id, targets, action)
