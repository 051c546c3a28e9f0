"""Logging in: who may open a session, and under which token.

Protocol: docs/protocol/session.md §1, §3, §5 and §6.
"""

from __future__ import annotations

import secrets

import attrs

from trio_realtime._values.protocol import TOKEN_GRACE_MS
from trio_realtime.server.store.interface import TokenRow, Tx
from trio_realtime.wire import SessionCommand

from .signatures import verify_login
from .types import App, Feature, Refusal

NO_TAG = "default"
"""A reserved tag that means none."""

_KICKS = "session-kick"


MAX_STATED_TTL = 2_147_483
"""The longest life of a token in seconds that all SDKs can count: Java in 32-bit milliseconds."""


class TokenExpired(Refusal):
    """The client's own token, past its end: it may return without one, here and at once."""

    def __init__(self) -> None:
        super().__init__(4112, "SESSION_TOKEN_EXPIRED")


@attrs.frozen
class LoginRequest:
    """What a client asks for with ``session/open``."""

    app: App
    client_id: str
    message: SessionCommand
    delivery: int
    ttl: int
    """Life of the token in seconds."""
    shown: str | None = None
    """The token for which `TokenExpired` was answered to this client on this connection just
    now."""

    @property
    def reopen(self) -> bool:
        """Whether it returns rather than logs in."""
        return bool(self.message.r)

    @property
    def features(self) -> Feature:
        return Feature((self.message.config_bitmap or 0) & 0xFF)


@attrs.frozen
class Opened:
    """A login granted."""

    at: int
    token: str
    tag: str | None
    device: str | None
    kicks: int
    """How often the client had been kicked before."""
    assumed: bool
    """Tag and device are those of the client's newest login: it named neither, and brought no
    token that would tell."""


def generated_client_id() -> str:
    """An id for a client that brought none; it begins with a letter."""
    return "c" + secrets.token_hex(12)


def open_session(tx: Tx, login: LoginRequest) -> Opened:
    """Grant or refuse a login."""
    message = login.message
    known, assumed = _authenticate(tx, login)
    # The JavaScript SDK names neither tag nor device when it returns.
    tag = message.tag or (known.tag if known else None)
    device = message.device_token or message.device_id or (known.device_id if known else None)
    if tag == NO_TAG:
        tag = None
    if tag is not None:
        _check_slot(tx, login, tag, device)
    assumed = assumed and not (message.device_token or message.device_id)
    token = _issue(tx, login.client_id, tag, device, login.ttl)
    kicks = _kicks(tx, login.client_id)
    return Opened(tx.now, token, tag, device, kicks, assumed)


def stated_ttl(ttl: int) -> int:
    """What clients are told of a token's life, in seconds: longer than it lives.

    An SDK that believes its token to be over returns without any, which looks like a stranger;
    with the expired one it shows who it is.
    """
    return min(ttl + TOKEN_GRACE_MS // 1000, MAX_STATED_TTL)


def refresh_session(
    tx: Tx,
    app: App,
    client_id: str,
    message: SessionCommand,
    row: TokenRow,
    ttl: int,
    kicks: int,
) -> tuple[int, str]:
    """A new token for a live session, whose login is ``row``; the old one may have expired.

    ``kicks`` is what its login said: a session that was kicked meanwhile gets none.
    """
    if _kicks(tx, client_id) != kicks:
        raise Refusal(4115, "KICKED_BY_APP")
    if row.tag is not None and _taken(tx, client_id, row.tag, row.device_id):
        raise Refusal(4111, "SESSION_CONFLICT", "another device logged in with this tag")
    if message.st is not None:
        old = tx.token(message.st)
        if old is not None and old.client_id != client_id:
            raise Refusal(4112, "SESSION_TOKEN_EXPIRED", "the token is not this client's")
    if app.enforce.login and message.s is not None:
        _check_signature(tx, app, client_id, message)
    return tx.now, _issue(tx, client_id, row.tag, row.device_id, ttl)


def note_kick(tx: Tx, client_id: str) -> int:
    """Void the login signatures made until now, the tokens they led to, and the renewal of
    sessions that are open now.
    """
    tx.forget_tokens(client_id)
    kick = {"at": tx.now, "count": _kicks(tx, client_id) + 1}
    tx.put_document(_KICKS, client_id, kick)
    return tx.now


def _kicks(tx: Tx, client_id: str) -> int:
    kick = tx.document(_KICKS, client_id)
    # Kicks were not counted in earlier versions.
    return 0 if kick is None else kick.get("count", 1)


def token_holder(tx: Tx, token: str | None) -> str | None:
    """The client id a token stands for, until the end that its holder was told."""
    row = tx.token(token) if token else None
    return None if row is None else row.client_id


def _authenticate(tx: Tx, login: LoginRequest) -> tuple[TokenRow | None, bool]:
    """Check token or signature; the earlier login if this one continues it, and whether that is
    a guess.
    """
    message, client_id = login.message, login.client_id
    if message.st:
        row = tx.token(message.st)
        if row is None or row.client_id != client_id:
            raise Refusal(4112, "SESSION_TOKEN_EXPIRED")
        if row.expires_at <= tx.now:
            raise TokenExpired
        return row, False
    # Forgotten, if the client was kicked since it showed it.
    shown = tx.token(login.shown) if login.reopen and login.shown is not None else None
    if login.app.enforce.login and (message.s is not None or shown is None):
        _check_signature(tx, login.app, client_id, message)
    if shown is not None:
        return shown, False
    known = tx.recent_login(client_id, tx.now - TOKEN_GRACE_MS) if login.reopen else None
    return known, known is not None


def _check_signature(tx: Tx, app: App, client_id: str, message: SessionCommand) -> None:
    kick = tx.document(_KICKS, client_id)
    not_before = kick["at"] if kick else None
    if not_before is not None and not_before > tx.now:
        # By a clock that was set back since: nobody has to wait until it is that time again.
        not_before = min(tx.earliest(not_before), tx.now)
    t, n, s = message.t, message.n, message.s
    if not verify_login(app, client_id, t, n, s, tx.now, not_before=not_before):
        raise Refusal(4102, "SIGNATURE_FAILED")


def _check_slot(tx: Tx, login: LoginRequest, tag: str, device: str | None) -> None:
    if login.reopen and _taken(tx, login.client_id, tag, device):
        raise Refusal(4111, "SESSION_CONFLICT", "another device logged in with this tag")


def _taken(tx: Tx, client_id: str, tag: str, device: str | None) -> bool:
    """Whether another device was the last that got a token under this tag."""
    holder = tx.tag_holder(client_id, tag)
    return holder is not None and holder.device_id != device


def _issue(tx: Tx, client_id: str, tag: str | None, device: str | None, ttl: int) -> str:
    token = secrets.token_urlsafe(24)
    tx.put_token(token, TokenRow(client_id, tx.now + ttl * 1000, tag, device))
    return token
