"""Signatures: proof that the application allows a login or an operation.

Protocol: docs/protocol/signatures.md.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import attrs

from trio_realtime._values.errors import RealtimeError, SigningError
from trio_realtime._values.times import now_ms
from trio_realtime.wire import BlacklistCommand, ConvCommand

from .login import Signature

__all__ = ["ConversationSigner", "LoginSigner", "MasterKeySigner"]

LoginSigner = Callable[[str | None], Awaitable[Signature]]
"""Signs a login: called with the client id, or None if the server is to invent it."""

ConversationSigner = Callable[[str | None, str, Sequence[str], str], Awaitable[Signature]]
"""Signs an operation on a conversation: called with the conversation's id (None while it is
being created), the client's own id, the client ids concerned in ascending order, and the
action: ``create``, ``invite``, ``kick``, ``conversation-block-clients`` or
``conversation-unblock-clients``."""


@asynccontextmanager
async def signing() -> AsyncIterator[None]:
    """Say where an error came from when the application failed to sign."""
    try:
        yield
    except RealtimeError:
        raise
    except Exception as error:
        raise SigningError(f"sign error: {str(error) or type(error).__name__}") from error


async def sign_command(
    signer: ConversationSigner | None,
    command: ConvCommand | BlacklistCommand,
    cid: str | None,
    client_id: str,
    targets: Sequence[str],
    action: str,
) -> None:
    """Have a command signed, if the application signs such commands."""
    if signer is not None:
        async with signing():
            signature = await signer(cid, client_id, sorted(targets), action)
            command.t, command.n = signature.timestamp, signature.nonce
            command.s = signature.signature


@attrs.frozen
class MasterKeySigner:
    """Signs everything itself, for programs that may know the master key.

    Pass its methods as ``sign_login``, ``sign_conversation`` and ``sign_block_list``. Never
    ship the master key to users.
    """

    app_id: str
    """The application."""
    master_key: str = attrs.field(repr=False)
    """Its master key."""

    async def sign_login(self, client_id: str | None) -> Signature:
        """Sign a login."""
        return self._sign(self.app_id, client_id or "", "")

    async def sign_conversation(
        self, conversation_id: str | None, client_id: str, targets: Sequence[str], action: str
    ) -> Signature:
        """Sign the creation of a conversation, an invitation or a kick."""
        members = ":".join(sorted(targets))
        if conversation_id is None:
            return self._sign(self.app_id, client_id, members)
        return self._sign(self.app_id, client_id, conversation_id, members, action=action)

    async def sign_block_list(
        self, conversation_id: str | None, client_id: str, targets: Sequence[str], action: str
    ) -> Signature:
        """Sign a change of a block list."""
        return await self.sign_conversation(conversation_id, client_id, targets, action)

    def _sign(self, *parts: str, action: str | None = None) -> Signature:
        timestamp, nonce = now_ms(), secrets.token_hex(8)
        text = ":".join((*parts, str(timestamp), nonce, *(() if action is None else (action,))))
        digest = hmac.new(self.master_key.encode(), text.encode(), hashlib.sha1).hexdigest()
        return Signature(digest, timestamp, nonce)
