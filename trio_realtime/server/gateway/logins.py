"""Logging in and out: the gateway's own part of the protocol.

The rules behind it are in ``rules/session.py``; here their results meet connections and the
bus. Protocol: docs/protocol/session.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import outcome

from trio_realtime._values.protocol import MAX_CLIENT_ID
from trio_realtime.server.bus.interface import Arrival
from trio_realtime.server.bus.nonces import Nonce
from trio_realtime.server.limits import network_of
from trio_realtime.server.rules.session import (
    LoginRequest,
    Opened,
    TokenExpired,
    generated_client_id,
    open_session,
    refresh_session,
    stated_ttl,
)
from trio_realtime.server.rules.signatures import signs_login
from trio_realtime.server.rules.types import Clients, Refusal
from trio_realtime.server.store.interface import StoreError, TokenRow
from trio_realtime.wire import (
    CommandType,
    GenericCommand,
    LoggedinCommand,
    OpType,
    SessionCommand,
)

from .backlog import expect_backlog, send_backlog
from .connection import GatewayConnection
from .context import AppContext
from .session import GatewaySession
from .weight import weight

TOKENS_REMEMBERED = 16
"""Of one session: more than a client has asked for before it has seen any of the answers."""
ONLINE_QUERY = 20
"""Ids looked at in one online query."""


def log_in(connection: GatewayConnection, command: GenericCommand) -> None:
    """``session/open``: log a client in, or let it return."""
    message = command.session_message or SessionCommand()
    client_id = command.peer_id or generated_client_id()
    if client_id in connection.opening:
        connection.defer(client_id, command)
        return
    try:
        app = _admit(connection, command, client_id)
    except Refusal as refusal:
        connection.refuse(command, refusal, command.peer_id)
        if refusal.code in {4100, 4103, 4110}:
            connection.close(refusal.code, refusal.reason)
        return
    login = LoginRequest(
        app.app,
        client_id,
        message,
        connection.dialect.delivery,
        app.config.limits.token_ttl,
        connection.expired_tokens.pop(client_id, None),
    )
    connection.opening[client_id] = []
    expected = partial(_expected, connection, command, app, login)
    connection.when(app.bus.expect(client_id, _nonce(app, login)), expected)


def _admit(connection: GatewayConnection, command: GenericCommand, client_id: str) -> AppContext:
    """What can be judged without looking at any data."""
    app_id = command.app_id or (connection.app.id if connection.app else "")
    app = connection.server.apps.get(app_id)
    if app is None:
        raise Refusal(4100, "APP_NOT_AVAILABLE")
    if app.app.origins is not None and connection.origin not in {None, *app.app.origins}:
        raise Refusal(4110, "INVALID_ORIGIN")
    if len(client_id) > MAX_CLIENT_ID:
        raise Refusal(4103, "INVALID_LOGIN", f"a client id has at most {MAX_CLIENT_ID} characters")
    if connection.app is not None and connection.app is not app:
        raise Refusal(4105, "SESSION_REQUIRED", "this connection belongs to another app")
    at_most = app.config.limits.clients_per_connection
    clients = len(connection.sessions.keys() | connection.opening.keys())
    if clients >= at_most and client_id not in connection.sessions:
        raise Refusal(
            4113,
            "APP_QUOTA_EXCEEDED",
            "too many clients on one connection",
            limit="clients_per_connection",
        )
    connection.app = app
    return app


def _nonce(app: AppContext, login: LoginRequest) -> Nonce | None:
    """The nonce to be claimed for a login, where each may be used only once.

    It is claimed before the store is asked, since a login that was granted cannot be taken
    back. Only a true signature claims any, so that nobody can spend another one's; whether it
    is too old, or void, the rule decides.
    """
    message = login.message
    if not app.config.refuse_repeated_nonces or not app.app.enforce.login or message.st:
        return None
    if not signs_login(app.app, login.client_id, message.t, message.n, message.s):
        return None
    assert message.t is not None
    assert message.n is not None
    return Nonce(login.client_id, message.t, message.n)


def _expected(
    connection: GatewayConnection,
    command: GenericCommand,
    app: AppContext,
    login: LoginRequest,
    result: outcome.Outcome[None],
) -> None:
    if isinstance(result, outcome.Error):
        _decided(connection, command, app, login, result)
        return
    _behind_the_rest(
        connection,
        app,
        login.client_id,
        lambda: connection.submit(
            app,
            lambda tx: open_session(tx, login),
            partial(_decided, connection, command, app, login),
        ),
    )


def _behind_the_rest(
    connection: GatewayConnection, app: AppContext, client_id: str, then: Callable[[], None]
) -> None:
    """Go on when what the client has said on other connections so far is written."""
    others = app.unfinished.busy(client_id, connection)
    waiting = len(others)
    if not waiting:
        then()
        return

    def passed(_result: object) -> None:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            then()

    for other in others:
        done = connection.under_way(passed)
        try:
            app.store.submit(app.id, lambda _tx: None, done, owner=other)
        except StoreError as error:
            done(outcome.Error(error))


def _decided(
    connection: GatewayConnection,
    command: GenericCommand,
    app: AppContext,
    login: LoginRequest,
    result: outcome.Outcome[Opened],
) -> None:
    """The rule has spoken: what it granted becomes a session, if the bus agrees."""
    if connection.over:
        del connection.opening[login.client_id]
        return
    if isinstance(result, outcome.Error):
        if isinstance(result.error, TokenExpired):
            shown = connection.expired_tokens
            shown[login.client_id] = login.message.st or ""
            if len(shown) > app.config.limits.clients_per_connection:
                del shown[next(iter(shown))]
        _refused(connection, command, app, login.client_id, result.error)
        return
    # Whoever failed has not shown to be this client, and counts against nobody but himself.
    if refusal := app.bus.over_rate(login.client_id, "commands_per_minute"):
        _refused(connection, command, app, login.client_id, refusal)
        return
    opened = result.unwrap()
    session = connection.sessions.get(login.client_id)
    new = session is None
    if session is None:
        session = GatewaySession(
            connection, app, login.client_id, login.features, opened.tag, opened.device
        )
        connection.sessions[login.client_id] = session
        app.unfinished.arrived(login.client_id, connection)
    expect_backlog(connection, login)
    arrival = Arrival(opened.tag, login.message.st, opened.assumed, login.reopen)
    joined = partial(_joined, connection, command, login, opened, session, new)
    connection.in_turn(app.bus.join(session, arrival), joined)


def _refused(
    connection: GatewayConnection,
    command: GenericCommand,
    app: AppContext,
    client_id: str,
    error: BaseException,
) -> None:
    """Answer a login that failed; too many of them cost the connection."""
    network = network_of(connection.address)
    failed = isinstance(error, Refusal)
    if isinstance(error, TokenExpired):
        # Honest clients come with one, too, but with the same only once.
        message = command.session_message or SessionCommand()
        failed = app.shown.again(network, message.st or "")
    excess = app.bus.over_rate(network, "failed_logins_per_minute") if failed else None
    connection.fail(command, excess or error, client_id)
    connection.resume(client_id)
    if excess is not None:
        connection.close(excess.code, excess.reason)


def _joined(
    connection: GatewayConnection,
    command: GenericCommand,
    login: LoginRequest,
    opened: Opened,
    session: GatewaySession,
    new: bool,
    result: outcome.Outcome[None],
) -> None:
    if isinstance(result, outcome.Error):
        if new and session.live:
            del connection.sessions[login.client_id]
        connection.fail(command, result.error, login.client_id)
        connection.release(login.client_id)
    else:
        _register(connection, command, login, opened, session)
    connection.resume(login.client_id)


def _register(
    connection: GatewayConnection,
    command: GenericCommand,
    login: LoginRequest,
    opened: Opened,
    session: GatewaySession,
) -> None:
    session.update(login.features, opened.tag, opened.device)
    session.kicks = opened.kicks
    session.tokens = (login.message.st or opened.token, opened.token)
    if session.live:
        session.tell_online(reconnect=login.reopen)
        connection.note_login()
    else:  # it ended while the bus was asked
        session.app.bus.leave(session)
    granted = SessionCommand(st=opened.token, st_ttl=stated_ttl(login.ttl))
    _answer(connection, command, login.client_id, OpType.OPENED, granted, opened.at)
    send_backlog(connection, login, session, opened.at)


def session_command(
    connection: GatewayConnection, session: GatewaySession, command: GenericCommand
) -> None:
    """Every other command about a session that is open."""
    match command.op:
        case OpType.CLOSE:
            _close(connection, session, command)
        case OpType.QUERY:
            message = command.session_message or SessionCommand()
            asked = Clients(message.session_peer_ids[:ONLINE_QUERY])
            found = partial(_found, connection, session, command)
            connection.in_turn(session.app.bus.present(asked), found)
        case OpType.REFRESH:
            _refresh(connection, session, command)
        case _:
            connection.refuse_unknown(command, session.client_id)


def _close(connection: GatewayConnection, session: GatewaySession, command: GenericCommand) -> None:
    """Log a client out when all that it has asked for before has been answered."""

    def close() -> None:
        session.log_out()
        _answer(connection, command, session.client_id, OpType.CLOSED, None, None)
        connection.resume(session.client_id)

    session.leaving = True
    connection.opening[session.client_id] = []
    session.replies.when_done(close)


def _found(
    connection: GatewayConnection,
    session: GatewaySession,
    command: GenericCommand,
    result: outcome.Outcome[list[str]],
) -> None:
    if isinstance(result, outcome.Value):
        found = SessionCommand(online_session_peer_ids=result.value)
        _answer(connection, command, session.client_id, OpType.QUERY_RESULT, found, None)
    elif isinstance(result, outcome.Error):
        connection.fail(command, result.error, session.client_id)


def _refresh(
    connection: GatewayConnection, session: GatewaySession, command: GenericCommand
) -> None:
    app, client_id = session.app, session.client_id
    message = command.session_message or SessionCommand()
    ttl = app.config.limits.token_ttl
    row = TokenRow(client_id, 0, session.tag, session.device)
    kicks = session.kicks
    turn = session.replies.begin(reads=False)

    def refreshed(result: outcome.Outcome[tuple[int, str]]) -> None:
        with session.replies.answering(turn):
            if isinstance(result, outcome.Error):
                connection.fail(command, result.error, client_id)
                return
            at, token = result.unwrap()
            session.tokens = (*session.tokens, token)[-TOKENS_REMEMBERED:]
            granted = SessionCommand(st=token, st_ttl=stated_ttl(ttl))
            _answer(connection, command, client_id, OpType.REFRESHED, granted, at)

    connection.submit(
        app,
        lambda tx: refresh_session(tx, app.app, client_id, message, row, ttl, kicks),
        refreshed,
        weight=weight(command),
    )


def installation_command(connection: GatewayConnection, command: GenericCommand) -> None:
    """``login`` and ``logout`` of a live query or push installation."""
    login = command.cmd == CommandType.LOGIN
    if login:
        connection.note_login()
    reply = GenericCommand(
        cmd=CommandType.LOGGEDIN if login else CommandType.LOGGEDOUT,
        installation_id=command.installation_id,
        service=command.service,
        loggedin_message=LoggedinCommand(push_disabled=True) if login else None,
    )
    connection.reply(command, reply, None, None)


def _answer(
    connection: GatewayConnection,
    command: GenericCommand,
    client_id: str,
    op: OpType,
    message: SessionCommand | None,
    at: int | None,
) -> None:
    reply = GenericCommand(cmd=CommandType.SESSION, op=op, session_message=message)
    connection.reply(command, reply, client_id, at)
